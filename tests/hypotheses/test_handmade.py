"""The known-answer models give the answers that their recipes say, by the slow reference; so each tests the other."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float, Int
from reference_ladder import LADDER, Row, ladder_losses, resampled
from safetensors.torch import load_file
from sampled import by_default
from torch import Tensor
from torch.nn.functional import cross_entropy, layer_norm, scaled_dot_product_attention

from hypotheses.handmade import MAY_BE_ANYTHING, MUST_FAIL, RECIPES, HandMade, build, save
from scrubbing.errors import ModelError

MODELS = tuple(RECIPES)
CLAIMS = {claim for claim in LADDER if claim not in {("original", ""), ("baseline", "")}}
ROWS = 6


def draw_donors(atypical: Bool[Tensor, "row position"], *, seed: int) -> Int[Tensor, "row position"]:
    """For each row and position, uniformly, a row of the same type there."""
    generator = torch.Generator().manual_seed(seed)
    same_type = (atypical[:, None] == atypical[None, :]).permute(2, 0, 1)  # position, row, donor
    return torch.stack([torch.multinomial(each.double(), 1, generator=generator)[:, 0] for each in same_type], dim=1)


def score(model: HandMade, *, own: bool = False) -> dict[tuple[str, str], Float[Tensor, " row"]]:
    """The reference's losses, with drawn others and donors, or with each row as its own."""
    tokens, other, weights, atypical = (model.data[column] for column in ("tokens", "other", "weights", "atypical"))
    itself = torch.arange(len(tokens))
    return ladder_losses(
        model.weights,
        model.config,
        model.roles,
        tokens,
        itself if own else other,
        weights,
        atypical=atypical,
        pattern_donors=itself[:, None].expand_as(atypical) if own else draw_donors(atypical, seed=1),
    )


def recovered(losses: dict[tuple[str, str], Float[Tensor, " row"]]) -> dict[tuple[str, str], float]:
    """The share of the loss that each experiment recovers, against the row called baseline."""
    original, baseline = losses["original", ""].mean(), losses["baseline", ""].mean()
    return {claim: float((baseline - losses[claim].mean()) / (baseline - original)) for claim in losses}


def forward(model: HandMade, tokens: Int[Tensor, "row position"]) -> Float[Tensor, "row position token"]:
    """The logits of a shortformer, all rows and heads at once."""
    at, none = model.weights.__getitem__, torch.zeros(1, 1, dtype=torch.float64)
    resid = at("embed.W_E")[tokens]

    def bias(name: str) -> Tensor:
        return model.weights.get(name, none)

    def norm(name: str) -> Float[Tensor, "row position d_model"]:
        if f"{name}.w" not in model.weights:
            return resid
        return layer_norm(resid, resid.shape[-1:], at(f"{name}.w"), at(f"{name}.b"), model.config["eps"])

    for attn, ln in (("blocks.0.attn", "blocks.0.ln1"), ("blocks.1.attn", "blocks.1.ln1")):
        v_in = norm(ln)
        inputs = {"Q": v_in + at("pos_embed.W_pos"), "K": v_in + at("pos_embed.W_pos"), "V": v_in}
        q, k, v = (
            torch.einsum("rpd,hde->rhpe", inputs[which], at(f"{attn}.W_{which}")) + bias(f"{attn}.b_{which}")[:, None]
            for which in "QKV"
        )
        z = scaled_dot_product_attention(q, k, v, is_causal=True)
        resid = resid + torch.einsum("rhpe,hed->rpd", z, at(f"{attn}.W_O")) + bias(f"{attn}.b_O")
    return norm("ln_final") @ at("unembed.W_U") + bias("unembed.b_U")


