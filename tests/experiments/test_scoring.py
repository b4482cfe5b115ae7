"""`scrub` answers in the shape of the question, and the same however the work is cut."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from scrubbing import (
    Case,
    Graph,
    Hypothesis,
    Node,
    explanation_accuracy,
    per_position,
    reads,
    scrub,
)
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.plan import scrubbed
from scrubbing.engine.planning import Planner
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
    evaluator = Evaluator(Interpreter(as_columns(DATA), sample))
    told = []
    root = scrubbed(Planner(Policy(), Features(evaluator.interpreter)), h).output
    with patch.object(Evaluator, "fitting", return_value=size):
        return evaluator.losses([root], told.append)[0].tolist(), told


def test_the_size_of_a_chunk_changes_nothing():
    small, steps = losses_by_chunk(H, 1)
    large, strides = losses_by_chunk(H, 100)
    assert steps == [*range(1, 3 * ROWS + 1)]
    assert strides == [1, *range(101, 3 * ROWS, 100), 3 * ROWS]  # one draw is measured
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
    monkeypatch.setattr(Interpreter, "_table", lambda self, step: None)
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
