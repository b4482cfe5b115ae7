"""Intervals and tests, each from its published formula."""

from scrubbing.score.statistics.choosing import (
    Ratio,
    interval_of_mean,
    interval_of_ratio,
    interval_of_share,
    p_of_mean,
    reach,
    too_few,
    too_heavy,
)
from scrubbing.score.statistics.clusters import Clustering, clustering, intraclass, neighbours_correlate
from scrubbing.score.statistics.columns import Column, Design, Values, added_by_unit, as_column, moments
from scrubbing.score.statistics.means import mean_interval, p_value, significantly_positive
from scrubbing.score.statistics.multiplicity import (
    all_pairs_max_t,
    benjamini_hochberg,
    confidence_at_once,
    holm,
    max_t,
    with_the_best,
)
from scrubbing.score.statistics.order import shared_letters, tiers
from scrubbing.score.statistics.permutation import sign_flip
from scrubbing.score.statistics.ratios import bootstrapped_ratio, difference_of_ratios, fieller
from scrubbing.score.statistics.tails import conditional_value_at_risk, quantile
from scrubbing.score.statistics.variance import best_draws, two_level_variance

__all__ = [
    "Clustering",
    "Column",
    "Design",
    "Ratio",
    "Values",
    "added_by_unit",
    "all_pairs_max_t",
    "as_column",
    "benjamini_hochberg",
    "best_draws",
    "bootstrapped_ratio",
    "clustering",
    "conditional_value_at_risk",
    "confidence_at_once",
    "difference_of_ratios",
    "fieller",
    "holm",
    "interval_of_mean",
    "interval_of_ratio",
    "interval_of_share",
    "intraclass",
    "max_t",
    "mean_interval",
    "moments",
    "neighbours_correlate",
    "p_of_mean",
    "p_value",
    "quantile",
    "reach",
    "shared_letters",
    "sign_flip",
    "significantly_positive",
    "tiers",
    "too_few",
    "too_heavy",
    "two_level_variance",
    "with_the_best",
]
