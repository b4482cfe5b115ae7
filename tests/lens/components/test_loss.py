"""The loss in calls that share their work is the loss of the graph as it is written, on any transformer and weights."""

import os
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reference_scrub import ReferenceScrub
from reference_transformer import config, random_data, random_weights
from rewritten import CLAIMS, REWRITES, SMALL, SMALL_DATA, masked

from scrubbing import Graph, Hypothesis, reads, scrub
from scrubbing.engine.expressions import Call
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import References, Sample
from scrubbing.lens import Transformer, transformer
from scrubbing.lens.components.loss import LossAt

pytestmark = [
    pytest.mark.usefixtures("unchecked_throughout"),
    pytest.mark.filterwarnings("ignore::scrubbing.ScrubbingWarning"),  # some claims change nothing
    pytest.mark.filterwarnings("ignore:Do not use the `random` module"),  # beartype looks at random items of lists
]

POSITIONS, NORMS = ("standard", "rotary", "shortformer"), ("LN", "LNPre", "RMS", "RMSPre", None)
BIASES = ("attn.b_Q", "attn.b_K", "attn.b_V", "attn.b_O", "unembed.b_U")
BASELINE = Graph(loss=reads("labels", "weights"))
TIMES = int(os.environ.get("SCRUBBING_EXAMPLES", "1"))
GENERATED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)


@st.composite
def models(draw: st.DrawFn) -> Transformer:
    """A small transformer with any positions, norm and biases; heads are narrow beside the stream, or not."""
    c = config(
        n_layers=draw(st.sampled_from([2, 3])),
        n_heads=2,
        d_model=draw(st.sampled_from([6, 3])),
        d_head=2,
        positional_embedding_type=draw(st.sampled_from(POSITIONS)),
        normalization_type=draw(st.sampled_from(NORMS)),
    )
    absent = draw(st.sets(st.sampled_from(BIASES)))
    weights = random_weights(c, seed=draw(st.integers(0, 99)))
    return Transformer(c, {name: w for name, w in weights.items() if not name.endswith(tuple(absent))})


@st.composite
def datasets(draw: st.DrawFn, model: Transformer) -> dict[str, torch.Tensor]:
    """Rows of which none, one, a few or all positions have a weight."""
    data = random_data(model.config, rows=draw(st.integers(1, 5)), seed=draw(st.integers(0, 99)))
    length = data["weights"].shape[1]
    kinds = st.sampled_from([0, 0b01000, 0b00001, 0b10010, 0b11111, 0b01111])
    marks = draw(st.lists(kinds, min_size=len(data["weights"]), max_size=len(data["weights"])))
    marked = torch.tensor([[mark >> p & 1 for p in range(length)] for mark in marks])
    return data | {"weights": (0.3 + data["weights"]) * marked}


def evaluated(G: Graph, data: dict[str, torch.Tensor], *, size: int) -> tuple[Call, torch.Tensor]:
    """The expression of the network's loss, and its values a few rows at a time."""
    interpreter = Interpreter(dict(data), Sample(np.arange(len(data["tokens"])), len(data["tokens"])))
    root = Planner(Policy(), Features(interpreter)).plain(G, References())
    assert isinstance(root, Call)
    starts = range(0, len(data["tokens"]), size)
    pieces = [interpreter.values([root], slice(start, start + size))[0] for start in starts]
    return root, torch.cat(pieces)


@settings(GENERATED, max_examples=30 * TIMES)
@given(st.data())
def test_the_lowered_loss_is_that_of_the_graph(data):
    model = data.draw(models())
    G = REWRITES[data.draw(st.sampled_from(sorted(REWRITES)))](transformer(model))
    columns = data.draw(datasets(model))
    root, losses = evaluated(G, columns, size=data.draw(st.sampled_from([1, 2, 5])))
    assert isinstance(root.fn, LossAt)
    torch.testing.assert_close(losses, G(columns), rtol=0, atol=1e-10)
    torch.testing.assert_close(losses, G.origin(columns), rtol=0, atol=1e-10)


# -- hypotheses


