"""Exact scrubbing: the law of the scrubbed loss over all draws of donors, instead of a sample of it."""

from scrubbing.exact.losses import ExactLosses, exact_two_level_variance
from scrubbing.exact.propagation import exact_losses

__all__ = ["ExactLosses", "exact_losses", "exact_two_level_variance"]
