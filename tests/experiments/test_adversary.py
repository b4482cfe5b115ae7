"""The worst permitted donors: known worst cases, and a search that finds permitted donors only."""

from itertools import product

import numpy as np
import pytest
import torch
from known_answers import (
    BY_POSITION,
    CHAIN,
    CHAIN_CLAIMS,
    CHAIN_ROWS,
    DIGITS,
    INDEPENDENT,
    NOTHING,
    OR_CLAIM,
    RIGHT_OR,
    SEQUENCES,
    TWO_TERMS,
    WRONG_OR,
    chain_loss,
)
from sampled import by_default

from hypotheses.toy import CLAIMS as TOY_CLAIMS
from hypotheses.toy import NETWORK, digits
from scrubbing import DataError, Graph, Hypothesis, HypothesisError, per_position, reads, scrub, worst_donors

H = Hypothesis(CHAIN, CHAIN_CLAIMS)
WRONG = Hypothesis(WRONG_OR.G, OR_CLAIM)


def test_a_wrong_claim_that_recovers_everything_leaves_most_references_wrong_at_worst():
    """O16: the mean scrubbed loss is the network's own, 1/25."""
    found = worst_donors(WRONG, DIGITS, exact=True)
    assert found.exact
    assert found.share_above(0.5) == pytest.approx(21 / 25)
    assert found.original.mean() == pytest.approx(1 / 25)
    raised = (found.worst > 0.5) & (found.original < 0.5)
    assert raised.mean() == pytest.approx(4 / 5)
    assert scrub(WRONG, DIGITS, baseline=NOTHING, exact=True, check=False).scrubbed == pytest.approx(1 / 25)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_the_search_comes_near_the_known_worst_case_from_below():
    found, exact = (worst_donors(WRONG, DIGITS, references=25, exact=exact) for exact in (False, True))
    assert not found.exact
    assert (found.worst <= exact.worst).all()
    assert exact.share_above(0.5) == pytest.approx(21 / 25, abs=0.15)
    assert found.share_above(0.5) >= 0.95 * exact.share_above(0.5)


def test_a_true_claim_has_no_worse_donors():
    assert worst_donors(Hypothesis(RIGHT_OR.G, OR_CLAIM), DIGITS, exact=True).worst.max() == 0
    assert worst_donors(Hypothesis(RIGHT_OR.G, OR_CLAIM), DIGITS, sweeps=1, candidates=4).worst.max() == 0


