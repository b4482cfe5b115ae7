"""Every head at every role: a role is a position that differs from row to row."""

import torch
from random_transformer import ROWS, G, data

from scrubbing import at, donor, sweep

roles = dict(subject=torch.arange(ROWS) % 3, end=5 + torch.arange(ROWS) % 3)  # columns: a position of each row
donors = donor(torch.arange(ROWS).roll(1))
found = sweep(
    G,
    {"layer": range(2), "head": range(4), "role": list(roles)},
    lambda layer, head, role: {f"a{layer}_h{head}": at(role, donors)},
    data | roles,
)
print(found.array().sel(role="end"))
