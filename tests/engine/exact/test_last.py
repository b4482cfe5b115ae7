"""`exact="last"` averages over the last donor on each path: the same expectation as all donors, with less variance."""

import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st
from known_answers import SMALL, TRAPS
from strategies import datasets, examples, hypotheses, policies

from scrubbing import Graph, Hypothesis, HypothesisError, Node, Score, per_position, reads, scrub

pytestmark = [
    pytest.mark.filterwarnings("ignore::scrubbing.ScrubbingWarning"),
    pytest.mark.filterwarnings("ignore:Do not use the `random` module"),  # beartype looks at random items of lists
]


def score(h: Hypothesis, data: Any, **settings: Any) -> Score:
    baseline = Graph(loss=reads(*(i for i in h.G[h.G.output].inputs if i not in h.G)))
    return scrub(h, data, baseline=baseline, **settings)


# A chain with something unclaimed at each node: the last donor is the u of its end, and all others are above that.
G = Graph(
    a=lambda x, z: x + 3 * z,
    b=lambda a, z: a - z,
    out=lambda b, z: b + 2 * z,
    loss=lambda out, y: (out - y).abs().double(),
)
CHAIN = Graph(a=lambda x: x // 3, b=lambda a, x: x % 2, out=reads("b"), loss=reads("out", "y"))
ROWS = 12
DATA = {"x": np.arange(ROWS), "z": np.arange(ROWS) * 5 % 7, "y": np.arange(ROWS) * 2}


@pytest.mark.parametrize("others", ["node", "input"])
def test_only_the_last_donor_of_a_chain_is_averaged(others):
    """Written out: donors above are those that sampling takes, and the last one is each row in turn."""
    sampled = score(Hypothesis(G, CHAIN), DATA, others=others, draws=3)
    below = "/other" if others == "node" else "/z/other"
    b, a = (sampled.donors[f"loss/out/{path}"] for path in ("b", "b/a"))
    z_of_out, z_of_b = (DATA["z"][sampled.donors[f"{path}{below}"]] for path in ("loss/out", "loss/out/b"))
    assert (DATA["x"][b] % 2 == np.repeat(DATA["x"], 3) % 2).all()

    values = DATA["x"][a][:, None] + 3 * DATA["z"] - z_of_b[:, None]
    losses = abs(values + 2 * z_of_out[:, None] - np.repeat(DATA["y"], 3)[:, None])

    last = score(Hypothesis(G, CHAIN), DATA, others=others, draws=3, exact="last")
    averages = losses.mean(axis=1).reshape(ROWS, 3)
    assert last.by_reference.scrubbed == pytest.approx(averages.mean(axis=1), abs=1e-12)
    original = np.array(last.by_reference.original)
    change = abs(losses - np.repeat(original, 3)[:, None]).mean()
    assert last.readings["absolute_change"].value == pytest.approx(change, abs=1e-12)
    within = averages.var(axis=1, ddof=1).mean()
    assert last.variance_within == pytest.approx(within)
    assert last.variance_between == pytest.approx(max(0, averages.mean(axis=1).var(ddof=1) - within / 3))
    assert last.settings["exact"] == "last"


def test_it_is_nearer_the_expectation_than_plain_sampling():
    h = Hypothesis(G, CHAIN)
    exact, last, sampled = (score(h, DATA, exact=mode, draws=200) for mode in (True, "last", False))
    assert last.variance_within < 0.8 * sampled.variance_within
    for scored in (last, sampled):
        error = (scored.variance_within / (ROWS * 200)) ** 0.5
        assert abs(scored.scrubbed - exact.scrubbed) <= 4 * error


@examples(40)
@given(st.data())
def test_the_expectation_is_the_exact_one(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    policy = data.draw(policies(h, len(columns["y"])))
    try:
        exact, last = (score(h, columns, exact=mode, draws=100, **policy) for mode in (True, "last"))
    except HypothesisError as error:
        if "its cap is" in str(error) or 'exact="last"' in str(error):
            reject()
        raise
    sampled = score(h, columns, draws=100, **policy)
    error = (last.variance_within / (100 * last.references)) ** 0.5
    assert abs(last.scrubbed - exact.scrubbed) <= 4 * error + 1e-9
    assert last.variance_within <= exact.variance_within * 1.5 + 1e-9
    assert abs(last.variance_within) < 1e-9 or last.variance_within < 2 * sampled.variance_within


@pytest.mark.parametrize("oracle", [pytest.param(o, id=name) for name, o in (TRAPS | SMALL).items()])
def test_where_nothing_is_drawn_above_the_last_donors_it_is_exact(oracle):
    """So it is for most oracles; for all, the mean of many draws is the known one."""
    scored = oracle.score(exact="last", references=None, draws=20)
    error = (scored.variance_within / (20 * scored.references)) ** 0.5
    assert abs(scored.scrubbed - oracle.scrubbed) <= 4 * error + 1e-12


def test_a_u_for_the_whole_hypothesis_is_sampled_unless_it_is_all_there_is():
    h = Hypothesis(G, Graph(loss=reads("y")))
    exact, last = (score(h, DATA, others="reference", exact=mode) for mode in (True, "last"))
    assert last.by_reference.scrubbed == pytest.approx(exact.by_reference.scrubbed)
    h = Hypothesis(G, Graph(b=lambda x: x % 2, out=reads("b"), loss=reads("out", "y")))
    last = score(h, DATA, others="reference", exact="last", draws=2)
    other = score(h, DATA, others="reference", draws=2).donors["other"]
    x, z = DATA["x"], DATA["z"]
    agree = x % 2 == np.repeat(x, 2)[:, None] % 2
    own = z[other][:, None]  # b's own datum passes its x on to a; its z and a's come from u
    losses = abs(x + 3 * own - own + 2 * own - np.repeat(DATA["y"], 2)[:, None])
    expected = (losses * agree).sum(axis=1) / agree.sum(axis=1)
    assert last.by_reference.scrubbed == pytest.approx(expected.reshape(ROWS, 2).mean(axis=1))


def test_a_claim_that_passes_on_every_column_is_the_last():
    graph = Graph(h=lambda x: 1 * x, a=lambda h: 3 * h, loss=lambda a, y: (a - y).abs().double())
    h = Hypothesis(graph, Graph(a=lambda x: x % 3, loss=reads("a", "y")))
    exact, last = (score(h, DATA, exact=mode, draws=2) for mode in (True, "last"))
    assert last.by_reference.scrubbed == pytest.approx(exact.by_reference.scrubbed)
    assert last.variance_within == pytest.approx(0)


# -- what is offered, and what is refused


def long_chain(rows: int) -> tuple[Hypothesis, dict[str, Any]]:
    """Donors at three levels, none of which makes the same difference as another."""
    x = torch.arange(rows).double()
    graph = Graph(
        a=lambda x: x + 1, b=lambda a, x: a + x**2, out=lambda b, x: b + x.sqrt(), loss=lambda out, y: (out - y).abs()
    )
    claims = Graph(a=lambda x: x > 3, b=lambda a: a, out=lambda b: b, loss=reads("out", "y"))
    return Hypothesis(graph, claims), {"x": x, "y": x}


OFFER = (
    ', and its cap is 2,000,000; average over the last donor on each path and sample those above it (exact="last"), '
    "estimate the loss by sampling instead, score fewer references, or leave less to chance (reads(...) of whole "
    "columns)"
)
NO_OFFER = OFFER.replace('average over the last donor on each path and sample those above it (exact="last"), ', "")


def refusal(h: Hypothesis, data: Any, **settings: Any) -> str:
    with pytest.raises(HypothesisError) as error:
        score(h, data, **settings)
    return str(error.value)


def test_the_refusal_offers_it_where_it_would_do():
    h, data = long_chain(1000)
    message = refusal(h, data, exact=True)
    assert message.startswith("exact mode would have to combine ")
    assert message.endswith(OFFER)
    assert score(h, data, exact="last").vacuity.bits > 0


def test_the_refusal_does_not_offer_it_where_it_would_not_do():
    started = time.perf_counter()
    h, data = long_chain(3000)
    message = refusal(h, data, exact=True)  # the baseline alone has 9,000,000 pairs
    assert message.endswith(NO_OFFER)
    wide = {"x": torch.arange(200).double(), "y": torch.arange(200).double()}
    graph = Graph(p=lambda x: x, q=lambda x: 300.5 * x, loss=lambda p, q, y: (p + q - y).abs())
    all_last = Hypothesis(graph, Graph(p=lambda x: 0 * x, q=lambda x: 0 * x, loss=reads("p", "q", "y")))
    for mode in (True, "last"):
        assert refusal(all_last, wide, exact=mode) == (
            "exact mode would have to combine 8,000,000 values of inputs at 'loss', visited in 200 conditions "
            "(p up to 200, q up to 200)" + NO_OFFER
        )
    assert time.perf_counter() - started < 30


def test_paths_with_donors_of_their_own_are_refused_above_the_last():
    graph = Graph(
        a=lambda x, z: x + z, p=lambda a: a, q=lambda a: 2 * a, loss=lambda p, q, y: (p + q - y).abs().double()
    )
    claims = Graph(a=lambda x: x % 2, p=reads("a"), q=reads("a"), loss=reads("p", "q", "y"))
    assert refusal(Hypothesis(graph, claims), DATA, exact="last") == (
        "exact=\"last\" samples one donor for 'a', but 2 paths that lead there draw donors of their own; give I a "
        "node for each path, with one image in c, or exact=False"
    )
    apart = Graph(a=lambda x: x % 2, a_2=lambda x: x % 2, p=reads("a"), q=reads("a_2"), loss=reads("p", "q", "y"))
    h = Hypothesis(graph, apart, c={"a_2": "a"})
    exact, last = score(h, DATA, exact=True), score(h, DATA, exact="last", draws=300)
    assert abs(last.scrubbed - exact.scrubbed) <= 4 * (last.variance_within / (300 * ROWS)) ** 0.5


def test_donors_at_each_position_are_followed_one_level_down():
    graph = Graph(
        a=Node(lambda t, c: t + c, ("t", "c"), 1),
        h=Node(lambda a, c: 2 * a + c, ("a", "c"), 1),
        loss=lambda h: h.sum(1).double(),
    )
    data = {"t": torch.arange(12).reshape(6, 2), "c": torch.arange(12).reshape(6, 2) * 5 % 7}
    one_level = Hypothesis(graph, Graph(h=per_position(lambda t: t % 3), loss=reads("h")))
    exact, last = (score(one_level, data, exact=mode, draws=100) for mode in (True, "last"))
    assert abs(last.scrubbed - exact.scrubbed) <= 4 * (last.variance_within / 600) ** 0.5
    two = Hypothesis(graph, Graph(a=lambda t: t % 2, h=per_position(lambda a: a % 2), loss=reads("h")))
    assert refusal(two, data, exact="last") == (
        "exact=\"last\" cannot follow donors of 'a' that are sampled for each position below a claim per position; "
        "claim it whole, or exact=False"
    )


def test_an_unknown_mode_is_refused():
    h, data = long_chain(5)
    assert refusal(h, data, exact="first") == "exact='first' is no mode; choose False, True or \"last\""


def test_requests_beyond_all_bounds_are_refused_before_anything_of_their_size_is_made():
    h, data = long_chain(5)
    for mode in (True, "last"):
        assert refusal(h, data, exact=mode, references=10**9).startswith(
            "exact mode would have to answer for 1,000,000,000 references, and its cap is 2,000,000;"
        )
        assert refusal(h, data, exact="last", draws=10**9, references=[0, 1]).startswith(
            "exact mode would have to answer for 2 references with 1,000,000,000 draws of each, and its cap is"
        )
        many = {name: torch.zeros(1).expand(10**9) for name in ("x", "y")}
        assert refusal(h, many, exact=mode).startswith(
            "exact mode would have to go through 1,000,000,000 rows of data, and its cap is 2,000,000;"
        )


def test_repeated_references_and_draws_are_answered_in_order():
    h = Hypothesis(G, CHAIN)
    all_rows = score(h, DATA, exact=True, draws=3)
    some = score(h, DATA, exact=True, draws=3, references=[4, 0, 4])
    assert some.by_reference.scrubbed == tuple(all_rows.by_reference.scrubbed[i] for i in (4, 0, 4))
    last = score(h, DATA, exact="last", references=[4, 0, 4]).by_reference.scrubbed
    assert last[0] != last[2]  # each time with donors of its own
