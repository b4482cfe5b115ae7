"""Intervals and tests, each from its published formula."""

from scrubbing.score.statistics.means import mean_interval, p_value, significantly_positive
from scrubbing.score.statistics.multiplicity import all_pairs_max_t, benjamini_hochberg, holm
from scrubbing.score.statistics.order import shared_letters, tiers
from scrubbing.score.statistics.ratios import bootstrapped_ratio, difference_of_ratios, fieller, fieller_sequence
from scrubbing.score.statistics.tails import conditional_value_at_risk, quantile
from scrubbing.score.statistics.variance import best_draws, two_level_variance

__all__ = [
    "all_pairs_max_t",
    "benjamini_hochberg",
    "best_draws",
    "bootstrapped_ratio",
    "conditional_value_at_risk",
    "difference_of_ratios",
    "fieller",
    "fieller_sequence",
    "holm",
    "mean_interval",
    "p_value",
    "quantile",
    "shared_letters",
    "significantly_positive",
    "tiers",
    "two_level_variance",
]
