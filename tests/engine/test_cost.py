"""What a run is said to take is what it takes."""

from typing import Any

import pytest
import torch
from reference_transformer import random_data, random_transformer
from sampled import by_default

from hypotheses.handmade import build
from hypotheses.induction.ladder import HEADS_DO_NOTHING, experiments, hypothesis, network
from hypotheses.induction.roles import Roles
from scrubbing import Graph, Hypothesis, Node, ScrubbingWarning, per_position, reads
from scrubbing.engine.cost import Cost, Kind, counting_flops
from scrubbing.engine.evaluate import Evaluator, chunk_ranges
from scrubbing.engine.outcomes import Outputs
from scrubbing.experiments.preparation import Options, prepare
from scrubbing.experiments.scoring import explain
from scrubbing.lens import Transformer, TransformerConfig, transformer

pytestmark = pytest.mark.usefixtures("unchecked_throughout")


SIZE = 4  # draws at a time, that there be several chunks


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluator, "fitting", lambda self, one, share: SIZE)


def counted(hypotheses: Any, data: Any, *, baseline: Any, **settings: Any) -> int:
    """The operations while all chunks are run."""
    prepared = prepare(hypotheses, data, baseline, Options(**settings))
    roots = Outputs.of(prepared.jobs, prepared.planner, len(prepared.sample)).roots
    work = prepared.evaluator.arranged(roots)
    with counting_flops() as so_far:
        for draws in chunk_ranges(len(prepared.sample), SIZE):
            prepared.evaluator.interpreter.values(work.roots, work.order[draws])
        return so_far()


def ladder(rows: int) -> dict[str, Any]:
    """The arguments that score the 26 experiments on a hand-made model."""
    made = build("M1", norm=True, rows=rows)
    G = network(Transformer(TransformerConfig(**made.config), made.weights), Roles.model_validate(made.roles))
    weights = made.data["weights"].clone()
    weights[0] = 0  # rows of unequal length
    weights[1, 12:] = 0
    return {
        "hypotheses": {name: hypothesis(G, streams) for name, streams in experiments().items()},
        "data": {
            "tokens": made.data["tokens"][:, :-1],
            "labels": made.data["tokens"][:, 1:],
            "weights": weights,
            "atypical": made.data["atypical"],
        },
        "baseline": Hypothesis(G, HEADS_DO_NOTHING),
    }


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("others", by_default(["reference", "node"]))
def test_the_operations_of_the_ladder_are_those_counted_in_its_run(others):
    arguments = ladder(rows=4)
    said = explain(**arguments, others=others)
    assert said.flops == counted(**arguments, others=others)
    assert said.flops == sum(kind.flops for kind in said.kinds) > said.once > 0
    evaluated = int((arguments["data"]["weights"] != 0).sum())
    distinct = len({id(root) for root in _losses(arguments, others)})
    assert said.logits_rows == evaluated * distinct
    assert all(len(line) <= 80 for line in str(said).splitlines())


def _losses(arguments: dict[str, Any], others: str) -> list[Any]:
    """The expressions of all losses: equal hypotheses have one."""
    options = Options(others=others)
    prepared = prepare(arguments["hypotheses"], arguments["data"], arguments["baseline"], options)
    return [root for job in prepared.jobs for root in job.roots]


W = torch.arange(12.0).reshape(3, 4)
TOY = Graph(
    a=Node(lambda x: x @ W, ("x",), 1),
    b=Node(lambda x, z: z @ W, ("x", "z"), 1),
    loss=lambda a, b, y: (a * b).sum((1, 2)) - y,
)
TOY_DATA = {
    "x": torch.arange(42.0).reshape(7, 2, 3) * 5 % 11 - 5,
    "z": torch.arange(42.0).reshape(7, 2, 3) * 3 % 7,
    "y": torch.arange(7.0),
}
TOY_H = Hypothesis(TOY, Graph(a=reads("x"), loss=reads("a", "y")))
TOY_BASELINE = Graph(loss=reads("y"))
PRODUCT = 2 * 2 * 3 * 4  # operations of a row: two positions, each a vector of 3 times a matrix of 3 by 4


def test_a_toy_derived_by_hand():
    """The network's a and b are those of the donors as well: two products for each row, and a loss on each reference.

    The first draw, whose memory is measured, is a chunk of two rows; the seven come again in the other. Mixed are the
    losses of the hypothesis and of the baseline.
    """
    said = explain(TOY_H, TOY_DATA, baseline=TOY_BASELINE, others="reference", draws=2)
    assert said.plain == {"the references and other, each row once": 2, "the references, each row once": 1}
    assert (said.streams, said.mixed, said.hypotheses, said.draws) == (2, 2, 1, 14)
    assert (said.flops, said.once, said.logits_rows) == ((2 + 7) * 2 * PRODUCT, 0, 0)
    assert {kind.name: (kind.calls, kind.mixed) for kind in said.kinds} == {"<lambda>": (5, 2)}
    assert said.chunk == 14  # no more than there are
    assert (
        said.peak_bytes >= (7 + 14) * 2 * 8 * 4
    )  # a and b, eight numbers each, of each row and gathered for each draw