def last_token(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[:, -1] % 2


@st.composite
def claims(draw: st.DrawFn, G: Graph) -> Graph:
    """Any of the inputs of each node claimed, down to the tokens, or a feature of them."""
    nodes: dict[str, Any] = {"loss": reads("logits", "labels", "weights")}
    to_do = ["logits"]
    for name in to_do:  # grows while it is walked
        inputs = [p for p in G[name].inputs if p in G]
        claimed = draw(st.lists(st.sampled_from(inputs), unique=True, max_size=2)) if inputs else []
        to_do += [p for p in claimed if p not in to_do]
        nodes[name] = reads(*claimed, *(["tokens"] if not claimed else []))
        if not claimed and draw(st.booleans()):
            nodes[name] = last_token
    return Graph(nodes)


@settings(GENERATED, max_examples=4 * TIMES)
@given(st.data())
def test_hypotheses_scored_together_are_those_scored_alone_and_the_pseudo_code(data):
    model = data.draw(models())
    rewrites = data.draw(st.lists(st.sampled_from(sorted(REWRITES)), min_size=1, max_size=2, unique=True))
    graphs = [REWRITES[name](transformer(model)) for name in rewrites]
    columns = data.draw(datasets(model))
    hypotheses = [Hypothesis(G, data.draw(claims(G))) for G in graphs for _ in range(2)]
    options: dict[str, Any] = {"others": data.draw(st.sampled_from(["node", "reference", "input"]))}
    draws = data.draw(st.sampled_from([1, 3]))
    together = scrub(hypotheses, columns, baseline=BASELINE, draws=draws, **options)
    for h, score in zip(hypotheses, together, strict=True):
        alone = scrub(h, columns, baseline=BASELINE, draws=draws, **options)
        for column in ("original", "baseline", "scrubbed", "kl", "agreement"):
            got, wanted = (s.by_reference.of(column) for s in (score, alone))
            assert got is not None
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12, err_msg=column)
        slow = ReferenceScrub(h, columns, **options).estimate(range(len(columns["tokens"])), draws=draws)
        np.testing.assert_allclose(score.by_reference.scrubbed, slow, rtol=0, atol=1e-10)
        assert score.by_reference.original == together[0].by_reference.original


# -- what weights may be


@cache
def scored(kind: str) -> tuple[float, ...]:
    marks = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1], [0, 1, 1, 0, 0]])
    data = SMALL_DATA | {"weights": marks.to(getattr(torch, kind))}
    h = Hypothesis(transformer(SMALL), CLAIMS[0])
    return scrub(h, data, baseline=BASELINE).by_reference.scrubbed


@pytest.mark.parametrize("kind", ["bool", "int64", "float32", "bfloat16"])
def test_weights_may_be_of_any_type(kind):
    assert scored(kind) == pytest.approx(scored("float64"), abs=1e-12)


def test_a_first_row_without_an_evaluated_position_is_scored():
    weights = SMALL_DATA["weights"].clone()
    weights[:2] = 0
    score = scrub(Hypothesis(transformer(SMALL), CLAIMS[0]), SMALL_DATA | {"weights": weights}, baseline=BASELINE)
    assert score.by_reference.scrubbed[:2] == (0, 0)
    full = scrub(Hypothesis(transformer(SMALL), CLAIMS[0]), SMALL_DATA, baseline=BASELINE)
    assert score.by_reference.scrubbed[2:] == pytest.approx(full.by_reference.scrubbed[2:], abs=1e-12)


@pytest.mark.parametrize("others", ["node", "reference"])
def test_16_bit_networks_are_scored_as_they_are_and_rewritten(others):
    """Losses are sums of 32 bits over the stream's 16; a rewrite may differ by its rounding."""
    half = SMALL.to(torch.bfloat16)
    G = masked(transformer(half))
    h = Hypothesis(G, Graph(CLAIMS[0] | {"a1_h0": reads("a1_h0_v"), "a1_h0_v": reads("tokens")}))
    score = scrub(h, SMALL_DATA, baseline=BASELINE, others=others)
    exact = scrub(Hypothesis(masked(transformer(SMALL)), h.I), SMALL_DATA, baseline=BASELINE, others=others)
    for column in ("original", "scrubbed"):
        got, wanted = (getattr(s.by_reference, column) for s in (score, exact))
        assert got == pytest.approx(wanted, rel=0.05)
        assert got != pytest.approx(wanted, rel=1e-6)
    assert np.float32(score.by_reference.original) == pytest.approx(score.by_reference.original, abs=0)
    own = G.origin(SMALL_DATA)
    assert own.dtype == torch.float32
    assert score.by_reference.original == pytest.approx(own.tolist(), rel=0.02)
