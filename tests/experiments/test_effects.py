"""Direct effects against what is written out with plain torch, and by what they must add up to."""

from dataclasses import replace

import pytest
import torch
from hooked_passes import FAMILIES, HookedModel
from hugging_face_models import MODELS, VOCABULARY, hugging_face_model

from scrubbing import (
    DataError,
    Graph,
    GraphError,
    Hypothesis,
    HypothesisError,
    direct_effects,
    kept,
    paths,
    reads,
    scrubbed_activations,
)
from scrubbing.lens import load_transformer, next_token_data, transformer
from scrubbing.rewrite import split_norm

ROWS = torch.randint(0, VOCABULARY, (5, 9), generator=torch.Generator().manual_seed(3))
DONORS = torch.tensor([3, 0, 4, 1, 2])


def case(name):
    """The model, its graph, and data of which a third of the positions are evaluated."""
    model = hugging_face_model(name)
    loaded = load_transformer(model, check=False)
    data = dict(next_token_data(ROWS, model=loaded))
    weights = torch.rand(data["weights"].shape, generator=torch.Generator().manual_seed(4))
    data["weights"] = weights.where(weights < 0.4, 0)
    data["labels"] = data["labels"].where(data["weights"] != 0, -100)  # as others mark what is not evaluated
    return model, transformer(loaded), data


def summed(by_position, data):
    return (by_position * data["weights"]).sum(1)


def close(got, expected, atol=1e-4):
    torch.testing.assert_close(torch.as_tensor(got).float(), expected, rtol=0, atol=atol)


def own_logits(model, G, data):
    """Of the labels, by the model itself, before a cap and without the unembedding's bias."""
    readout = G["logits"].fn
    with torch.no_grad():
        logits = model(input_ids=data["tokens"]).logits
    if readout.soft_cap is not None:
        logits = readout.soft_cap * (logits / readout.soft_cap).atanh()
    logits = logits if readout.b_U is None else logits - readout.b_U
    return logits.gather(2, data["labels"].clamp(min=0)[..., None])[..., 0]


