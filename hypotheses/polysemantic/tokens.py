"""What a tokenizer's tokens are: which end a text or begin one, which are a new line and how far it is indented."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer
from torch import Tensor

from hypotheses.corpus import beginning
from hypotheses.shipped import encoded, read_tokenizer
from scrubbing.errors import DataError

NEW_LINE = re.compile(r"(?:\r?\n)+[ \t]*")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a tokenizer: `texts[i]` of token i; `special` are those that stand for no text."""

    tokenizer: Tokenizer
    texts: tuple[str, ...]
    special: frozenset[int]
    begin: int

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """The vocabulary of a tokenizer.json.

        Raises `DataError` for a file that is missing or no tokenizer, and for one without a token that begins a row.
        """
        if not path.exists():
            raise DataError(
                f"there is no {path}: destination tokens and prompts need the model's tokenizer; "
                f"put its tokenizer.json there, or name it with --set tokenizer=FILE"
            )
        return cls.of(read_tokenizer(path))

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Vocabulary":
        """The vocabulary of a tokenizer that is at hand."""
        size = tokenizer.get_vocab_size()
        texts = tuple(tokenizer.decode([token], skip_special_tokens=False) for token in range(size))
        special = frozenset(token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special)
        begin = beginning(tokenizer)
        begin = min(special, default=None) if begin is None else begin
        if begin is None:
            raise DataError("the tokenizer has no special token, but rows begin with one, to which idle heads attend")
        return cls(tokenizer, texts, special | {begin}, begin)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, with none added. Raises `DataError` for a word that there is no token for."""
        return encoded(self.tokenizer, text).ids

    def single(self, text: str) -> int | None:
        """The token that is this text, if it is one."""
        try:
            ids = self.encode(text)
        except DataError:
            return None
        return ids[0] if len(ids) == 1 else None

    @cached_property
    def kinds(self) -> "Kinds":
        """What kinds of tokens there are."""
        return Kinds.of(self.texts, self.special)


@dataclass(frozen=True, eq=False)
class Kinds:
    """For each token, whether it is special, and by how far it indents: -1 for what is no new line."""

    special: Bool[Tensor, " d_vocab"]
    indent: Int[Tensor, " d_vocab"]

    @classmethod
    def of(cls, texts: Sequence[str], special: Iterable[int]) -> "Kinds":
        """Of the texts of tokens.

        >>> Kinds.of(["<s>", "a", "\\n", "\\n   ", "\\n\\n   "], [0]).indent.tolist()
        [-1, -1, 0, 3, 3]
        """
        marked = torch.zeros(len(texts), dtype=torch.bool)
        marked[sorted(special)] = True
        return cls(marked, torch.tensor([_indent(text) for text in texts]))

    def to_size(self, d_vocab: int) -> "Kinds":
        """For a network whose vocabulary is padded beyond the tokenizer's.

        Raises `DataError` for one that has fewer tokens.
        """
        missing = d_vocab - len(self.special)
        if missing < 0:
            raise DataError(
                f"the tokenizer has {len(self.special)} tokens, and the model {d_vocab}; give the model's own"
            )
        special = torch.cat([self.special, torch.zeros(missing, dtype=torch.bool)])
        return Kinds(special, torch.cat([self.indent, torch.full((missing,), -1)]))


def _indent(text: str) -> int:
    return len(text) - 1 - text.rindex("\n") if NEW_LINE.fullmatch(text) else -1


def shown(text: str) -> str:
    """A token as the text on polysemantic heads shows it.

    >>> shown(" R"), shown("\\n   ")
    ('·R', '⏎[·x3]')
    """
    if NEW_LINE.fullmatch(text):
        lines, spaces = text.count("\n"), len(text) - 1 - text.rindex("\n")
        return "⏎" * lines + (f"[·x{spaces}]" if spaces else "")
    return text.replace(" ", "·").replace("\n", "⏎")


def written(text: str) -> str:
    """The token that somebody wrote, with signs for its spaces and line ends where that is easier.

    >>> written("⏎[·x3]"), written("·R")
    ('\\n   ', ' R')
    """
    text = re.sub(r"\[·x(\d{1,3})\]", lambda found: " " * int(found[1]), text)
    return text.replace("·", " ").replace("⏎", "\n")
