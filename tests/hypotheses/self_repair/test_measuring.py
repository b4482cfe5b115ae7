"""The stream over rows: top tokens, means, chunks, and runs that are taken up again."""

import pytest
import torch
from plain_repair import model_of, passed, rows_of, towards

from hypotheses.self_repair import measuring, tables
from hypotheses.self_repair.effects import ABLATIONS, FIELDS
from hypotheses.self_repair.measuring import STATISTICS, Design, measure, statistics
from hypotheses.self_repair.network import Network
from scrubbing import DataError

pytestmark = pytest.mark.usefixtures("unchecked_throughout")


def test_means_over_top_tokens_and_over_all():
    model, design = model_of(), Design(rows=9, batch=2, share=0.1)
    rows = rows_of(model, 9)
    found = measure(Network.of(model), rows, design, progress=False)
    assert found.tokens == 63
    assert found.count("top") == 6
    u, plain = towards(model, rows), passed(model, rows)
    for n, (layer, head) in enumerate(found.heads):
        other = passed(model, rows, {(layer, head): plain.z[layer, head].roll(-2, 0)})
        effect, change = plain.effect(f"a{layer}_h{head}", u, plain.size), other.logits - plain.logits
        top = effect.flatten().topk(6).indices
        for selection, chosen in (("top", top), ("all", slice(None))):
            means = dict(zip(STATISTICS, found.means(selection)[n, 0].tolist(), strict=True))
            assert means["direct_effect"] == pytest.approx(effect.flatten()[chosen].mean().item())
            assert means["change_in_logit"] == pytest.approx(change.flatten()[chosen].mean().item())
            ratio = (plain.size / other.size).flatten()[chosen]
            assert means["norm_ratio_above_one"] == pytest.approx((ratio > 1).double().mean().item())


def test_the_mean_is_that_of_a_batch():
    """Rows in batches of 2, and the same in batches of 4: zero ablations are equal, mean ablations are not."""
    model = model_of()
    rows, network = rows_of(model, 8), Network.of(model)
    two, four = (measure(network, rows, Design(8, batch), progress=False).means("all") for batch in (2, 4))
    zero, mean = ABLATIONS.index("zero"), ABLATIONS.index("mean")
    torch.testing.assert_close(two[:, zero], four[:, zero], equal_nan=True)
    assert (two[:, mean] - four[:, mean]).abs().max() > 1e-3


def test_shares_are_cut_by_token_or_of_means():
    records = torch.zeros(len(FIELDS), 4, dtype=torch.float64)
    records[FIELDS.index("direct_effect")] = torch.tensor([1.0, 2.0, -1.0, 0.0])
    records[FIELDS.index("from_norm")] = torch.tensor([2.0, 1.0, 1.0, 1.0])
    of = dict(zip(STATISTICS, statistics(records), strict=True))
    assert of["clipped_norm"][:3].tolist() == [1.0, 0.5, 0.0]
    assert of["share_norm"][:3].tolist() == [2.0, 0.5, -1.0]
    assert of["clipped_norm"][3].isnan()
    row = {"direct_effect": 0.5, "from_norm": 1.25}
    assert tables._ratio(row, "norm") == 1.0
    assert tables._ratio({"direct_effect": 0.5, "from_norm": 0.1}, "norm") == pytest.approx(0.2)
    assert tables._ratio({"direct_effect": 0.0, "from_norm": 0.1}, "norm") is None


def test_histograms_hold_every_top_token():
    model = model_of()
    found = measure(Network.of(model), rows_of(model, 9), Design(9, 2, share=0.2), progress=False)
    rows = tables.norm_histogram(found)
    for n, (layer, head) in enumerate(found.heads):
        for ablation in ABLATIONS:
            of = [r for r in rows if (r["layer"], r["head"], r["ablation"]) == (layer, head, ablation)]
            assert sum(r["share"] for r in of) == pytest.approx(1)
            assert len(of) == 40
            ratios = found.top[n, ABLATIONS.index(ablation), FIELDS.index("norm_ratio")]
            above = sum(r["share"] for r in of if r["low"] >= 1 - 1e-9)
            assert above == pytest.approx((ratios >= 1).double().mean().item())


class Interrupted(Exception):
    pass


def test_a_run_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "PAUSE", -1.0)  # keep every batch
    model, design, path = model_of(), Design(rows=9, batch=2, share=0.1), tmp_path / "run.safetensors"
    rows, network = rows_of(model, 9), Network.of(model)
    whole = measure(network, rows, design, progress=False)
    done = []

    def stop(rows_done, total):
        done.append(rows_done)
        if rows_done == 4 and len(done) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        measure(network, rows, design, progress=stop, checkpoint=path, identity="of a model")
    resumed = measure(network, rows, design, progress=stop, checkpoint=path, identity="of a model")
    assert done == [2, 4, 4, 6, 8, 9]  # what was not kept is done again
    torch.testing.assert_close(resumed.top, whole.top, rtol=0, atol=0)
    torch.testing.assert_close(resumed.sums, whole.sums, rtol=0, atol=0)
    again = measure(network, rows, design, progress=stop, checkpoint=path, identity="of a model")
    assert len(done) == 6  # it was finished
    assert again.tokens == 63
    assert again.means("top").equal(whole.means("top"))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    model, path = model_of(), tmp_path / "run.safetensors"
    rows, network = rows_of(model, 4), Network.of(model)
    measure(network, rows, Design(4, 2), progress=False, checkpoint=path, identity="one")
    with pytest.raises(DataError, match="another model, other data or other settings; name another file, or remove"):
        measure(network, rows, Design(4, 2), progress=False, checkpoint=path, identity="two")
    with pytest.raises(DataError, match="another model, other data or other settings"):
        measure(network, rows, Design(4, 1), progress=False, checkpoint=path, identity="one")
    path.write_bytes(b"no tensors")
    with pytest.raises(DataError, match=r"is damaged or no checkpoint .*; remove it to begin anew"):
        measure(network, rows, Design(4, 2), progress=False, checkpoint=path, identity="one")


def test_numbers_of_32_bits_add_up():
    model = model_of()
    small = type(model)(model.config, {n: w.float() for n, w in model.weights.items()})
    rows = rows_of(model, 6)
    precise, found = (measure(Network.of(m), rows, Design(6, 2), progress=False) for m in (model, small))
    parts = [FIELDS.index(f"from_{part}") for part in ("heads", "mlps", "norm")]
    of = statistics(found.top)
    torch.testing.assert_close(of[:, :, len(FIELDS)], of[:, :, parts].sum(2), rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(found.means("all").float(), precise.means("all").float(), rtol=2e-3, atol=2e-4)
