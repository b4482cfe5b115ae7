"""The graph computes what the formulas say, and what is brought out of it changes no value."""

import pytest
import torch
from bracket_checker import PAD, Plain, random_checker

from hypotheses.brackets.data import columns
from hypotheses.brackets.measuring import find_roles, head_effects
from hypotheses.brackets.network import adjusted_shares, as_share, at_first_bracket, network, share_direction, stream_of
from hypotheses.brackets.roles import Roles
from hypotheses.brackets.strings import random_strings
from scrubbing import ModelError

MODEL = random_checker()
NET = Plain(MODEL)
DATA = columns([s for s in random_strings(200, seed=2) if len(s) <= 10], torch.float64)
LABELS = DATA["labels"][:, 0]


def test_the_loss_is_that_of_the_decision_at_position_0():
    expected = NET.losses(NET.parts(DATA["tokens"])["r3"][:, 0], LABELS)
    assert torch.allclose(network(MODEL)(DATA), expected, rtol=1e-10)


def test_what_is_brought_out_changes_no_value():
    G = network(MODEL)
    first = at_first_bracket(at_first_bracket(G, "a1_h0"), "a2_h0")
    shared = as_share(first, (0, 0), MODEL.config.n_ctx, readers=["a1_h0_first", "a2_h0_first"])
    for rewritten in (first, shared, stream_of(shared, "a2_h1")):
        assert torch.allclose(rewritten(DATA), G(DATA), rtol=1e-10)
        assert rewritten.origin == G


def test_the_stream_at_the_first_bracket_is_nowhere_else():
    G = at_first_bracket(network(MODEL), "a2_h0")
    first, elsewhere = G.activations(DATA, "a2_h0_first", "a2_h0_elsewhere")
    assert not first[:, [0, *range(2, first.shape[1])]].any()
    assert not elsewhere[:, 1].any()
    bias = sum(NET.attention_bias(layer) + NET.mlp_bias(layer) for layer in range(2))
    real = DATA["tokens"] != PAD  # what stands at padding is seen by nobody
    assert torch.allclose((first + elsewhere + bias)[real], NET.parts(DATA["tokens"])["r2"][real])


def test_the_direction_is_half_the_difference_of_what_is_written_of_brackets():
    n = MODEL.config.n_ctx
    opens, closes = (NET.embed(torch.tensor([[0, *[b] * (n - 2), 2]])) for b in (3, 4))
    W = MODEL.weights["blocks.0.attn.W_V"][0] @ MODEL.weights["blocks.0.attn.W_O"][0]
    each = (NET.norm(opens, "blocks.0.ln1") - NET.norm(closes, "blocks.0.ln1")) @ W / 2
    assert torch.allclose(share_direction(network(MODEL), (0, 0), n), each[0, 1:-1].mean(0))


def test_a_head_that_attends_to_all_brackets_alike_adjusts_nothing_at_the_first():
    weights = dict(MODEL.weights) | {"blocks.0.attn.W_Q": 0 * MODEL.weights["blocks.0.attn.W_Q"]}
    weights |= {"blocks.0.attn.b_Q": 0 * MODEL.weights["blocks.0.attn.b_Q"]}
    even = adjusted_shares(network(type(MODEL)(MODEL.config, weights)), (0, 0), MODEL.config.n_ctx)
    opens, brackets = (DATA["tokens"] == 3).sum(1), (DATA["tokens"] >= 3).sum(1)
    assert torch.allclose(even(DATA["tokens"])[:, 1], opens / brackets.double())
    assert torch.allclose(even(DATA["tokens"])[:, 2], opens / brackets.double())
    uneven = adjusted_shares(network(MODEL), (0, 0), MODEL.config.n_ctx)
    assert not torch.allclose(uneven(DATA["tokens"])[:, 2], opens / brackets.double())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"d_vocab": 6}, "d_vocab is 6, but start, padding"),
        ({"d_vocab_out": 3}, "it has 3 outputs, but a string is balanced or not"),
        ({"attention_dir": "causal"}, "attention_dir must be 'bidirectional'"),
    ],
)
def test_other_models_are_refused(settings, said):
    with pytest.raises(ModelError, match=said):
        network(random_checker(**settings))


def test_heads_effects_are_what_they_change_of_the_logits():
    effects = head_effects(network(MODEL), DATA, 3, 2)
    parts = NET.parts(DATA["tokens"])
    final, towards = parts["r3"][:, 0], MODEL.weights["unembed.W_U"] @ torch.tensor([-1.0, 1.0]).double()
    scale = 1 / torch.sqrt((final - final.mean(-1, keepdim=True)).square().mean(-1, keepdim=True) + 1e-5)
    written = parts["a2_h1"][:, 0]
    direct = ((written - written.mean(-1, keepdim=True)) * scale * MODEL.weights["ln_final.w"]) @ towards
    strings = ["".join("()"[t - 3] for t in row if t >= 3) for row in DATA["tokens"].tolist()]
    counts = torch.tensor([s.count("(") == s.count(")") for s in strings])
    passes = torch.tensor([all(s[i:].count("(") <= s[i:].count(")") for i in range(len(s))) for s in strings])
    right = direct[counts & passes].mean()
    assert torch.isclose(effects.count[2, 1], right - direct[~counts & passes].mean())
    assert torch.isclose(effects.horizon[2, 1], right - direct[counts & ~passes].mean())


def test_roles_go_to_the_largest_effects():
    effects = head_effects(network(MODEL), DATA, 3, 2)
    made = type(effects)(
        count=torch.tensor([[9.0, 9.0], [5.0, 1.9], [5.6, 6.9]]),
        horizon=torch.tensor([[9.0, 9.0], [3.4, 0.7], [4.9, 15.8]]),
        share=torch.tensor([[0.9, 0.7], [1.0, 1.0], [1.0, 1.0]]),
        strings=1,
    )
    assert find_roles(made) == Roles()
