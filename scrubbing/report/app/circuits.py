"""A head's OV and QK circuits on tokens as the embedding writes them: what it moves, and what it looks for.

Positions are left out (of rotary ones all are the same), and of the stream there is the embedding alone: this is the
direct path of Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.errors import HypothesisError
from scrubbing.report.app.looking import Named, ends
from scrubbing.report.app.subject import Head, Subject

BLOCK = 2**22  # numbers of a matrix that are held at a time
RANKED = 2000  # tokens of which the rank among all is found; evenly spread if there are more
FIRST = 10

Written = Float[Tensor, "token d_model"]
Projected = Float[Tensor, "token d_head"]


@dataclass(frozen=True, eq=False)
class Circuits:
    """The two matrices of a head as their factors: logits are `written @ unembedded`, scores `q @ k`."""

    written: Written
    unembedded: Float[Tensor, "d_model d_vocab"]
    q: Projected
    k: Projected
    scale: float

    def moved(self, token: int, subject: Subject) -> tuple[Named, Named]:
        """What a token raises and lowers where it is attended to: logits, less the mean over all tokens."""
        logits = self.written[token] @ self.unembedded
        return ends(logits - logits.mean(), subject)

    def looked_for(self, token: int, subject: Subject) -> tuple[Named, Named]:
        """The keys that score highest for a query of this token, and those that score lowest, less the mean score."""
        scores = self.q[token] @ self.k.T * self.scale
        return ends(scores - scores.mean(), subject)

    def of_own_token(self) -> dict[str, float]:
        """How often a token is itself among the ten that it raises most, lowers most, and looks for most."""
        tokens = torch.arange(0, len(self.k), max(1, len(self.k) // RANKED))
        ranks = {
            "raised by the token": self._ranks(tokens, lambda some: self.written[some] @ self.unembedded),
            "lowered by the token": self._ranks(tokens, lambda some: -self.written[some] @ self.unembedded),
            "looked for by the token": self._ranks(tokens, lambda some: self.q[some] @ self.k.T),
        }
        return {name: float((found < FIRST).double().mean()) for name, found in ranks.items()}

    def _ranks(
        self, tokens: Int[Tensor, " token"], numbers: Callable[[Tensor], Float[Tensor, "token d_vocab"]]
    ) -> Int[Tensor, " token"]:
        found = []
        for some in tokens.split(max(1, BLOCK // len(self.k))):
            values = numbers(some)
            found.append((values > values.gather(1, some[:, None])).sum(1))
        return torch.cat(found)


@torch.no_grad()
def circuits(subject: Subject, head: Head) -> Circuits:
    """The circuits of a head of a language model.

    >>> from hypotheses import copy_suppression
    >>> subject = Subject.of(copy_suppression.suite())
    >>> found = circuits(subject, subject.heads[1])
    >>> found.of_own_token()["lowered by the token"] > 0.9  # which is what it is called after
    True

    Raises `HypothesisError` for a network that has no embedding or no logits.
    """
    embedding, readout, fn = subject.embedding, subject.readout, subject.attention(head)
    if embedding is None or readout is None or embedding.W_E.shape[0] > readout.W_U.shape[1]:
        raise HypothesisError("circuits are those of a language model, with the same tokens read and predicted")
    tokens = torch.arange(len(embedding.W_E), device=embedding.W_E.device)[:, None]  # each is a row of its own
    x = replace(embedding, W_pos=None)(tokens)
    norm = readout.reader.norm
    written = norm.centred(fn.writer(fn.v(x))[:, 0])
    written = written if norm.w is None else written * norm.w
    q, k = fn.q(x)[:, 0, 0], fn.k(x)[:, 0, 0]
    return Circuits(written.float().cpu(), readout.W_U.float().cpu(), q.float().cpu(), k.float().cpu(), fn.scores.scale)
