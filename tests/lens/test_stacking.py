"""Heads computed together have the values that they have alone, in a few products."""

from collections import Counter

import numpy as np
import pytest
import torch
from reference_transformer import random_data, random_transformer

from scrubbing.engine.expressions import Call, Expression, Expressions, evaluation_order
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.sampling.streams import Drawn, References, Sample
from scrubbing.graph import Graph
from scrubbing.lens import transformer
from scrubbing.lens.components.narrowing import narrowed
from scrubbing.lens.components.residual import SUM
from scrubbing.lens.components.stacking import TERMS, Heads, in_few_calls, stacked
from scrubbing.rewrite import offset, split_mask, split_qkv

MODELS = {kind: random_transformer(positional_embedding_type=kind) for kind in ("standard", "rotary", "shortformer")}
ROWS = 6


def forward(expressions, G):
    """An ordinary forward pass on the references."""
    return expressions.forward(G, G.output, dict.fromkeys(G.columns, References()))


def mixed(G: Graph, expressions: Expressions):
    """The network, with a head of each layer on other rows, and its queries on others still."""
    here = dict.fromkeys(G.columns, References())
    there = here | {"tokens": Drawn(("other",))}
    roots = [forward(expressions, G)]
    for moved in (["a0_h1"], ["a0_h1", "a1_h0"], ["embed"]):
        values = {name: expressions.forward(G, name, there if name in moved else here) for name in G["logits"].inputs}
        late = [name for name in values if name.startswith("a1")]
        read = {name: expressions.call(G[name].fn, tuple(values[i] for i in G[name].inputs)) for name in late}
        logits = expressions.call(G["logits"].fn, tuple((values | read).values()))
        labels = (expressions.leaf(name, References()) for name in ("labels", "weights"))
        roots.append(expressions.call(G["loss"].fn, (logits, *labels)))
    return roots


def calls(roots) -> Counter:
    return Counter(type(step.fn).__name__ for step in evaluation_order(roots) if isinstance(step, Call))


@pytest.mark.parametrize("kind", MODELS)
def test_values_are_those_of_heads_computed_one_by_one(kind):
    data = random_data(MODELS[kind].config, rows=ROWS)
    roots = mixed(transformer(MODELS[kind]), Expressions())
    interpreter = Interpreter(dict(data), Sample(np.arange(ROWS), ROWS))
    few = narrowed(roots)
    for alone, together in zip(*(interpreter.values(r, slice(0, ROWS)) for r in (roots, stacked(few))), strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    assert calls(stacked(few)).total() < calls(few).total()


def test_an_ordinary_pass_has_the_products_of_whole_layers():
    model = MODELS["standard"]
    layers = {f"a{layer}": " ".join(f"a{layer}_h{head}" for head in range(3)) for layer in range(2)}
    whole = calls(narrowed([forward(Expressions(), transformer(model, **layers))]))
    heads = calls(stacked(narrowed([forward(Expressions(), transformer(model))])))
    assert heads["Projections"] == 3  # of the last layer one for keys and values, one for the queries evaluated
    assert heads["OutputProjections"] == 2  # one for the second layer, and one of all heads for the loss
    assert heads["OutputProjection"] == 0
    for same in ("FusedHeads", "FusedHeadsAt", "Sum", "ResidualReader"):
        assert heads[same] == whole[same], same


def test_a_head_that_others_read_too_is_written_alone():
    G = split_mask(split_qkv(transformer(MODELS["standard"]), "a0_h0"), "a0_h0", at=offset(1))
    data = random_data(MODELS["standard"].config, rows=ROWS)
    roots = [forward(Expressions(), G)]
    interpreter = Interpreter(dict(data), Sample(np.arange(ROWS), ROWS))
    (alone,), (together,) = (interpreter.values(r, slice(0, ROWS)) for r in (roots, stacked(roots)))
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def added(total: Expression) -> list[int]:
    """How many terms each sum adds up, from the last to the first."""
    found = []
    while isinstance(total, Call):
        found.append(len(total.arguments))
        total = total.arguments[0]
    return found


def test_sums_that_nobody_else_reads_are_one_call_of_a_few_terms():
    columns = [torch.rand(ROWS, dtype=torch.float64) for _ in range(12)]
    expressions = Expressions()
    leaves = tuple(expressions.leaf(str(n), References()) for n in range(12))
    whole, part = (expressions.call(SUM, leaves[:n]) for n in (12, 5))
    assert added(whole) == [2] * 11
    assert [added(root) for root in in_few_calls([whole])] == [[1 + 4, TERMS]]  # eight, and four more
    (long, short) = in_few_calls([whole, part])
    assert [added(long), added(short)] == [[8, 5], [5]]  # the sum of five is shared
    assert long.arguments[0] is short
    interpreter = Interpreter({str(n): x for n, x in enumerate(columns)}, Sample(np.arange(ROWS), ROWS))
    before, after = (interpreter.values(roots, slice(0, ROWS)) for roots in ([whole, part], [long, short]))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))  # to the last bit


def test_heads_next_to_each_other_are_not_copied():
    value = torch.arange(24.0).view(1, 2, 4, 3)
    assert Heads((1, 2))(value).data_ptr() == value[:, :, 1:].data_ptr()
    assert torch.equal(Heads((3, 0))(value), value[:, :, [3, 0]])
