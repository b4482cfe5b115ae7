"""Muon with products in the matrices' own type; torch's are in bfloat16, which many processors compute far slower."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum of which each step takes the nearest orthogonal matrix.

    Source: Jordan et al. 2024, Muon: an optimizer for hidden layers; as `torch.optim.Muon` with its defaults.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of all matrices that have a gradient."""
        for group in self.param_groups:
            for W in group["params"]:
                if W.grad is None:
                    continue
                momentum = self.state[W].setdefault("momentum", torch.zeros_like(W))
                momentum.lerp_(W.grad, 1 - MOMENTUM)
                update = orthogonalised(W.grad.lerp(momentum, MOMENTUM))
                W.mul_(1 - group["lr"] * group["weight_decay"])
                W.add_(update, alpha=-group["lr"] * max(1.0, W.shape[0] / W.shape[1]) ** 0.5)


def orthogonalised(G: Tensor) -> Tensor:
    """About the orthogonal matrix that is nearest: singular values between .7 and 1.2 (Newton and Schulz's iteration).

    >>> torch.linalg.svdvals(orthogonalised(torch.eye(3) * 5)).round(decimals=1)
    tensor([0.7000, 0.7000, 0.7000])
    """
    a, b, c = COEFFICIENTS
    X = G.T if G.shape[0] > G.shape[1] else G
    X = X / X.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if G.shape[0] > G.shape[1] else X
