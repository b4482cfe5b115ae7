"""Attention under any mask, whole, in parts, under offsets and at some positions, is that of the slow reference."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from reference_transformer import Attending, plain_logits, random_data, random_transformer

from scrubbing import Graph, GraphError, Hypothesis, reads, scrub
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.expressions import evaluation_order
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import References, Sample
from scrubbing.lens import transformer
from scrubbing.lens.components.attention import FusedHeadsAt, merge
from scrubbing.lens.components.narrowing import narrowed
from scrubbing.lens.components.scores import Mask, Scores
from scrubbing.rewrite import all_but, gather, group_heads, offset, split_mask, split_qkv

MODEL = random_transformer(n_heads=2, positional_embedding_type="shortformer", n_ctx=6)
DATA = random_data(MODEL.config, rows=4)
PADDING = {  # tokens are True; the second row is a whole one, and the last all padding
    None: None,
    "left": torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]]).bool(),
    "right": torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]).bool(),
}
FEW, MOST = torch.tensor([[0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 0, 0]] * 2), torch.ones(4, 6, dtype=torch.int64)
ALWAYS = ((True, None, None, "left"), (True, 2, 0.7, None), (False, None, 0.7, "right"), (False, 2, None, "left"))
WAYS = [
    pytest.param(*way, marks=[] if way in ALWAYS else pytest.mark.slow)
    for way in product([True, False], [None, 2], [None, 0.7], PADDING)
]
REWRITES = {
    "whole": lambda G: G,
    "a group": lambda G: group_heads(G, both="a0_h0 a0_h1"),
    "q, k and v": lambda G: split_qkv(G, "a0_h0", "a1_h0", "a1_h1"),
    "offsets": lambda G: split_mask(split_qkv(G, "a0_h0"), "a0_h0", at=offset(0, 1), after=offset(-1)),
    "offsets, last": lambda G: split_mask(split_qkv(G, "a1_h1"), "a1_h1", at=offset(2), after=offset(-2)),
    "gathered": lambda G: gather(split_qkv(G, "a1_h0"), "a1_h0_q", rest=all_but("embed")),
}


def network(causal: bool, window: int | None, soft_cap: float | None, padding: str | None) -> Graph:
    """The model with other masks; the last input of a head says where tokens are, if rows are padded."""
    G = transformer(MODEL)
    scores = Scores(MODEL.config.score_scale(0), Mask(causal, window, padding is not None), soft_cap)
    heads = {name: node for name, node in G.items() if name[0] == "a"}
    more = () if padding is None else ("present",)
    return G | {
        name: replace(node, fn=replace(node.fn, scores=scores), inputs=node.inputs + more)
        for name, node in heads.items()
    }


def lowered(G: Graph, data) -> tuple[torch.Tensor, list]:
    """The losses as they are computed in a run, and what is called for them."""
    evaluator = Evaluator(Interpreter(dict(data), Sample(torch.arange(4).numpy(), 4)), narrowed)
    root = Planner(Policy(), Features(evaluator.interpreter)).plain(G, References())
    return evaluator.losses([root])[0], [getattr(step, "fn", None) for step in evaluation_order(narrowed([root]))]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("causal", "window", "soft_cap", "padding"), WAYS)
def test_attention_of_any_kind_is_that_of_the_reference(causal, window, soft_cap, padding):
    G, tokens = network(causal, window, soft_cap, padding), PADDING[padding]
    attending = Attending(causal, window, soft_cap, tokens)
    logits = plain_logits(MODEL.config, dict(MODEL.weights), DATA["tokens"], attending)
    assert logits.isfinite().all()
    each = torch.nn.functional.cross_entropy(logits.mT, DATA["labels"], reduction="none")
    for name, rewrite in REWRITES.items():
        rewritten = rewrite(G)
        for weights in (FEW.double(), MOST.double()):
            data = DATA | {"weights": weights} | ({} if tokens is None else {"present": tokens})
            expected = (each * weights).sum(1)
            losses, functions = lowered(rewritten, data)
            torch.testing.assert_close(losses, expected, rtol=0, atol=1e-9, msg=f"{name}, in a run")
            assert any(isinstance(fn, FusedHeadsAt) for fn in functions)
        torch.testing.assert_close(rewritten(data), expected, rtol=0, atol=1e-9, msg=f"{name}, as it is written")


@pytest.mark.parametrize(("causal", "window", "soft_cap", "padding"), WAYS)
def test_a_pattern_sums_to_one_over_what_is_seen(causal, window, soft_cap, padding):
    G, tokens = split_qkv(network(causal, window, soft_cap, padding), "a0_h0"), PADDING[padding]
    data = DATA if tokens is None else DATA | {"present": tokens}
    pattern = G.activations(data, "a0_h0_pattern")[0][:, 0]
    attending = Attending(causal, window, soft_cap, tokens)
    sees = torch.tensor(
        [[[attending.sees(row, query, key) for key in range(6)] for query in range(6)] for row in range(4)]
    )
    assert torch.equal(pattern > 0, sees)
    torch.testing.assert_close(pattern.sum(-1), sees.any(-1).double())


def test_a_hypothesis_about_a_padded_network_passes_padding_on():
    """What a head reads beside the stream is a column like any other: claimed, it is the reference's."""
    G = split_qkv(network(True, None, None, "left"), "a1_h0")
    data = DATA | {"present": PADDING["left"]}
    everything = {name: reads(*node.inputs) for name, node in G.items()}
    score = scrub(Hypothesis(G, Graph(everything)), data, baseline=Graph(loss=reads("labels", "weights")))
    assert score.recovered == 1
    assert score.by_reference.scrubbed == score.by_reference.original


def test_a_capped_score_is_never_larger_than_the_cap():
    q, k = 100 * torch.ones(1, 3, 1, 2).double(), torch.arange(6.0).double().reshape(1, 3, 1, 2)
    pattern = Scores(1.0, Mask(causal=False), soft_cap=2.0).pattern(q, k)
    assert pattern.max() / pattern.min() < torch.tensor(4.0).exp()


def test_heads_that_score_in_different_ways_are_no_group():
    one, other = (network(causal, None, None, None)["a0_h0"].fn for causal in (True, False))
    with pytest.raises(GraphError, match=r"these heads make scores in different ways: .*causal=True.*causal=False"):
        merge([one, other])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mask(window=0), "a window of 0 positions; a query sees at least itself, which is window=1"),
        (lambda: Scores(1.0, soft_cap=-1.0), "scores cannot be capped at -1.0; without a cap, soft_cap is None"),
    ],
)
def test_what_is_no_mask_is_refused(make, message):
    with pytest.raises(GraphError) as error:
        make()
    assert str(error.value) == message
