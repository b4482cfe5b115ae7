"""Graphs are named functions whose parameters are their edges, and say what is wrong with them."""

from dataclasses import dataclass

import pytest
import torch

from scrubbing import Graph, GraphError, Node, per_position, reads

DOUBLE = Graph(twice=lambda x: 2 * x, loss=lambda twice, y: (twice - y).abs())
DIAMOND = Graph(
    a=lambda x: x + 1, left=lambda a, x: a * x, right=lambda a, z: a - z, top=lambda left, right, y: left + right + y
)


def starred(*values):
    return sum(values)


def keyword(x, *, scale):
    return scale * x


@dataclass(frozen=True)
class Times:
    """A function that compares by value."""

    factor: int

    def __call__(self, x):
        return self.factor * x


def test_parameters_are_edges_and_other_names_are_columns():
    assert DOUBLE["loss"].inputs == ("twice", "y")
    assert DOUBLE.columns == ("x", "y")
    assert DOUBLE.output == "loss"
    assert DIAMOND.order == ("a", "left", "right", "top")
    assert DIAMOND.readers("a") == ("left", "right")
    assert DIAMOND.readers("x") == ("a", "left")
    assert DIAMOND.upstream_columns["right"] == {"x", "z"}
    assert DIAMOND.upstream_columns["top"] == {"x", "y", "z"}


def test_a_graph_is_a_mapping_of_its_nodes():
    assert list(DOUBLE) == ["twice", "loss"]
    assert len(DOUBLE) == 2
    assert "twice" in DOUBLE
    assert "x" not in DOUBLE
    assert DOUBLE.get("twine") is None
    assert DOUBLE == Graph(DOUBLE)
    assert hash(DOUBLE) == hash(Graph({name: DOUBLE[name] for name in ("loss", "twice")}))
    assert DOUBLE != DIAMOND


def test_functions_that_compare_by_value_make_graphs_that_do():
    assert Graph(a=Node(Times(2), ("x",))) == Graph(a=Node(Times(2), ("x",)))
    assert Graph(a=Node(Times(2), ("x",))) != Graph(a=Node(Times(3), ("x",)))
    assert Graph(a=reads("x", "y")) == Graph(a=reads("x", "y"))


@dataclass
class Weighing:
    """A function that may change, and so has no hash."""

    factors: list[float]

    def __call__(self, x):
        return self.factors[0] * x


def test_a_function_without_a_hash_is_named():
    G = Graph(a=Weighing([2.0]), loss=lambda a: a)
    with pytest.raises(GraphError, match=r"^a function is a 'Weighing', which has no hash \(unhashable .*frozen=True"):
        hash(G)


def test_a_graph_prints_its_nodes_in_order():
    assert repr(DOUBLE) == "Graph of 2 nodes, output 'loss', columns x, y\n  twice(x)\n  loss(twice, y)"


def test_calling_a_graph_computes_its_output():
    data = {"x": torch.tensor([1.0, 2.0]), "y": torch.tensor([0.0, 5.0])}
    assert DOUBLE(data).tolist() == [2.0, 1.0]
    twice, y = DOUBLE.activations(data, "twice", "y")
    assert twice.tolist() == [2.0, 4.0]
    assert y is data["y"]


def test_activations_compute_only_what_they_need():
    assert DOUBLE.activations({"x": 3}, "twice") == (6,)


def test_each_node_is_computed_once():
    calls = []
    graph = Graph(a=lambda x: calls.append("a") or x, b=lambda a: a + 1, c=lambda a: a + 2, loss=lambda b, c: b + c)
    assert graph({"x": 1}) == 5
    assert calls == ["a"]


@pytest.mark.parametrize(("values", "seen"), [((), ()), ((3,), 3), ((3, 4), (3, 4))])
def test_reads_is_a_value_or_a_tuple_or_a_constant(values, seen):
    node = reads(*"abc"[: len(values)])
    assert node.fn(*values) == seen
    assert node.is_reads


def test_per_position_marks_a_claim_and_keeps_its_function():
    node = per_position(lambda tokens: tokens)
    assert (node.inputs, node.per_position, node.is_reads) == (("tokens",), True, False)
    assert per_position(reads("tokens")).is_reads


