"""`scrub` answers in the shape of the question, the same however the work is cut, and names what is wrong with it."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from jaxtyping import config

from scrubbing import (
    Case,
    DataError,
    Graph,
    GraphError,
    Hypothesis,
    HypothesisError,
    Node,
    ScrubbingError,
    explanation_accuracy,
    mean,
    per_position,
    reads,
    scrub,
)
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.plan import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import Sample
from scrubbing.graph.data import as_columns
from scrubbing.store.record import data_hash

ROWS = 24
DATA = {
    "x": torch.arange(ROWS).double(),
    "z": (torch.arange(ROWS) * 7 % 5).double(),
    "label": torch.arange(ROWS).double() % 4,
}
G = Graph(
    a=lambda x, z: x + 2 * z,
    b=lambda a, x: 3 * a - x,
    c=lambda a, z: a * z,
    out=lambda b, c, x: b + c % 7 + x,
    loss=lambda out, label: (out - label) ** 2,
)
I = Graph(
    a=lambda x: x % 4,
    b=lambda a, x: x // 6,
    c=lambda a, z: z % 2,
    out=reads("b", "c"),
    loss=reads("out", "label"),
)
H = Hypothesis(G, I)
BASELINE = Graph(loss=reads("label"))
ALL_CLAIMED = Graph(
    a=reads("x", "z"), b=reads("a", "x"), c=reads("a", "z"), out=reads("b", "c", "x"), loss=reads("out", "label")
)


def score(h: Any = H, data: Any = DATA, **settings: Any) -> Any:
    return scrub(h, data, baseline=settings.pop("baseline", BASELINE), **settings)


def same_donors(one, other):
    return one.keys() == other.keys() and all((one[path] == other[path]).all() for path in one)


# -- bad input

TINY_DATA = {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 1.0, 2.0, 3.0]}
TINY = Hypothesis(
    Graph(h=lambda x: 1 * x, loss=lambda h, y: (h - y).abs()), Graph(h=lambda x: x % 2, loss=reads("h", "y"))
)
NAN_FEATURE = Hypothesis(TINY.G, TINY.I | {"h": lambda x: (x - 1).sqrt()})
WIDE_LOSS = Hypothesis(TINY.G | {"loss": lambda h, y: torch.stack([h, y], dim=1)}, TINY.I)
BY_POSITION = Hypothesis(TINY.G, TINY.I | {"h": per_position(lambda x: torch.stack([x, x], dim=1))})
WRONG_REWRITE = Hypothesis(TINY.G.rewritten({"h": lambda x: x + 1}), TINY.I)


def without(name, **changes):
    return {column: values for column, values in (TINY_DATA | changes).items() if column != name}


BAD_INPUT = {
    "a missing column": (
        TINY,
        without("y", yy=[0] * 4),
        {},
        DataError,
        "the data have no column 'y'; did you mean 'yy'?",
    ),
    "no columns": (TINY, {}, {}, DataError, "the data have no columns; give a dict of tensors of one length"),
    "no rows": (TINY, {"x": [], "y": []}, {}, DataError, "the data have no rows"),
    "unequal lengths": (
        TINY,
        without("y") | {"y": [0, 1]},
        {},
        DataError,
        "the columns of the data differ in length: x 4, y 2",
    ),
    "one number": (
        TINY,
        TINY_DATA | {"y": torch.tensor(1.0)},
        {},
        DataError,
        "the column 'y' is a single value; it must have one entry per row",
    ),
    "a column of objects": (
        TINY,
        TINY_DATA | {"x": np.array([None, 1, 2, 3])},
        {},
        DataError,
        "the column 'x' holds None in row 0, and only numbers and text can be columns; "
        "encode it, for example with numpy.unique(column, return_inverse=True)[1]",
    ),
    "a column with a node's name": (
        TINY,
        TINY_DATA | {"h": [0] * 4},
        {},
        DataError,
        "'h' is a node and a column of the data: rename one of them",
    ),
    "an unknown policy": (
        TINY,
        TINY_DATA,
        {"others": "nodes"},
        HypothesisError,
        'others=\'nodes\' is no policy; choose "node", "reference", "input" or a tensor of row numbers',
    ),
    "others outside the data": (
        TINY,
        TINY_DATA,
        {"others": torch.tensor([0, 1, 2, 4])},
        DataError,
        "others names row 4, but the data have the rows 0 to 3",
    ),
    "too few others": (
        TINY,
        TINY_DATA,
        {"others": [0, 1, 2]},
        DataError,
        "others holds 3 rows, but must name one for each of the 4 rows",
    ),
    "others by position": (
        TINY,
        TINY_DATA,
        {"others": np.zeros((4, 2), dtype=int)},
        DataError,
        "others must be row numbers (integers), and is of type int64, shape (4, 2)",
    ),
    "others that are no rows": (
        TINY,
        TINY_DATA,
        {"others": np.arange(4.0)},
        DataError,
        "others must be row numbers (integers), and is of type float64, shape (4,)",
    ),
    "no references": (
        TINY,
        TINY_DATA,
        {"references": 0},
        DataError,
        "references=0, but at least one reference is needed",
    ),
    "references outside the data": (
        TINY,
        TINY_DATA,
        {"references": [-1]},
        DataError,
        "references names row -1, but the data have the rows 0 to 3",
    ),
    "references in a matrix": (
        TINY,
        TINY_DATA,
        {"references": np.array([[0, 1]])},
        DataError,
        "references must be row numbers (integers), and is of type int64, shape (1, 2)",
    ),
    "no draws": (TINY, TINY_DATA, {"draws": 0}, DataError, "draws=0, but at least one draw is needed"),
    "donors of an unknown node": (
        TINY,
        TINY_DATA,
        {"donors": {"hh": [0, 0, 0, 0]}},
        HypothesisError,
        "donors names 'hh', which no hypothesis claims; did you mean 'h'?",
    ),
    "donors of the output": (
        TINY,
        TINY_DATA,
        {"donors": {"loss": [0, 0, 0, 0]}},
        HypothesisError,
        "donors names the output 'loss', which runs on the reference itself",
    ),
    "donors by position of a claim about the whole": (
        TINY,
        TINY_DATA,
        {"donors": {"h": np.zeros((4, 2), dtype=int)}},
        HypothesisError,
        "donors gives 'h' a row for each position, but 'h' is not claimed per position",
    ),
    "donors outside the data": (
        TINY,
        TINY_DATA,
        {"donors": {"h": [0, 0, 0, 9]}},
        DataError,
        "donors['h'] names row 9, but the data have the rows 0 to 3",
    ),
    "a feature with NaN": (
        NAN_FEATURE,
        TINY_DATA,
        {},
        DataError,
        "the feature of 'h' cannot be used: it is NaN in row 0, and NaN agrees with nothing",
    ),
    "a loss with too many numbers": (
        WIDE_LOSS,
        TINY_DATA,
        {},
        DataError,
        "the output of G has shape [4, 2] for 4 rows; it must be one loss per row, for example loss.mean(dim=-1)",
    ),
    "positions without an axis": (
        BY_POSITION,
        TINY_DATA,
        {},
        HypothesisError,
        "'h' is claimed per position, but 'h' does not say which axis of its value runs over positions: "
        "give its Node a position_axis",
    ),
    "a loss that is no number": (
        TINY,
        TINY_DATA | {"y": [0, float("nan"), 1, 2]},
        {},
        DataError,
        "the network's own loss of row 1 is nan; losses must be finite",
    ),
    "an unknown stand-in": (
        TINY,
        TINY_DATA,
        {"unclaimed": "median"},
        HypothesisError,
        'unclaimed=\'median\' is no policy; choose "resample", "mean", mean(by=column), "zero" or a function',
    ),
    "a mean by an unknown column": (
        TINY,
        TINY_DATA,
        {"unclaimed": mean(by="yy")},
        DataError,
        "mean(by='yy'): the data have no such column; did you mean 'y'?",
    ),
    "a rewrite that changes values": (
        WRONG_REWRITE,
        TINY_DATA,
        {},
        GraphError,
        "a rewritten graph and the one that it was rewritten from differ by up to 1 on the first 4 references; "
        "a rewrite must change no value (check=False skips this test)",
    ),
    "a baseline that reads what it does not claim": (
        TINY,
        TINY_DATA,
        {"baseline": Graph(loss=reads("h", "y"))},
        HypothesisError,
        "'loss' reads 'h', which I does not have: claim it too, e.g. h=reads(\"x\")",
    ),
}


@pytest.mark.parametrize(
    ("h", "data", "settings", "error", "message"), [pytest.param(*case, id=name) for name, case in BAD_INPUT.items()]
)
def test_bad_input_is_refused_with_what_is_wrong(h, data, settings, error, message):
    with pytest.raises(ScrubbingError) as raised:
        score(h, data, **({"baseline": Graph(loss=reads("y"))} | settings))
    assert (type(raised.value), str(raised.value)) == (error, message)


def test_nan_in_a_column_that_a_claim_reads_is_refused():
    whole = Hypothesis(TINY.G, TINY.I | {"h": reads("x")})
    with pytest.raises(DataError, match="NaN in row 1"):
        score(whole, TINY_DATA | {"x": [0, float("nan"), 1, 2]}, baseline=Graph(loss=reads("y")))


@pytest.fixture
def unchecked():
    """As on a user's machine, where annotations are not checked."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_hypothesis_is_refused():
    with pytest.raises(HypothesisError, match=r"^'mine' is Graph, not a Hypothesis; write Hypothesis\(G, I\)$"):
        score({"mine": I})


