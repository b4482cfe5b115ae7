"""A claim per position draws a donor for each position; where that has no place, it is refused in words."""

import numpy as np
import pytest
import torch

from scrubbing import Graph, Hypothesis, HypothesisError, Node, per_position, reads, scrub
from scrubbing.engine.exact import exact_losses
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import Fixed
from scrubbing.graph.data import as_columns

ROWS, POSITIONS = 6, 2
DATA = {
    "tokens": torch.tensor([[0, 1], [0, 2], [1, 1], [1, 2], [2, 0], [2, 2]]),
    "kind": torch.tensor([[0, 1], [1, 1], [0, 0], [0, 1], [1, 0], [1, 1]]),
    "y": torch.zeros(ROWS),
}
G = Graph(
    a=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1),
    h=Node(lambda a, kind: 10 * a + kind, ("a", "kind"), position_axis=1),
    loss=lambda h, y: h.sum(dim=1) - y,
)
BASELINE = Graph(loss=reads("y"))
OTHER_ROWS = np.arange(ROWS)[:, None].repeat(POSITIONS, 1)[::-1].copy()


def refusal(I, donors=(), graph=G):
    """The one error of sampled and exact mode."""
    h = Hypothesis(graph, I)
    with pytest.raises(HypothesisError) as sampled:
        scrub(h, DATA, baseline=BASELINE, donors=dict(donors))
    fixed = {name: Fixed(np.asarray(rows)) for name, rows in dict(donors).items()}
    with pytest.raises(HypothesisError) as exact:
        exact_losses(h, as_columns(DATA), np.arange(ROWS), Policy(donors=fixed))
    assert str(sampled.value) == str(exact.value)
    return str(sampled.value)


NESTED = Graph(a=per_position(reads("tokens")), h=per_position(lambda a, kind: a % 2), loss=reads("h", "y"))
TOO_DEEP = "'a' is claimed per position below another claim per position; claim it whole"


@pytest.mark.parametrize("donors", [{}, {"a": OTHER_ROWS}, {"h": OTHER_ROWS}, {"a": OTHER_ROWS, "h": OTHER_ROWS}])
def test_claims_per_position_do_not_nest_whether_drawn_or_given(donors):
    assert refusal(NESTED, donors) == TOO_DEEP


def test_nor_do_they_with_a_whole_claim_between():
    graph = G | {
        "b": Node(lambda a: 1 * a, ("a",), position_axis=1),
        "h": Node(lambda b, kind: b + kind, ("b", "kind"), 1),
    }
    I = Graph(a=per_position(reads("tokens")), b=reads("a"), h=per_position(lambda b, kind: kind), loss=reads("h", "y"))
    assert refusal(I, graph=graph) == TOO_DEEP


@pytest.mark.parametrize("whole", ["a", "h"])
def test_a_whole_donor_given_for_one_of_them_makes_it_a_whole_claim(whole):
    pairing = np.arange(ROWS)[::-1].copy()
    scored = scrub(Hypothesis(G, NESTED), DATA, baseline=BASELINE, donors={whole: pairing})
    claim = NESTED | {whole: Node(NESTED[whole].fn, NESTED[whole].inputs)}
    same = scrub(Hypothesis(G, claim), DATA, baseline=BASELINE, donors={whole: pairing})
    assert scored.by_reference == same.by_reference


def test_donors_by_position_need_a_claim_by_position():
    whole = Graph(a=reads("tokens"), h=reads("a", "kind"), loss=reads("h", "y"))
    expected = "donors gives 'a' a row for each position, but 'a' is not claimed per position"
    assert refusal(whole, {"a": OTHER_ROWS}) == expected


def test_donors_by_position_have_as_many_positions_as_the_claim():
    I = Graph(h=per_position(reads("kind")), loss=reads("h", "y"))
    for given in (3, 1):
        donors = {"h": np.zeros((ROWS, given), dtype=int)}
        message = f"^donors gives 'h' a row for each of {given} positions, but there are 2$"
        with pytest.raises(HypothesisError, match=message):
            scrub(Hypothesis(G, I), DATA, baseline=BASELINE, donors=donors)


def test_whole_claims_below_one_by_position_may_be_given_by_position_where_they_are_sampled():
    I = Graph(a=reads("tokens"), h=per_position(lambda a, kind: kind), loss=reads("h", "y"))
    h, donors = Hypothesis(G, I), {"a": OTHER_ROWS, "h": OTHER_ROWS}
    scored = scrub(h, DATA, baseline=BASELINE, donors=donors)
    (values,) = G.activations(DATA, "h")
    assert list(scored.by_reference.scrubbed) == values.flip(0).sum(dim=1).tolist()
    with pytest.raises(HypothesisError, match="cannot follow donors of 'a' by position, below a claim per position"):
        scrub(h, DATA, baseline=BASELINE, donors=donors, exact=True)


def test_agreement_at_a_position_is_on_all_that_is_read():
    """A claim of two columns at each position: a donor that agrees on both there, drawn for each position."""
    I = Graph(h=per_position(reads("tokens", "kind")), loss=reads("h", "y"))
    donors = scrub(Hypothesis(G, I), DATA, baseline=BASELINE, draws=40).donors["loss/h"]
    own, at = np.repeat(np.arange(ROWS), 40)[:, None], np.arange(POSITIONS)
    for column in ("tokens", "kind"):
        values = DATA[column].numpy()
        assert (values[donors, at] == values[own, at]).all()
    assert {tuple(sorted(set(donors[:, 1][own[:, 0] == 3].tolist())))} == {(1, 3, 5)}  # (2, 1) at the second position
