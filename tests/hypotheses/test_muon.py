"""Muon in the type of its matrices, against the one of torch."""

import pytest
import torch

from hypotheses.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (8, 8)])
def test_muon_is_torchs_but_for_its_precision(shape):
    generator = torch.Generator().manual_seed(0)
    begun = torch.randn(shape, generator=generator)
    ours, theirs = begun.clone().requires_grad_(), begun.clone().requires_grad_()
    optimizers = Muon([ours], 0.02, 0.1), torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1)
    for _ in range(4):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - begun).abs().max() > 0.03
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)
    assert torch.linalg.svdvals(orthogonalised(begun)).sub(0.95).abs().max() < 0.35


def test_a_matrix_without_a_gradient_stays():
    idle = torch.ones(2, 2, requires_grad=True)
    Muon([idle], 0.1).step()
    assert idle.tolist() == [[1, 1], [1, 1]]
