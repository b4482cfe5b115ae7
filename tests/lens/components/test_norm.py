"""A norm taken apart: the linear part, the scale of what it leaves, gain and bias."""

import pytest
import torch

from scrubbing.lens.components.norm import Norm

GENERATOR = torch.Generator().manual_seed(0)
X, W, B = (torch.randn(*shape, generator=GENERATOR, dtype=torch.float64) for shape in ((2, 3, 5), (5,), (5,)))


@pytest.mark.parametrize("norm", [Norm("LN", 0.1, W, B), Norm("RMS", 0.1, W), Norm("LN"), Norm("RMS"), Norm(None)])
def test_a_norm_is_its_parts_put_together(norm):
    centred = norm.centred(X)
    scaled = centred * norm.scale(centred)
    affine = scaled * (1.0 if norm.w is None else norm.w) + (0.0 if norm.b is None else norm.b)
    torch.testing.assert_close(affine, norm(X), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["LN", "RMS", None])
def test_centring_is_linear_and_done_once(kind):
    norm = Norm(kind)
    torch.testing.assert_close(norm.centred(2 * X + X.flip(0)), 2 * norm.centred(X) + norm.centred(X.flip(0)))
    torch.testing.assert_close(norm.centred(norm.centred(X)), norm.centred(X))
    assert (kind == "LN") == bool(norm.centred(X).mean(-1).abs().max() < 1e-12)


def test_a_scale_is_one_over_the_size_and_one_without_a_norm():
    assert Norm("LN", 9.0).scale(4 * torch.ones(2, 3)).tolist() == [[pytest.approx(1 / 5)]] * 2
    assert Norm(None).scale(X).tolist() == torch.ones(2, 3, 1).tolist()
