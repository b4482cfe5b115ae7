"""Prompts of the task, with the positions of their names; and the same prompts with other names: flips.

A prompt is "When Mary and John went to the store, John gave a drink to Mary": the subject (John) stands twice, and the
indirect object (Mary) is the answer. Its letters say who stands where: ABB names the object first, BAB the subject.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hypotheses.ioi.words import BABA, NAMES, OBJECTS, PLACES
from scrubbing.errors import DataError, nearest
from scrubbing.graph.reading import in_short, read_file

TEMPLATES = 14  # the first seven of each kind are used
ABC = "ABB->XYZ, BAB->XYZ"  # three names: who is the object cannot be told

# What the subject's position and name say of the object, by flip: (token signal, position signal).
SIGNALS = {
    ("original", "original"): "ABB->ABB, BAB->BAB",
    ("random", "original"): "ABB->CDD, BAB->DCD",
    ("inverted", "original"): "ABB->BAA, BAB->ABA",
    ("original", "inverted"): "ABB->BAB, BAB->ABB",
    ("random", "inverted"): "ABB->DCD, BAB->CDD",
    ("inverted", "inverted"): "ABB->ABA, BAB->BAA",
}
LONGEST = 200  # characters of a line that are shown
_SLOT = re.compile(r"\[([ABC])\]")


@dataclass(frozen=True)
class Prompt:
    """A template whose places `[1]` to `[4]` are filled with names: the first three as they come, then the answer."""

    template: str
    names: tuple[str, str, str, str]

    @property
    def text(self) -> str:
        """The prompt with its answer."""
        return _filled(self.template, self.names)

    @property
    def letters(self) -> str:
        """Who stands where: ABB or BAB for a prompt of the task, where A is the answer and B the other."""
        letter = {self.names[3]: "A"}
        for name in self.names:
            letter.setdefault(name, "BCD"[len(letter) - 1])
        return "".join(letter[name] for name in self.names[:3])

    @property
    def subject(self) -> str:
        """The name in the third place."""
        return self.names[2]

    @property
    def object(self) -> str:
        """The one of the first two names that is not the subject; the second if neither is."""
        first, second = self.names[:2]
        return first if second == self.subject else second


def _filled(template: str, names: Sequence[str]) -> str:
    for place, name in enumerate(names, start=1):
        template = template.replace(f"[{place}]", name)
    return template


def templates(count: int = TEMPLATES) -> tuple[str, ...]:
    """The first templates: half of them BABA, half ABBA."""
    if not 2 <= count <= 2 * len(BABA):
        raise DataError(
            f"there are templates from 2 to {2 * len(BABA)}, half BABA and half ABBA; {count} were asked for"
        )
    first = BABA[: (count + 1) // 2]
    return (*first, *(swapped(template) for template in first[: count // 2]))


def swapped(template: str) -> str:
    """The template with the names of the first clause in the other order: ABBA of BABA."""
    return template.replace("[B]", "[]", 1).replace("[A]", "[B]", 1).replace("[]", "[A]", 1)


def made(count: int, seed: int, *, names: Sequence[str] = NAMES, of: Sequence[str] | None = None) -> list[Prompt]:
    """Prompts of the task, the templates in turn, with names, places and objects drawn.

    Raises `DataError` for no prompts, and where there are fewer than five names to draw from.
    """
    if count < 1:
        raise DataError(f"{count} prompts were asked for; ask for at least one")
    if len(names) < 5:
        raise DataError(
            f"prompts and their flips take 5 names, and there are {len(names)} that can be used; take a "
            f"tokenizer in which more names are one token each"
        )
    draw, of = np.random.default_rng(seed), of or templates()
    return [_made(of[i % len(of)], names, draw) for i in range(count)]


def _made(template: str, names: Sequence[str], draw: np.random.Generator) -> Prompt:
    a, b = (str(name) for name in draw.choice(np.array(names), 2, replace=False))
    filled = template.replace("[PLACE]", str(draw.choice(PLACES))).replace("[OBJECT]", str(draw.choice(OBJECTS)))
    letters = _SLOT.findall(filled)
    for place in range(1, 5):
        filled = _SLOT.sub(f"[{place}]", filled, count=1)
    one, two, three, four = ({"A": a, "B": b}[letter] for letter in letters)
    return Prompt(filled, (one, two, three, four))


@dataclass(frozen=True)
class Flip:
    """Other names in the first three places, by a rule such as "ABB->BAB, BAB->ABB"; the answer stays.

    A letter that is new stands for a fresh name. Different letters always are different names.
    """

    rule: str

    @property
    def _table(self) -> dict[str, str]:
        pairs = [part.strip().split("->") for part in self.rule.split(",")]
        if any(len(pair) != 2 or not re.fullmatch("[A-Z]{3}", "".join(pair[1:])) for pair in pairs):
            raise DataError(f"{self.rule!r} is no flip; write rules such as 'ABB->BAB, BAB->ABB'")
        return dict(pairs)

    def __call__(self, prompts: Sequence[Prompt], seed: int, *, names: Sequence[str] = NAMES) -> list[Prompt]:
        """The prompts with other names; what is drawn depends on the seed and the rule.

        Raises `DataError` for a prompt whose letters the rule does not speak of.
        """
        draw, table = np.random.default_rng(seed + sum(map(ord, self.rule))), self._table
        return [self._flipped(prompt, table, names, draw) for prompt in prompts]

    def _flipped(
        self, prompt: Prompt, table: dict[str, str], names: Sequence[str], draw: np.random.Generator
    ) -> Prompt:
        old = prompt.letters
        if old not in table:
            raise DataError(f"{self.rule!r} has no rule for {old}, of which the prompt {prompt.text!r} is")
        known = dict(zip(old, prompt.names, strict=False))
        fresh = sorted(set(table[old]) - set(old))
        free = [name for name in names if name not in prompt.names]
        if len(free) < len(fresh):
            raise DataError(
                f"{self.rule!r} takes {len(fresh)} names beside {', '.join(known.values())}; give more names"
            )
        drawn = draw.choice(np.array(free), len(fresh), replace=False) if fresh else ()
        known |= {letter: str(name) for letter, name in zip(fresh, drawn, strict=True)}
        one, two, three = (known[letter] for letter in table[old])
        return replace(prompt, names=(one, two, three, prompt.names[3]))


def read_prompts(path: Path, *, names: Sequence[str] = NAMES) -> list[Prompt]:
    """Prompts from a file, one a line, each with its answer as the last word.

    Raises `DataError` for a file that cannot be read, and with its number for a line that is no prompt of the task.
    """
    try:
        lines = read_file(path).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {in_short(error)}") from None
    found = [_read(line, f"{path}, line {number}", names) for number, line in _numbered(lines)]
    if not found:
        raise DataError(f"{path} holds no prompts; write one a line, with its answer as the last word")
    return found


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    return ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _read(line: str, where: str, names: Sequence[str]) -> Prompt:
    said = [match for match in re.finditer(r"\w+", line) if match[0] in set(names)]
    if len(said) != 4 or said[-1].end() != len(line):
        last = re.findall(r"\w+", line)[-1:] or [""]
        hint = (
            ""
            if last[0] in names
            else f"; the last word is {last[0]!r}, which is none of them{nearest(last[0], names)}"
        )
        raise DataError(
            f"{where}: {_short(line)!r} names {len(said)} of the {len(names)} names that are known; a prompt names "
            f"four times, the answer as its last word{hint}"
        )
    template = line
    for place, match in reversed([*enumerate(said, start=1)]):
        template = f"{template[: match.start()]}[{place}]{template[match.end() :]}"
    one, two, three, four = (match[0] for match in said)
    prompt = Prompt(template, (one, two, three, four))
    if prompt.letters not in ("ABB", "BAB"):
        raise DataError(
            f"{where}: the names of {_short(line)!r} stand as {prompt.letters} (A is the answer); in a prompt of the "
            f"task they stand as ABB or BAB: the subject twice, the answer once"
        )
    return prompt
