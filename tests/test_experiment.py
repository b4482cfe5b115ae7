"""`scrub` answers in the shape of the question, the same however the work is cut, and names what is wrong with it."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import config

import scrubbing.evaluate
from scrubbing import (
    Case,
    DataError,
    Graph,
    GraphError,
    Hypothesis,
    HypothesisError,
    Node,
    ScrubbingError,
    ScrubbingWarning,
    bins,
    mean,
    per_position,
    reads,
    scrub,
    within,
)
from scrubbing.dataset import as_columns
from scrubbing.evaluate import Evaluator
from scrubbing.plan import Planner
from scrubbing.policy import Policy
from scrubbing.sampling.streams import Sample

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
        "the column 'x' holds values of type object, and only numbers and text can be columns; "
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


@pytest.mark.usefixtures("unchecked")
def test_a_table_is_data():
    import pandas as pd

    assert score(data=pd.DataFrame({name: column.numpy() for name, column in DATA.items()})) == score()


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


def losses_by_chunk(h, live_bytes):
    """The scrubbed losses, and after how many draws progress was told of."""
    sample = Sample(np.arange(ROWS), ROWS, draws=3)
    evaluator = Evaluator(as_columns(DATA), sample, live_bytes=live_bytes)
    told = []
    root = Planner(Policy(), evaluator).scrubbed(h).output
    return evaluator.losses([root], told.append)[0].tolist(), told


def test_the_size_of_a_chunk_changes_nothing():
    small, steps = losses_by_chunk(H, 1)
    large, strides = losses_by_chunk(H, 2**30)
    assert steps == [8, *range(9, 3 * ROWS + 1)]
    assert strides == [8, 3 * ROWS]
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
    monkeypatch.setattr(scrubbing.evaluate, "TABLE_BYTES", 0)
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
    chunks = 2  # of 8 rows and of the rest
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
    command = [sys.executable, "-c", "import scrubbing, sys; print(*sys.modules)"]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert {"scrubbing", "torch", "networkx"} <= set(loaded)
    assert not {"transformer_lens", "transformers", "pandas"} & set(loaded)


# -- text and near agreement


def test_text_is_a_feature():
    words = ["yes", "no", "yes", "no"]
    h = Hypothesis(TINY.G, TINY.I | {"h": Node(lambda x, word: word, ("x", "word"))}, columns=("word",))
    donors = score(h, TINY_DATA | {"word": words}, baseline=Graph(loss=reads("y")), draws=50).donors["loss/h"]
    assert [words[row] for row in donors] == [word for word in words for _ in range(50)]
    assert len(set(donors)) == 4


def test_numbers_within_a_cell_and_in_a_bin_agree():
    graph = Graph(a=lambda x: x, loss=lambda a, y: (a - y) ** 2)
    data = {"x": [0.0, 0.4, 0.6, 1.4, 9.0], "y": [0.0] * 5}

    def donors(claim):
        h = Hypothesis(graph, Graph(a=claim, loss=reads("a", "y")))
        rows = score(h, data, baseline=Graph(loss=reads("y")), draws=60).donors["loss/a"].reshape(5, 60)
        return [sorted({int(row) for row in drawn}) for drawn in rows]

    assert donors(within(lambda x: x, 0.5)) == [[0, 1], [0, 1], [2], [3], [4]]
    assert donors(within(lambda x: x, 2.0)) == [[0, 1, 2, 3]] * 4 + [[4]]
    assert donors(bins(lambda x: x, 2)) == [[0, 1, 2]] * 3 + [[3, 4]] * 2
    assert donors(within(reads("x"), 2.0))[0] == [0, 1, 2, 3]


# -- what stands in for an unclaimed value

TERMS = Graph(P=lambda x1: x1, Q=lambda x2: x2, f=lambda P, Q: P + Q, loss=lambda f, y: (f - y) ** 2)
TERMS_DATA = {
    "x1": torch.tensor([0.0, 1, 2, 3]),
    "x2": torch.tensor([0.0, 1, 2, 0]),
    "group": [0, 0, 1, 1],
    "y": torch.tensor([0.0, 2, 4, 3]),
}


@pytest.mark.parametrize(
    ("unclaimed", "expected"),
    [
        ("mean", [9 / 4, 2.25**2, (2 - 2.25) ** 2, (4 - 2.25) ** 2, (3 - 2.25) ** 2]),
        (mean(by="group"), [1, 1, 1, 0.25, 0.25]),
        ("zero", [0, 0, 4, 16, 9]),
        (lambda value: value * 0 + 5, [5, 25, 9, 1, 4]),
    ],
    ids=["mean", "mean by group", "zero", "a function"],
)
def test_an_unclaimed_value_is_replaced(unclaimed, expected):
    h = Hypothesis(TERMS, Graph(loss=reads("y")))
    scored = score(h, TERMS_DATA, baseline=Graph(loss=reads("y")), unclaimed=unclaimed)
    assert scored.by_reference.scrubbed == pytest.approx(expected[1:])


def test_columns_are_always_resampled():
    h = Hypothesis(Graph(loss=lambda x, y: (x - y) ** 2), Graph(loss=reads("y")), scramble=("x",))
    data = {"x": torch.tensor([1.0, 2, 3]), "y": torch.zeros(3)}
    scored = score(h, data, baseline=Graph(loss=reads("y")), unclaimed="zero", draws=40)
    assert set(scored.donors["loss/other"]) == {0, 1, 2}


# -- donors in common


def test_nodes_together_share_a_donor_that_agrees_on_all_of_them():
    claims = Graph(loss=reads("f", "y"), f=reads("P", "Q"), P=lambda x1: x1 > 1, Q=lambda x2: x2 > 0)
    settings = {"baseline": Graph(loss=reads("y")), "draws": 50}
    apart = score(Hypothesis(TERMS, claims), TERMS_DATA, **settings).donors
    shared = score(Hypothesis(TERMS, claims), TERMS_DATA, together=[("P", "Q")], **settings).donors
    assert (apart["loss/f/P"] != apart["loss/f/Q"]).any()
    assert np.array_equal(shared["loss/f/P"], shared["loss/f/Q"])
    assert shared["loss/f/P"].tolist() == np.repeat(np.arange(4), 50).tolist()  # only the row itself agrees on both


def test_only_claims_of_one_parent_can_share_a_donor():
    claims = Graph(loss=reads("f", "y"), f=reads("P"), P=reads("x1"))
    with pytest.raises(HypothesisError, match="together names P, f, which must be whole claims read by the same node"):
        score(Hypothesis(TERMS, claims), TERMS_DATA, baseline=Graph(loss=reads("y")), together=[("P", "f")])


# -- what a network must not do, and what a claim should


class Dropping(torch.nn.Module):
    """A network with dropout."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(x.double())


