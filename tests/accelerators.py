"""The devices beside the processor that torch finds here."""

import torch

FOUND = [name for name in ("cuda", "mps") if getattr(torch, name).is_available()]
NONE = "torch finds neither a CUDA device nor MPS here"
