"""The top name mover knocked out, against plain passes; the signals of S-inhibition heads; attention on repeats."""

import numpy as np
import pytest
import torch
from ioi_cases import KINDS, POSITION, TOKEN, WORDS, doubled, instead, random_network, rows, two_signals

from hypotheses.heads import all_heads, head_name
from hypotheses.ioi import signals
from hypotheses.ioi.backup import Backup, without_head
from hypotheses.ioi.data import rows_of, stacked
from hypotheses.ioi.measuring import LOOKS, head_scores, looks, repeated_tokens
from hypotheses.ioi.network import of_logit_difference, template_means
from hypotheses.ioi.prompts import ABC, SIGNALS
from scrubbing import DataError
from scrubbing.lens import transformer

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_knocked_out_at_the_end_is_what_a_plain_pass_makes_of_it(kind):
    model, of = random_network(seed=2, **KINDS[kind]), rows(12)
    columns, abc = doubled(of.columns), doubled(of.flipped(ABC, WORDS, 0).columns)
    own, heads = transformer(model), all_heads(model.config)
    means = template_means(own, abc, heads, template=abc["template"])
    found = without_head(own, columns, model.config, (1, 1), means)
    (clean,) = own.activations(columns, "a1_h1")
    patched, row = clean.clone(), torch.arange(12)
    patched[row, columns["END"]] = means["a1_h1"][columns["template"], columns["END"]]
    edited = own | {"a1_h1": instead(patched)}
    np.testing.assert_allclose(found.original, of_logit_difference(own)(columns), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.ablated, of_logit_difference(edited)(columns), rtol=0, atol=1e-12)
    assert abs(found.original - found.ablated).max() > 1e-3
    for graph, effects, sizes in (
        (own, found.clean_effects, found.clean_size),
        (edited, found.ablated_effects, found.ablated_size),
    ):
        (logits,) = graph.activations(columns, "logits")
        x = logits.resid[row, columns["END"]]
        size, W_U = torch.ones(12, dtype=torch.float64), model.weights["unembed.W_U"]
        if model.config.normalization_type:
            size = (x.var(-1, correction=0) + model.config.eps).sqrt()
            W_U = model.weights["ln_final.w"][:, None] * W_U
        np.testing.assert_allclose(sizes, size, rtol=0, atol=1e-12)
        towards = (W_U[:, columns["io"]] - W_U[:, columns["s"]]).T
        for head in heads:
            (written,) = graph.activations(columns, head_name(head))
            at_end = written[row, columns["END"]]
            if model.config.normalization_type:
                at_end = at_end - at_end.mean(-1, keepdim=True)
            expected = (at_end * towards).sum(-1) / size
            np.testing.assert_allclose(effects[head], expected, rtol=0, atol=1e-10)


def test_what_was_expected_and_how_much_was_repaired():
    effects, none = np.zeros((1, 2, 3)), np.ones(3)
    effects[0, 1] = 2.0
    found = Backup((0, 1), np.full(3, 5.0), np.full(3, 4.0), effects, 0 * effects, 1.1 * none, none)
    assert found.logit_difference == [{"original": 5.0, "ablated": 4.0, "naive_prediction": 3.0}]
    assert found.repaired == 0.5  # of the 2 that were lost, others give 1
    assert found.norm_ratio == pytest.approx(1.1)
    assert found.direct_effects[1] == {"layer": 0, "head": 1, "clean": 2.0, "ablated": 0.0}
    assert found.norm_sizes[0] == {"row": 0, "clean": 1.1, "ablated": 1.0}


@pytest.mark.parametrize("where", ["all", "end"])
def test_two_signals_add_up_exactly(where):
    of = rows(14)
    data = doubled(stacked([of.flipped(rule, WORDS, 0) for rule in SIGNALS.values()]))
    found = signals.table(two_signals(), [(0, 0)], data, 14, where=where)
    assert [(row["token"], row["position"]) for row in found] == list(SIGNALS)
    by_signal = {(row["token"], row["position"]): row["logit_difference"] for row in found}
    for token, told in (("original", 1), ("random", 0), ("inverted", -1)):
        for position, stands in (("original", 1), ("inverted", -1)):
            assert by_signal[token, position] == pytest.approx(POSITION * stands + TOKEN * told, abs=1e-12)
    assert by_signal["inverted", "inverted"] == pytest.approx(-by_signal["original", "original"], abs=1e-12)


