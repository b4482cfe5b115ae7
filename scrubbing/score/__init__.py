"""Scores: how much of a network's loss survives a hypothesis, with intervals, tests and tables."""

from scrubbing.score.cancellation import Cancellation
from scrubbing.score.losses import Estimate, Losses, Metric, by_draw, mean_metric, sampled_estimate
from scrubbing.score.making import make_score
from scrubbing.score.pairing import paired_advantage, same_baseline
from scrubbing.score.recalling import Recalled, recalled
from scrubbing.score.score import Score, percentage
from scrubbing.score.stopping import Stopping, fraction_interval
from scrubbing.score.verdicts import AtLeast, Equality

__all__ = [
    "AtLeast",
    "Cancellation",
    "Equality",
    "Estimate",
    "Losses",
    "Metric",
    "Recalled",
    "Score",
    "Stopping",
    "by_draw",
    "fraction_interval",
    "make_score",
    "mean_metric",
    "paired_advantage",
    "percentage",
    "recalled",
    "same_baseline",
    "sampled_estimate",
]
