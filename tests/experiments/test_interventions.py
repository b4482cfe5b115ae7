"""Interchange interventions: the right algorithm predicts what every donor does, and a wrong one does not."""

import pytest
import torch

from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import DataError, Graph, Hypothesis, HypothesisError, scrub
from scrubbing.experiments.interventions import interchange

DATA = digits()
TOY = {name: Hypothesis(NETWORK, claims) for name, claims in CLAIMS.items()}
OR, XOR = TOY["an or of thresholds"], TOY["an exclusive or"]
# One row for each pair of (first digit above 3, second digit above 3), as many as there are digits.
EVERY = torch.cartesian_prod(torch.arange(0, 1000, 10), torch.arange(0, 1000, 10))


def above_half(value):
    return value > 0.5


def right(loss):
    return loss < 0.5


@pytest.mark.parametrize("node", ["A", "B", "D"])
def test_the_right_algorithm_agrees_on_every_donor_at_every_claimed_node(node):
    result = interchange(OR, DATA, node=node, pairs=EVERY, decide=right)
    assert result.share == 1
    assert result.share_moved == 1
    assert not len(result.failures)


# Wrong are: an exclusive or where both digits are large, one digit where only the other is, a threshold at 4 and 5.
@pytest.mark.parametrize(
    ("name", "share"), [("an exclusive or", 0.64), ("the first digit alone", 0.76), ("a threshold too high", 0.92)]
)
def test_a_wrong_algorithm_disagrees_where_it_is_wrong(name, share):
    result = interchange(TOY[name], DATA, node="A", of="D", pairs=EVERY, decide=above_half)
    assert result.share == pytest.approx(share)
    assert result.interval[0] < share < result.interval[1] < 1
    base, donor = result.failures[0]
    assert explained(TOY[name], base, donor) != ((DATA["z1"][donor] > 3) | (DATA["z2"][base] > 3))


def explained(h, base, donor):
    """I's D on one pair, by hand."""
    first = h.I["A"].fn(DATA["z1"][donor])
    return h.I["D"].fn(first, DATA["z2"][base] > 3) if len(h.I["D"].inputs) == 2 else first


def test_an_explanation_that_says_the_opposite_passes_scrubbing_and_no_interchange():
    opposite = Hypothesis(NETWORK, OR.I | {"D": lambda A, B: ~(A | B)})  # its classes are the right ones
    scores = scrub([OR, opposite], DATA, baseline=KNOWS_NOTHING)
    assert scores[0].recovered == scores[1].recovered
    assert interchange(opposite, DATA, node="A", of="D", pairs=EVERY, decide=above_half).share == 0


def test_pairs_are_drawn_by_seed_and_uniform():
    first, again, other = (interchange(XOR, DATA, node="A", seed=s, decide=above_half) for s in (0, 0, 1))
    assert (first.pairs == again.pairs).all()
    assert (first.pairs != other.pairs).any()
    assert first.pairs[:, 0].tolist() == list(range(1000))
    drawn = interchange(XOR, DATA, node="A", of="D", pairs=5000, decide=above_half)
    assert drawn.interval[0] < 0.64 < drawn.interval[1]
    assert torch.tensor(drawn.pairs).double().mean(0).tolist() == pytest.approx([499.5, 499.5], abs=20)


def test_nodes_on_one_node_of_the_network_are_one_variable():
    G = Graph(a=lambda x: x, b=lambda a: a, c=lambda a: a, loss=lambda b, c, y: b + c)
    I = Graph(
        b1=lambda x: x, a1=lambda x: x, b=lambda a1: a1, c=lambda b1: b1, loss=lambda b, c, y: b + c
    )  # fmt: skip
    h = Hypothesis(G, I, {"a1": "a", "b1": "a"})
    data = {"x": torch.arange(5), "y": torch.zeros(5)}
    assert interchange(h, data, node="a1").share == 1


def test_an_interchange_that_changes_nothing_is_no_evidence():
    result = interchange(OR, DATA, node="A", pairs=[[0, 0], [1, 1]], decide=above_half)
    assert result.share_moved is None
    assert str(result).endswith("2 pairs, none of which changes what the explanation says: nothing was tested")


def test_a_donor_moves_the_explanation_if_it_changes_what_the_reference_gave():
    both, second, neither = 990, 90, 0  # rows 9 9 0, 0 9 0 and 0 0 0
    pairs = [[both, neither], [second, neither], [neither, both]]
    assert interchange(OR, DATA, node="A", of="D", pairs=pairs, decide=above_half).moved.tolist() == [
        False,
        False,
        True,
    ]


def test_a_result_prints_the_share_and_how_much_of_it_is_evidence():
    assert str(interchange(OR, DATA, node="A", of="D", pairs=EVERY, decide=above_half)) == (
        "interchange of A at D: 100.0% agree [100.0, 100.0]   "
        "10000 pairs, 1920 change what the explanation says (100.0% of these agree)"
    )


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"node": "D", "of": "D"}, HypothesisError, r"the value of 'D' is both replaced and compared"),
        ({"node": "D", "of": "A"}, HypothesisError, r"'D' does not reach 'A', so that replacing it changes nothing"),
        ({"node": "A"}, DataError, r"G's 'loss' holds numbers such as .*decide=lambda"),
        ({"node": "A", "pairs": [1, 2]}, DataError, r"pairs must be row numbers \[pair, 2\]"),
        ({"node": "A", "pairs": [[0, 1000]]}, DataError, r"pairs names row 1000, but the data have the rows 0 to 999"),
        ({"node": "A", "pairs": 0}, DataError, r"pairs=0, but at least one pair is needed"),
    ],
)
def test_an_interchange_that_cannot_be_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        interchange(OR, DATA, **settings)
