"""Direct effects, ablations and what makes up for them, against passes written out head by head."""

import pytest
import torch
from hugging_face_models import hugging_face_model
from plain_repair import model_of, passed, rows_of, towards

from hypotheses.self_repair.effects import ABLATIONS, FIELDS, ablated, followed, replaced
from hypotheses.self_repair.measuring import Design, batches, statistics
from hypotheses.self_repair.network import Network
from scrubbing import ModelError
from scrubbing.lens import load_transformer

pytestmark = pytest.mark.usefixtures("unchecked")

KINDS = {
    "in sequence": {},
    "in parallel": {"parallel_attn_mlp": True},
    "attention only": {"attn_only": True},
    "without norms": {"normalization_type": None},
    "in parallel without norms": {"parallel_attn_mlp": True, "normalization_type": None},
}
ROWS = 6
BATCH = 2


@pytest.fixture(params=KINDS)
def model(request):
    return model_of(**KINDS[request.param])


def first_batch(model, rows, **design):
    return next(batches(Network.of(model), rows, Design(len(rows), BATCH, **design)))


def instead_of(model, rows, head, ablation):
    """What stands in for z in the first batch, written out: the donor of row i is row i + 2."""
    z = passed(model, rows).z[head]
    return {
        "resample": z[BATCH : 2 * BATCH],
        "mean": z[:BATCH].mean((0, 1)).expand_as(z[:BATCH]),
        "zero": torch.zeros_like(z[:BATCH]),
    }[ablation]


def records(model, rows, head, **design):
    batch = first_batch(model, rows, **design)
    instead = replaced(batch.clean, batch.donors, head[0])[..., head[1], :]
    return ablated(batch.clean, head, instead, design.get("de_ln", "clean")).flatten(2)


@pytest.mark.parametrize("de_ln", ["clean", "own"])
def test_every_field_is_that_of_a_pass_with_the_head_replaced(model, de_ln):
    rows, network = rows_of(model, ROWS), Network.of(model)
    u, plain = towards(model, rows[:BATCH]), passed(model, rows[:BATCH])
    layers = range(model.config.n_layers)
    mlps = [] if model.config.attn_only else [f"m{layer}" for layer in layers]
    for head in network.heads:
        name, found = f"a{head[0]}_h{head[1]}", records(model, rows, head, de_ln=de_ln)
        others = [f"a{layer}_h{h}" for layer, h in network.heads if (layer, h) != head]
        for a, ablation in enumerate(ABLATIONS):
            other = passed(model, rows[:BATCH], {head: instead_of(model, rows, head, ablation)})
            size = plain.size if de_ln == "clean" else other.size

            def change(part, other=other, size=size):
                return other.effect(part, u, size) - plain.effect(part, u, plain.size)

            change_in_logit = other.logits - plain.logits
            by_heads, by_mlps = (sum((change(part) for part in of), torch.zeros(BATCH, 7)) for of in (others, mlps))
            repair = change_in_logit - change(name)
            expected = {
                "direct_effect": plain.effect(name, u, plain.size),
                "ablated_direct_effect": other.effect(name, u, size),
                "change_in_logit": change_in_logit,
                "from_heads": by_heads,
                "from_mlps": by_mlps,
                "from_norm": repair - by_heads - by_mlps,  # by definition what is left
                "norm_ratio": plain.size / other.size,
                "stream_ratio": other.resid.norm(dim=-1) / plain.resid.norm(dim=-1),
            }
            for field, values in expected.items():
                got = found[a, FIELDS.index(field)]
                assert (got - values.flatten()).abs().max() < 1e-11, (head, ablation, field)


def test_parts_add_up_to_self_repair(model):
    rows = rows_of(model, ROWS)
    for head in Network.of(model).heads:
        found = dict(zip((*FIELDS, "self_repair"), statistics(records(model, rows, head)).unbind(1), strict=False))
        total = found["from_heads"] + found["from_mlps"] + found["from_norm"]
        torch.testing.assert_close(found["self_repair"], total, rtol=0, atol=1e-12)


def test_what_is_not_downstream_makes_up_for_nothing():
    model = model_of(parallel_attn_mlp=True)
    for head in ((2, 0), (2, 1)):
        found = records(model, rows_of(model, ROWS), head)
        assert not found[:, FIELDS.index("from_heads")].abs().gt(1e-15).any()
        assert not found[:, FIELDS.index("from_mlps")].any()
        # The formula of appendix B, for the logit less the unembedding's bias and the norm's own.
        f = dict(zip(FIELDS, found.unbind(1), strict=True))
        batch = first_batch(model, rows_of(model, ROWS))
        logit = (batch.clean.along * batch.clean.scale).flatten()
        change_of_head = f["ablated_direct_effect"] - f["direct_effect"]
        formula = (f["norm_ratio"] - 1) * logit + f["norm_ratio"] * change_of_head
        torch.testing.assert_close(f["change_in_logit"], formula, rtol=0, atol=1e-12)
        with_biases = (f["norm_ratio"] - 1) * batch.clean.logit.flatten() + f["norm_ratio"] * change_of_head
        assert (f["change_in_logit"] - with_biases).abs().max() > 0.01


def test_all_direct_effects_add_up_to_the_logit_less_its_constant(model):
    rows, network = rows_of(model, ROWS), Network.of(model)
    clean = first_batch(model, rows).clean
    heads = sum(clean.of_heads(layer).sum(-1) for layer in range(3))
    mlps = sum(clean.of_mlps(), torch.zeros(()))
    w = model.weights
    biases = sum(w[f"blocks.{layer}.attn.b_O"] for layer in range(3))
    rest = clean.reading.along(network.embedding(rows[:BATCH, :-1]) + biases) * clean.scale
    torch.testing.assert_close(heads + mlps + rest, clean.along * clean.scale, rtol=0, atol=1e-12)


