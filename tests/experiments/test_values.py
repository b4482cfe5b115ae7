"""Values of nodes, streamed: equal to whole runs, in bounded memory, under interventions."""

import pytest
import torch

from scrubbing import Graph, GraphError, HypothesisError, at, mean, values

G = Graph(
    a=lambda x: 2 * x,
    b=lambda a, x: a + x,
    c=lambda b: (b, -b),
    loss=lambda c, y: c[0].sum(1) - y,
)
X = torch.arange(600.0).view(200, 3)
DATA = {"x": X, "y": torch.zeros(200), "group": torch.arange(200) % 2}


def gathered(*arguments, **settings):
    """All chunks: the rows, and one node's values."""
    chunks = list(values(G, DATA, *arguments, **settings))
    (name,) = chunks[0][1]
    rows = [row for some, _ in chunks for row in some]
    return rows, torch.cat([found[name] for _, found in chunks]), len(chunks)


def test_plain_values_are_those_of_the_graph():
    rows, found, _ = gathered("b")
    assert rows == list(range(200))
    torch.testing.assert_close(found, 3 * X)


def test_an_intervention_is_followed_downstream():
    _, found, _ = gathered("b", {"a": mean(by="group")})
    means = torch.stack([2 * X[DATA["group"] == group].mean(0) for group in (0, 1)])
    torch.testing.assert_close(found, X + means[DATA["group"]])
    _, found, _ = gathered("a", {"b": "zero"})
    torch.testing.assert_close(found, 2 * X)


def test_rows_are_those_asked_for_in_their_order():
    rows, found, _ = gathered("b", {"a": at([1], "zero")}, references=[7, 3, 7])
    assert rows == [7, 3, 7]
    torch.testing.assert_close(found, (3 * X).where(torch.tensor([1, 0, 1]) > 0, X)[[7, 3, 7]])


def test_chunks_are_as_large_as_memory_allows():
    _, found, chunks = gathered("b", memory=800)
    assert chunks > 3
    torch.testing.assert_close(found, 3 * X)
    assert gathered("b")[2] == 1


def test_tuples_and_several_nodes_come_together():
    ((rows, found),) = values(G, DATA, "b c", references=[1])
    assert rows.tolist() == [1]
    assert list(found) == ["b", "c"]
    torch.testing.assert_close(found["c"], (3 * X[[1]], -3 * X[[1]]))


def test_progress_is_told_rows():
    seen = []
    list(values(G, DATA, "b", progress=lambda done, total: seen.append((done, total))))
    assert seen == [(200, 200)]


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        (["d"], {}, GraphError, "there is no node 'd'"),
        (["b", {"z": "zero"}], {}, GraphError, "there is no node 'z'"),
        (["b", {"a": "zeros"}], {}, GraphError, "instead: 'a'='zeros', but it must be donor(rows)"),
        (["b"], {"exact": True}, HypothesisError, "exact= is no setting of values"),
    ],
)
def test_mistakes_are_said_before_the_first_chunk(arguments, settings, error, message):
    with pytest.raises(error) as mistake:
        values(G, DATA, *arguments, **settings)
    assert message in str(mistake.value)
