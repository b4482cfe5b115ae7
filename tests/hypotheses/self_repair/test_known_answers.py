"""Networks built by hand, of which it is known who makes up for what."""

from itertools import pairwise

import pytest
import torch
from plain_repair import model_of, zeros

from hypotheses.self_repair.effects import FIELDS, ablated, replaced
from hypotheses.self_repair.measuring import Batch, Design, batches, statistics
from hypotheses.self_repair.network import Head, Network
from hypotheses.self_repair.neurons import collect, commonest, cumulative, repair_by_rank, top_neurons
from hypotheses.self_repair.repression import OWN, repressed

pytestmark = pytest.mark.usefixtures("unchecked")

NO_NORM = {"normalization_type": None, "d_model": 6, "d_head": 2, "d_mlp": 3, "d_vocab": 4, "n_ctx": 4, "n_heads": 1}


def one_batch(model, rows) -> Batch:
    return next(batches(Network.of(model), torch.tensor(rows), Design(len(rows), batch=1)))


def found(batch: Batch, head: Head) -> dict[str, torch.Tensor]:
    """What each ablation does: `[ablation, position]` by name."""
    instead = replaced(batch.clean, batch.donors, head[0])[..., head[1], :]
    records = statistics(ablated(batch.clean, head, instead, "clean").flatten(2))
    return dict(zip((*FIELDS, "self_repair"), records.unbind(1), strict=False))


@pytest.fixture
def erasure():
    """On token 1 the head writes 2 along u, and a neuron that sees it writes -1.4: a net effect of 0.3 times 2."""
    settings = NO_NORM | {"n_layers": 1}
    w = zeros(**settings)
    w["embed.W_E"][1, 1] = 1
    w["blocks.0.attn.W_V"][0, 1, 0] = 2
    w["blocks.0.attn.W_O"][0, 0, 0] = 1
    w["blocks.0.mlp.W_in"][0, 1] = 1
    w["blocks.0.mlp.W_out"][1, 0] = -0.7
    w["unembed.W_U"][0, :2] = 1
    return model_of(w, **settings)


def test_erasure_is_undone(erasure):
    of = found(one_batch(erasure, [[1] * 5, [0] * 5]), (0, 0))
    for ablation in (0, 2):  # by the row of zeros, and by zero
        torch.testing.assert_close(of["direct_effect"][ablation], torch.full((4,), 2.0, dtype=torch.float64))
        torch.testing.assert_close(of["change_in_logit"][ablation], torch.full((4,), -0.6, dtype=torch.float64))
        torch.testing.assert_close(of["self_repair"][ablation], torch.full((4,), 1.4, dtype=torch.float64))
        torch.testing.assert_close(of["from_mlps"][ablation], of["self_repair"][ablation])
        assert not of["from_norm"][ablation].any()


def test_the_anti_erasing_neuron_is_found(erasure):
    rows = torch.tensor([[1] * 5, [0] * 5])
    collected = collect(batches(Network.of(erasure), rows, Design(2, 1)), (0, 0), 4)
    first = top_neurons(collected)[0]
    assert first == {
        "neuron": 1,
        "clean_effect": pytest.approx(-1.4),
        "ablated_effect": 0.0,
        "layer_effect": pytest.approx(-1.4),
        "layer_repair": pytest.approx(1.4),
        "anti_erasing": True,
    }
    assert commonest(collected)[0]["anti_erasing_where_first"] == 1.0
    ranked = repair_by_rank(collected, [0.5, 0.69, 0.71])
    assert ranked[0] == {"rank": 1, "above_50%": 1.0, "above_69%": 1.0, "above_71%": 0.0}
    assert ranked[1]["above_50%"] == 0.0
    assert cumulative(collected)[0] == {"rank": 1, "percent": 100.0, "median_effect": pytest.approx(-1.4)}


