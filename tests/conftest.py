"""Settings that all tests share."""

import torch

# Small tensors: a second thread costs more than it brings, and far more where another process has the core.
torch.set_num_threads(1)
