"""Exact scrubbing: the distribution of the scrubbed loss over all draws of donors, instead of a sample of it."""

from scrubbing.engine.exact.losses import ExactLosses, exact_two_level_variance
from scrubbing.engine.exact.propagation import exact_losses, refuse_too_many_rows

__all__ = [
    "ExactLosses",
    "exact_losses",
    "exact_two_level_variance",
    "refuse_too_many_rows",
]