def enumerated(reference: int) -> float:
    """The largest loss of CHAIN under CHAIN_CLAIMS over all permitted donors, written out."""
    x = CHAIN_ROWS["x"].tolist()

    def agreeing(feature, own):
        return [d for d in range(6) if feature(x[d]) == feature(x[own])]

    def of_a(path, own):
        return [{path: d, f"{path}/other": u} for d in agreeing(lambda v: v % 2, own) for u in range(6)]

    of_b = [
        {"loss/b": b, "loss/b/other": u, **a}
        for b in agreeing(lambda v: v // 2, reference)
        for u in range(6)
        for a in of_a("loss/b/a", b)
    ]
    return max(chain_loss({**b, **a}, reference) for b, a in product(of_b, of_a("loss/a", reference)))


@pytest.mark.usefixtures("unchecked")
def test_the_worst_case_is_what_an_enumeration_finds_and_the_search_comes_near_it():
    expected = [enumerated(reference) for reference in range(6)]
    assert worst_donors(H, CHAIN_ROWS, exact=True).worst.tolist() == expected
    found = worst_donors(H, CHAIN_ROWS, starts=2, sweeps=2, candidates=6).worst
    assert (found <= expected).all()
    assert found.sum() >= 0.85 * sum(expected)


@pytest.mark.parametrize("seed", by_default(range(2)))
@pytest.mark.parametrize("settings", [{}, {"exclude_self": True}, {"others": "input"}, {"others": "reference"}])
def test_the_donors_found_are_permitted_and_leave_the_loss_found(settings, seed):
    found = worst_donors(H, CHAIN_ROWS, starts=1, sweeps=1, candidates=3, seed=seed, **settings)
    x = CHAIN_ROWS["x"].numpy()
    donors, own = found.donors, np.arange(6)
    assert (x[donors["loss/b"]] // 2 == x // 2).all()
    assert (x[donors["loss/a"]] % 2 == x % 2).all()
    assert (x[donors["loss/b/a"]] % 2 == x[donors["loss/b"]] % 2).all()
    if settings == {"exclude_self": True}:
        sizes = np.array([(x // 2 == value).sum() for value in x // 2])
        assert ((donors["loss/b"] != own) | (sizes == 1)).all()
        assert (donors["loss/b/other"] != donors["loss/b"]).all()
    if "others" not in settings:
        for reference in range(6):
            rows = {path: int(taken[reference]) for path, taken in donors.items()}
            assert found.worst[reference] == chain_loss(rows, reference)
    assert (found.worst <= worst_donors(H, CHAIN_ROWS, exact=True, **settings).worst + 1e-9).all()
    assert (found.worst >= scrub(H, CHAIN_ROWS, baseline=H, seed=seed, **settings).by_reference.scrubbed).all()


@pytest.mark.usefixtures("unchecked")
def test_donors_that_no_longer_agree_with_those_above_them_are_drawn_anew():
    """b is worst with x = 3 and a with an even x, but a must be odd where b is: 2 and 6 are the worst permitted."""
    G = Graph(a=lambda x: 100 * (x % 2 == 0) + x, b=lambda a, x: a + 10 * x, loss=lambda b: 1.0 * b)
    h = Hypothesis(G, Graph(a=lambda x: x % 2, b=lambda a, x: x // 4, loss=reads("b")))
    data = {"x": torch.arange(8)}
    expected = [126.0] * 4 + [166.0] * 4
    assert worst_donors(h, data, exact=True).worst.tolist() == expected
    assert worst_donors(h, data, starts=1).worst.tolist() == expected


def test_nodes_that_share_their_donor_go_on_sharing_it():
    data = digits()
    h = Hypothesis(NETWORK, TOY_CLAIMS["an or of thresholds"])
    found = worst_donors(h, data, together=[["A", "B"]], starts=1, sweeps=1, candidates=2)
    assert "loss/D/A" not in found.donors
    shared, above = found.donors["loss/D/A+B"], found.donors["loss/D"]
    for digit in ("z1", "z2"):
        large = (data[digit] > 3).numpy()
        assert (large[shared] == large[above]).all()


def test_claims_per_position():
    """O10: a donor per position makes unequal tokens of equal ones."""
    h = Hypothesis(BY_POSITION, Graph(h=per_position(lambda tokens: 0 * tokens), loss=reads("h")))
    assert worst_donors(h, SEQUENCES, exact=True).worst.tolist() == [1, 1]
    found = worst_donors(h, SEQUENCES)
    assert found.donors["loss/h"].shape == (2, 2)
    assert found.worst.tolist() == [1, 1]


def test_references_are_those_asked_for():
    found = worst_donors(Hypothesis(TWO_TERMS, NOTHING), INDEPENDENT, exact=True, references=[11, 0, 11])
    assert found.reference.tolist() == [11, 0, 11]
    assert found.worst.tolist() == [144, 144, 144]  # (2*3 + 3*2)^2
    assert found.losses["reference"].tolist() == [11, 0, 11]


def test_it_prints_as_a_table_of_80_columns_that_says_what_it_bounds():
    exact, found = (str(worst_donors(WRONG, DIGITS, exact=e, starts=1, sweeps=1, candidates=8)) for e in (True, False))
    assert max(map(len, [*exact.splitlines(), *found.splitlines()])) <= 80
    assert "raise the loss of 80.0% of 1000 references [77.4, 82.4]" in exact
    assert "exact: no permitted donors leave more" in exact
    assert "searched for: a lower bound" in found
    assert list(worst_donors(WRONG, DIGITS, sweeps=1, candidates=2).losses) == [
        *("reference", "original", "worst"),
        *("loss/D", "loss/D/A", "loss/D/B"),
    ]


def test_mistakes_are_named():
    with pytest.raises(DataError, match="sweeps=0, but at least one sweep is needed"):
        worst_donors(H, CHAIN_ROWS, sweeps=0)
    with pytest.raises(HypothesisError, match="others='nodes' is no policy"):
        worst_donors(H, CHAIN_ROWS, others="nodes")
    exact = Hypothesis(CHAIN, Graph(a=reads("x", "z"), b=reads("a", "z"), loss=reads("a", "b", "y")))
    with pytest.raises(HypothesisError, match="leaves no choice of donors"):
        worst_donors(exact, CHAIN_ROWS)
    with pytest.raises(HypothesisError, match="exact mode would have to"):
        worst_donors(H, CHAIN_ROWS, exact=True, cap=3)
    with pytest.raises(HypothesisError, match="leaves no choice of donors"):
        worst_donors(Hypothesis(TWO_TERMS, NOTHING), INDEPENDENT, others=torch.arange(12))
