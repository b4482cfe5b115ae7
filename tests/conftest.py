"""Settings that all tests share."""

import os

import torch

# What tests score belongs in no store of the user's.
os.environ["SCRUBBING_STORE"] = "off"

# Small tensors: a second thread costs more than it brings, and far more where another process has the core.
torch.set_num_threads(1)
