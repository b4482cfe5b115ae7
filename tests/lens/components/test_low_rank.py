"""Readings of many hypotheses, by shared logits and folded matrices, are those of the formulas over all logits."""

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scrubbing.lens.components import low_rank
from scrubbing.lens.components.low_rank import ALIGNED, LN2, NEVER, Change, fold, read
from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.readings import READINGS, LogitDifference, Probability, Rank
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import ResidualReader

D_MODEL, D_VOCAB, POSITIONS = 6, 150, 11
NORMS = {
    f"{kind} {'with' if affine else 'without'} gain": (kind, affine)
    for kind, affine in [("LN", True), ("LN", False), ("RMS", True), ("RMS", False), (None, False)]
}


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def make_readout(kind, affine: bool, *, bias: bool = True, dtype: torch.dtype = torch.float64) -> Readout:
    w, b = (1 + random(D_MODEL, seed=1, dtype=dtype), random(D_MODEL, seed=2, dtype=dtype)) if affine else (None, None)
    norm = Norm(kind, 1e-3, w, b if kind == "LN" else None)
    b_U = random(D_VOCAB, seed=3, dtype=dtype) if bias else None
    return Readout(ResidualReader(norm), random(D_MODEL, D_VOCAB, seed=4, dtype=dtype), b_U)


ALL = {**READINGS, "logit difference": LogitDifference(), "probability": Probability(), "rank": Rank()}


def read_all(readout: Readout, resid: Tensor, changes: list[Change], labels: Tensor) -> dict[str, Tensor]:
    tokens = {"labels": labels, "foils": foils(labels)}
    return read(readout.reader.norm, fold(readout), resid, changes, tokens, ALL)


def foils(labels: Tensor) -> Tensor:
    """A token for each label to be set against."""
    return (labels + 3) % D_VOCAB


