"""What the pages of the app look at: one network with its rows, and what its tokens say."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from scrubbing.errors import DataError, HypothesisError
from scrubbing.experiments.suites import Suite
from scrubbing.graph import Graph
from scrubbing.graph.data import as_columns
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import Embedding
from scrubbing.report.passages import Names

Rows = Mapping[str, Any]  # columns, [row, ...] each


@dataclass(frozen=True)
class Head:
    """One head: the node of the network that it is in, and its place there."""

    node: str
    number: int
    alone: bool

    def __str__(self) -> str:
        return self.node if self.alone else f"{self.node}, head {self.number}"


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and the rows of its suite: `G` has a node for each head where the suite says so.

    >>> from hypotheses import induction
    >>> subject = Subject.of(induction.suite())
    >>> subject.rows, len(subject.heads), subject.nodes[:2]
    (2048, 16, ('embed', 'a0_h0'))
    """

    suite: Suite
    G: Graph
    columns: Rows
    names: Names

    @classmethod
    def of(cls, suite: Suite) -> "Subject":
        """The network of a suite. Raises `HypothesisError` for one without hypotheses, whose network is not known."""
        if not suite.cases:
            raise HypothesisError(f"no hypothesis of {suite.title} is chosen, and the app shows their network")
        first = suite.cases[0]
        G, columns = suite.network or first.hypothesis.G.origin, as_columns(first.data)
        missing = [column for column in G.columns if column not in columns]
        if missing:
            raise DataError(f"the data have no column {missing[0]!r}, which the network of {suite.title} reads")
        return cls(suite, G, {name: columns[name] for name in G.columns}, Names(suite.vocabulary))

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values())))

    @cached_property
    def first_row(self) -> int:
        """The first row that the suite evaluates."""
        chosen = self.suite.cases[0].settings.get("references")
        return 0 if chosen is None or isinstance(chosen, int) else int(np.asarray(chosen).reshape(-1)[0])

    @property
    def is_language_model(self) -> bool:
        """Whether the network predicts tokens."""
        return isinstance(self.G[self.G.output].fn, WeightedCrossEntropy)

    @property
    def predicts_the_next(self) -> bool:
        """Whether what it predicts at each position is the next token, so that every position can be shown."""
        if not self.is_language_model or not {"tokens", "labels"} <= self.columns.keys():
            return False
        tokens, labels = (torch.as_tensor(self.columns[name][:8]) for name in ("tokens", "labels"))
        return tokens.shape == labels.shape and bool((tokens[:, 1:] == labels[:, :-1]).all())

    @property
    def nodes(self) -> tuple[str, ...]:
        """What can be replaced: every node but the output, and what makes the logits."""
        kept = {self.G.output, *([self.logits] if self.is_language_model else [])}
        return tuple(name for name in self.G.order if name not in kept and self.G.upstream_columns[name])

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        """Every head, in the order of the network."""
        found = {name: node.fn for name, node in self.G.items() if isinstance(node.fn, Attention)}
        return tuple(
            Head(name, number, len(fn.W_O) == 1)
            for name in self.G.order
            if (fn := found.get(name))
            for number in range(len(fn.W_O))
        )

    @property
    def logits(self) -> str:
        """The node that the loss reads the logits from."""
        return self.G[self.G.output].inputs[0]

    @property
    def readout(self) -> Readout | None:
        """What makes logits of the final stream."""
        fn = self.G[self.logits].fn if self.is_language_model else None
        return fn if isinstance(fn, Readout) else None

    @property
    def embedding(self) -> Embedding | None:
        """What makes a stream of tokens."""
        return next((node.fn for node in self.G.values() if isinstance(node.fn, Embedding)), None)

    def attention(self, head: Head) -> Attention:
        """The function of one head alone."""
        return cast(Attention, self.G[head.node].fn).heads([head.number])


def taken(columns: Rows, rows: list[int]) -> dict[str, Any]:
    """Some rows of columns, as tensors."""
    return {name: torch.as_tensor(column)[torch.tensor(rows)] for name, column in columns.items()}


def stacked(*parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Columns one below the other."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
