"""Circuits of weights against dense matrices of all tokens by all tokens, on families with every kind of block."""

import copy

import pytest
import torch
from hooked_passes import FAMILIES, HookedModel
from hugging_face_models import VOCABULARY, hugging_face_model, loaded
from reference_transformer import random_transformer

import scrubbing.experiments.weight_circuits as module
from scrubbing import DataError, GraphError, circuit_ranks, effective_embedding
from scrubbing.lens import transformer
from scrubbing.rewrite import group_heads, split_qkv

KINDS = ("gpt2", "llama", "gpt_neox", "gemma2", "olmo2", "qwen3")
PARALLEL = ("gpt_neox",)


@pytest.mark.parametrize("name", FAMILIES)
def test_effective_embeddings_are_what_the_second_block_is_given_without_positions_and_attention(name):
    model = copy.deepcopy(hugging_face_model(name, torch.float64))
    for part, table in model.named_parameters():
        if "wpe" in part or "embed_positions" in part:
            table.data.zero_()
    hooked, seen = HookedModel(model, name), []
    writer = hooked.writer(0)

    def keep(_, args, kwargs):
        seen.append(args[0] if args else kwargs["hidden_states"])

    handle = hooked._blocks[1].register_forward_pre_hook(keep, with_kwargs=True)
    hooked.run(torch.arange(VOCABULARY)[:, None], {writer: torch.zeros_like})
    handle.remove()
    bias = getattr(writer, "bias", None)
    expected = seen[0][:, 0] - (0.0 if bias is None or name in PARALLEL else bias.detach())
    torch.testing.assert_close(effective_embedding(transformer(loaded(name))), expected, rtol=0, atol=1e-5)


def plain(name, head):
    """The OV and QK circuits `[token, token]` of a head of the second layer, from the weights as they are named."""
    model = loaded(name)
    c, w, block = model.config, model.weights, "blocks.1"

    def gain(at):
        found = w.get(f"{at}.w")
        return 1.0 if found is None else found + 1 if c.rmsnorm_uses_offset else found

    def normed(x, at, of=None):
        x = x - x.mean(-1, keepdim=True) if c.norm_kind == "LN" else x
        return x / x.square().mean(-1, keepdim=True).sqrt() * (gain(at) if of is None else of)

    def project(x, which):
        matrices = w[f"{block}.attn.W_{which}"]
        made = torch.stack([x @ W for W in matrices], dim=1)
        if which != "V" and c.qk_norm is not None:
            together = made.flatten(1)[:, None] if c.qk_norm == "layer" else made
            size = (together.square().mean(-1, keepdim=True) + c.eps).sqrt()
            made = (together / size * gain(f"{block}.attn.{which.lower()}_norm")).reshape(made.shape)
        return made[:, head * len(matrices) // c.n_heads]

    def read(x):
        return x if c.norm_placement == "after" else normed(x, f"{block}.ln1")

    embedded = effective_embedding(transformer(model))
    written = project(read(embedded), "V") @ w[f"{block}.attn.W_O"][head]
    if c.norm_placement != "before":
        written = written * gain(f"{block}.ln1_post")
    unembedded = w["unembed.W_U"].T - w["unembed.W_U"].T.mean(0)
    unembedded = unembedded * gain("ln_final")
    unembedded = unembedded - unembedded.mean(-1, keepdim=True) if c.norm_kind == "LN" else unembedded
    keys = project(read(embedded), "K")
    return {
        "ov": -written @ unembedded.T,
        "qk": project(read(unembedded), "Q") @ keys.T,
        "qk, embedded queries": project(read(embedded), "Q") @ keys.T,
    }


@pytest.mark.parametrize("name", KINDS)
def test_ranks_are_those_of_the_dense_matrices(name, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 150)  # three rows at a time
    G, some = transformer(loaded(name)), torch.tensor([40, 3, 7, 21])
    for head in (0, 3):
        dense = plain(name, head)
        found, few = circuit_ranks(G, f"a1_h{head}"), circuit_ranks(G, f"a1_h{head}", tokens=some)
        assert list(found.ranks) == list(dense)
        for circuit, scores in dense.items():
            own = scores.diagonal()[:, None]
            assert found.ranks[circuit].tolist() == (scores > own).sum(1).tolist()
            among = scores[some.sort().values][:, some.sort().values]
            assert few.ranks[circuit].tolist() == (among > among.diagonal()[:, None]).sum(1).tolist()
    ranks = found.ranks["ov"].double()
    row = found.rows[0]
    assert row["first"] == (ranks == 0).double().mean().item()
    assert (row["ranked"], row["among"], row["median_rank"]) == (50, 50, ranks.median().item())
    assert "the own token in the circuits of a1_h3" in str(found)
    assert found.frame.index.tolist() == list(dense)


def test_no_matrix_of_all_tokens_by_all_tokens_is_held(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 200)
    sizes, ranks_of = [], module._ranks

    def watched(*given):
        for some in ranks_of(*given):
            sizes.append(len(some) * len(given[-1]))
            yield some

    monkeypatch.setattr(module, "_ranks", watched)
    circuit_ranks(transformer(loaded("gpt2")), "a1_h0")
    assert max(sizes) <= 200 < VOCABULARY**2


def test_of_many_tokens_evenly_spread_ones_are_ranked_among_all():
    G = transformer(loaded("gpt2"))
    everything, few = circuit_ranks(G, "a1_h1"), circuit_ranks(G, "a1_h1", most=20)
    assert few.tokens.tolist() == list(range(0, 50, 3))
    assert few.among == 50
    assert few.ranks["ov"].tolist() == everything.ranks["ov"][::3].tolist()


def test_without_mlps_the_embedding_is_all_there_is():
    model = random_transformer()
    assert torch.equal(effective_embedding(transformer(model)), model.weights["embed.W_E"])
    assert len(circuit_ranks(transformer(model), "a1_h2").tokens) == model.config.d_vocab


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda G: circuit_ranks(G, "m0"), GraphError, "'m0' is MLP, and circuits of weights need an attention head"),
        (lambda G: circuit_ranks(G, "a1_h9"), GraphError, "there is no node 'a1_h9'; did you mean 'a1_h"),
        (
            lambda G: circuit_ranks(split_qkv(G, "a1_h0"), "a1_h0"),
            GraphError,
            "'a1_h0' is HeadOutput, and circuits of weights need an attention head, not yet split",
        ),
        (
            lambda G: circuit_ranks(group_heads(G, two="a1_h0 a1_h1"), "two"),
            GraphError,
            "'two' is a group of 2 heads, and a circuit is that of one head",
        ),
        (lambda G: circuit_ranks(G, "a1_h0", tokens=[60]), DataError, "tokens names token 60; the vocabulary has the"),
        (lambda G: circuit_ranks(G, "a1_h0", tokens=[0.5]), DataError, "tokens must be token numbers"),
    ],
)
def test_mistakes_are_named(make, error, message):
    with pytest.raises(error) as mistake:
        make(transformer(loaded("gpt2")))
    assert message in str(mistake.value)
