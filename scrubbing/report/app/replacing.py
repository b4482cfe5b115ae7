"""What a node does to one row: its losses and predictions once the node is given another value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.policy import mean
from scrubbing.experiments.instead import donor
from scrubbing.experiments.progress import ShowProgress
from scrubbing.experiments.values import values
from scrubbing.report.app.rows import SAMPLED, Row, beside
from scrubbing.report.app.subject import Subject
from scrubbing.report.passages import compared

Way = Literal["mean", "zero", "resample"]
WAYS: tuple[Way, ...] = get_args(Way)
IN_WORDS: Mapping[Way, str] = {
    "mean": "its mean over rows of the data",
    "zero": "zero",
    "resample": "its value in another row",
}


@dataclass(frozen=True)
class Change:
    """A row's loss as it is and with a node replaced, in nats; and of a language model the words, as `compared`."""

    before: float
    after: float
    words: Sequence[Sequence[Any]]

    @property
    def added(self) -> float:
        """How much worse the row is without the node."""
        return self.after - self.before

    @property
    def most(self) -> int:
        """The position whose loss changes most."""
        moved = [abs(word[1][1] - word[1][0]) if len(word) > 1 else -1.0 for word in self.words]
        return max(range(len(moved)), key=moved.__getitem__, default=0)


@torch.no_grad()
def changed(subject: Subject, row: Row, node: str, way: Way, stand_in: int = 0) -> Change:
    """What becomes of a row if a node has another value; `stand_in` is the row that it is taken from.

    >>> from hypotheses import copy_suppression
    >>> from scrubbing.report.app.rows import row_of_data
    >>> subject = Subject.of(copy_suppression.suite())
    >>> change = changed(subject, row_of_data(subject, 0), "a1_h0", "mean")
    >>> change.after > change.before, len(change.words)
    (True, 64)

    Raises what `values` raises.
    """
    data, place = beside(subject, row, stand_in)
    before, own = _run(subject, data, place, {})
    after, other = _run(subject, data, place, {node: _instead(way, place)})
    words: Sequence[Any] = ()
    if own is not None and other is not None:
        labels, weights = (data[name][place, : row.length].cpu() for name in subject.G[subject.G.output].inputs[1:])
        words = compared(labels, weights, own[: row.length], other[: row.length], subject.names)
    return Change(before, after, words)


@torch.no_grad()
def of_every_node(
    subject: Subject, row: Row, way: Way, stand_in: int = 0, *, progress: ShowProgress = False
) -> dict[str, float]:
    """The loss that is added to the row, in nats, if each node alone has another value; the largest first."""
    data, place = beside(subject, row, stand_in)
    before, _ = _run(subject, data, place, {}, words=False)
    found: dict[str, float] = {}
    for node in subject.nodes:
        after, _ = _run(subject, data, place, {node: _instead(way, place)}, words=False)
        found[node] = after - before
        if callable(progress):
            progress(len(found), len(subject.nodes))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _instead(way: Way, place: int) -> Any:
    """The sample comes first, then the donor, then the row itself."""
    return {"mean": mean(over=SAMPLED), "zero": "zero", "resample": donor([place - 1] * (place + 1))}[way]


def _run(
    subject: Subject, data: Mapping[str, Any], place: int, instead: Mapping[str, Any], *, words: bool = True
) -> tuple[float, Float[Tensor, "position d_vocab"] | None]:
    """The loss of the row in one run, and of a language model the logits."""
    asked = [subject.G.output, *([subject.logits] if words and subject.is_language_model else [])]
    ((_, found),) = values(subject.G, data, asked, instead, references=[place], check=False, progress=False)
    logits = found[subject.logits][0].float().cpu() if len(asked) > 1 else None
    return float(found[subject.G.output][0]), logits