def test_or_replaces_adds_and_drops_what_nothing_reads_any_more():
    changed = DIAMOND | {"left": lambda b: -b, "b": lambda x: x * x, "right": lambda z: z}
    assert set(changed) == {"b", "left", "right", "top"}
    assert changed.columns == ("x", "y", "z")
    assert set(DIAMOND) == {"a", "left", "right", "top"}  # the old graph is as it was


def test_or_may_put_a_new_output_above_the_old_one():
    assert (DOUBLE | {"mean": lambda loss: loss / 2}).output == "mean"


def test_a_rewritten_graph_remembers_the_first():
    once = DOUBLE.rewritten({"twice": lambda x: x + x})
    assert once.rewritten({"twice": lambda x: 4 * x / 2}).origin is DOUBLE
    assert (DOUBLE | {"twice": lambda x: x}).origin is not DOUBLE


ILLEGAL = {
    "no nodes": (dict, "a graph needs at least one node"),
    "a circle": (
        lambda: {"a": lambda b: b, "b": lambda a: a},
        "these nodes read each other in a circle: a -> b -> a",
    ),
    "a node that reads itself": (lambda: {"a": lambda a: a}, "these nodes read each other in a circle: a -> a"),
    "two outputs": (
        lambda: {"a": lambda x: x, "b": lambda x: x},
        "a graph has one output, but nothing reads any of 'a', 'b'; leave out what is not needed or read it",
    ),
    "no identifier": (
        lambda: {"a.b": lambda x: x},
        "'a.b' is not a name that Python allows for a parameter",
    ),
    "an input twice": (lambda: {"a": Node(starred, ("x", "x"))}, "'a' reads 'x' twice"),
    "several problems": (
        lambda: {"a b": Node(starred, ("x", "x")), "c": lambda x: x},
        "'a b' is not a name that Python allows for a parameter; 'a b' reads 'x' twice; a graph has one output, but "
        "nothing reads any of 'a b', 'c'; leave out what is not needed or read it",
    ),
    "no function": (
        lambda: {"a": 3},
        "'a' is 3, which is neither a Node nor a function; write a=lambda ...: ... or a=reads(...)",
    ),
    "starred parameters": (
        lambda: {"a": starred},
        "'a': 'values' of its function is not a plain positional parameter; name its inputs: Node(fn, ('a', 'b'))",
    ),
    "keyword parameters": (
        lambda: {"a": keyword},
        "'a': 'scale' of its function is not a plain positional parameter; name its inputs: Node(fn, ('a', 'b'))",
    ),
    "unknown parameters": (
        lambda: {"a": max},
        "'a': the parameters of <built-in function max> cannot be read; name its inputs: Node(fn, ('a', 'b'))",
    ),
}


@pytest.mark.parametrize(("nodes", "message"), [pytest.param(*case, id=name) for name, case in ILLEGAL.items()])
def test_an_illegal_graph_says_what_is_wrong(nodes, message):
    with pytest.raises(GraphError) as error:
        Graph(**nodes())
    assert str(error.value) == message


WRONG_NAMES = {
    "a node": (lambda: DOUBLE["twise"], "there is no node 'twise'; did you mean 'twice'?"),
    "a reader's": (lambda: DOUBLE.readers("q"), "there is no node 'q'"),
    "an activation": (
        lambda: DOUBLE.activations({}, "twise"),
        "there is no node or column 'twise'; did you mean 'twice'?",
    ),
    "a column": (lambda: DOUBLE({"x": 1, "yy": 1}), "the data have no column 'y'; did you mean 'yy'?"),
    "a new node that nothing reads": (
        lambda: DOUBLE | {"more": lambda x: x},
        "a graph has one output, but nothing reads any of 'loss', 'more'; leave out what is not needed or read it",
    ),
    "a replacement that closes a circle": (
        lambda: DIAMOND | {"a": lambda left: left},
        "these nodes read each other in a circle: a -> left -> a",
    ),
}


@pytest.mark.parametrize(("ask", "message"), [pytest.param(*case, id=name) for name, case in WRONG_NAMES.items()])
def test_a_wrong_name_or_change_says_what_is_wrong(ask, message):
    with pytest.raises(GraphError) as error:
        ask()
    assert str(error.value) == message


def test_an_unknown_node_is_a_key_error_too():
    with pytest.raises(KeyError):
        DOUBLE["twise"]
