"""Many paths: those that share their streams share their work, and too many are refused with their number."""

from functools import partial
from itertools import combinations

import pytest
import torch

from scrubbing import (
    Graph,
    Hypothesis,
    HypothesisError,
    Node,
    reads,
    scrub,
)
from scrubbing.experiments.preparation import Options, prepare

DATA = {
    "x": torch.arange(24).double(),
    "z": (torch.arange(24) * 7 % 5).double(),
    "label": torch.arange(24).double() % 4,
}
score = partial(scrub, data=DATA, baseline=Graph(loss=reads("label")))


def many_paths(levels, calls):
    """A network in which 2**levels paths lead to its one node that reads columns, and what it is called."""

    def counted(fn):
        def wrapped(*values):
            calls.append(len(values[0]))
            return fn(*values)

        return wrapped

    nodes = {"n0": Node(counted(lambda x, z: x + z), ("x", "z"))}
    for i in range(1, levels + 1):
        nodes[f"left{i}"] = Node(counted(lambda n: n + 1), (f"n{i - 1}",))
        nodes[f"right{i}"] = Node(counted(lambda n: n + 2), (f"n{i - 1}",))
        nodes[f"n{i}"] = Node(counted(lambda left, right: (left + right) % 11), (f"left{i}", f"right{i}"))
    return Graph(nodes, loss=Node(lambda n, label: (n - label) ** 2, (f"n{levels}", "label")))


def all_reads(graph, **changes):
    return Graph({name: reads(*node.inputs) for name, node in graph.items()} | changes)


@pytest.mark.filterwarnings("ignore:hypothesis 0. the claim .* changes nothing:scrubbing.ScrubbingWarning")
@pytest.mark.parametrize("n0", [reads("x", "z"), reads("x"), reads()], ids=["all", "some", "nothing"])
def test_paths_that_share_their_streams_cost_one_call_per_node(n0):
    calls = []
    graph = many_paths(16, calls)
    scored = score(Hypothesis(graph, all_reads(graph, n0=n0)), others="reference", check=False)
    chunks = 3  # of one row, twice, to measure it, and of all
    different_rows = 3  # original, baseline and scrubbed
    looks_at_the_contract = 7  # at a few rows
    assert len(calls) <= len(graph) * (chunks * different_rows + looks_at_the_contract)
    assert (scored.scrubbed == scored.original) == (n0 == reads("x", "z"))


@pytest.mark.parametrize(
    ("n0", "others", "streams"),
    [
        (reads("x"), "node", "131,072"),
        (reads(), "input", "262,144"),
        (lambda x, z: x % 2, "reference", "131,072"),
        (lambda x: x % 2, "node", "262,144"),
    ],
    ids=["one unclaimed", "each input unclaimed", "a feature", "a feature and one unclaimed"],
)
def test_paths_with_streams_of_their_own_are_refused_with_their_number(n0, others, streams):
    graph = many_paths(17, calls := [])
    with pytest.raises(HypothesisError) as error:
        score(Hypothesis(graph, all_reads(graph, n0=n0)), others=others)
    other = "" if others == "reference" else 'score it with others="reference", or '
    assert str(error.value) == (
        f"this hypothesis has {streams} distinct streams of donors, one per path, and the cap is 100,000; {other}"
        "claim whole columns with reads(...), so that paths share their streams, or raise cap="
    )
    assert max(calls) <= 4  # rows, to see that functions are by row


def test_the_cap_can_be_raised_to_the_number_it_named():
    graph = many_paths(3, [])
    h = Hypothesis(graph, all_reads(graph, n0=lambda x: x % 2))
    with pytest.raises(HypothesisError, match="has 16 distinct streams"):
        score(h, cap=15)
    drawn = {path for path in score(h, cap=16).donors if path.rpartition("/")[2] in ("n0", "other")}
    assert len(drawn) == 16


def test_each_path_draws_a_donor_of_its_own():
    graph = many_paths(3, [])
    donors = score(Hypothesis(graph, all_reads(graph, n0=lambda x: x % 2)), references=100).donors
    ends = [rows for path, rows in donors.items() if path.endswith("/n0")]
    assert len(ends) == 8
    assert all((one != other).any() for one, other in combinations(ends, 2))


def a_chain_of(claims):
    """A thousand nodes one after the other, the last so many of them claimed."""
    nodes = {f"n{i}": Node(lambda n: n + 1, (f"n{i - 1}" if i else "x",)) for i in range(1000)}
    graph = Graph(nodes, loss=Node(lambda n, label: n - label, ("n999", "label")))
    claimed = {f"n{i}": reads(f"n{i - 1}") for i in range(1001 - claims, 1000)} | {f"n{1000 - claims}": reads("x")}
    return Hypothesis(graph, Graph(claimed, loss=reads("n999", "label")))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("claims", [40, 250])
def test_a_chain_of_a_thousand_nodes_is_scored(claims):
    assert score(a_chain_of(claims), check=False).recovered == 1


@pytest.mark.usefixtures("unchecked")
def test_a_chain_of_a_thousand_claims_is_planned():
    h = a_chain_of(1000)
    assert len(prepare(h, DATA, h, Options()).jobs[0].scrubbed.visits) == 1000


@pytest.mark.usefixtures("unchecked")
def test_a_long_chain_of_donors_is_followed():
    """A donor of a donor of a donor: each is drawn among the rows that agree with the one before."""
    nodes = {f"n{i}": Node(lambda n: n + 2, (f"n{i - 1}" if i else "x",)) for i in range(150)}
    parities = {name: Node(lambda n: n % 2, node.inputs) for name, node in nodes.items()}
    graph = Graph(nodes, loss=Node(lambda n, label: n - label, ("n149", "label")))
    donors = score(Hypothesis(graph, Graph(parities, loss=reads("n149", "label"))), references=[3, 8]).donors
    assert len(donors) == 150
    assert all((rows % 2 == [1, 0]).all() for rows in donors.values())
    assert len({tuple(rows) for rows in donors.values()}) > 50


def side_by_side(claims):
    """So many nodes that read the data, all claimed, and a loss that reads them."""
    nodes = {f"n{i}": Node(lambda x: x + 1, ("x",)) for i in range(claims)}
    graph = Graph(nodes, loss=Node(lambda label, *n: sum(n) - label, ("label", *nodes)))
    return Hypothesis(graph, Graph({name: reads("x") for name in nodes}, loss=reads("label", *nodes)))


@pytest.mark.usefixtures("unchecked")
def test_thousands_of_claims_side_by_side_are_planned():
    h = side_by_side(claims := 3000)
    planned = prepare(h, DATA, h, Options()).jobs[0].scrubbed
    assert len(planned.visits) == claims
    assert planned.idle == ()