# -- the shape of the answer


def test_one_hypothesis_gives_one_score_a_list_a_list_and_a_dict_a_dict():
    other = Hypothesis(G, ALL_CLAIMED)
    alone = score(H)
    assert alone.name is None
    assert score([H, other]) == [alone, score(other)]
    named = score({"mine": H, "all": other})
    assert list(named) == ["mine", "all"]
    assert named["mine"].name == "mine"
    assert named["mine"].by_reference == alone.by_reference
    assert score([]) == []


def test_a_baseline_is_a_graph_for_each_hypothesis_or_a_hypothesis():
    assert score(baseline=Hypothesis(G, BASELINE)) == score()


def test_a_case_is_scored_with_its_settings_except_for_those_given():
    case = Case("mine", H, DATA, BASELINE, {"seed": 3, "draws": 2})
    assert case.score() == score({"mine": H}, seed=3, draws=2)["mine"]
    assert case.score(draws=1) == score({"mine": H}, seed=3)["mine"]


@pytest.mark.parametrize(("references", "kind"), [(None, "all"), (5, "drawn"), ([3, 3, 0], "given")])
def test_references_are_all_rows_or_a_number_or_those_given(references, kind):
    scored = score(references=references)
    assert scored.settings["references"] == kind
    rows = scored.by_reference.reference
    assert len(rows) == scored.references
    assert rows == {"all": tuple(range(ROWS)), "given": (3, 3, 0)}.get(kind, rows)


