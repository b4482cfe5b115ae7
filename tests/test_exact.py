"""The exact mode gives the oracles' numbers to rounding, and what all combinations of donors give on tiny cases."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from reference_scrub import Path, ReferenceScrub, Repetition, Row
from test_oracles import (
    BY_POSITION,
    CHAIN,
    FOUR_ROWS,
    KEEP_X1,
    NOTHING,
    PLAIN_SUM,
    RIGHT_OR,
    SEQUENCES,
    SMALL,
    TRAPS,
    WRONG_OR,
    Oracle,
    table,
)
from test_scrub_reference import datasets, hypotheses, policies

from scrubbing import DataError, Graph, Hypothesis, HypothesisError, Node, per_position, reads, scrub
from scrubbing.dataset import as_columns
from scrubbing.exact import ExactLosses, exact_losses, exact_two_level_variance
from scrubbing.plan import Policy
from scrubbing.sampling.streams import Fixed

TOO_MANY = 3000  # runs, to enumerate


def exactly(
    h: Hypothesis, data: Mapping[str, Any], references: Any = None, *, cap: int = 2_000_000, **policy: Any
) -> ExactLosses:
    """`exact_losses` with the policy as `scrub` takes it."""
    columns = as_columns(data)
    rows = np.arange(len(next(iter(columns.values())))) if references is None else np.asarray(references)
    others = policy.get("others", "node")
    others = others if isinstance(others, str) else Fixed(np.asarray(others))
    donors = {name: Fixed(np.asarray(given)) for name, given in policy.get("donors", {}).items()}
    policy = Policy(others=others, donors=donors, exclude_self=policy.get("exclude_self", False))
    return exact_losses(h, columns, rows, policy, cap=cap)


def of(oracle: Oracle, **changes: Any) -> ExactLosses:
    return exactly(Hypothesis(oracle.G, oracle.I), oracle.data, **{**oracle.settings, **changes})


def labels_only(oracle: Oracle) -> Oracle:
    return replace(oracle, I=Graph(loss=reads(*(i for i in oracle.G[oracle.G.output].inputs if i not in oracle.G))))


# -- the oracles


@pytest.mark.parametrize("oracle", [pytest.param(o, id=name) for name, o in (TRAPS | SMALL).items()])
def test_the_expected_loss_is_the_known_one(oracle):
    started = time.perf_counter()
    assert of(oracle).mean.mean() == pytest.approx(oracle.scrubbed, rel=0, abs=1e-12)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("oracle", "baseline"),
    [pytest.param(RIGHT_OR, 168 / 625, id="O1"), pytest.param(WRONG_OR, 37 / 125, id="O1'")],
)
def test_labels_alone_give_the_baseline(oracle, baseline):
    assert of(labels_only(oracle)).mean.mean() == pytest.approx(baseline, rel=0, abs=1e-12)


def test_a_wrong_claim_that_recovers_everything_still_changes_losses():
    original = WRONG_OR.G(as_columns(WRONG_OR.data)).numpy()
    losses = of(WRONG_OR)
    assert losses.mean_absolute_change(original).mean() == pytest.approx(8 / 105, rel=0, abs=1e-12)
    assert original.mean() == pytest.approx(1 / 25) == losses.mean.mean()


def test_variances_between_and_within_references():
    between, within = exact_two_level_variance(of(KEEP_X1))
    assert (between, within) == pytest.approx((18, 162), rel=0, abs=1e-12)
    errors = [np.sqrt((between + within / draws) / 1000) for draws in (1, 4, 16)]
    assert errors == pytest.approx([0.4243, 0.2419, 0.1677], abs=5e-5)


def test_a_claim_that_holds_has_no_variance_at_all():
    assert exact_two_level_variance(of(TRAPS["identical"])) == (0, 0)


# -- all combinations of donors, one by one


@dataclass(frozen=True)
class AllDraws(ReferenceScrub):
    """The pseudo-code with every donor that it draws replaced by the one that a script names."""

    script: list[int] = field(default_factory=list)  # choices made so far
    sizes: list[int] = field(default_factory=list)  # among how many
    chosen: dict[Any, Row] = field(default_factory=dict)

    def uniform(self, rows: list[Row], own: Row, key: Path, repetition: Repetition) -> Row:
        if self.exclude_self:
            rows = [row for row in rows if row != own] or rows
        at = (key, repetition.position)
        if at not in self.chosen:
            if len(self.sizes) == len(self.script):
                self.script.append(0)
            self.sizes.append(len(rows))
            self.chosen[at] = rows[self.script[len(self.sizes) - 1]]
        return self.chosen[at]

    def law(self, reference: Row) -> tuple[np.ndarray, np.ndarray] | None:
        """All losses and their probabilities; None if there are too many."""
        losses, probabilities = [], []
        while len(losses) < TOO_MANY:
            self.sizes.clear()
            self.chosen.clear()
            losses.append(self.output(Repetition(reference, 0, 0)))
            probabilities.append(1 / np.prod([float(size) for size in self.sizes]))
            while self.script and self.script[-1] == self.sizes[len(self.script) - 1] - 1:
                self.script.pop()
            if not self.script:
                return np.array(losses), np.array(probabilities)
            self.script[-1] += 1
        return None


def examples(count: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # beartype looks at random items of lists
@examples(150)
@given(st.data())
def test_the_law_is_that_of_all_combinations_of_donors(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    rows = len(columns["y"])
    policy = data.draw(policies(h, rows))
    policy.pop("seed")
    reference = data.draw(st.integers(0, rows - 1))
    law = AllDraws(h, columns, **policy).law(reference)
    assume(law is not None)
    losses, probabilities = law

    exact = exactly(h, columns, [reference, *range(rows)], **policy)

    mean = probabilities @ losses
    assert exact.mean[0] == pytest.approx(mean, rel=1e-12, abs=1e-12)
    assert exact.variance[0] == pytest.approx(probabilities @ (losses - mean) ** 2, rel=1e-11, abs=1e-11)
    assert exact.mean[0] == exact.mean[1 + reference]
