"""Runs about the toy network that tests of the store record."""

import sqlite3
from contextlib import closing
from functools import partial

import pytest

from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import Hypothesis, scrub
from scrubbing.engine.evaluate import Evaluator
from scrubbing.store import Store

DATA = {name: column[::10] for name, column in digits().items()}
OR = Hypothesis(NETWORK, CLAIMS["an or of thresholds"])
XOR = Hypothesis(NETWORK, CLAIMS["an exclusive or"])
BOTH = {"or": OR, "xor": XOR}
score = partial(scrub, data=DATA, baseline=KNOWS_NOTHING)


def sql(store: Store, statement: str, *values: object) -> list:
    """What a statement gives, by another door."""
    with closing(sqlite3.connect(store.file)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def count_chunks(monkeypatch: pytest.MonkeyPatch, size: int) -> list[int]:
    """The starts of the chunks that are computed from now on, in runs of chunks of `size` draws."""
    starts: list[int] = []
    computed = Evaluator._next

    def counting(self, work, draws, size):
        starts.append(draws.start)
        return computed(self, work, draws, size)

    monkeypatch.setattr(Evaluator, "_next", counting)
    monkeypatch.setattr(Evaluator, "fitting", lambda self, one, share: size)
    return starts
