"""Exact scrubbing: the distribution of the scrubbed loss over all draws of donors, instead of a sample of it."""

from scrubbing.engine.exact.last import exact_estimate, last_estimate
from scrubbing.engine.exact.losses import ExactLosses, exact_two_level_variance
from scrubbing.engine.exact.propagation import exact_losses, refuse_too_many_rows

__all__ = [
    "ExactLosses",
    "exact_estimate",
    "exact_losses",
    "exact_two_level_variance",
    "last_estimate",
    "refuse_too_many_rows",
]
