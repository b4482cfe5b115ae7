"""The options of `scrub`: near agreement, stand-ins, shared and made donors; and what a network must not do."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from known_answers import TINY, TINY_DATA

from scrubbing import (
    DataError,
    Graph,
    GraphError,
    Hypothesis,
    HypothesisError,
    Node,
    ScrubbingWarning,
    bins,
    mean,
    reads,
    scrub,
    within,
)

# -- text and near agreement


def test_text_is_a_feature():
    words = ["yes", "no", "yes", "no"]
    h = Hypothesis(TINY.G, TINY.I | {"h": Node(lambda x, word: word, ("x", "word"))}, columns=("word",))
    donors = scrub(h, TINY_DATA | {"word": words}, baseline=Graph(loss=reads("y")), draws=50).donors["loss/h"]
    assert [words[row] for row in donors] == [word for word in words for _ in range(50)]
    assert len(set(donors)) == 4


def test_numbers_within_a_cell_and_in_a_bin_agree():
    graph = Graph(a=lambda x: x, loss=lambda a, y: (a - y) ** 2)
    data = {"x": [0.0, 0.4, 0.6, 1.4, 9.0], "y": [0.0] * 5}

    def donors(claim):
        h = Hypothesis(graph, Graph(a=claim, loss=reads("a", "y")))
        rows = scrub(h, data, baseline=Graph(loss=reads("y")), draws=60).donors["loss/a"].reshape(5, 60)
        return [sorted({int(row) for row in drawn}) for drawn in rows]

    assert donors(within(lambda x: x, 0.5)) == [[0, 1], [0, 1], [2], [3], [4]]
    assert donors(within(lambda x: x, 2.0)) == [[0, 1, 2, 3]] * 4 + [[4]]
    assert donors(bins(lambda x: x, 2)) == [[0, 1, 2]] * 3 + [[3, 4]] * 2
    assert donors(within(reads("x"), 2.0))[0] == [0, 1, 2, 3]


# -- what stands in for an unclaimed value

TERMS = Graph(P=lambda x1: x1, Q=lambda x2: x2, f=lambda P, Q: P + Q, loss=lambda f, y: (f - y) ** 2)
TERMS_DATA = {
    "x1": torch.tensor([0.0, 1, 2, 3]),
    "x2": torch.tensor([0.0, 1, 2, 0]),
    "group": [0, 0, 1, 1],
    "y": torch.tensor([0.0, 2, 4, 3]),
}


@pytest.mark.parametrize(
    ("unclaimed", "expected"),
    [
        ("mean", [9 / 4, 2.25**2, (2 - 2.25) ** 2, (4 - 2.25) ** 2, (3 - 2.25) ** 2]),
        (mean(by="group"), [1, 1, 1, 0.25, 0.25]),
        ("zero", [0, 0, 4, 16, 9]),
        (lambda value: value * 0 + 5, [5, 25, 9, 1, 4]),
    ],
    ids=["mean", "mean by group", "zero", "a function"],
)
def test_an_unclaimed_value_is_replaced(unclaimed, expected):
    h = Hypothesis(TERMS, Graph(loss=reads("y")))
    scored = scrub(h, TERMS_DATA, baseline=Graph(loss=reads("y")), unclaimed=unclaimed)
    assert scored.by_reference.scrubbed == pytest.approx(expected[1:])


def test_columns_are_always_resampled():
    h = Hypothesis(Graph(loss=lambda x, y: (x - y) ** 2), Graph(loss=reads("y")), scramble=("x",))
    data = {"x": torch.tensor([1.0, 2, 3]), "y": torch.zeros(3)}
    scored = scrub(h, data, baseline=Graph(loss=reads("y")), unclaimed="zero", draws=40)
    assert set(scored.donors["loss/other"]) == {0, 1, 2}


def test_a_node_named_other_and_what_is_unclaimed_beside_it_have_donors_of_their_own():
    graph = Graph(
        other=lambda x: x, rest=lambda x: x, out=lambda other, rest: other + rest, loss=lambda out, y: out - y
    )
    claims = Graph(other=lambda x: 0 * x, out=reads("other"), loss=reads("out", "y"))
    data = {"x": torch.arange(10.0), "y": torch.zeros(10)}
    donors = scrub(Hypothesis(graph, claims), data, baseline=Graph(loss=reads("y")), draws=30).donors
    named, unclaimed = donors["loss/out/other"], donors["loss/out/(other)"]
    assert 0.02 < (named == unclaimed).mean() < 0.25


# -- donors in common


@pytest.mark.filterwarnings("ignore:hypothesis 0. .* are alone in their class")
def test_nodes_together_share_a_donor_that_agrees_on_all_of_them():
    claims = Graph(loss=reads("f", "y"), f=reads("P", "Q"), P=lambda x1: x1 > 1, Q=lambda x2: x2 > 0)
    settings = {"baseline": Graph(loss=reads("y")), "draws": 50}
    apart = scrub(Hypothesis(TERMS, claims), TERMS_DATA, **settings).donors
    shared = scrub(Hypothesis(TERMS, claims), TERMS_DATA, together=[("P", "Q")], **settings).donors
    assert (apart["loss/f/P"] != apart["loss/f/Q"]).any()
    assert np.array_equal(shared["loss/f/P"], shared["loss/f/Q"])
    assert shared["loss/f/P"].tolist() == np.repeat(np.arange(4), 50).tolist()  # only the row itself agrees on both


def test_only_claims_of_one_parent_can_share_a_donor():
    claims = Graph(loss=reads("f", "y"), f=reads("P"), P=reads("x1"))
    with pytest.raises(HypothesisError, match="together names P, f, which must be whole claims read by the same node"):
        scrub(Hypothesis(TERMS, claims), TERMS_DATA, baseline=Graph(loss=reads("y")), together=[("P", "f")])


# -- what a network must not do, and what a claim should


class Dropping(torch.nn.Module):
    """A network with dropout."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(x.double())


