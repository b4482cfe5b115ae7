"""Each function that transformer nodes are made of equals its plain formula, and compares by value."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from reference_transformer import config, head_parts, random_transformer, random_weights, rotated

from scrubbing.lens import transformer
from scrubbing.lens.components import readout
from scrubbing.lens.components.attention import (
    Attention,
    HeadOutput,
    Offsets,
    Pattern,
    merge,
    offset,
)
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.projection import Projection, Rotary
from scrubbing.lens.components.readout import Logits, Readout
from scrubbing.lens.components.residual import Difference, Embedding, OutputProjection, ResidualReader, Sum
from scrubbing.lens.components.scores import Scores

POSITIONS = ("standard", "rotary", "shortformer")
NORMS = ("LN", "LNPre", "RMS", "RMSPre", None)


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def all_heads(**settings) -> Attention:
    """Layer 0 of a random transformer."""
    G = transformer(random_transformer(**settings))
    return merge([G[f"a0_h{head}"].fn for head in range(3)])


# -- attention


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("norm", NORMS)
def test_every_part_of_attention_equals_its_formula(positions, norm):
    c = config(positional_embedding_type=positions, normalization_type=norm, rotary_dim=2, rotary_base=50.0)
    attention, x = all_heads(**c.model_dump()), random(2, 4, 6)
    slow = [head_parts(c, random_weights(c), x, layer=0, head=head) for head in range(3)]
    q, k, v = attention.q(x), attention.k(x), attention.v(x)
    for got, name in ((q, "q"), (k, "k"), (v, "v")):
        close(got, torch.stack([head[name] for head in slow], dim=2))
    pattern = Pattern(attention.scores)(q, k)
    close(pattern, torch.stack([head["pattern"] for head in slow], dim=1))
    for got in (HeadOutput(attention.W_O)(pattern, v), attention(x)):
        close(got, sum(head["out"] for head in slow))


def test_a_pattern_is_the_causal_softmax_of_scaled_scores():
    pattern = Pattern(Scores(0.5))(random(2, 4, 3, 5), random(2, 4, 3, 5, seed=1))
    scores = torch.einsum("bqhe,bkhe->bhqk", random(2, 4, 3, 5), random(2, 4, 3, 5, seed=1)) / 2
    for query in range(4):
        close(pattern[..., query, : query + 1], scores[..., query, : query + 1].softmax(-1))
        assert not pattern[..., query, query + 1 :].any()


def test_attention_is_the_sum_of_its_heads_in_any_grouping():
    attention, x = all_heads(positional_embedding_type="shortformer"), random(2, 4, 6)
    one, two, three = (attention.heads([head]) for head in range(3))
    close(attention(x), one(x) + two(x) + three(x))
    close(attention.heads([2, 0])(x), one(x) + three(x))
    assert merge([three, one]) == attention.heads([2, 0])
    assert merge([three, one]) != attention.heads([0, 2])


def test_attention_reads_the_sum_of_its_terms():
    attention, a, b = all_heads(), random(2, 4, 6), random(2, 4, 6, seed=1)
    close(attention(a, b), attention(a + b))
    close(attention.q(a, b), attention.q(a + b))


def test_attention_without_biases_is_attention_with_biases_of_zero():
    attention, x = all_heads(), random(2, 4, 6)
    parts = {name: getattr(attention, name) for name in "qkv"}
    without = replace(attention, **{name: replace(part, b=None) for name, part in parts.items()})
    zero = replace(attention, **{n: replace(part, b=torch.zeros_like(part.b)) for n, part in parts.items()})
    close(without(x), zero(x))
    close(without.heads([1])(x), zero.heads([1])(x))
    assert not torch.allclose(without(x), attention(x))


# -- masks


def dense(mask: Offsets, positions: int) -> torch.Tensor:
    at = torch.arange(positions)
    inside = [[(int(q - k) in mask.distances) != mask.complement for k in at] for q in at]
    return torch.tensor(inside, dtype=torch.float64)


@given(distances=st.frozensets(st.integers(-2, 8)), positions=st.integers(1, 6), complement=st.booleans())
def test_what_a_mask_lets_through_is_moved_by_the_masked_pattern(distances, positions, complement):
    mask = Offsets(distances, complement)
    q, v, W_O = random(2, positions, 3, 4), random(2, positions, 3, 4, seed=1), random(3, 4, 6, seed=2)
    pattern = Pattern(Scores(1.0))(q, v)
    masked = HeadOutput(W_O, mask)(pattern, v)
    close(masked, HeadOutput(W_O)(pattern * dense(mask, positions), v))
    close(masked + HeadOutput(W_O, ~mask)(pattern, v), HeadOutput(W_O)(pattern, v))
    assert ~~mask == mask


def test_a_mask_is_written_as_distances_back():
    assert offset(1, 0) == Offsets(frozenset({0, 1}))
    assert ~offset(1) == Offsets(frozenset({1}), complement=True)


def test_the_identity_guess_is_attention_to_the_current_position():
    v, W_O = random(2, 4, 3, 5), random(3, 5, 6, seed=1)
    close(OutputProjection(W_O)(v), HeadOutput(W_O)(torch.eye(4, dtype=torch.float64).expand(2, 3, 4, 4), v))


# -- the stream


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_norms_equal_their_formulas(eps):
    x, w, b = 3 + random(2, 4, 6), random(6, seed=1), random(6, seed=2)
    centred = x - x.mean(-1, keepdim=True)
    LN = centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    RMS = x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    close(Norm("LN", eps)(x), LN)
    close(Norm("LN", eps, w, b)(x), LN * w + b)
    close(Norm("RMS", eps)(x), RMS)
    close(Norm("RMS", eps, w)(x), RMS * w)
    close(Norm(None, eps)(x), x)


def test_a_reader_adds_the_biases_before_the_norm():
    a, b, bias, norm = random(2, 4, 6), random(2, 4, 6, seed=1), random(6, seed=2), Norm("LN")
    close(ResidualReader(norm)(a, b), norm(a + b))
    close(ResidualReader(norm, bias)(a, b), norm(a + b + bias))
    close(ResidualReader(norm, bias).stream(a, b), a + b + bias)


def test_sums_differences_and_embeddings():
    a, b, c = random(2, 4, 6), random(2, 4, 6, seed=1), random(2, 4, 6, seed=2)
    close(Sum()(a, b, c), a + b + c)
    close(Sum()(a), a)
    close(Difference()(a, b), a - b)
    W_E, W_pos, tokens = random(7, 6), random(5, 6, seed=1), torch.tensor([[6, 0, 3], [2, 2, 2]])
    for row, position in ((0, 0), (0, 2), (1, 1)):
        token = W_E[tokens[row, position]]
        close(Embedding(W_E)(tokens)[row, position], token)
        close(Embedding(W_E, W_pos)(tokens)[row, position], token + W_pos[position])


@pytest.mark.parametrize("adjacent", [False, True])
@pytest.mark.parametrize("dims", [2, 4, 6])
def test_rotary_turns_pairs_of_entries_by_their_position(adjacent, dims):
    x = random(2, 5, 3, 6)
    got = Rotary(dims, 20.0, adjacent)(x)
    for head in range(3):
        close(got[:, :, head], rotated(x[:, :, head], dims=dims, base=20.0, adjacent=adjacent))


def test_rotary_scores_depend_on_distance_alone():
    q, k = (random(6, seed=seed).expand(1, 5, 1, 6) for seed in (0, 1))
    scores = torch.einsum("bqhe,bkhe->qk", Rotary(6)(q), Rotary(6)(k))
    close(scores[1:, 1:], scores[:-1, :-1])
    assert scores[0].std() > 0.1


# -- the loss


def lazy(*, resid: torch.Tensor) -> Logits:
    reader = ResidualReader(Norm("LN", 1e-5, random(6, seed=3), random(6, seed=4)), random(6, seed=5))
    return Readout(reader, random(6, 7, seed=1), random(7, seed=2))(resid)


def test_lazy_logits_hold_the_stream_and_give_all_logits():
    logits = lazy(resid=random(3, 4, 6))
    normed = F.layer_norm(random(3, 4, 6) + random(6, seed=5), (6,), random(6, seed=3), random(6, seed=4))
    close(logits.all(), normed @ random(6, 7, seed=1) + random(7, seed=2))
    assert logits.nbytes == random(3, 4, 6).nbytes
    without = replace(logits.readout, b_U=None)
    close(without(random(3, 4, 6)).all() + random(7, seed=2), logits.all())


@pytest.mark.parametrize("tile", [1, 3 * 7, 2**21], ids=["a position", "three positions", "all"])
def test_losses_are_the_cross_entropies_of_all_logits_at_the_chosen_positions(tile, monkeypatch):
    monkeypatch.setattr(readout, "TILE", tile)
    logits, labels = lazy(resid=random(3, 4, 6)), torch.arange(12).reshape(3, 4) % 7
    where = random(3, 4, seed=9) > 0
    expected = F.cross_entropy(logits.all().mT, labels, reduction="none")
    close(logits.losses(labels, where), expected[where])
    weights = where * random(3, 4, seed=8).abs()
    close(WeightedCrossEntropy()(logits, labels, weights), (expected * weights).sum(1))


def test_positions_of_weight_zero_are_never_read():
    weights = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    resid, labels = random(2, 3, 6), torch.tensor([[-100, 3, 0], [99, 99, 99]])
    expected = WeightedCrossEntropy()(lazy(resid=resid), labels.where(weights > 0, torch.tensor(0)), weights)
    got = WeightedCrossEntropy()(lazy(resid=resid.masked_fill(weights[..., None] == 0, torch.nan)), labels, weights)
    assert torch.equal(got, expected)
    assert got[0] > 0
    assert got[1] == 0


def test_rows_without_any_weight_lose_nothing():
    weights = torch.zeros(2, 3, dtype=torch.float64)
    assert WeightedCrossEntropy()(lazy(resid=random(2, 3, 6)), torch.zeros(2, 3).long(), weights).tolist() == [0, 0]


def test_the_loss_is_of_the_type_of_the_stream():
    logits = Readout(ResidualReader(Norm(None)), random(6, 7).float())(random(2, 3, 6).float())
    assert WeightedCrossEntropy()(logits, torch.zeros(2, 3).long(), torch.ones(2, 3).double()).dtype == torch.float32


# -- equality by value

DIFFERENT = {
    "no bias": lambda a: replace(a, q=replace(a.q, b=None)),
    "a bias of zero": lambda a: replace(a, q=replace(a.q, b=torch.zeros_like(a.q.b))),
    "one weight": lambda a: replace(a, W_O=a.W_O + torch.eye(3)[0][:, None, None] * 1e-9),
    "scale": lambda a: replace(a, scores=Scores(2.0)),
    "heads": lambda a: a.heads([0, 1]),
    "order of heads": lambda a: a.heads([1, 0, 2]),
    "rotary": lambda a: replace(a, k=replace(a.k, rotary=Rotary(4))),
    "rotary pairs": lambda a: replace(a, k=replace(a.k, rotary=Rotary(4, adjacent=True))),
    "positions": lambda a: replace(a, k=replace(a.k, position=torch.zeros(5, 6, dtype=torch.float64))),
    "norm": lambda a: replace(a, v=replace(a.v, reader=ResidualReader(Norm("RMS")))),
    "eps": lambda a: replace(a, v=replace(a.v, reader=ResidualReader(replace(a.v.reader.norm, eps=1e-6)))),
    "type": lambda a: replace(a, W_O=a.W_O.float()),
    "shape": lambda a: replace(a, W_O=a.W_O.reshape(3, 6, 4)),
    "same": lambda a: a,
}


def test_equal_content_is_equal_and_anything_else_is_not():
    first, again = ({what: change(all_heads()) for what, change in DIFFERENT.items()} for _ in range(2))
    for what in DIFFERENT:
        assert first[what] is not again[what]
        assert first[what] == again[what]
        assert hash(first[what]) == hash(again[what])
    assert len({*first.values(), *again.values()}) == len(DIFFERENT)


def test_how_a_tensor_is_stored_is_no_difference():
    W = random(4, 6, 3)
    stored = W.mT.contiguous().mT
    assert not stored.is_contiguous()
    assert HeadOutput(W) == HeadOutput(stored)
    assert HeadOutput(W) == HeadOutput(W.clone().requires_grad_())


def test_functions_of_another_kind_or_mask_differ():
    W, reader = random(3, 4, 6), ResidualReader(Norm(None))
    different = [OutputProjection(W), HeadOutput(W), HeadOutput(W, offset(1)), HeadOutput(W, ~offset(1)), Sum()]
    different += [Difference(), Projection(reader, W), Readout(reader, W[0]), Embedding(W[0])]
    assert len(set(different)) == len(different)
    assert all(one != other for one in different for other in [W, "W", None])
