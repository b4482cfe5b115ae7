"""Where a head looks in one row, and what it writes there."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.report.app.rows import Row
from scrubbing.report.app.subject import Head, Subject

MOST = 8  # sources, and tokens, that are listed

Named = Sequence[tuple[str, float]]


@dataclass(frozen=True, eq=False)
class Looked:
    """One head on one row: its pattern, and the tokens at the positions of the row."""

    pattern: Float[Tensor, "query key"]
    tokens: Sequence[str]
    logits: Float[Tensor, "position d_vocab"] | None

    def sources(self, position: int) -> Named:
        """The tokens that it attends to most from a position, and how much."""
        found = self.pattern[position].topk(min(MOST, len(self.tokens)))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [(f"{self.tokens[key]}  at {key}", weight) for key, weight in pairs]


@torch.no_grad()
def looked(subject: Subject, row: Row, head: Head) -> Looked:
    """A head's pattern on a row, and what it adds to the logits at each position, less the mean over all tokens.

    The final norm's scale is that of the row as it is.

    >>> from hypotheses import induction
    >>> from scrubbing.report.app.rows import row_of_data
    >>> subject = Subject.of(induction.suite())
    >>> found = looked(subject, row_of_data(subject, 0), subject.heads[0])
    >>> found.pattern.shape, bool(torch.allclose(found.pattern.sum(-1), torch.ones(300)))
    (torch.Size([300, 300]), True)
    """
    node, fn = subject.G[head.node], subject.attention(head)
    inputs = subject.G.activations(row.columns, *node.inputs)
    pattern = fn.pattern(*inputs)[0, 0, : row.length, : row.length].float().cpu()
    tokens = torch.as_tensor(row.columns["tokens"])[0, : row.length].tolist()
    return Looked(pattern, [subject.names(token) for token in tokens], _written(subject, row, head, inputs))


def written_at(subject: Subject, found: Looked, position: int) -> tuple[Named, Named]:
    """The tokens whose logits the head raises most at a position, and those that it lowers most."""
    return ([], []) if found.logits is None else ends(found.logits[position], subject)


def ends(logits: Float[Tensor, " d_vocab"], subject: Subject) -> tuple[Named, Named]:
    """The tokens with the largest numbers, and those with the smallest."""
    most = min(MOST, len(logits))
    return _named(logits.topk(most), subject), _named(logits.topk(most, largest=False), subject)


def _named(top: torch.return_types.topk, subject: Subject) -> Named:
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [(subject.names(token), value) for token, value in pairs]


def _written(
    subject: Subject, row: Row, head: Head, inputs: Sequence[Tensor]
) -> Float[Tensor, "position d_vocab"] | None:
    readout = subject.readout
    if readout is None or readout.reader.scale_apart:
        return None
    norm = readout.reader.norm
    terms = subject.G.activations(row.columns, *subject.G[subject.logits].inputs)
    written = subject.attention(head)(*inputs)[0, : row.length]
    stream = norm.centred(readout.reader.stream(*terms)[0, : row.length])
    scaled = norm.centred(written) * norm.scale(stream)
    effect = ((scaled if norm.w is None else scaled * norm.w) @ readout.W_U).float().cpu()
    return effect - effect.mean(-1, keepdim=True)