def test_a_module_in_training_mode_is_refused():
    module = Dropping()
    data = {"x": torch.arange(8), "y": torch.zeros(8)}
    h = Hypothesis(Graph(a=module, loss=lambda a, y: a - y), Graph(a=reads("x"), loss=reads("a", "y")))
    with pytest.raises(GraphError, match=r"'a' is a module in training mode; call .eval\(\) on it first"):
        scrub(h, data, baseline=Graph(loss=reads("y")))
    module.eval()
    assert scrub(h, data, baseline=Graph(loss=reads("y"))).recovered == 1


def test_a_network_with_randomness_is_refused():
    h = Hypothesis(Graph(a=lambda x: x + torch.rand(len(x)), loss=lambda a, y: a - y), Graph(loss=reads("y")))
    with pytest.raises(GraphError, match="the network gives other losses for the same rows when it is run again"):
        scrub(h, {"x": torch.arange(8), "y": torch.zeros(8)}, baseline=Graph(loss=reads("y")))


def test_a_claim_without_effect_is_warned_of_by_name():
    graph = Graph(a=lambda x, z: x + z, b=lambda a: a + 1, loss=lambda b, y: b - y)
    claims = Graph(a=reads("x", "z"), b=reads("a", "x", "z"), loss=reads("b", "y"))  # b passes all that a would
    data = {"x": torch.arange(8), "z": torch.arange(8), "y": torch.zeros(8)}
    with pytest.warns(ScrubbingWarning, match="hypothesis 'mine': the claim 'a' changes nothing") as told:
        scrub({"mine": Hypothesis(graph, claims)}, data, baseline=Graph(loss=reads("y")))
    assert len(told) == 1


# -- donors that are made

PARITY = Graph(a=lambda x: x, loss=lambda a, y: (a - y) ** 2)
SINGLES = {"x": torch.tensor([0.0, 1.0, 2.0]), "y": torch.zeros(3)}
BY_THIRD = Graph(a=lambda x: x % 3, loss=reads("a", "y"))


