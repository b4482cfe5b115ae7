"""Self-repression, overwritten layers and neurons, against passes written out one position at a time."""

import pytest
import torch
from plain_repair import model_of, passed, rows_of, towards

from hypotheses.self_repair.effects import Clean
from hypotheses.self_repair.measuring import Design, batches
from hypotheses.self_repair.network import Network
from hypotheses.self_repair.neurons import Summaries, check_neurons, collect
from hypotheses.self_repair.overwriting import overwritten, spans, tables
from hypotheses.self_repair.repression import OTHER, OWN, RANDOM, repressed
from scrubbing import ModelError

pytestmark = pytest.mark.usefixtures("unchecked")

KINDS = [{}, {"parallel_attn_mlp": True}, {"attn_only": True, "normalization_type": None}]


def clean_of(model, rows) -> Clean:
    return Clean.of(Network.of(model), rows[:, :-1], rows[:, 1:], None)


@pytest.mark.parametrize("scale", ["clean", "own"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_is_added_at_one_position_is_that_of_a_pass_for_each_position(kind, scale):
    model = model_of(**kind)
    rows = rows_of(model, 3)
    u, plain = towards(model, rows), passed(model, rows)
    for head in ((1, 0), (2, 1)):
        name = f"a{head[0]}_h{head[1]}"
        own, all_found = plain.parts[name], repressed(clean_of(model, rows), head, alphas=(0.0, 3.0), scale=scale)
        assert [(f.added, f.alpha) for f in all_found] == [(a, b) for a in (OWN, OTHER, RANDOM) for b in (0.0, 3.0)]
        for found in all_found[1::2]:
            if found.added == RANDOM:
                continue
            added = own if found.added == OWN else plain.parts[f"a{head[0]}_h{1 - head[1]}"]
            for p in range(rows.shape[1] - 1):
                at_p = torch.zeros_like(added)
                at_p[:, p] = 3 * added[:, p]
                after = passed(model, rows, added={head[0]: at_p})
                size = plain.size if scale == "clean" else after.size
                expected = after.effect(name, u, size)[:, p]
                torch.testing.assert_close(found.after[:, p], expected, rtol=1e-9, atol=1e-11)
        for found in all_found[::2]:
            torch.testing.assert_close(found.after, found.before, rtol=1e-9, atol=1e-12)


def test_a_random_direction_is_as_long_as_the_output():
    model = model_of()
    rows = rows_of(model, 3)
    found = {f.added: f for f in repressed(clean_of(model, rows), (2, 0), alphas=(1.0,))}
    again = {f.added: f for f in repressed(clean_of(model, rows), (2, 0), alphas=(1.0,))}
    assert found[RANDOM].after.equal(again[RANDOM].after)
    assert not found[RANDOM].after.equal(found[OWN].after)
    row = found[OWN].row()
    x, y = found[OWN].before.flatten(), found[OWN].after.flatten()
    slope = torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], 1), y[:, None]).solution[0].item()
    assert row["slope"] == pytest.approx(slope)
    assert row["fallen"] == pytest.approx((y < x)[x > 0].double().mean().item())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_overwriting_is_leaving_layers_out(kind):
    model = model_of(**kind)
    rows = rows_of(model, 3)
    clean = clean_of(model, rows)
    for span in spans(3):
        after, expected = overwritten(clean, span), passed(model, rows, without=range(*span))
        torch.testing.assert_close(after.logit, expected.logits, rtol=1e-10, atol=1e-12)
    assert spans(3) == [(0, 1), (0, 2), (1, 2)]


def test_tables_of_overwritten_layers():
    model = model_of()
    rows = rows_of(model, 4)
    u, plain = towards(model, rows), passed(model, rows)
    pairs, heads = tables([clean_of(model, rows[:3]), clean_of(model, rows[3:])], kept=5)
    other = passed(model, rows, without=range(1, 2))
    pair = next(row for row in pairs if (row["first"], row["second"]) == (1, 2))
    assert pair["tokens"] == 28
    assert pair["change_in_logit"] == pytest.approx((other.logits - plain.logits).mean().item())
    head = next(row for row in heads if (row["first"], row["layer"], row["head"]) == (1, 2, 1))
    top = plain.effect("a2_h1", u, plain.size).flatten().topk(5)
    assert head["direct_effect"] == pytest.approx(top.values.mean().item())
    new = other.effect("a2_h1", u, plain.size).flatten()[top.indices]  # in the plain run's scale
    assert head["new_direct_effect"] == pytest.approx(new.mean().item())


@pytest.mark.parametrize("scale", ["clean", "own"])
@pytest.mark.parametrize(("kind", "head"), [({}, (2, 1)), ({}, (0, 0)), ({"parallel_attn_mlp": True}, (1, 1))])
def test_neurons_are_those_of_two_passes(kind, head, scale):
    model, kept = model_of(**kind), 6
    rows = rows_of(model, 6)
    found = collect(batches(Network.of(model), rows, Design(6, 2)), head, kept, scale=scale)
    u, plain = towards(model, rows), passed(model, rows)
    after = passed(model, rows, {head: plain.z[head].roll(-2, 0)})
    along = u @ model.weights["blocks.2.mlp.W_out"].T
    clean = (plain.parts["neurons"] * along / plain.size[..., None]).flatten(0, 1)
    size = plain.size if scale == "clean" else after.size
    ablated = (after.parts["neurons"] * along / size[..., None]).flatten(0, 1)
    repair = ablated - clean
    bias = (u @ model.weights["blocks.2.mlp.b_out"] / plain.size).flatten()
    effect = plain.effect(f"a{head[0]}_h{head[1]}", u, plain.size).flatten()
    for top, key in ((found.by_effect, effect), (found.by_repair, repair.sum(-1))):
        at = key.topk(kept).indices
        of, order = Summaries.of(top), repair[at].sort(-1, descending=True)
        torch.testing.assert_close(of.head_effect, effect[at])
        torch.testing.assert_close(of.layer[0], clean[at].sum(-1) + bias[at])
        torch.testing.assert_close(of.layer[1], repair[at].sum(-1))
        torch.testing.assert_close(of.repair[:12].T, order.values)
        torch.testing.assert_close(of.clean[:12].T, clean[at].gather(1, order.indices))
        assert of.order[:12].T.long().equal(order.indices)
        share = order.values.abs().cumsum(-1) / order.values.abs().sum(-1, keepdim=True)
        torch.testing.assert_close(of.curve[0].T, share[:, found.ranks])
        assert of.anti_erasing.tolist() == [
            bool(clean[t, n] < 0 and ablated[t, n] > clean[t, n])
            for t, n in zip(at.tolist(), order.indices[:, 0].tolist(), strict=True)
        ]
    # The neurons' effects add up to the MLP's, but for its bias.
    torch.testing.assert_close(clean.sum(-1) + bias, plain.effect("m2", u, plain.size).flatten())


@pytest.mark.parametrize(
    ("kind", "head", "said"),
    [
        ({"attn_only": True}, (0, 0), "attention alone, and so no neurons .* with --model"),
        ({"parallel_attn_mlp": True}, (2, 0), "head 2.0 is in the last layer, .* name a head of layers 0 to 1"),
    ],
)
def test_neurons_that_cannot_repair_are_refused(kind, head, said):
    with pytest.raises(ModelError, match=said):
        check_neurons(Network.of(model_of(**kind)), head)
