"""The published network, known by its weights, and what was found on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import torch

from scrubbing.lens import Transformer

SOURCE = "Redwood Research 2022, on this network and these strings"
NETWORK = "7ea47eac64e49c349b8406028354b4ba6bd3e3b74a74785af06b51a52dfd69bc"


@dataclass(frozen=True)
class Figure:
    """A published loss in nats, and the percentage of the loss recovered."""

    loss: float
    percent: int


# 3b and 4 did not replicate: an independent run found losses of about 1.2 and 1.8, and so does the authors' own code.
FIGURES: Mapping[str, Figure] = {
    "0a": Figure(0.0003, 100),
    "0b": Figure(4.30, 0),
    "1a": Figure(0.52, 88),
    "1b": Figure(0.30, 93),
    "2a": Figure(0.55, 87),
    "2b": Figure(0.53, 88),
    "3b": Figure(0.69, 84),
    "4": Figure(1.21, 72),
}


def is_published(model: Transformer) -> bool:
    """Whether these are the weights of the published network."""
    return fingerprint(model) == NETWORK


def fingerprint(model: Transformer) -> str:
    """A hash of the weights by name, as float32."""
    found = sha256()
    for name in sorted(model.weights):
        found.update(name.encode())
        found.update(model.weights[name].detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return found.hexdigest()
