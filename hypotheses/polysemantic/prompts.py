"""Three families of prompts, each of which a behaviour would help to continue, with the roles of their tokens.

Source: "Polysemantic attention head in a 4-layer transformer" (2023), section 2. The text shows its templates as
pictures: these are reconstructions, of which the roles and the counts are the text's and the words are not. At the last
position, `current`, the head attends to `attended`; `answer` is the right next token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, cycle, islice

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hypotheses.polysemantic.tokens import Vocabulary, shown
from scrubbing.errors import DataError

CURRENT, ATTENDED = "current", "attended"
TRIES = 200

NAMES = tuple(
    """name value data key item index node line text path file size count start end result args state mode type code
    test length width obj func info list config option message error source target parent child module string number
    time date user group event body header default token context buffer cache method handler format address host port
    url level stack queue table row label version flags other left right base root entry block""".split()
)
CLASSES = tuple(
    """Base Test Node List File Data Error Value Key Type Name Path Text Info String Event Handler Request Parser Reader
    Server Message Context Config Option Module Class Thread Process Queue Stream Header Set Dict Simple My
    Time""".split()
)


@dataclass(frozen=True)
class Template:
    """Prompts with slots: pieces of text, some of which play a role, and the answer.

    Texts name slots in braces; where a piece ends a token does. `variants` fill some of them, in turn; for the others
    words are drawn of `slots`, no two of a prompt the same. A slot's words are single tokens wherever it stands.
    """

    pieces: tuple[str | tuple[str, str], ...]  # a text, or (text, role); the last is the current token
    answer: str
    slots: Mapping[str, tuple[str, ...]]
    prompts: int = 50
    variants: tuple[Mapping[str, str], ...] = field(default=({},))

    @property
    def parts(self) -> tuple[tuple[str, str | None], ...]:
        """The pieces, each with its role or None."""
        return tuple((piece, None) if isinstance(piece, str) else piece for piece in self.pieces)


@dataclass(frozen=True, eq=False)
class Family:
    """Prompts of one template: `tokens[i]`, right next tokens `answers`, and where the tokens of each role stand."""

    name: str
    tokens: Int[Tensor, "prompt position"]
    answers: Int[Tensor, " prompt"]
    roles: Mapping[str, int]
    vocabulary: Vocabulary = field(repr=False)

    @property
    def example(self) -> list[str]:
        """The tokens of the first prompt, as they are shown."""
        return [shown(self.vocabulary.texts[token]) for token in self.tokens[0]]

    @cached_property
    def role_of(self) -> dict[int, str]:
        """The role that each position plays, where it plays one."""
        return {position: role for role, position in self.roles.items()}


def induction(
    lines: Mapping[str, str] | None = None, indents: tuple[str, ...] = ("\n   ", "\n       "), prompts: int = 120
) -> Template:
    """Lines of a block that all begin with the same token, which is what follows the next indent.

    `lines` has, for each first token, what follows it in the line; by default three.
    """
    lines = lines or {" self": ".{x}({y})", " print": "({x}, {y})", " assert": " {x}.{y} == {z}"}
    numbered = [{slot: f"{{{slot}{i}}}" for slot in "xyz"} for i in range(3)]
    rest = tuple(f"rest{i}" for i in range(3))
    pieces: list[str | tuple[str, str]] = ["def {f}({a}):"]
    for i, name in enumerate(rest):
        again = "{again}" if i < len(rest) - 1 else ("{again}", ATTENDED)
        pieces += ["{indent}", again, f"{{{name}}}"]
    variants = tuple(
        {
            "indent": indent,
            "again": first,
            **{name: line.format_map(slots) for name, slots in zip(rest, numbered, strict=True)},
        }
        for first, line in lines.items()
        for indent in indents
    )
    slots = dict.fromkeys(["f", "a", *(f"{slot}{i}" for slot in "xyz" for i in range(3))], NAMES)
    return Template((*pieces, ("{indent}", CURRENT)), "{again}", slots, prompts, variants)


def bigger(outer: str = "\n\n   ", inner: str = "\n       ") -> Template:
    """The end of a method, after which the indent is smaller than it was, and another method begins."""
    return Template(
        (
            "class {A}:\n    def {f}(self, {a}):",
            inner,
            " self.{b} = {a}",
            (inner, ATTENDED),
            " return {c}",
            (outer, CURRENT),
        ),
        " def",
        {"A": CLASSES, **dict.fromkeys("fabc", NAMES)},
    )


def previous() -> Template:
    """A class calls its parent's initialiser, in the way of old Python, which names the class."""
    return Template(
        (
            "class {A}",
            "{B}",
            "({P}):\n    def __init__(self, {a}):\n       ",
            (" super", ATTENDED),
            ("(", CURRENT),
        ),
        "{A}",
        {**dict.fromkeys("ABP", CLASSES), "a": NAMES},
    )


