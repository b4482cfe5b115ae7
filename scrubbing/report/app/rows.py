"""One row to look at, of the data or of one's own text; and the rows beside it that stand in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrubbing.errors import DataError
from scrubbing.lens.components.attention import Attention
from scrubbing.report.app.subject import Subject, stacked, taken

SAMPLE = 64  # rows of the data that a mean is taken over
SAMPLED = "sampled"  # the column that marks them
LONGEST = 100_000  # characters of a text


@dataclass(frozen=True, eq=False)
class Row:
    """A row as columns `[1, ...]`; the first `length` positions are shown, `number` is its number in the data."""

    title: str
    columns: Mapping[str, Tensor]
    length: int
    number: int | None = None


def row_of_data(subject: Subject, number: int) -> Row:
    """A row of the data. Of a network that predicts the next token, every position counts, and not some alone.

    >>> from hypotheses import copy_suppression
    >>> row_of_data(Subject.of(copy_suppression.suite()), 3).length
    64

    Raises `DataError` for a row that is not there.
    """
    if not 0 <= number < subject.rows:
        raise DataError(f"there is no row {number}; the data have rows 0 to {subject.rows - 1}")
    row = Row(f"row {number}", taken(subject.columns, [number]), 0, number)
    if not subject.is_language_model:
        return row
    row = replace(row, length=_end(row.columns))
    return _everywhere(row) if subject.predicts_the_next else row


def row_of_text(subject: Subject, text: str) -> Row:
    """A text as a row, after the token that all rows of the data begin with, if one is.

    Raises `DataError` for a text that is too short or too long, and for a model without a tokenizer.
    """
    why = why_no_text(subject)
    if why:
        raise DataError(why)
    if len(text) > LONGEST:
        raise DataError(f"your text has {len(text):,} characters; the network sees some hundreds of tokens: cut it")
    data, encode = torch.as_tensor(subject.columns["tokens"]), subject.suite.encode
    tokens = torch.tensor([*_beginning(data), *(encode(text) if encode else ())], dtype=torch.int64)
    positions, known = data.shape[1], len(subject.embedding.W_E) if subject.embedding else 0
    if len(tokens) < 2:
        raise DataError("your text has no two tokens of this tokenizer, so that there is nothing to predict")
    if len(tokens) > positions + 1:
        raise DataError(f"your text has {len(tokens)} tokens, and rows have {positions + 1}; cut it")
    if int(tokens.max()) >= known:
        raise DataError(f"your text has token {int(tokens.max())}, but the network knows 0 to {known - 1}")
    padded = torch.zeros(1, positions + 1, dtype=torch.int64)
    padded[0, : len(tokens)] = tokens
    weights = torch.zeros(1, positions, dtype=torch.as_tensor(subject.columns["weights"]).dtype)
    own = {"tokens": padded[:, :-1], "labels": padded[:, 1:], "weights": weights}
    own = {name: column.to(data.device) for name, column in own.items()}
    return _everywhere(Row("your text", own, len(tokens) - 1))


def why_no_text(subject: Subject) -> str:
    """Why one's own text cannot be looked at; nothing where it can."""
    if subject.suite.encode is None:
        return "the model came without a tokenizer, so that a text cannot be read: choose rows of the data"
    causal = all(node.fn.scores.mask.causal for node in subject.G.values() if isinstance(node.fn, Attention))
    if not subject.predicts_the_next or not causal or set(subject.columns) != {"tokens", "labels", "weights"}:
        return "the network does not predict the next token of a text: choose rows of the data"
    return ""


def beside(subject: Subject, row: Row, donor: int = 0) -> tuple[dict[str, Any], int]:
    """The row after a sample of the data and one donor, as columns with the mark `SAMPLED`; and the row's place."""
    sample = np.unique(np.linspace(0, subject.rows - 1, min(SAMPLE, subject.rows)).astype(int)).tolist()
    found: dict[str, Any] = stacked(taken(subject.columns, [*sample, donor]), row.columns)
    place = len(sample) + 1
    return found | {SAMPLED: torch.arange(place + 1) < len(sample)}, place


def _everywhere(row: Row) -> Row:
    weights = torch.zeros_like(row.columns["weights"])
    weights[:, : row.length] = 1 / row.length
    return replace(row, columns={**row.columns, "weights": weights})


def _end(columns: Mapping[str, Tensor]) -> int:
    """The positions of a row without what fills it up: one token, again and again, where nothing is evaluated."""
    labels, weights = columns["labels"][0], columns["weights"][0]
    evaluated = torch.nonzero(weights)[:, 0]
    last = int(evaluated[-1]) + 1 if len(evaluated) else len(weights)
    return last if last < len(labels) and bool((labels[last:] == labels[-1]).all()) else len(labels)


def _beginning(tokens: Tensor) -> list[int]:
    first = tokens[:, 0]
    return [int(first[0])] if len(first) > 1 and bool((first == first[0]).all()) else []
