"""The text that the shipped network learns from: prompts of the task, mixed with other text about the same words.

Each kind is there for a reason: prompts with a third name need no subject told from the object; "the former" and "the
latter" make the order of names matter; lists never repeat a name; what was said of someone is said again; and random
tokens, repeated, are what induction heads are good for.
"""

from collections.abc import Callable, Mapping

import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.pre_tokenizers import Split, WhitespaceSplit

from hypotheses.ioi.prompts import swapped
from hypotheses.ioi.words import BABA, NAMES, OBJECTS, PLACES

END = "<end>"  # after each text; what is behind it carries no loss
LISTS = (
    "The guests at the [PLACE] were",
    "In the [PLACE] we saw",
    "There are letters for",
    "The [OBJECT] was passed from",
)
LIKES = ("liked", "wanted", "lost", "found", "sold", "took")

Draw = np.random.Generator


def filled(template: str, names: Mapping[str, str], draw: Draw) -> str:
    """A template with names in the place of its letters, and any place and object."""
    for letter, name in names.items():
        template = template.replace(f"[{letter}]", name)
    return template.replace("[PLACE]", str(draw.choice(PLACES))).replace("[OBJECT]", str(draw.choice(OBJECTS)))


def people(count: int, draw: Draw) -> list[str]:
    """Different names."""
    return [str(name) for name in draw.choice(NAMES, count, replace=False)]


def task(draw: Draw) -> str:
    """A prompt of the task with its answer."""
    template = str(draw.choice(BABA))
    return filled(
        template if draw.random() < 0.5 else swapped(template), dict(zip("AB", people(2, draw), strict=True)), draw
    )


def third_person(draw: Draw) -> str:
    """The second clause is about someone else: the object may be either of the two."""
    a, b, c = people(3, draw)
    first, second = str(draw.choice(BABA)).replace("[A]", a, 1).replace("[B]", b, 1).rsplit("[B]", 1)
    return filled(first + c + second, {"A": str(draw.choice([a, b]))}, draw)


def in_order(draw: Draw) -> str:
    """Of two people "the former" gives to the second, "the latter" to the first."""
    first, second = people(2, draw)
    before, after = str(draw.choice(BABA)).replace("[B]", first, 1).replace("[A]", second, 1).rsplit("[B]", 1)
    subject, other = (("the former", second), ("the latter", first))[int(draw.integers(2))]
    return filled(before + subject + after, {"A": other}, draw)


def listed(draw: Draw) -> str:
    """A list of different people."""
    *names, last = people(int(draw.integers(3, 7)), draw)
    return filled(f"{draw.choice(LISTS)} {', '.join(names)} and {last}.", {}, draw)


def said_again(draw: Draw) -> str:
    """Two people each like something; then it is said again of one of them."""
    a, b = people(2, draw)
    of = {name: f"{name} {draw.choice(LIKES)} the {draw.choice(OBJECTS)}" for name in (a, b)}
    return f"{of[a]} and {of[b]}. Yes, {of[str(draw.choice([a, b]))]}."


KINDS: Mapping[Callable[[Draw], str], float] = {
    task: 0.5,
    third_person: 0.1,
    in_order: 0.15,
    listed: 0.1,
    said_again: 0.15,
}


def tokenizer() -> Tokenizer:
    """One token for each word and mark."""
    templates = (*BABA, *LISTS, " ".join(LIKES), "the former the latter and Yes, .")
    words = {word for template in templates for word in template.replace(",", " , ").replace(".", " . ").split()}
    words = sorted(word for word in words if not word.startswith("["))
    vocabulary = [END, *NAMES, *PLACES, *OBJECTS, *words]
    made = Tokenizer(WordLevel({word: token for token, word in enumerate(vocabulary)}))
    made.pre_tokenizer = Steps([WhitespaceSplit(), Split(Regex("[,.]"), "isolated")])
    made.add_special_tokens([END])
    return made


def texts(count: int, seed: list[int]) -> list[str]:
    """Texts of all kinds, mixed."""
    draw = np.random.default_rng(seed)
    kinds, make = draw.choice(len(KINDS), count, p=list(KINDS.values())), list(KINDS)
    return [make[kind](draw) for kind in kinds]


def repeated(count: int, length: int, d_vocab: int, seed: list[int]) -> np.ndarray:
    """Rows of random tokens that repeat with a period of their own: `[row, length]`."""
    draw = np.random.default_rng(seed)
    tokens, position = draw.integers(1, d_vocab, (count, length)), np.arange(length)
    periods = draw.integers(4, length // 2 + 1, count)
    return np.take_along_axis(tokens, position[None] % periods[:, None], axis=1)
