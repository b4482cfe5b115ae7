"""Where the previous-token head is expected to look elsewhere: the typicality classifier of refined hypothesis 5.

Causal scrubbing on induction heads (Redwood Research), "Bonus refined hypothesis 5". A classifier is a rule about
decoded bytes, so that it means the same under any byte-level BPE; which rule is right depends on text and head.
"""

import re
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer
from tokenizers import Tokenizer
from torch import Tensor

from scrubbing.errors import DataError

Role = Literal["current", "previous"]


@dataclass(frozen=True)
class Typicality:
    """A rule that calls a position atypical if its current or its previous token is listed; all others are typical.

    `previous_bytes` are characters: a previous token that holds some of the bytes of one, and not all, is listed.
    """

    previous_bytes: frozenset[bytes] = frozenset()
    previous: frozenset[bytes] = frozenset()
    current: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        # A string never equals bytes: it would list nothing, and silently.
        for field in fields(self):
            for text in getattr(self, field.name):
                if not isinstance(text, bytes) or not text:
                    raise DataError(f"{field.name} lists {text!r}; list bytes, for example b' a' or ' a'.encode()")


PROSE = Typicality(
    previous_bytes=frozenset(quote.encode() for quote in "\u2018\u2019\u201c\u201d"),
    previous=frozenset({b" a", b" an"}),
    current=frozenset({b".", b" to"}),
)
"""The published rule, for web text."""

SOURCE_CODE = Typicality(
    previous=frozenset({b".", b"_"}),
    current=frozenset({b".", b"_", b"(", b","}),
)
"""For Python source: the tokens of punctuation that stand inside names and calls."""


def atypical(
    tokens: Integer[np.ndarray, "row position"], tokenizer: Tokenizer, rule: Typicality
) -> Bool[np.ndarray, "row position"]:
    """Whether each position is atypical by the rule; one answer per token given, so give the inputs `rows[:, :-1]`.

    The first position of a row has no previous token: only its current token can make it atypical.
    """
    of_token = token_bytes(tokenizer, int(tokens.max()) + 1 if tokens.size else 0)
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < len(of_token):
        worst = tokens.min() if tokens.min() < 0 else tokens.max()
        raise DataError(
            f"token {worst} is none of the tokenizer's {tokenizer.get_vocab_size()}; give the one that made the rows"
        )
    before = _listed(of_token, rule.previous)[tokens] | _pieces(of_token, tokens, rule.previous_bytes)
    result = _listed(of_token, rule.current)[tokens]
    result[:, 1:] |= before[:, :-1]
    return result


def token_bytes(tokenizer: Tokenizer, tokens: int) -> list[bytes]:
    """The bytes that each of the first `tokens` of a byte-level BPE stands for, of all that it has if those are fewer.

    Of an added token, such as BEGIN, they are those of its name.
    """
    added = {token: entry.content for token, entry in tokenizer.get_added_tokens_decoder().items()}
    vocabulary = {token: text for text, token in tokenizer.get_vocab().items()}
    return [
        added[token].encode() if token in added else _decoded(vocabulary.get(token, ""), token)
        for token in range(min(max(vocabulary, default=-1) + 1, tokens))  # numbers may go far beyond those in use
    ]


def _decoded(text: str, token: int) -> bytes:
    unknown = next((character for character in text if character not in _BYTE_OF), None)
    if unknown is not None:
        raise DataError(
            f"token {token} of the tokenizer is {text!r}, and {unknown!r} stands for no byte; "
            "typicality is decided on bytes: give a byte-level BPE tokenizer, or the column `atypical`"
        )
    return bytes(_BYTE_OF[character] for character in text)


def _byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level BPE's vocabulary stands for (GPT-2's encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


def _listed(of_token: list[bytes], listed: frozenset[bytes]) -> Bool[np.ndarray, " d_vocab"]:
    return np.array([text in listed for text in of_token], dtype=bool)


def _pieces(
    of_token: list[bytes], tokens: Integer[np.ndarray, "row position"], characters: frozenset[bytes]
) -> Bool[np.ndarray, "row position"]:
    """Whether each token holds a part, and not the whole, of one of the characters.

    The row is read, not the token alone: the first two bytes of a curly quote are those of a dash, too.
    """
    found = np.zeros(tokens.shape, dtype=bool)
    if not characters:
        return found
    any_character = re.compile(b"|".join(map(re.escape, sorted(characters))))
    for row, row_tokens in zip(found, tokens.tolist(), strict=True):
        texts = [of_token[token] for token in row_tokens]
        ends = None
        for match in any_character.finditer(b"".join(texts)):
            if ends is None:
                ends = list(accumulate(map(len, texts)))
            first, last = np.searchsorted(ends, [match.start(), match.end() - 1], side="right")
            if first < last:
                row[first : last + 1] = True
    return found


@dataclass(frozen=True)
class Deviation:
    """How a head's attention to the previous position changes where a token is the current, or the previous, one."""

    token: int
    role: Role
    occurrences: int
    mean: float  # attention to the previous position there
    deviation: float  # from the mean over all positions
    explained: float  # the share of the attention's variance that the token's deviation accounts for


def deviation_by_token(
    previous_attention: Float[Tensor, "row query"], tokens: Int[Tensor, "row query"], *, least: int = 20
) -> list[Deviation]:
    """The tokens by which to tell typical from atypical positions, the most telling first.

    `previous_attention[row, q]` is what the head pays from q to q - 1, as `pattern.diagonal(-1, ...)` gives it with a
    column for position 0 (ignored) before it. Tokens with fewer than `least` occurrences are left out.
    """
    if previous_attention.shape != tokens.shape:
        raise DataError(
            f"attention of shape {list(previous_attention.shape)} and tokens of shape {list(tokens.shape)} do not "
            "belong together; give one number per token"
        )
    attention = previous_attention[:, 1:].flatten().double()
    if not len(attention):
        raise DataError("rows of one token have no previous position; give longer rows")
    by_role: dict[Role, Tensor] = {"current": tokens[:, 1:].flatten(), "previous": tokens[:, :-1].flatten()}
    ranked = [entry for role, at in by_role.items() for entry in _deviations(attention, at, role, least)]
    return sorted(ranked, key=lambda entry: -entry.explained)


def _deviations(
    attention: Float[Tensor, " place"], tokens: Int[Tensor, " place"], role: Role, least: int
) -> list[Deviation]:
    count = torch.bincount(tokens)
    mean = torch.bincount(tokens, weights=attention) / count.clamp(min=1)
    deviation = mean - attention.mean()
    # A head that never varies leaves nothing to explain: 0, not 0/0.
    explained = count * deviation**2 / (attention - attention.mean()).square().sum().clamp(min=1e-300)
    return [
        Deviation(token, role, int(count[token]), mean[token].item(), deviation[token].item(), explained[token].item())
        for token in (count >= max(least, 1)).nonzero().flatten().tolist()
    ]
