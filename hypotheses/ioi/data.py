"""Prompts as columns: tokens, the positions of the names, and the tokens whose logits are compared."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from hypotheses.ioi.prompts import Flip, Prompt
from hypotheses.ioi.words import NAMES, OBJECTS, PLACES
from hypotheses.shipped import encoded
from scrubbing.errors import DataError

# The positions that circuits speak of: the object, the subject and the token after it, the subject again, and the
# token that the answer follows. The names are those of columns.
ROLES = ("IO", "S1", "S1_next", "S2", "END")


@dataclass(frozen=True, eq=False)
class Rows:
    """Prompts as the network reads them. Rows shorter than the longest are filled up behind their end."""

    prompts: tuple[Prompt, ...]
    tokens: Int[Tensor, "row position_plus_1"]  # the answer last
    lengths: Int[Tensor, " row"]  # tokens, the answer included
    io: Int[Tensor, " row"]  # the answer's token, and the subject's
    s: Int[Tensor, " row"]
    roles: Mapping[str, Int[Tensor, " row"]]
    template: Int[Tensor, " row"]  # rows of one number are of one template, and their positions align

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def columns(self) -> dict[str, Tensor]:
        """What the network and the measures read: the loss is evaluated at END alone."""
        inputs = self.tokens[:, :-1]
        weights = torch.zeros(inputs.shape)
        weights[torch.arange(len(self)), self.roles["END"]] = 1.0
        own = {"io": self.io, "s": self.s, "template": self.template, **self.roles}
        return {"tokens": inputs, "labels": self.tokens[:, 1:], "weights": weights, **own}

    def with_names_of(self, prompts: Sequence[Prompt], words: Tokenizer) -> "Rows":
        """The same rows with the tokens of other prompts, position by position: flips keep roles and answers.

        Raises `DataError` for a prompt of another length.
        """
        tokens = self.tokens.clone()
        for row, (prompt, length) in enumerate(zip(prompts, self.lengths.tolist(), strict=True)):
            ids = _encoded(prompt, words)[0]
            if len(ids) != length:
                raise DataError(
                    f"{prompt.text!r} is of {len(ids)} tokens and {self.prompts[row].text!r} of {length}; positions "
                    f"must align, so use names of one token each"
                )
            tokens[row, :length] = torch.tensor(ids)
        return Rows(tuple(prompts), tokens, self.lengths, self.io, self.s, self.roles, self.template)

    def flipped(self, rule: str, words: Tokenizer, seed: int, names: Sequence[str] = NAMES) -> "Rows":
        """The rows with other names by a rule (see `Flip`). Raises `DataError` as that does."""
        return self.with_names_of(Flip(rule)(self.prompts, seed, names=names), words)


def stacked(parts: Sequence[Rows]) -> dict[str, Tensor]:
    """The columns of several sets of rows, one below the other."""
    columns = [part.columns for part in parts]
    return {name: torch.cat([column[name] for column in columns]) for name in columns[0]}


def rows_of(prompts: Sequence[Prompt], words: Tokenizer, *, n_ctx: int | None = None) -> Rows:
    """Prompts of the task as rows.

    Raises `DataError` for a name that is several tokens, prompts of one template whose positions do not align, and
    prompts longer than the context.
    """
    encoded = [_encoded(prompt, words) for prompt in prompts]
    lengths = torch.tensor([len(ids) for ids, _ in encoded])
    longest = int(lengths.max())
    if n_ctx is not None and longest - 1 > n_ctx:
        prompt = prompts[int(lengths.argmax())]
        raise DataError(f"{prompt.text!r} is of {longest} tokens, but the model's context is {n_ctx}; leave it out")
    tokens = torch.zeros(len(encoded), longest, dtype=torch.int64)
    for row, (ids, _) in enumerate(encoded):
        tokens[row, : len(ids)] = torch.tensor(ids)
    roles = [_roles(prompt, places) for prompt, (_, places) in zip(prompts, encoded, strict=True)]
    by_role = {name: torch.tensor([of[name] for of in roles]) for name in ROLES}
    ids = tokens.gather(1, torch.stack([by_role["IO"], by_role["S2"]], dim=1))
    kinds = [f"{prompt.letters} {_kind(prompt)}" for prompt in prompts]
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    template = torch.tensor([numbers[kind] for kind in kinds])
    _check_aligned(prompts, lengths, template)
    return Rows(tuple(prompts), tokens, lengths, ids[:, 0], ids[:, 1], by_role, template)


def _roles(prompt: Prompt, places: Sequence[int]) -> dict[str, int]:
    first, second, third, answer = places
    io, s1 = (first, second) if prompt.letters == "ABB" else (second, first)
    return {"IO": io, "S1": s1, "S1_next": s1 + 1, "S2": third, "END": answer - 1}


def _kind(prompt: Prompt) -> str:
    """The template without its place and object."""
    words = {**dict.fromkeys(PLACES, "[PLACE]"), **dict.fromkeys(OBJECTS, "[OBJECT]")}
    return " ".join(words.get(word.strip(",."), word) for word in prompt.template.split())


def _check_aligned(prompts: Sequence[Prompt], lengths: Tensor, template: Tensor) -> None:
    first: dict[int, int] = {}
    for row, kind in enumerate(template.tolist()):
        known = first.setdefault(kind, row)
        if lengths[known] != lengths[row]:
            raise DataError(
                f"{prompts[known].text!r} is of {lengths[known]} tokens and {prompts[row].text!r} of {lengths[row]}; "
                f"their positions must align, since means are taken by template: use places and objects of one token"
            )


def _encoded(prompt: Prompt, words: Tokenizer) -> tuple[list[int], list[int]]:
    """A prompt's tokens, and the positions of its four names."""
    found = encoded(words, prompt.text)
    ids, spans = found.ids, found.offsets
    places, end = [], 0
    for name in prompt.names:
        start = prompt.text.index(name, end)
        end = start + len(name)
        at = [place for place, (low, high) in enumerate(spans) if low < end and high > start]
        if len(at) != 1:
            raise DataError(
                f"the name {name!r} in {prompt.text!r} is {len(at)} tokens of this tokenizer; names must be one token "
                f"each, since the logits of two names are compared: use another name"
            )
        places += at
    if places[-1] != len(ids) - 1:
        raise DataError(f"the answer of {prompt.text!r} is not its last token; leave out what follows it")
    return ids, places


def single_token_names(words: Tokenizer, names: Sequence[str] = NAMES) -> tuple[list[str], list[str]]:
    """The names that are one token of their own within a text, and those that are not."""
    found: dict[str, int] = {}
    for name in names:
        try:
            of = encoded(words, f"and {name}")
        except DataError:
            continue
        at = [token for token, (low, high) in zip(of.ids, of.offsets, strict=True) if high > len("and ") and low < high]
        if len(at) == 1:
            found[name] = at[0]
    times = Counter(found.values())  # names without a token may share the one for what is unknown
    usable = [name for name, token in found.items() if times[token] == 1]
    return usable, [name for name in names if name not in set(usable)]


def grouped(template: Int[Tensor, " row"]) -> dict[str, str]:
    """The setting of `scrub` by which prompts of one template are one observation, where a template has several."""
    several = 1 < len(template.unique()) < len(template)
    return {"groups": "template"} if several else {}


def rows_in_template(rows: Rows) -> Int[np.ndarray, " template"]:
    """How many rows there are of each template."""
    return np.bincount(rows.template.numpy())