@pytest.mark.filterwarnings("ignore:hypothesis 0. .* are alone in their class")
def test_donors_can_be_made_for_classes_that_the_data_lack():
    def make(own, rng):
        return {"x": own["x"] + 3 * torch.from_numpy(rng.integers(1, 3, len(own["x"])))}

    settings = {"baseline": Graph(loss=reads("y")), "draws": 200}
    alone = scrub(Hypothesis(PARITY, BY_THIRD), SINGLES, **settings)
    made = scrub(Hypothesis(PARITY, BY_THIRD), SINGLES, donors={"a": make}, **settings)
    assert alone.vacuity.nothing_was_tested
    assert not made.vacuity.nothing_was_tested
    assert made.vacuity.nodes[-1].swapped == 1
    expected = [np.mean([(x + 3) ** 2, (x + 6) ** 2]) for x in range(3)]
    assert made.by_reference.scrubbed == pytest.approx(expected, rel=0.2)
    again = scrub(Hypothesis(PARITY, BY_THIRD), SINGLES, donors={"a": make}, **settings)
    assert again.by_reference.scrubbed == made.by_reference.scrubbed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda own, rng: {"x": own["x"] + 1}, "must agree with the datums that they stand in for; the one for row 0"),
        (lambda own, rng: {"z": own["x"]}, "must be a dict of columns of the data: x, y"),
        (lambda own, rng: {"x": own["x"][:2]}, r"have the column 'x' of shape \[2\]; it must be \[3\]"),
    ],
    ids=["other class", "other column", "other shape"],
)
def test_made_donors_are_checked(make, message):
    with pytest.raises(DataError, match=message):
        scrub(Hypothesis(PARITY, BY_THIRD), SINGLES, donors={"a": make}, baseline=Graph(loss=reads("y")))


def test_a_made_datum_without_an_agreeing_row_is_told():
    graph = Graph(a=lambda x: x, b=lambda a: a, loss=lambda b, y: b - y)
    claims = Graph(a=lambda x: x, b=lambda a: a % 3, loss=reads("b", "y"))
    with pytest.raises(DataError, match="no donor can be drawn at 'loss/b/a': no row of the data agrees with a datum"):
        scrub(
            Hypothesis(graph, claims),
            SINGLES,
            donors={"b": lambda own, rng: {"x": own["x"] + 3}},
            baseline=Graph(loss=reads("y")),
        )


def test_exact_mode_refuses_made_donors():
    with pytest.raises(HypothesisError, match="exact mode cannot follow donors that are made"):
        scrub(
            Hypothesis(PARITY, BY_THIRD),
            SINGLES,
            donors={"a": lambda own, rng: own},
            exact=True,
            baseline=Graph(loss=reads("y")),
        )


# -- equal by value and type, and means of tuples


@dataclass(frozen=True)
class Divided:
    by: Any

    def __call__(self, x):
        return x // self.by if isinstance(self.by, int) else x / self.by


@dataclass(frozen=True)
class Nested:
    inner: tuple[Any, ...]

    def __call__(self, x):
        return self.inner[0](x)


@pytest.mark.parametrize("make", [lambda by: Divided(by), lambda by: Nested((Divided(by),))], ids=["plain", "nested"])
@pytest.mark.parametrize(("one", "other"), [(2, 2.0), (-0.0, 0.0)])
def test_functions_that_are_equal_but_for_their_types_are_not_shared(make, one, other):
    data = {"x": torch.tensor([1, 3, 5, 8]), "y": torch.zeros(4)}

    def hypothesis(by):
        graph = Graph(a=Node(make(by), ("x",)), loss=lambda a, y: a.double().clamp(-9, 9) - y)
        return Hypothesis(graph, Graph(a=reads("x"), loss=reads("a", "y")))

    def losses(*hypotheses):
        return [s.by_reference.scrubbed for s in scrub(list(hypotheses), data, baseline=Graph(loss=reads("y")))]

    h, g = hypothesis(one), hypothesis(other)
    assert losses(h, g) == losses(h) + losses(g)
    assert losses(h) != losses(g)


@pytest.mark.parametrize(
    ("unclaimed", "expected"), [("mean", 1.5 - 3), ("zero", 0), (lambda v: 0 * v + 2, 0), (mean(by="g"), None)]
)
def test_each_tensor_of_a_tuple_is_replaced(unclaimed, expected):
    graph = Graph(pair=lambda x: (x, 2 * x), loss=lambda pair, y: pair[0] - pair[1] + y)
    data = {"x": torch.arange(4.0), "y": torch.zeros(4), "g": torch.tensor([0, 0, 1, 1])}
    h = Hypothesis(graph, Graph(loss=reads("y")), columns=("g",))
    found = scrub(h, data, baseline=h, unclaimed=unclaimed).by_reference.scrubbed
    assert found == (tuple([expected] * 4) if expected is not None else (-0.5, -0.5, -2.5, -2.5))
