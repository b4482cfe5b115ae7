"""The exact mode gives the oracles' numbers to rounding, and what all combinations of donors give on tiny cases."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from known_answers import (
    BIT,
    BY_POSITION,
    FOUR_ROWS,
    KEEP_X1,
    NOTHING,
    ONE_XOR,
    PLAIN_SUM,
    RIGHT_OR,
    SEQUENCES,
    SMALL,
    TRAPS,
    WRONG_OR,
    Oracle,
)
from reference_scrub import Path, ReferenceScrub, Repetition, Row
from strategies import datasets, examples, hypotheses, policies

from scrubbing import DataError, Graph, Hypothesis, HypothesisError, Node, per_position, reads, scrub
from scrubbing.engine.exact import ExactLosses, exact_losses, exact_two_level_variance
from scrubbing.engine.policy import Policy, mean
from scrubbing.engine.sampling.streams import Fixed
from scrubbing.graph.data import as_columns

pytestmark = pytest.mark.usefixtures("unchecked_throughout")

TOO_MANY = 150  # runs, to enumerate


def exactly(
    h: Hypothesis, data: Mapping[str, Any], references: Any = None, *, cap: int = 2_000_000, **options: Any
) -> ExactLosses:
    """`exact_losses` with the policy as `scrub` takes it."""
    columns = as_columns(data)
    rows = np.arange(len(next(iter(columns.values())))) if references is None else np.asarray(references)
    if not isinstance(options.get("others", "node"), str):
        options["others"] = Fixed(np.asarray(options["others"]))
    options["donors"] = {name: Fixed(np.asarray(given)) for name, given in options.get("donors", {}).items()}
    options["together"] = tuple(map(frozenset, options.get("together", ())))
    options.pop("seed", None)
    return exact_losses(h, columns, rows, Policy(**options), cap=cap)


def quickly(*args: Any, **options: Any) -> ExactLosses:
    """`exactly`, for random hypotheses of which some are too large for a test."""
    try:
        return exactly(*args, cap=20_000, **options)
    except HypothesisError as error:
        if "its cap is 20,000" in str(error):
            reject()
        raise


def of(oracle: Oracle, **changes: Any) -> ExactLosses:
    return exactly(Hypothesis(oracle.G, oracle.I), oracle.data, **{**oracle.settings, **changes})


def labels_only(oracle: Oracle) -> Oracle:
    return replace(oracle, I=Graph(loss=reads(*(i for i in oracle.G[oracle.G.output].inputs if i not in oracle.G))))


# -- the oracles


@pytest.mark.parametrize("oracle", [pytest.param(o, id=name) for name, o in (TRAPS | SMALL).items()])
def test_the_expected_loss_is_the_known_one(oracle):
    assert of(oracle).mean.mean() == pytest.approx(oracle.scrubbed, rel=0, abs=1e-12)


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

    def distribution(self, reference: Row) -> tuple[Any, Any] | None:
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
                return losses, probabilities
            self.script[-1] += 1
        return None


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # beartype looks at random items of lists
@examples(40)
@given(st.data())
def test_the_law_is_that_of_all_combinations_of_donors(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    rows = len(columns["y"])
    policy = data.draw(policies(h, rows))
    reference = data.draw(st.integers(0, rows - 1))
    distribution = AllDraws(h, columns, **policy).distribution(reference)
    assume(distribution is not None)
    losses, probabilities = map(np.array, distribution or ((), ()))

    exact = quickly(h, columns, [reference, *range(rows)], **policy)

    mean = probabilities @ losses
    assert exact.mean[0] == pytest.approx(mean, rel=1e-12, abs=1e-12)
    assert exact.variance[0] == pytest.approx(probabilities @ (losses - mean) ** 2, rel=1e-11, abs=1e-11)
    change = exact.mean_absolute_change(np.full(1 + rows, 100.0))
    assert change[0] == pytest.approx(probabilities @ abs(losses - 100), rel=1e-12, abs=1e-12)
    assert exact.mean[0] == exact.mean[1 + reference]


# -- other distributions


@pytest.mark.filterwarnings("ignore::scrubbing.ScrubbingWarning")
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@examples(25)
@given(st.data())
def test_the_sampled_mean_lies_within_four_standard_errors(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    policy = data.draw(policies(h, len(columns["y"])))
    baseline = Graph(loss=reads(*(i for i in h.G["loss"].inputs if i not in h.G)))

    sampled = scrub(h, columns, baseline=baseline, draws=200, check=False, **policy).by_reference.scrubbed

    exact = quickly(h, columns, **policy)
    error = np.sqrt(exact.variance.sum() / 200) / len(sampled)
    assert abs(np.mean(sampled) - exact.mean.mean()) <= 4 * error + 1e-9


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@examples(15)
@given(st.data())
def test_the_order_of_the_rows_changes_nothing(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    rows = len(columns["y"])
    order = np.array(data.draw(st.permutations(range(rows))))
    others, exclude = data.draw(st.sampled_from(["node", "reference", "input"])), data.draw(st.booleans())

    before = quickly(h, columns, others=others, exclude_self=exclude)
    after = exactly(h, {c: v[order] for c, v in columns.items()}, others=others, exclude_self=exclude)

    np.testing.assert_allclose(after.mean, before.mean[order], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(after.variance, before.variance[order], rtol=1e-11, atol=1e-11)


SHARED = Hypothesis(ONE_XOR, Graph(P=lambda x: 0 * x, Q=lambda x: 0 * x, f=reads("P", "Q"), loss=reads("f")))


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize(("together", "expected"), [((), 1 / 2), ((frozenset("PQ"),), 0)])
def test_nodes_that_share_their_donor_agree_with_each_other(together, expected, exclude_self):
    if exclude_self:
        expected = 0  # of two rows only the other is left
    losses = exactly(SHARED, BIT, together=together, exclude_self=exclude_self)
    assert losses.mean.tolist() == [expected, expected]


def test_only_rows_that_agree_on_all_that_is_shared_stand_in():
    G = Graph(P=lambda x: 1 * x, Q=lambda x: 1 * x, loss=lambda P, Q, x: (P - x).abs() + (Q - x).abs())
    I = Graph(P=lambda x: x // 2, Q=lambda x: (x + 1) // 2, loss=reads("P", "Q", "x"))
    apart = exactly(Hypothesis(G, I), {"x": np.arange(4.0)})
    shared = exactly(Hypothesis(G, I), {"x": np.arange(4.0)}, together=(frozenset("PQ"),))
    assert apart.mean.tolist() == [0.5, 1, 1, 0.5]
    assert shared.mean.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("others", ["node", "reference", "input"])
@pytest.mark.parametrize(
    ("unclaimed", "expected"),
    [
        ("zero", np.array([0, 4, 16, 9])),
        ("mean", (9 / 4 - np.array([0, 2, 4, 3])) ** 2),
        (mean(), (9 / 4 - np.array([0, 2, 4, 3])) ** 2),
        (mean(by="x2"), (np.array([1.5, 2, 4, 1.5]) - np.array([0, 2, 4, 3])) ** 2),
    ],
)
def test_what_stands_in_for_unclaimed_nodes_may_be_certain(unclaimed, expected, others):
    losses = exactly(Hypothesis(PLAIN_SUM, NOTHING), FOUR_ROWS, unclaimed=unclaimed, others=others)
    np.testing.assert_allclose(losses.mean, expected, rtol=0, atol=1e-12)
    assert losses.variance.tolist() == [0, 0, 0, 0]


def test_the_mean_of_unclaimed_nodes_gives_the_known_loss():
    losses = exactly(Hypothesis(PLAIN_SUM, NOTHING), FOUR_ROWS, unclaimed=mean())
    assert losses.mean.mean() == pytest.approx(35 / 16, rel=0, abs=1e-12)


def test_a_function_of_the_donors_value_stands_in():
    losses = exactly(Hypothesis(PLAIN_SUM, NOTHING), FOUR_ROWS, unclaimed=lambda value: 2 * value)
    y = np.array([0, 2, 4, 3])
    assert losses.mean.mean() == pytest.approx(((2 * y[:, None] - y) ** 2).mean(), rel=0, abs=1e-12)


def test_rows_may_be_grouped_by_text():
    data = {**FOUR_ROWS, "group": ["even", "odd", "even", "odd"]}
    losses = exactly(Hypothesis(PLAIN_SUM, NOTHING), data, unclaimed=mean(by="group"))
    np.testing.assert_allclose(losses.mean, [4, 0.25, 4, 0.25], rtol=0, atol=1e-12)


def test_a_reference_asked_for_twice_is_answered_twice():
    all_rows, some = of(KEEP_X1), exactly(Hypothesis(KEEP_X1.G, KEEP_X1.I), KEEP_X1.data, [4, 0, 4])
    assert some.mean.tolist() == all_rows.mean[[4, 0, 4]].tolist()
    assert some.variance.tolist() == all_rows.variance[[4, 0, 4]].tolist()
    original = np.array([1.0, 2.0, 1.0])
    assert some.mean_absolute_change(original) == pytest.approx(
        all_rows.mean_absolute_change(np.array([2.0, 0, 0, 0, 1.0, *[0] * 7]))[[4, 0, 4]]
    )


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("others", ["node", "input"])
def test_many_paths_cost_no_more_than_their_nodes(others, exclude_self):
    depth = 16
    nodes: dict[str, Any] = {"a16": Node(lambda x, z: x + z, ("x", "z")), "b16": Node(lambda x, z: x - z, ("x", "z"))}
    claims: dict[str, Any] = {"a16": Node(lambda x: x % 2, ("x",)), "b16": Node(lambda x: x % 2, ("x",))}
    for i in range(depth - 1, 0, -1):
        below = (f"a{i + 1}", f"b{i + 1}")
        nodes |= {f"a{i}": Node(lambda a, b: (a + b) % 5, below), f"b{i}": Node(lambda a, b: (a - b) % 5, below)}
        claims |= {f"a{i}": reads(*below), f"b{i}": reads(*below)}
    G = Graph(nodes, loss=lambda a1, b1: (a1 + b1).double())
    losses = exactly(
        Hypothesis(G, Graph(claims, loss=reads("a1", "b1"))),
        {"x": np.arange(6), "z": np.arange(6) // 2},
        others=others,
        exclude_self=exclude_self,
    )
    assert losses.variance.min() > 0


# -- what a network's functions may return


def test_nodes_may_be_constant_return_tuples_and_need_gradients():
    weight = torch.tensor(2.0, requires_grad=True)
    G = Graph(
        bias=lambda: torch.tensor(3.0),
        pair=reads("a", "b"),
        a=lambda x1: weight * x1,
        b=lambda x2, bias: x2 + bias,
        loss=lambda pair, bias, y: (pair[0] + pair[1] - bias - y) ** 2,
    )
    h = Hypothesis(G, Graph(loss=reads("pair", "y"), pair=reads("a"), a=reads("x1")))
    columns = {"x1": KEEP_X1.data["x1"], "x2": 3 * KEEP_X1.data["x2"], "y": KEEP_X1.data["y"]}
    assert exactly(h, columns).mean.mean() == pytest.approx(12, rel=0, abs=1e-12)


def refused(I: Graph, G: Graph, data: Mapping[str, Any], message: str, **policy: Any) -> None:
    with pytest.raises((HypothesisError, DataError), match=message):
        exactly(Hypothesis(G, I), data, **policy)


def test_a_node_without_one_value_per_row_is_named():
    one_number = Graph(a=lambda x1: x1.sum(), loss=lambda a, y: a + y)
    refused(Graph(a=lambda x1: x1 > 1, loss=reads("a", "y")), one_number, FOUR_ROWS, r"computed at 'a'.*shape \[\]")
    wide = Graph(loss=lambda y: torch.stack([y, y], dim=1))
    refused(NOTHING, wide, FOUR_ROWS, "one loss per row")


# -- what is too large


def test_a_product_of_many_rows_is_refused_with_its_size():
    rows = torch.arange(40_000).double()
    G = Graph(a=lambda x: 1 * x, loss=lambda a, y: (a - y) ** 2)
    refused(
        NOTHING,
        G,
        {"x": rows, "y": rows},
        r"combine 1,600,000,000 values of inputs at 'loss', visited in 40,000 conditions \(a up to 40,000\), "
        r"and its cap is 2,000,000; estimate the loss by sampling",
    )
    refused(NOTHING, G, {"x": rows, "y": rows}, r"follow 1,600,000,000 pairs of a reference", others="reference")
    everything = {"x": torch.zeros(1).expand(10**9), "y": torch.zeros(1).expand(10**9)}
    with pytest.raises(HypothesisError, match="go through 1,000,000,000 rows of data"):
        exact_losses(Hypothesis(G, NOTHING), everything, np.arange(3), Policy())


def test_donors_that_cannot_be_merged_are_counted_before_they_are_followed():
    rows = np.arange(3_000)
    G = Graph(a=lambda x: 1 * x, loss=lambda a, y: (a - y) ** 2)
    refused(
        Graph(a=lambda x: 0 * x, loss=reads("a", "y")),
        G,
        {"x": rows, "y": rows},
        r"follow 9,000,000 donors of a at 'loss'",
        exclude_self=True,
    )


def test_a_claim_per_position_multiplies_its_positions():
    tokens = np.arange(8 * 50).reshape(8, 50)
    I = Graph(h=per_position(lambda tokens: 0 * tokens), loss=reads("h"))
    refused(I, BY_POSITION, {"tokens": tokens}, r"combine about 10\^45 values .*h up to 8 at each of 50 positions")
    tokens = np.arange(1000 * 105).reshape(1000, 105)
    refused(I, BY_POSITION, {"tokens": tokens}, r"combine more than 10\^308 values")


def test_equal_values_are_merged_before_they_are_combined():
    oracle = replace(RIGHT_OR, I=Graph(D=lambda z1, z2: 0 * z1, loss=reads("D", "y")))
    assert of(oracle, cap=1_000).mean.mean() == pytest.approx(168 / 625)
    with pytest.raises(HypothesisError, match="its cap is 999;"):
        of(oracle, cap=999)


# -- what is illegal


def test_claims_per_position_say_what_they_lack():
    no_axis = Graph(h=lambda tokens: 1 * tokens, loss=lambda h: h.sum(dim=1))
    by_position = Graph(h=per_position(reads("tokens")), loss=reads("h"))
    refused(by_position, no_axis, SEQUENCES, "give its Node a position_axis")
    whole = Graph(h=lambda tokens: tokens, loss=reads("h"))
    rows = np.zeros((2, 2), dtype=np.int64)
    refused(whole, BY_POSITION, SEQUENCES, "a row for each position, but 'h' is not claimed", donors={"h": rows})
    two = Graph(
        a=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1),
        h=Node(lambda a: 1 * a, ("a",), position_axis=1),
        loss=lambda h: h.sum(dim=1),
    )
    nested = Graph(a=per_position(reads("tokens")), h=per_position(lambda a: a), loss=reads("h"))
    refused(nested, two, SEQUENCES, "'a' is claimed per position below another claim per position; claim it whole")


def test_donors_that_a_function_makes_are_refused():
    h, columns = Hypothesis(KEEP_X1.G, KEEP_X1.I), as_columns(KEEP_X1.data)
    policy = Policy(donors={"a": lambda datum, random: datum})
    with pytest.raises(HypothesisError, match="'a' a function that makes donors, and exact mode needs rows"):
        exact_losses(h, columns, np.arange(3), policy)