def test_a_module_in_training_mode_is_refused():
    module = Dropping()
    data = {"x": torch.arange(8), "y": torch.zeros(8)}
    h = Hypothesis(Graph(a=module, loss=lambda a, y: a - y), Graph(a=reads("x"), loss=reads("a", "y")))
    with pytest.raises(GraphError, match=r"'a' is a module in training mode; call .eval\(\) on it first"):
        score(h, data, baseline=Graph(loss=reads("y")))
    module.eval()
    assert score(h, data, baseline=Graph(loss=reads("y"))).recovered == 1


def test_a_network_with_randomness_is_refused():
    h = Hypothesis(Graph(a=lambda x: x + torch.rand(len(x)), loss=lambda a, y: a - y), Graph(loss=reads("y")))
    with pytest.raises(GraphError, match="the network gives other losses for the same rows when it is run again"):
        score(h, {"x": torch.arange(8), "y": torch.zeros(8)}, baseline=Graph(loss=reads("y")))


def test_a_claim_without_effect_is_warned_of_by_name():
    graph = Graph(a=lambda x, z: x + z, b=lambda a: a + 1, loss=lambda b, y: b - y)
    claims = Graph(a=reads("x", "z"), b=reads("a", "x", "z"), loss=reads("b", "y"))  # b passes all that a would
    data = {"x": torch.arange(8), "z": torch.arange(8), "y": torch.zeros(8)}
    with pytest.warns(ScrubbingWarning, match="hypothesis 'mine': the claim 'a' changes nothing") as told:
        score({"mine": Hypothesis(graph, claims)}, data, baseline=Graph(loss=reads("y")))
    assert len(told) == 1


# -- donors that are made

PARITY = Graph(a=lambda x: x, loss=lambda a, y: (a - y) ** 2)
SINGLES = {"x": torch.tensor([0.0, 1.0, 2.0]), "y": torch.zeros(3)}
BY_THIRD = Graph(a=lambda x: x % 3, loss=reads("a", "y"))


def test_donors_can_be_made_for_classes_that_the_data_lack():
    def make(own, rng):
        return {"x": own["x"] + 3 * torch.from_numpy(rng.integers(1, 3, len(own["x"])))}

    settings = {"baseline": Graph(loss=reads("y")), "draws": 200}
    alone = score(Hypothesis(PARITY, BY_THIRD), SINGLES, **settings)
    made = score(Hypothesis(PARITY, BY_THIRD), SINGLES, donors={"a": make}, **settings)
    assert alone.vacuity.nothing_was_tested
    assert not made.vacuity.nothing_was_tested
    assert made.vacuity.nodes[-1].swapped == 1
    expected = [np.mean([(x + 3) ** 2, (x + 6) ** 2]) for x in range(3)]
    assert made.by_reference.scrubbed == pytest.approx(expected, rel=0.2)
    again = score(Hypothesis(PARITY, BY_THIRD), SINGLES, donors={"a": make}, **settings)
    assert again.by_reference.scrubbed == made.by_reference.scrubbed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda own, rng: {"x": own["x"] + 1}, "must agree with the datums that they stand in for; the one for row 0"),
        (lambda own, rng: {"z": own["x"]}, "must be a dict of columns of the data: x, y"),
        (lambda own, rng: {"x": own["x"][:2]}, r"have the column 'x' of shape \[2\]; it must be \[3\]"),
    ],
    ids=["other class", "other column", "other shape"],
)
def test_made_donors_are_checked(make, message):
    with pytest.raises(DataError, match=message):
        score(Hypothesis(PARITY, BY_THIRD), SINGLES, donors={"a": make}, baseline=Graph(loss=reads("y")))


def test_a_made_datum_without_an_agreeing_row_is_told():
    graph = Graph(a=lambda x: x, b=lambda a: a, loss=lambda b, y: b - y)
    claims = Graph(a=lambda x: x, b=lambda a: a % 3, loss=reads("b", "y"))
    with pytest.raises(DataError, match="no row of the data agrees with a datum that was made"):
        score(
            Hypothesis(graph, claims),
            SINGLES,
            donors={"b": lambda own, rng: {"x": own["x"] + 3}},
            baseline=Graph(loss=reads("y")),
        )


def test_exact_mode_refuses_made_donors():
    with pytest.raises(HypothesisError, match="exact mode cannot follow donors that are made"):
        score(
            Hypothesis(PARITY, BY_THIRD),
            SINGLES,
            donors={"a": lambda own, rng: own},
            exact=True,
            baseline=Graph(loss=reads("y")),
        )