@pytest.mark.slow
def test_signals_are_of_all_heads_together_and_of_each_alone():
    model, of = random_network(seed=3), rows(6)
    G = of_logit_difference(transformer(model))
    data = doubled(stacked([of.flipped(rule, WORDS, 0) for rule in SIGNALS.values()]))
    heads = [(1, 0), (2, 1)]
    found = signals.table(G, heads, data, 6)
    assert [row["heads"] for row in found] == ["1.0 2.1"] * 6 + ["1.0"] * 6 + ["2.1"] * 6
    columns, donated = ({k: v[part : part + 6] for k, v in data.items()} for part in (0, 12))  # inverted token
    values = dict(zip(["a1_h0", "a2_h1"], G.activations(donated, "a1_h0", "a2_h1"), strict=True))
    edited = G | {name: instead(value) for name, value in values.items()}
    assert found[2]["logit_difference"] == pytest.approx(float(edited(columns).mean()), abs=1e-12)
    assert found[0]["logit_difference"] == pytest.approx(float(G(columns).mean()), abs=1e-12)
    assert abs(found[2]["logit_difference"] - found[0]["logit_difference"]) > 1e-3
    at_end = signals.table(G, [(1, 0)], data, 6, where="end")
    assert [row["heads"] for row in at_end] == ["1.0"] * 6
    assert at_end[2]["logit_difference"] != pytest.approx(found[8]["logit_difference"], abs=1e-6)


def test_scores_are_attention_at_three_distances():
    model = random_network(seed=4)
    found, length, count = head_scores(model, length=5, rows=12), 5, 12
    tokens = repeated_tokens(model.config, length=length, rows=count, seed=0)
    assert tokens[:, :length].equal(tokens[:, length:])
    own = transformer(model)
    resid = own.activations({"tokens": tokens}, "embed")[0]
    x = torch.nn.functional.layer_norm(
        resid, (12,), model.weights["blocks.0.ln1.w"], model.weights["blocks.0.ln1.b"], model.config.eps
    )
    q, k = (x @ model.weights[f"blocks.0.attn.W_{m}"][1] + model.weights[f"blocks.0.attn.b_{m}"][1] for m in "QK")
    scores = (q @ k.mT / 6**0.5).masked_fill(torch.ones(10, 10).triu(1).bool(), -torch.inf)
    pattern = scores.softmax(-1)
    expected = {
        "duplicate": torch.stack([pattern[:, length + i, i] for i in range(length)]),
        "previous": torch.stack([pattern[:, i + 1, i] for i in range(length - 1)]),
        "induction": torch.stack([pattern[:, length + i, i + 1] for i in range(length)]),
    }
    for name, of in expected.items():
        assert getattr(found, name)[0, 1].item() == pytest.approx(of.mean().item(), abs=1e-9)
    assert [row["layer"] for row in found.rows] == [0, 0, 1, 1, 2, 2]
    assert found.rows[1].keys() == {"layer", "head", "duplicate", "previous", "induction"}


def test_scores_need_a_context():
    with pytest.raises(DataError, match="the model's context is 3; repeated tokens need at least 4"):
        head_scores(random_network(n_ctx=3))


def test_looks_are_attention_between_names():
    model, of = random_network(seed=5), rows(13)
    found = looks(model, of)
    assert found.keys() == LOOKS.keys()
    total = torch.zeros(())
    for row in range(13):
        single = looks(model, rows_of([of.prompts[row]], WORDS))
        total = total + single["END to IO"][2, 1]
    assert found["END to IO"][2, 1].item() == pytest.approx(total.item() / 13, abs=1e-12)
    assert 0 < found["S2 to S1"].min() < found["S2 to S1"].max() < 1