def test_a_backup_head_repairs_all():
    """The second head looks at token 1 only where the first has not said that it did."""
    settings = NO_NORM | {"n_layers": 2, "attn_only": True}
    w = zeros(**settings)
    w["embed.W_E"][0, 0] = w["embed.W_E"][1, 1] = w["embed.W_E"][2, 2] = 1  # the beginning, the name, the end
    for layer in (0, 1):
        w[f"blocks.{layer}.attn.W_Q"][0, 2, 0] = 1000  # at the end, look for the name
        w[f"blocks.{layer}.attn.W_K"][0, 1, 0] = 1
        w[f"blocks.{layer}.attn.W_V"][0, 1, 0] = 1
        w[f"blocks.{layer}.attn.W_O"][0, 0, 3] = 1  # and write that it comes next
    w["blocks.0.attn.W_O"][0, 0, 4] = 1  # that it is done
    w["blocks.1.attn.W_Q"][0, 4, 1] = 5000  # where it is done, look at the beginning
    w["blocks.1.attn.W_K"][0, 0, 1] = 1
    w["unembed.W_U"][3, 3] = 1
    model = model_of(w, **settings)
    of = found(one_batch(model, [[0, 1, 2, 3]] * 2), (0, 0))
    at = (2, 2)  # by zero, at the end
    assert of["direct_effect"][at] == pytest.approx(1.0)
    assert of["change_in_logit"][at] == pytest.approx(0.0)
    assert of["self_repair"][at] == pytest.approx(1.0)
    assert of["from_heads"][at] == pytest.approx(1.0)


@pytest.mark.parametrize(("token", "donor", "above"), [(1, 0, True), (0, 2, False)])
def test_the_norm_shrinks_with_what_lies_along_the_stream_and_grows_with_what_does_not(token, donor, above):
    settings = NO_NORM | {"n_layers": 1, "attn_only": True, "normalization_type": "LN"}
    w = zeros(**settings)
    w["embed.W_E"][:, 0], w["embed.W_E"][:, 1] = 1.0, -1.0  # of mean zero, as the norm sees it
    w["blocks.0.ln1.w"][:] = 0  # what is moved depends on the bias alone
    w["blocks.0.attn.b_V"][0, 0] = 1.0
    along = torch.tensor([1.0, -1, 0, 0, 0, 0], dtype=torch.float64)
    across = torch.tensor([0, 0, 1.0, -1, 0, 0], dtype=torch.float64)
    w["unembed.W_U"][0] = 1.0
    w["blocks.0.attn.W_O"][0, 0] = along if above else across
    of = found(one_batch(model_of(w, **settings), [[token] * 5, [donor] * 5]), (0, 0))
    ratio = of["norm_ratio"][2]  # by zero
    if above:  # a stream of twice a vector becomes that vector: half as long
        torch.testing.assert_close(ratio, torch.full((4,), 2.0, dtype=torch.float64), rtol=1e-4, atol=0)
        assert (of["from_norm"][2] > 0).all()
    else:  # seen from the ablated run: the head's output, across the stream, made it longer by the root of two
        torch.testing.assert_close(ratio, torch.full((4,), 2**0.5, dtype=torch.float64), rtol=1e-4, atol=0)


def test_a_self_repressing_head():
    """Its query turns from the token that it writes of by as much as was written already."""
    settings = NO_NORM | {"n_layers": 1, "attn_only": True}
    w = zeros(**settings)
    w["embed.W_E"][1, 1] = 1
    w["blocks.0.attn.b_Q"][0, 0] = 1
    w["blocks.0.attn.W_Q"][0, 3, 0] = -1
    w["blocks.0.attn.W_K"][0, 1, 0] = 2
    w["blocks.0.attn.W_V"][0, 1, 0] = 1
    w["blocks.0.attn.W_O"][0, 0, 3] = 1
    w["unembed.W_U"][3] = 1
    batch = one_batch(model_of(w, **settings), [[0, 1, 1, 1, 2]] * 2)
    effects = [of.after for of in repressed(batch.clean, (0, 0), alphas=(0.0, 1.0, 3.0, 5.0)) if of.added == OWN]
    before = batch.clean.of_heads(0)[..., 0]
    torch.testing.assert_close(effects[0], before, rtol=0, atol=1e-15)
    for more, less in pairwise(effects):
        assert (less[:, 1:] < more[:, 1:]).all()
