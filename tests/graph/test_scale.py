"""Graphs of thousands of nodes: their order is networkx's, and neither depth nor width is a limit."""

import copy
from collections.abc import Mapping

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubbing import Graph, GraphError, Hypothesis, Node, reads
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
    root = expressions.plain(graph, References())
    assert expressions.plain(Graph(graph), References()) is root
    assert expressions.plain(graph.rewritten({"n5": graph["n5"]}), References()) is root


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
