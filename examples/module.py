"""What a small network that was trained to compare two sums does: a hypothesis about any torch module."""

import torch
from torch import nn
from torch.nn import functional as F

from scrubbing import Graph, Hypothesis, from_module, reads, scrub


class Compare(nn.Module):
    """Whether the first four numbers have a larger sum than the last four."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1)) for _ in range(2))
        self.head = nn.Linear(2, 2)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.left(a), self.right(b)], dim=1))


torch.manual_seed(0)
a, b = torch.randn(2, 1000, 4)
data = dict(a=a, b=b, y=(a.sum(1) > b.sum(1)).long())
model = Compare()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for _ in range(200):
    optimizer.zero_grad()
    F.cross_entropy(model(a, b), data["y"]).backward()
    optimizer.step()

G = from_module(model.eval(), data, ["left", "right"], loss=lambda out, y: F.cross_entropy(out, y, reduction="none"))
sums = Graph(left=lambda a: a.sum(1).round(), right=lambda b: b.sum(1).round(), head=reads("left", "right"))
claims = sums | dict(loss=reads("head", "y"))
print(G)
score = scrub(Hypothesis(G, claims), data, baseline=Graph(loss=reads("y")))
print(score)