@pytest.mark.parametrize("name", MODELS)
def test_all_terms_add_up_to_the_logit_but_for_the_unembedding_s_bias(name):
    model, G, data = case(name)
    effects = direct_effects(G, data)
    expected = summed(own_logits(model, G, data), data)
    largest = expected.abs().max()
    close(effects.total, expected, atol=2e-4 * largest)
    assert list(effects.values)[: len(G["logits"].inputs)] == list(G["logits"].inputs)
    assert all(abs(effect).max() > 1e-3 * largest for effect in effects.values.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_heads_and_mlps_add_what_hooks_find(name):
    model, G, data = case(name)
    hooked, labels = HookedModel(model, name), data["labels"].clamp(min=0)
    effects = direct_effects(G, data)
    if name == "gemma2":  # a norm stands between what is written and the stream
        seen = {}
        for layer, block in enumerate(model.model.layers):
            for key, norm in (("a", block.post_attention_layernorm), ("m", block.post_feedforward_layernorm)):
                norm.register_forward_hook(lambda _, __, out, key=f"{key}{layer}": seen.update({key: out}))
        hooked.run(data["tokens"])
        assert len(seen) == 4
    else:
        z, mlp = hooked.record(data["tokens"])
        seen = {f"a{n}_h{h}": hooked.written(z[n], n, h) for n in range(2) for h in range(4)}
        biases = [getattr(hooked.mlp(n), "bias", None) for n in range(2)]
        seen |= {
            f"m{n}": out.view(*ROWS[:, 1:].shape, -1) - (0 if b is None else b)
            for (n, out), b in zip(mlp.items(), biases, strict=True)
        }
    for term, added in seen.items():
        close(effects.values[term], summed(hooked.logit_effect(data["tokens"], added, labels), data))


def test_a_difference_of_two_logits_is_that_of_two_effects():
    _, G, data = case("gpt2")
    first = torch.tensor([3, 40, 8, 21, 0])
    data |= {"io": first, "s": data["labels"], "others": first[:, None].expand(data["labels"].shape)}
    io, s, both, others = (direct_effects(G, data, on=on) for on in ("io", "s", ("io", "s"), "others"))
    for term, value in both.values.items():
        close(value, torch.as_tensor(io.values[term] - s.values[term]).float())
        close(others.values[term], torch.as_tensor(io.values[term]).float())
    some = direct_effects(G, data, terms="a1.* m0")
    assert list(some.values) == ["m0", "a1_h0", "a1_h1", "a1_h2", "a1_h3"]
    close(some.values["a1_h2"], torch.as_tensor(s.values["a1_h2"]).float())


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_with_a_frozen_norm_patching_a_head_changes_a_logit_by_the_difference_of_direct_effects(name):
    _, G, data = case(name)
    data["labels"] = data["labels"].clamp(min=0)
    split = split_norm(G, "logits")
    h = paths(split, "a1_h1", "logits")
    logits = [
        scrubbed_activations(one, data, "logits", others=DONORS)["logits"].gather(2, data["labels"][..., None])[..., 0]
        for one in (h, Hypothesis(split, _all_kept(split)))
    ]
    patched = direct_effects(h, data, others=DONORS).values["a1_h1"]
    clean = direct_effects(split, data).values["a1_h1"]
    close(patched - clean, summed(logits[0] - logits[1], data))
    assert abs(patched - clean).max() > 1e-3


def _all_kept(G):
    return Graph(loss=reads("logits", "labels", "weights")) | kept(G, "logits")


def test_the_scale_is_that_of_the_plain_run_or_of_the_hypothesis_s_own():
    _, G, data = case("gpt2")
    h = paths(G, "a1_h1 m0", "logits")
    clean, own = (direct_effects(h, data, others=DONORS, scale=scale) for scale in ("clean", "own"))
    names = G["logits"].inputs
    values = [v[DONORS] if n in ("a1_h1", "m0") else v for n, v in zip(names, G.activations(data, *names), strict=True)]
    fn = G["logits"].fn
    labels = data["labels"].clamp(min=0)[..., None]
    by_hand = replace(fn, b_U=None)(*values).all().gather(2, labels)[..., 0]
    close(own.total, summed(by_hand, data))
    reader = fn.reader
    scale = reader.norm.scale(reader.norm.centred(reader.stream(*G.activations(data, *names))))
    frozen = (reader.norm.of_scale(reader.stream(*values), scale) @ fn.W_U).gather(2, labels)[..., 0]
    close(clean.total, summed(frozen, data))
    assert abs(own.total - clean.total).max() > 1e-3


def test_a_result_prints_its_largest_terms():
    _, G, data = case("llama")
    text = str(direct_effects(G, data))
    assert "direct effects on the logit of labels" in text
    assert "all terms" in text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"on": "labls"}, DataError, "the data have no column 'labls'; did you mean 'labels'?"),
        ({"on": ("labels",) * 3}, DataError, "names 3 columns; name one, or two for a difference"),
        ({"on": "weights"}, DataError, "'weights' is of type float32; it must hold token numbers"),
        ({"on": "large"}, DataError, "'large' holds token 50 in row 0, but tokens go from 0 to 49"),
        (
            {"on": "short"},
            DataError,
            "'short' has the shape [5, 2], but must hold a token for each row or each position",
        ),
        (
            {"terms": "loss"},
            HypothesisError,
            "'loss' is no term of what 'logits' reads, so that it has no direct effect",
        ),
        ({"terms": "m7"}, GraphError, "there is no node 'm7'; did you mean 'm"),
        ({"scale": "frozen"}, DataError, 'but it must be "clean" or "own"'),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    _, G, data = case("llama")
    data |= {"large": torch.full((5,), 50), "short": torch.zeros(5, 2, dtype=torch.long)}
    with pytest.raises(error) as mistake:
        direct_effects(G, data, **arguments)
    assert message in str(mistake.value)


def test_a_row_without_evaluated_positions_has_no_effect_to_speak_of():
    _, G, data = case("llama")
    data["weights"][3] = 0
    assert direct_effects(G, data, references=[0, 1]).total.shape == (2,)
    with pytest.raises(DataError, match=r"row 3 has no position of weight above 0, .* \(1 of 2 references\)"):
        direct_effects(G, data, references=[1, 3])


def test_a_network_without_logits_is_refused():
    with pytest.raises(HypothesisError, match=r"the output 'loss' is no cross-entropy of logits; make the graph with"):
        direct_effects(Graph(loss=lambda x: x), {"x": torch.ones(3)})