def formula(readout: Readout, streams: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
    """The readings of whole streams, the network's first, in 64 bits and one after the other."""
    norm = readout.reader.norm

    def logits(x: Tensor) -> Tensor:
        x = x.double()
        if norm.kind == "LN":
            x = x - x.mean(-1, keepdim=True)
        if norm.kind:
            x = x / (x.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt()
        x = x if norm.w is None else x * norm.w.double()
        x = x if norm.b is None else x + norm.b.double()
        b_U = 0.0 if readout.b_U is None else readout.b_U.double()
        return x @ readout.W_U.double() + b_U

    all_logits = [logits(x) for x in streams]
    own = all_logits[0].log_softmax(-1)

    def at(each: Tensor, token: Tensor) -> Tensor:
        return each.gather(1, token[:, None])[:, 0]

    found = {
        "loss": [F.cross_entropy(each, labels, reduction="none") for each in all_logits],
        "kl": [(own.exp() * (own - each.log_softmax(-1))).sum(-1) for each in all_logits],
        "agreement": [(each.argmax(-1) == own.argmax(-1)).double() for each in all_logits],
        "logit difference": [at(each, labels) - at(each, foils(labels)) for each in all_logits],
        "probability": [at(each.softmax(-1), labels) for each in all_logits],
        "rank": [(each > at(each, labels)[:, None]).sum(-1).double() for each in all_logits],
    }
    return {name: torch.stack(values) for name, values in found.items()}


def make_groups(readout: Readout, *, dtype: torch.dtype = torch.float64) -> tuple[list[Change], list[Tensor]]:
    """Two groups of narrow changes and one of whole ones; the first hypothesis of several changes nothing."""
    changes, added = [], []
    for group, (members, width) in enumerate([(3, 2), (1, 4), (2, None)]):
        z = random(members, POSITIONS, width or D_MODEL, seed=10 + group, dtype=dtype)
        z[0] = z[0] if members == 1 else 0.0
        W = None if width is None else random(width, D_MODEL, seed=20 + group, dtype=dtype)
        changes.append(Change(z, W, fold(readout, W)))
        added += list(z.double() if W is None else z.double() @ W.double())
    return changes, added


def check(readout: Readout, *, dtype: torch.dtype, atol: float, narrow: bool = False) -> None:
    """With `narrow`, of the changes that are narrower than the stream all together."""
    resid, labels = random(POSITIONS, D_MODEL, seed=5, dtype=dtype), torch.arange(POSITIONS) * 7 % D_VOCAB
    changes, added = make_groups(readout, dtype=dtype)
    if narrow:
        changes, added = changes[:2], added[:4]
        assert sum(change.z.shape[-1] for change in changes) <= D_MODEL
    found = read_all(readout, resid, changes, labels)
    expected = formula(readout, [resid.double(), *(resid.double() + each for each in added)], labels)
    assert list(found) == list(expected)
    for name, got in found.items():
        wanted = expected[name]
        assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(got.double(), wanted, rtol=atol, atol=atol, msg=lambda m, name=name: f"{name}: {m}")
    assert 0 < expected["agreement"].mean() < 1
    assert expected["kl"][[2, 3, 4]].min() > 0
    assert expected["kl"][[0, 1, *([] if narrow else [5])]].max() == 0


@pytest.mark.parametrize("bias", [True, False], ids=["b_U", "no b_U"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["f64", "f32"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("narrow", [True, False], ids=["narrow", "wide"])
def test_readings_are_those_of_all_logits(norm, dtype, atol, bias, narrow):
    check(make_readout(*NORMS[norm], bias=bias, dtype=dtype), dtype=dtype, atol=atol, narrow=narrow)


@pytest.mark.parametrize(("block", "tile"), [(1, 1), (4, 10**6), (128, 1), (5, 5 * 3 * 128)])
def test_however_positions_and_tokens_are_cut(block, tile, monkeypatch):
    monkeypatch.setattr(low_rank, "BLOCK", (block, block))
    monkeypatch.setattr(low_rank, "TILE", tile)
    assert D_VOCAB > 2 * 64  # the narrowest tile
    check(make_readout("LN", True), dtype=torch.float64, atol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("width", [None, 3])
def test_an_unembedding_that_is_folded_in_pieces_is_the_same(norm, width):
    readout = make_readout(*NORMS[norm])
    W = None if width is None else random(width, D_MODEL, seed=20)
    whole = fold(readout, W)
    with patch.object(low_rank, "FOLDED", 1):
        torch.testing.assert_close(fold(readout, W), whole)
    assert (whole[-2, D_VOCAB:] < -1e20).all()
    assert (whole[-1] == 1).all()


def test_numbers_of_16_bits_are_summed_in_32():
    readout = make_readout("LN", True, dtype=torch.bfloat16)
    assert fold(readout).dtype == torch.float32
    check(readout, dtype=torch.bfloat16, atol=1e-5)


def test_losses_of_16_bit_logits_are_summed_in_32():
    """A vocabulary of equal logits: in 16 bits the logarithm of its size would be off by a hundredth."""
    readout = Readout(ResidualReader(Norm(None)), torch.zeros(D_MODEL, D_VOCAB, dtype=torch.bfloat16))
    losses = readout.cross_entropy(torch.ones(3, D_MODEL, dtype=torch.bfloat16), torch.tensor([0, 1, 2]))
    torch.testing.assert_close(losses, torch.full((3,), D_VOCAB).log(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("network", "hypothesis"), [(1.0, 400.0), (400.0, 1.0)], ids=["far above", "far below"])
def test_logits_hundreds_from_the_networks_are_summed_all_the_same(network, hypothesis, dtype, monkeypatch):
    """Exponentials shifted by the network's largest logit would overflow, or all vanish."""
    readout = make_readout(None, False, dtype=dtype)
    signs = torch.where(torch.arange(POSITIONS) % 3 == 0, 1.0, hypothesis / network).to(dtype)  # a third is near
    resid, labels = random(POSITIONS, D_MODEL, seed=5, dtype=dtype) * network, torch.arange(POSITIONS)
    z = (resid * (signs - 1)[:, None])[None]
    expected = formula(readout, [resid, resid * signs[:, None]], labels)
    for tile in (low_rank.TILE, 1):
        monkeypatch.setattr(low_rank, "TILE", tile)
        found = read_all(readout, resid, [Change(z, None, fold(readout))], labels)
        for name, got in found.items():
            rtol, atol = (1e-10, 1e-8) if dtype == torch.float64 else (1e-4, 2e-2)  # of numbers near a thousand
            atol = 1 if name == "rank" and dtype == torch.float32 else atol  # a token may be that near to the label
            torch.testing.assert_close(got.double(), expected[name], rtol=rtol, atol=atol)
    tops = [(readout.W_U.double().T @ x.double().T).amax(0) for x in (resid, resid * signs[:, None])]
    assert ((tops[0] - tops[1]).abs() > 100).sum() > POSITIONS / 2


def test_each_reading_is_the_same_whatever_else_is_read():
    readout, labels = make_readout("LN", True), torch.arange(POSITIONS)
    resid, changes = random(POSITIONS, D_MODEL, seed=5), make_groups(readout)[0]
    together = read_all(readout, resid, changes, labels)
    for name, reading in ALL.items():
        tokens = {"labels": labels} | ({"foils": foils(labels)} if name == "logit difference" else {})
        alone = read(readout.reader.norm, fold(readout), resid, changes, tokens, {name: reading})
        assert torch.equal(alone[name], together[name])


@pytest.mark.parametrize("groups", [0, 1, 2, 3])
def test_no_position_has_no_readings(groups):
    readout = make_readout("LN", True)
    changes = [change.at(slice(0)) for change in make_groups(readout)[0][:groups]]
    found = read_all(readout, torch.zeros(0, D_MODEL).double(), changes, torch.zeros(0).long())
    assert [values.shape for values in found.values()] == [(1 + sum(len(c.z) for c in changes), 0)] * 6


def test_equal_largest_logits_agree_also_where_rounding_parts_them():
    """The same logits summed in another order, of which the network's choice is no longer quite the largest."""
    W_U = random(D_MODEL, 1, seed=4, dtype=torch.float32).repeat(1, D_VOCAB)
    readout = Readout(ResidualReader(Norm("LN")), W_U)
    resid, W = random(POSITIONS, D_MODEL, seed=5, dtype=torch.float32), random(2, D_MODEL, seed=6, dtype=torch.float32)
    z = random(4, POSITIONS, 2, seed=7, dtype=torch.float32)
    found = read_all(readout, resid, [Change(z, W, fold(readout, W))], torch.zeros(11).long())
    assert found["agreement"].min() == 1
    assert found["rank"].max() == 0


def test_a_fold_is_the_unembedding_in_units_of_ln_2_with_its_bias_and_ones():
    readout = make_readout("LN", True)
    norm, W = readout.reader.norm, random(2, D_MODEL, seed=9)
    assert norm.w is not None
    assert norm.b is not None
    assert readout.b_U is not None
    for given, rows in ((None, torch.eye(D_MODEL).double()), (W, W - W.mean(-1, keepdim=True))):
        folded, padding = fold(readout, given).tensor_split([D_VOCAB], dim=1)
        assert (folded.shape[1] + padding.shape[1]) % ALIGNED == 0
        assert padding[:-2].eq(0).all()
        assert padding[-2].eq(NEVER).all()
        torch.testing.assert_close(folded[:-2] * LN2, (rows * norm.w) @ readout.W_U)
        torch.testing.assert_close(folded[-2] * LN2, norm.b @ readout.W_U + readout.b_U)
        assert folded[-1].eq(1).all()
        assert padding[-1].eq(1).all()


@pytest.mark.parametrize("columns", [1, 64, 150])
@pytest.mark.parametrize("rows", [0, 1, 40])
@pytest.mark.parametrize("tile", [1, 2**19])
def test_tiles_cover_every_token_once(columns, rows, tile, monkeypatch):
    monkeypatch.setattr(low_rank, "TILE", tile)
    tiles = list(low_rank._tiles(columns, rows))
    assert [token for part in tiles for token in range(columns)[part]] == list(range(columns))
    assert all((part.stop - part.start) * rows <= max(tile, 64 * rows) for part in tiles)
