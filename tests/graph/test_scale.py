"""Graphs of thousands of nodes: their order is networkx's, and neither depth nor width is a limit."""

import copy
from collections import Counter
from collections.abc import Mapping

import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scrubbing import Graph, GraphError, Hypothesis, Node, circuit, explain, reads, scrub
from scrubbing.engine.expressions import Expressions
from scrubbing.engine.sampling.streams import Drawn, References

MANY = 10_000


def first(*values):
    return values[0]


def chain(length: int) -> Graph:
    nodes = {f"n{i}": Node(first, (f"n{i - 1}" if i else "x",)) for i in range(length)}
    return Graph(nodes | {"loss": Node(first, (f"n{length - 1}", "y"))})


def side_by_side(width: int) -> Graph:
    nodes = {f"n{i}": Node(first, ("x",)) for i in range(width)}
    return Graph(nodes | {"loss": Node(first, (*nodes, "y"))})


def forward(expressions: Expressions, graph: Graph):
    """An ordinary forward pass on the references."""
    return expressions.forward(graph, graph.output, dict.fromkeys(graph.columns, References()))


@st.composite
def inputs_without_circles(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """What nodes read, by names in no order: some of those before them and some columns, and all but one are read."""
    read: dict[str, tuple[str, ...]] = {}
    for name in draw(st.permutations("abcdefgh")):
        read[name] = tuple(draw(st.lists(st.sampled_from([*read, "C", "i", "z"]), unique=True)))
    unread = set(read) - {i for inputs in read.values() for i in inputs}
    return dict(draw(st.permutations([*read.items(), ("top", tuple(sorted(unread)))])))


def graph_of(read: Mapping[str, tuple[str, ...]]) -> Graph:
    return Graph({name: Node(first, inputs) for name, inputs in read.items()})


@given(inputs_without_circles())
def test_the_order_is_the_first_by_name_of_those_that_are_possible(read):
    edges = nx.DiGraph([(i, name) for name, inputs in read.items() for i in inputs])
    edges.add_nodes_from(read)
    graph = graph_of(read)
    assert graph.order == tuple(n for n in nx.lexicographical_topological_sort(edges) if n in read)
    for name in read:
        needed = nx.ancestors(edges, name) | {name}
        assert graph.readers(name) == tuple(n for n in graph.order if name in read[n])
        assert graph.upstream(name) == tuple(n for n in graph.order if n in needed)
        assert graph.upstream_columns[name] == needed - read.keys()


@given(inputs_without_circles(), st.data())
def test_a_circle_is_found_wherever_it_is(read, data):
    graph = graph_of(read)
    last = data.draw(st.sampled_from(sorted(read)))
    first_of_them = data.draw(st.sampled_from(graph.upstream(last)))
    inputs = tuple(i for i in read[first_of_them] if i != last)
    with pytest.raises(GraphError, match="in a circle"):
        graph_of(read | {first_of_them: (*inputs, last)})


@pytest.mark.parametrize("make", [chain, side_by_side])
def test_a_graph_may_be_deep_or_wide(make):
    graph = make(MANY)
    assert len(graph.order) == MANY + 1
    assert graph.upstream_columns["loss"] == {"x", "y"}
    assert set(graph.upstream("loss")) == set(graph)
    assert graph.readers(f"n{MANY - 1}") == ("loss",)
    assert (graph | {"n5": Node(first, ("x",))})["n5"].inputs == ("x",)
    assert graph({"x": 3, "y": 4}) == 3
    assert copy.deepcopy(graph) == graph
    assert repr(graph).count("\n") == MANY + 1


@pytest.mark.parametrize("make", [chain, side_by_side])
def test_as_many_nodes_may_be_claimed(make):
    graph = make(MANY)
    I = Graph({name: reads(*node.inputs) for name, node in graph.items()})
    h = Hypothesis(graph, I)
    assert len(h.claimed_inputs("loss")) == (1 if make is chain else MANY)
    expressions = Expressions()
    root = forward(expressions, graph)
    assert forward(expressions, Graph(graph)) is root
    assert forward(expressions, graph.rewritten({"n5": graph["n5"]})) is root


def test_a_graph_is_copied_without_its_hash():
    graph = Graph(a=reads("x"), loss=reads("a", "y"))
    assert (hash(copy.deepcopy(graph)), graph.order) == (hash(graph), ("a", "loss"))
    assert set(graph.__getstate__()) == {"_nodes", "_origin"}  # hashes of names are others in another process


def test_values_on_equal_streams_are_one_object_and_on_others_not():
    graph, expressions = Graph(a=reads("x"), b=reads("y"), loss=reads("a", "b")), Expressions()
    streams = {"x": References(), "y": Drawn(("other",))}
    whole = expressions.forward(graph, "loss", streams)
    assert expressions.forward(graph, "a", {"x": References()}) is whole.arguments[0]
    assert expressions.forward(graph, "b", {"y": Drawn(("other",))}) is whole.arguments[1]
    assert expressions.forward(graph, "b", {"y": References()}) is not whole.arguments[1]
    assert expressions.forward(graph, "loss", streams | {"x": Drawn(("other",))}) is not whole


def test_a_hypothesis_stays_as_it_was_made():
    G = Graph(a=reads("x"), loss=reads("a", "y"))
    c = {"b": "a"}
    h = Hypothesis(G, Graph(b=reads("x"), loss=reads("b", "y")), c)
    c["b"] = "loss"
    assert h.claimed_inputs("loss") == {"a": "b"}
    with pytest.raises(TypeError):
        h.claimed_inputs("loss")["a"] = "c"  # type: ignore[index]


def claims(G: Graph, fn) -> Hypothesis:
    """Every node of G claimed, with a feature of its own."""
    return Hypothesis(
        G,
        Graph(
            {name: Node(fn, node.inputs) for name, node in G.items() if name != G.output}
            | {G.output: reads(*G[G.output].inputs)}
        ),
    )


@pytest.mark.parametrize("make", [chain, side_by_side])
def test_hypotheses_of_many_claims_are_planned_with_a_few_calls_for_each(make):
    called = Counter()

    def feature(value):
        called["feature"] += 1
        return value > 1

    h = claims(make(300), feature)
    explain(h, {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0] * 4}, baseline=Graph(loss=reads("y")), references=2)
    assert 300 <= called["feature"] <= 20 * 300


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "claimed"), [(chain, 1000), (side_by_side, 3000)])
def test_hypotheses_of_thousands_of_claims_are_scored(make, claimed):
    data = {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0] * 4}
    score = scrub(claims(make(claimed), lambda v: v > 1), data, baseline=Graph(loss=reads("y")), references=2)
    assert len(score.donors) >= (1 if make is chain else claimed)


def test_claims_of_many_layers_that_read_each_other_are_planned_at_once():
    """What `reads` gives is a tuple of tuples: as a value, it would double with each of sixty layers."""
    layers = {f"a{i}": (lambda *values: sum(values), ("x", *(f"a{j}" for j in range(i)))) for i in range(60)}
    G = Graph({name: Node(*layer) for name, layer in layers.items()}, loss=lambda a59, y: 0 * a59 + y)
    h = circuit(G, "a*")
    data = {"x": torch.arange(6.0) % 3, "y": torch.ones(6)}
    score = scrub(h, data, baseline=Graph(loss=reads("y")), others="reference", check=False)
    assert score.vacuity.nodes[0].classes == 3