def templates(vocabulary: Vocabulary) -> dict[str, Template]:
    """The three families; where a tokenizer writes an empty line and an indent as several tokens, without the line."""
    together = vocabulary.single("\n\n   ") is not None
    return {
        "induction": induction(),
        "bigger indentation": bigger() if together else bigger(outer="\n   "),
        "previous": previous(),
    }


def family(name: str, template: Template, vocabulary: Vocabulary, *, seed: int = 0) -> Family:
    """The prompts of a template, each after the token that begins a row.

    Raises `DataError` for a role, an answer or a word of a slot that is not one token, and for prompts of different
    lengths, whose positions do not align.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    usable: dict[tuple[str, ...], list[str]] = {}
    for slot, words in template.slots.items():
        if words not in usable:
            usable[words] = _usable(name, slot, words, vocabulary)
    slots = {slot: usable[words] for slot, words in template.slots.items()}
    made = [
        _prompt(name, template, variant, slots, vocabulary, rng)
        for variant in islice(cycle(template.variants), template.prompts)
    ]
    tokens, answers, roles = zip(*made, strict=True)
    lengths = sorted({len(row) for row in tokens})
    if len(lengths) > 1 or any(found != roles[0] for found in roles):
        raise DataError(
            f"the prompts of {name!r} have {' and '.join(map(str, lengths))} tokens, or roles at different places, so "
            f"that positions do not align; give slots and variants words of one token each"
        )
    return Family(name, torch.tensor(tokens), torch.tensor(answers), roles[0], vocabulary)


def _words(
    name: str, slots: Mapping[str, list[str]], variant: Mapping[str, str], rng: np.random.Generator
) -> dict[str, str]:
    """A word for each slot, no two of them the same."""
    drawn: dict[str, str] = {}
    for slot, words in slots.items():
        left = [word for word in words if word not in drawn.values()]
        if not left:
            raise DataError(f"slot {slot!r} of {name!r} has no word left that another slot does not use; give it more")
        drawn[slot] = left[rng.integers(len(left))]
    return drawn | {slot: text.format_map(drawn) for slot, text in variant.items()}


def _usable(name: str, slot: str, words: tuple[str, ...], vocabulary: Vocabulary) -> list[str]:
    """The words that are single tokens: all of those that somebody gave, and of ours those that the tokenizer has."""
    single = [w for w in words if vocabulary.single(w) is not None and vocabulary.single(f" {w}") is not None]
    if words not in (NAMES, CLASSES) and len(single) < len(words):
        word = next(w for w in words if w not in single)
        tokens = [vocabulary.texts[t] for text in (word, f" {word}") for t in vocabulary.encode(text)]
        raise DataError(f"{word!r} in slot {slot!r} of {name!r} is not one token, with a space or without: {tokens}")
    return single


def _prompt(
    name: str,
    template: Template,
    variant: Mapping[str, str],
    slots: Mapping[str, list[str]],
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> tuple[list[int], int, dict[str, int]]:
    """The tokens, the answer, and the position of each role; words are drawn until no token joins two pieces."""
    tokens: list[int] = []
    for _ in range(TRIES):
        words = _words(name, slots, variant, rng)
        texts = [text.format_map(words) for text, _ in template.parts]
        tokens = vocabulary.encode("".join(texts))
        lengths = (len(vocabulary.texts[token]) for token in tokens)
        starts = {start: place for place, start in enumerate(accumulate(lengths, initial=0))}
        ends = [*accumulate(len(text) for text in texts)]
        if starts.keys() >= set(ends):
            return (
                [vocabulary.begin, *tokens],
                _answer(name, template, words, vocabulary),
                _roles(name, template, texts, starts),
            )
    joined = [shown(vocabulary.texts[token]) for token in tokens]
    raise DataError(
        f"the pieces of {name!r} do not stay apart as tokens, whichever words stand in its slots: {' '.join(joined)}; "
        f"divide it where the tokenizer does, or give its slots other words"
    )


def _roles(name: str, template: Template, texts: list[str], starts: Mapping[int, int]) -> dict[str, int]:
    """Where the token of each role stands, counting the token that begins the row."""
    roles, at = {}, 0
    for text, (_, role) in zip(texts, template.parts, strict=True):
        if role is not None:
            if starts[at + len(text)] != starts[at] + 1:
                raise DataError(
                    f"{text!r}, the {role} token of {name!r}, is {starts[at + len(text)] - starts[at]} tokens of this "
                    f"tokenizer; it must be one"
                )
            roles[role] = 1 + starts[at]
        at += len(text)
    if template.parts[-1][1] != CURRENT:
        raise DataError(f"the last piece of {name!r} must have the role {CURRENT!r}: there the answer is read")
    return roles


def _answer(name: str, template: Template, words: Mapping[str, str], vocabulary: Vocabulary) -> int:
    text = template.answer.format_map(words)
    answer = vocabulary.single(text)
    if answer is None:
        raise DataError(f"{text!r}, the answer of {name!r}, is not one token of this tokenizer; give another")
    return answer