def test_centred_logits_are_those_less_their_mean(model):
    rows = rows_of(model, ROWS)
    mean = model.weights["unembed.W_U"].mean(1)
    clean = first_batch(model, rows, centred=True).clean
    u = towards(model, rows[:BATCH], mean)
    torch.testing.assert_close(clean.reading.towards, u, rtol=0, atol=1e-12)
    w, final = model.weights, passed(model, rows[:BATCH])
    gain, bias = w.get("ln_final.w", torch.ones(8)), w.get("ln_final.b", torch.zeros(8))
    x = final.resid - final.resid.mean(-1, keepdim=True) if "ln_final.w" in w else final.resid
    logits = (x / final.size[..., None] * gain + bias) @ w["unembed.W_U"] + w["unembed.b_U"]
    expected = (logits - logits.mean(-1, keepdim=True)).gather(-1, rows[:BATCH, 1:, None])[..., 0]
    torch.testing.assert_close(clean.logit, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [{"normalization_type": None, "parallel_attn_mlp": True}, {"attn_only": True}])
def test_a_head_that_only_the_output_reads_is_repaired_by_nothing_but_the_norm(kind):
    model = model_of(**kind)
    rows = rows_of(model, ROWS)
    for head in ((2, 0), (2, 1)):
        found = statistics(records(model, rows, head))
        frozen = found[:, len(FIELDS)] - found[:, FIELDS.index("from_norm")]
        assert frozen.abs().max() < 1e-12
        if kind.get("normalization_type", "LN") is None:
            assert found[:, len(FIELDS)].abs().max() < 1e-12
        # With the norm's size held, the pass itself changes by the head's direct effect alone.
        plain = passed(model, rows[:BATCH])
        instead = instead_of(model, rows, head, "zero")
        held = passed(model, rows[:BATCH], {head: instead}, size=plain.size)
        expected = -found[2, FIELDS.index("direct_effect")]
        torch.testing.assert_close((held.logits - plain.logits).flatten(), expected, rtol=0, atol=1e-12)


def test_equal_rows_stand_in_for_each_other_without_a_trace(model):
    rows = rows_of(model, 1).repeat(4, 1)
    for head in Network.of(model).heads:
        found = records(model, rows, head)[0]
        for field in ("change_in_logit", "from_heads", "from_mlps", "from_norm"):
            assert found[FIELDS.index(field)].abs().max() < 1e-12
        assert (found[FIELDS.index("norm_ratio")] - 1).abs().max() < 1e-12


def test_a_head_that_writes_nothing_has_no_effects():
    model = model_of()
    model.weights["blocks.1.attn.W_O"][0] = 0
    found = statistics(records(model, rows_of(model, ROWS), (1, 0)))
    for field in ("direct_effect", "change_in_logit", "from_heads", "from_mlps", "from_norm"):
        assert found[:, FIELDS.index(field)].abs().max() < 1e-13
    assert (found[:, FIELDS.index("norm_ratio")] - 1).abs().max() < 1e-13
    assert found[:, -1].isnan().all()  # no share of nothing


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "llama", "granite", "bloom", "qwen3", "gemma2"])
def test_families(name):
    """That the parts add up says little of rotary, grouped and gated blocks: logits are those of the model itself."""
    source = hugging_face_model(name, torch.float64)
    model = load_transformer(source)
    if name == "gemma2":
        with pytest.raises(ModelError, match=r"a norm after its blocks .*; the study needs norm_placement 'before'"):
            Network.of(model)
        return
    network, rows = Network.of(model), torch.randint(50, (4, 9), generator=torch.Generator().manual_seed(0))
    batch = next(batches(network, rows, Design(4, 2)))
    every = source(rows[:2, :-1]).logits.gather(-1, rows[:2, 1:, None])[..., 0]
    torch.testing.assert_close(batch.clean.logit, every, rtol=0, atol=1e-5)  # rotary angles are of 32 bits there
    for head in ((0, 1), (1, 2)):
        instead = replaced(batch.clean, batch.donors, head[0])[..., head[1], :]
        found, last = followed(batch.clean, head, instead, "clean")
        of = dict(zip((*FIELDS, "self_repair"), statistics(found.flatten(2)).unbind(1), strict=False))
        parts = of["from_heads"] + of["from_mlps"] + of["from_norm"]
        torch.testing.assert_close(of["self_repair"], parts, rtol=0, atol=1e-10)
        assert last.end.shape[0] == 6
        assert of["change_in_logit"].abs().max() > 1e-3


def test_the_norm_helps_where_it_shrinks():
    """The sign of the norm's part is that of the change in its size, times that of what is left of the logit."""
    for kind in ({}, {"parallel_attn_mlp": True}, {"attn_only": True}):
        model = model_of(**kind)
        rows = rows_of(model, ROWS)
        batch = first_batch(model, rows)
        for head in Network.of(model).heads:
            of = dict(zip(FIELDS, records(model, rows, head).unbind(1), strict=True))
            left = (batch.clean.along * batch.clean.scale).flatten() + of["from_heads"] + of["from_mlps"]
            left = left + of["ablated_direct_effect"] - of["direct_effect"]
            assert (of["from_norm"].sign() == (of["norm_ratio"] - 1).sign() * left.sign()).all()