@pytest.mark.parametrize("draws", [1, 3])
def test_progress_is_told_until_all_is_done(draws):
    told = []
    score(draws=draws, progress=lambda done, total: told.append((done, total)))
    done = [d for d, _ in told]
    assert done == sorted(set(done))
    assert told[-1] == (ROWS * draws, ROWS * draws)


@pytest.mark.parametrize(
    "data",
    [
        {name: column.numpy() for name, column in DATA.items()},
        {name: column.tolist() for name, column in DATA.items()},
        {name: column.numpy().astype(np.uint16) for name, column in DATA.items()},
        DATA | {"unused": torch.zeros(ROWS)},
    ],
    ids=["arrays", "lists", "unsigned", "an unused column"],
)
def test_data_may_come_as_anything_with_columns(data):
    assert score(data=data) == score()


@pytest.mark.parametrize("kind", ["pandas", "pyarrow"])
def test_a_table_is_data(kind):
    module = pytest.importorskip(kind)
    words = np.array(["even", "odd"])[np.arange(ROWS) % 2]
    columns = {name: column.numpy() for name, column in DATA.items()} | {"word": words}
    table = module.DataFrame(columns) if kind == "pandas" else module.table(columns)
    h = Hypothesis(G, I | {"a": lambda x, word: (x % 4, word)}, columns=("word",))
    assert score(h, table) == score(h, columns)
    assert Case("mine", h, table, BASELINE).score().by_reference == score(h, columns).by_reference
    assert data_hash(table) == data_hash(columns)
    assert explanation_accuracy(H, table, of="c", decide=lambda c: c > 0).share <= 1


def test_two_columns_of_one_name_are_refused():
    pd = pytest.importorskip("pandas")
    twice = pd.DataFrame(np.zeros((4, 3)), columns=["x", "y", "x"])
    with pytest.raises(DataError, match=r"^the data have two columns 'x': rename one of them$"):
        score(TINY, twice, baseline=Graph(loss=reads("y")))