@pytest.mark.usefixtures("small_chunks")
def test_a_row_is_computed_once_in_each_chunk():
    said = explain(TOY_H, TOY_DATA, baseline=TOY_BASELINE, others="reference", draws=2)
    assert said.flops == counted(TOY_H, TOY_DATA, baseline=TOY_BASELINE, others="reference", draws=2)
    assert 7 * 2 * PRODUCT < said.flops < 14 * 4 * PRODUCT


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("unclaimed", ["resample", "mean", "zero"])
def test_what_is_kept_for_all_chunks_is_counted_once(unclaimed):
    """Means over rows, and tables of values by position, are made once however many chunks there are."""
    by_position = Hypothesis(TOY, Graph(a=per_position(lambda x: x[..., 0] > 0), loss=reads("a", "y")))
    arguments = {"hypotheses": [TOY_H, by_position], "data": TOY_DATA, "baseline": TOY_BASELINE}
    said = explain(**arguments, unclaimed=unclaimed, draws=3)
    assert said.flops == counted(**arguments, unclaimed=unclaimed, draws=3)
    tables = 7 * PRODUCT * (3 if unclaimed == "mean" else 1)  # a by position; the means of a and of b
    assert said.once == tables


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    "marks", [[[0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0]], [[1] * 5, [0] * 5, [1, 1, 0, 0, 1]]]
)
def test_rows_of_logits_are_evaluated_positions_times_losses(marks):
    """One of the network, one of each distinct hypothesis, one of the baseline, for each draw."""
    model = random_transformer(n_heads=2)
    data = random_data(model.config, rows=3) | {"weights": torch.tensor(marks).double()}
    G = transformer(model)
    I = Graph(loss=reads("logits", "labels", "weights"), logits=reads("a1_h0"), a1_h0=reads("tokens"))
    other = I | {"a1_h0": lambda tokens: tokens[:, 0]}
    arguments = {"hypotheses": [Hypothesis(G, I), Hypothesis(G, I), Hypothesis(G, other)], "data": data}
    arguments["baseline"] = Graph(loss=reads("labels", "weights"))
    said = explain(**arguments, draws=4)
    assert said.logits_rows == 4 * sum(map(sum, marks)) * (1 + 2 + 1)
    assert said.flops == counted(**arguments, draws=4)


def test_data_without_an_evaluated_position_cost_no_logits():
    model = random_transformer(n_heads=2)
    data = random_data(model.config, rows=3)
    data["weights"] = 0 * data["weights"]
    I = Graph(loss=reads("logits", "labels", "weights"), logits=reads("a1_h0"), a1_h0=reads("tokens"))
    said = explain(Hypothesis(transformer(model), I), data, baseline=Graph(loss=reads("labels", "weights")))
    assert said.logits_rows == 0


def test_a_cost_above_the_memory_is_warned_of_as_the_run_would_be():
    with pytest.warns(ScrubbingWarning, match="^one draw takes .* going on all the same, one draw at a time$"):
        said = explain(TOY_H, TOY_DATA, baseline=TOY_BASELINE, memory="10B")
    assert (said.chunk, said.memory) == (1, 10)


def test_a_cost_is_printed_on_80_columns():
    names = {f"loss/{'deep/' * 30}stream{i}": i for i in range(5)} | {"unused": 0}
    kinds = (Kind(name="Product", calls=3, mixed=1, flops=12_345_678), Kind(name="N" * 90, calls=1, mixed=0, flops=999))
    shown = str(
        Cost(
            hypotheses=2,
            draws=1000,
            streams=6,
            plain=names,
            mixed=4,
            logits_rows=12_000,
            flops=12_346_677,
            once=0,
            chunk=500,
            peak_bytes=2**20,
            memory=2**31,
            kinds=kinds,
        )
    )
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert [" ".join(line.split()) for line in lines[:7]] == [
        "hypotheses 2",
        "draws 1,000, 500 at a time",
        "streams of rows 6",
        "calls 10 plain, 4 mixed",
        "rows of logits 12,000",
        "operations 12.3 MFLOP, 0 FLOP of them once",
        "memory 1.0 MiB at most, of 2.0 GiB allowed",
    ]
    assert "│ Product" in shown
    assert "│     3 │     1 │ 12.3 MFLOP │  100% │" in shown


def test_evaluating_is_not_changed_by_being_counted():
    prepared = prepare(TOY_H, TOY_DATA, TOY_BASELINE, Options())
    assert isinstance(prepared.evaluator, Evaluator)
    roots = Outputs.of(prepared.jobs, prepared.planner, 7).roots
    plain = prepared.evaluator.interpreter.values(roots, slice(0, 7))
    with counting_flops() as so_far:
        again = prepared.evaluator.interpreter.values(roots, slice(0, 7))
        assert so_far() == 7 * 4 * PRODUCT
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
