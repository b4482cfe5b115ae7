"""Signals from several datasets: one head has its value in the first or the second half, another head too (2 x 2)."""

import torch
from random_transformer import ROWS, G, data

from scrubbing import donor, sweep

half = ROWS // 2  # two datasets, one after the other: row i of one belongs to row i of the other
same = torch.arange(ROWS) % half
found = sweep(
    G,
    {"first": ["one", "other"], "second": ["one", "other"]},
    lambda first, second: {
        "a0_h1": donor(same + half * (first == "other")),
        "a0_h2": donor(same + half * (second == "other")),
    },
    data,
    references=range(half),
)
print(found)