@pytest.mark.parametrize("three", [np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)])
def test_numbers_may_be_of_any_integer_type(three):
    assert score(references=three) == score(references=3)
    if not isinstance(three, torch.Tensor | np.ndarray):
        assert score(draws=three, seed=three) == score(draws=3, seed=3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("option", ["references", "draws", "seed", "cap"])
@pytest.mark.parametrize("wrong", [True, np.True_, 3.0, "all"])
def test_what_is_no_whole_number_is_refused(option, wrong):
    with pytest.raises(DataError, match=f"^{option}={wrong!r}, but it must be a whole number$"):
        score(**{option: wrong})


# -- laws


def test_everything_claimed_gives_the_networks_own_losses_to_the_bit():
    torch.manual_seed(0)
    noise = {name: torch.randn(ROWS) for name in DATA}
    losses = score(Hypothesis(G, ALL_CLAIMED), noise).by_reference
    assert losses.scrubbed == losses.original


@pytest.mark.filterwarnings("ignore::scrubbing.ScrubbingWarning")  # then claims have no effect, indeed
def test_each_reference_as_its_own_donor_gives_the_networks_own_losses():
    itself = torch.arange(ROWS)
    losses = score(others=itself, donors=dict.fromkeys(set(I) - {"loss"}, itself)).by_reference
    assert losses.scrubbed == losses.original


@pytest.mark.parametrize("others", ["node", "reference", "input"])
def test_hypotheses_scored_together_are_as_when_scored_alone(others):
    hypotheses = [H, Hypothesis(G, ALL_CLAIMED), Hypothesis(G, I | {"b": reads("x")}), Hypothesis(G, BASELINE)]
    for h, together in zip(hypotheses, score(hypotheses, others=others, draws=2), strict=True):
        alone = score(h, others=others, draws=2)
        assert together == alone
        assert same_donors(together.donors, alone.donors)


def test_another_seed_draws_other_donors():
    assert not same_donors(score(seed=1).donors, score(seed=2).donors)
    assert same_donors(score(seed=1).donors, score(seed=1).donors)


@pytest.mark.parametrize("others", ["node", "reference", "input"])
@pytest.mark.parametrize(
    "edit",
    [{"b": lambda a, x: x % 2}, {"b": reads("a")}, {"b": lambda x: x // 6}, {"b": lambda a, x, z: x // 6}],
    ids=["coarser", "a column less", "an input less", "a column more"],
)
def test_editing_one_claim_leaves_all_donors_outside_its_subtree(edit, others):
    def outside(h):
        donors = score(h, others=others).donors
        return {path: rows for path, rows in donors.items() if not path.startswith("loss/out/b")}

    before, after = outside(H), outside(Hypothesis(G, I | edit))
    assert {"loss/out", "loss/out/c", "loss/out/c/a"} <= before.keys()
    assert same_donors(before, after)


@pytest.mark.parametrize("exclude_self", [False, True])
def test_relabelling_a_feature_changes_nothing_draw_for_draw(exclude_self):
    relabelled = I | {
        "a": lambda x: np.array(["two", "zero", "three", "one"])[x.long() % 4],
        "b": lambda a, x: -((x // 6) ** 3),
        "c": lambda a, z: (z % 2 == 0, 5 - z % 2),
    }
    mine, theirs = score([H, Hypothesis(G, relabelled)], exclude_self=exclude_self, draws=3)
    assert mine == theirs
    assert same_donors(mine.donors, theirs.donors)


def test_the_order_of_nodes_and_inputs_changes_nothing():
    turned = Graph({name: Node(node.fn, node.inputs) for name, node in reversed([*G.items()])})
    turned |= {"c": lambda z, a: a * z}
    assert score(Hypothesis(turned, Graph(dict(reversed([*I.items()]))))) == score()


@pytest.mark.parametrize("others", ["node", "reference"])
def test_splitting_an_unclaimed_input_changes_nothing(others):
    split = G | {"x1": lambda x: x - 3, "x2": lambda x: 0 * x + 3, "out": lambda b, c, x1, x2: b + c % 7 + (x1 + x2)}
    assert score(Hypothesis(split, I), others=others) == score(others=others)


@pytest.mark.parametrize("others", ["node", "reference", "input"])
def test_nobody_stands_in_for_itself_where_that_is_excluded(others):
    donors = score(references=2000, others=others, exclude_self=True).donors
    agree = np.equal.outer(np.arange(ROWS) // 6, np.arange(ROWS) // 6)
    assert (donors["loss/out/b"] != donors["loss/out"]).all()
    assert agree[donors["loss/out/b"], donors["loss/out"]].all()
    if others == "node":
        assert (donors["loss/out/b/a/other"] != donors["loss/out/b/a"]).all()


def test_a_run_is_replayed_from_its_donors():
    h = Hypothesis(G, Graph(a=I["a"], b=I["b"], out=lambda b, x: x // 8, loss=I["loss"]))
    first = score(h, others="reference", seed=1)
    donors = {path.rpartition("/")[2]: rows for path, rows in first.donors.items() if path != "other"}
    again = score(h, others=first.donors["other"], donors=donors, seed=2)
    assert donors.keys() == {"out", "b", "a"}
    assert again.by_reference.scrubbed == first.by_reference.scrubbed
    assert again.by_reference.scrubbed != score(h, others="reference", seed=2).by_reference.scrubbed


# -- how the work is cut


def losses_by_chunk(h, size):
    """The scrubbed losses, and after how many draws progress was told of."""
    sample = Sample(np.arange(ROWS), ROWS, draws=3)
    evaluator = Evaluator(as_columns(DATA), sample)
    told = []
    root = Planner(Policy(), evaluator).scrubbed(h).output
    with patch.object(Evaluator, "chunk_size", return_value=size):
        return evaluator.losses([root], told.append)[0].tolist(), told


def test_the_size_of_a_chunk_changes_nothing():
    small, steps = losses_by_chunk(H, 1)
    large, strides = losses_by_chunk(H, 100)
    assert steps == [*range(1, 3 * ROWS + 1)]
    assert strides == [*range(100, 3 * ROWS, 100), 3 * ROWS]
    assert small == large


SEQUENCES = {"tokens": torch.arange(24).reshape(8, 3) * 5 % 7, "label": torch.arange(8)}
PER_POSITION = Hypothesis(
    Graph(
        h=Node(lambda tokens: tokens.cumsum(1)[:, :, None] + torch.arange(2), ("tokens",), position_axis=1),
        loss=lambda h, label: ((h * h).sum((1, 2)) - label).double(),
    ),
    Graph(h=per_position(lambda tokens: tokens % 2), loss=reads("h", "label")),
)


def test_a_table_of_all_rows_changes_nothing(monkeypatch):
    with_table = score(PER_POSITION, SEQUENCES, draws=4)
    monkeypatch.setattr(Evaluator, "_table", lambda self, step: None)
    assert score(PER_POSITION, SEQUENCES, draws=4) == with_table


def test_a_donor_given_per_position_is_assembled_from_its_positions():
    donors = torch.arange(24).reshape(8, 3) * 3 % 8
    scored = score(PER_POSITION, SEQUENCES, donors={"h": donors})
    (h,) = PER_POSITION.G.activations(SEQUENCES, "h")
    assembled = h[donors, torch.arange(3)]
    expected = PER_POSITION.G["loss"].fn(assembled, SEQUENCES["label"])
    assert list(scored.by_reference.scrubbed) == expected.tolist()


def test_one_donor_may_serve_all_positions_of_a_claim_per_position():
    through = {"t": lambda tokens: 1 * tokens, "h": replace(PER_POSITION.G["h"], inputs=("t",))}
    claim = Graph(t=reads("tokens"), h=per_position(lambda t: t % 2), loss=reads("h", "label"))
    h = Hypothesis(PER_POSITION.G.rewritten(through), claim)
    pairing = torch.arange(8).flip(0)
    whole, below = (score(h, SEQUENCES, donors={name: pairing}) for name in ("h", "t"))
    assert below.by_reference == whole.by_reference


# -- many paths


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
    calls, started = [], time.process_time()
    graph = many_paths(16, calls)
    scored = score(Hypothesis(graph, all_reads(graph, n0=n0)), others="reference", check=False)
    chunks = 3  # of one row, twice, to measure it, and of all
    different_rows = 3  # original, baseline and scrubbed
    assert len(calls) <= len(graph) * chunks * different_rows
    assert time.process_time() - started < 3  # seconds; following each path takes far longer
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
    assert str(error.value) == (
        f"this hypothesis has {streams} distinct streams of donors, one per path, and the cap is 100,000; "
        'score it with others="reference", or claim whole columns with reads(...), so that paths share their streams'
    )
    assert calls == []


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


def test_a_chain_of_a_thousand_nodes_is_scored():
    assert score(a_chain_of(40)).recovered == 1


def test_claims_nested_too_deeply_are_refused():
    with pytest.raises(HypothesisError, match="the claims of 1000 nodes are nested too deeply to be followed"):
        score(a_chain_of(999))


# -- imports


def test_importing_scrubbing_loads_neither_transformer_lens_nor_pandas():
    command = [sys.executable, "-c", "from scrubbing import scrub; import sys; print(*sys.modules)"]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert {"scrubbing", "torch", "networkx"} <= set(loaded)
    assert not {"transformer_lens", "transformers", "pandas"} & set(loaded)
