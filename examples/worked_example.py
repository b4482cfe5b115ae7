"""The worked example of the paper: an `or` of two thresholds."""

import torch

from scrubbing import Graph, Hypothesis, reads, scrub

z = torch.cartesian_prod(*[torch.arange(10)] * 3)
data = dict(z1=z[:, 0], z2=z[:, 1], z3=z[:, 2], y=(z[:, 0] > 3) | (z[:, 1] > 3))

model = Graph(
    A=lambda z1, z2, z3: torch.sigmoid(8 * (z1 - 3.5)),
    B=lambda z1, z2, z3: torch.sigmoid(8 * (z2 - 3.5)),
    C=lambda z1, z2, z3: z1 + z2 + z3,
    D=lambda A, B, C: A + B - A * B + 0 * C,
    loss=lambda D, y: (D - y.float()).abs(),
)
algorithm = Graph(
    A=lambda z1: z1 > 3,
    B=lambda z2: z2 > 3,
    D=lambda A, B: A | B,
    loss=lambda D, y: D == y,
)
knows_nothing = Graph(loss=reads("y"))

print(scrub(Hypothesis(model, algorithm), data, baseline=knows_nothing))