def usual_losses(model: HandMade) -> Float[Tensor, " row"]:
    """The loss of each row by that pass."""
    tokens, weights = model.data["tokens"], model.data["weights"]
    each = cross_entropy(forward(model, tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")
    return (each * weights).sum(1) / weights.sum(1).mean()


def random_network(*, norm: bool = True) -> HandMade:
    """Random weights with every bias; four rows, each with another as its other, unevenly weighted."""
    model = build("M0", norm=norm, rows=4)
    shapes = {name: weight.shape for name, weight in model.weights.items()}
    heads, d_model, d_head = shapes["blocks.0.attn.W_Q"]
    for layer in range(2):
        shapes |= {f"blocks.{layer}.attn.b_{which}": (heads, d_head) for which in "QKV"}
        shapes |= {f"blocks.{layer}.attn.b_O": (d_model,)}
    shapes |= {"unembed.b_U": (model.config["d_vocab"],)}
    generator = torch.Generator().manual_seed(3)
    draw = {name: 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    uneven = torch.rand(model.data["weights"].shape, generator=generator, dtype=torch.float64)
    uneven[3] = 0  # a row that is a donor only
    return replace(model, weights=draw, data=model.data | {"other": torch.tensor([1, 2, 3, 0]), "weights": uneven})


@pytest.mark.parametrize("norm", by_default([True, False]))
@pytest.mark.parametrize("name", MODELS)
def test_each_experiment_is_exact_or_fails_as_it_must(name: str, norm: bool) -> None:
    losses = score(build(name, norm=norm, rows=ROWS))
    share = recovered(losses)
    assert share.keys() == CLAIMS | {("original", ""), ("baseline", "")}
    assert losses["original", ""].mean() < 0.01
    assert losses["baseline", ""].mean() > 5
    wrong = {claim for claim in CLAIMS - MAY_BE_ANYTHING[name] if (share[claim] < 0.5) != (claim in MUST_FAIL[name])}
    assert wrong == set()
    exact = CLAIMS - MUST_FAIL[name] - MAY_BE_ANYTHING[name]
    assert {claim: share[claim] for claim in exact if abs(share[claim] - 1) > 1e-9} == {}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_norms_give_the_stream_back(name: str, norm: bool) -> None:
    """So a full match, BEGIN's share of it and the logits are the same with norms off and on."""
    model = build(name, norm=norm, rows=4)
    assert ("ln_final.w" in model.weights) == norm
    expected = torch.log1p((model.config["d_vocab"] - 1) * torch.exp(torch.tensor(-10.0, dtype=torch.float64)))
    torch.testing.assert_close(usual_losses(model), expected.expand(4), rtol=1e-9, atol=0)


@pytest.mark.parametrize("norm", by_default([True, False]))
@pytest.mark.parametrize("name", [*MODELS, "random"])
def test_a_row_that_is_its_own_other_loses_nothing(name: str, norm: bool) -> None:
    model = random_network(norm=norm) if name == "random" else build(name, norm=norm, rows=4)
    losses = score(model, own=True)
    assert len(losses) == 27
    for claim, loss in losses.items():
        torch.testing.assert_close(loss, losses["original", ""], rtol=0, atol=1e-12, msg=str(claim))


def test_all_is_q_k_and_v_at_once() -> None:
    assert len(CLAIMS) == 25
    for name in {name for name, inputs in LADDER if inputs == "All"}:
        (rq, *q_rest), (k_first, rk, k_last), (*v_rest, rv) = (LADDER[name, inputs] for inputs in "QKV")
        assert LADDER[name, "All"] == (rq, rk, rv)
        assert {*q_rest, k_first, k_last, *v_rest} == {"R"}


def test_a_random_network_tells_all_different_experiments_apart() -> None:
    losses = score(random_network())
    for claim, another in itertools.combinations(LADDER, 2):
        assert torch.equal(losses[claim], losses[another]) == (LADDER[claim] == LADDER[another]), (claim, another)


@pytest.mark.parametrize("norm", [False, True])
def test_the_original_is_the_network_as_it_is_usually_written(norm: bool) -> None:
    model = random_network(norm=norm)
    torch.testing.assert_close(score(model)["original", ""], usual_losses(model), rtol=1e-12, atol=1e-12)


def test_where_layer_0_writes_nothing_only_the_embedding_counts() -> None:
    model = random_network()
    silent = {name: torch.zeros_like(model.weights[name]) for name in ("blocks.0.attn.W_O", "blocks.0.attn.b_O")}
    losses = score(replace(model, weights=model.weights | silent))
    real = {name: name not in {"T", "NKh", "NK", "K1"} for streams in LADDER.values() for name in streams}
    embeddings = {claim: tuple(real[stream] for stream in streams) for claim, streams in LADDER.items()}
    for claim, another in itertools.combinations(LADDER, 2):
        same = torch.allclose(losses[claim], losses[another], rtol=0, atol=1e-12)
        assert same == (embeddings[claim] == embeddings[another]), (claim, another)


def test_refined_5_with_the_others_patterns_is_refined_4() -> None:
    model = random_network()
    tokens, other, weights = (model.data[column] for column in ("tokens", "other", "weights"))
    donors = other[:, None].expand_as(weights)
    given = (model.weights, model.config, model.roles, tokens, other, weights)
    losses = ladder_losses(*given, pattern_donors=donors)
    for inputs in ("K", "All"):
        torch.testing.assert_close(losses["refined 5", inputs], losses["refined 4", inputs], rtol=0, atol=1e-12)


def test_refined_5_draws_only_what_is_under_its_mask() -> None:
    e, A, O = torch.rand(6, 3), torch.rand(1, 6, 6).tril(), torch.rand(1, 6, 3)
    x, y = Row(e, A, O), Row(e + 1, A + 1, O + 1)
    drawn, far = torch.rand(6, 6).tril(), torch.ones(6, 6).tril(-3)
    expected = resampled(x, y, 0, attention=drawn)
    torch.testing.assert_close(resampled(x, y, 0, attention=drawn + far), expected)
    assert not torch.allclose(resampled(x, y, 0, attention=drawn + torch.eye(6)), expected)


def test_refined_5_needs_donors_and_donors_of_one_type() -> None:
    model = build("M0", norm=False, rows=4)
    tokens, other, weights, atypical = (model.data[column] for column in ("tokens", "other", "weights", "atypical"))
    given = (model.weights, model.config, model.roles, tokens, other, weights)
    assert LADDER.keys() - ladder_losses(*given).keys() == {("refined 5", "K"), ("refined 5", "All")}
    donors = torch.arange(4)[:, None].expand_as(atypical).roll(1, dims=0)
    with pytest.raises(ValueError, match="type differs"):
        ladder_losses(*given, atypical=atypical, pattern_donors=donors)


def test_rows_are_begin_and_twice_the_same_distinct_words() -> None:
    tokens = build("M0", norm=False).data["tokens"]
    s, again = tokens[:, 1:].chunk(2, dim=1)
    assert (tokens[:, 0] == 0).all()
    assert torch.equal(s, again)
    assert all(len(set(row.tolist())) == s.shape[1] and 0 not in row for row in s)


def test_a_folder_holds_what_the_command_line_reads(tmp_path) -> None:
    model = build("M3", norm=True, rows=5, seed=7)
    folder = save(model, tmp_path / "M3")
    assert json.loads((folder / "config.json").read_text()) == model.config
    assert json.loads((folder / "roles.json").read_text()) == model.roles
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == model.weights.keys()
    assert all(torch.equal(weights[name], model.weights[name]) for name in weights)
    with np.load(folder / "data.npz") as columns:
        found = {name: (columns[name].shape, columns[name].dtype.name) for name in columns}
        assert np.array_equal(columns["tokens"], model.data["tokens"].numpy())
    assert found == {
        "tokens": ((5, 17), "int64"),
        "other": ((5,), "int64"),
        "weights": ((5, 16), "float64"),
        "atypical": ((5, 16), "bool"),
    }


def test_one_seed_gives_one_data_set() -> None:
    first, again, second = (build("M0", norm=False, seed=seed).data["tokens"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ModelError, match=r"no hand-made model 'M4'; there are M0, M1, M2, M3$"):
        build("M4", norm=False)
