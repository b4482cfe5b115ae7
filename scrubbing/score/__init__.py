"""Scores: how much of a network's loss survives a hypothesis, with intervals, tests and tables."""

from scrubbing.score.cancellation import Cancellation
from scrubbing.score.losses import Estimate, Losses, Metric, by_draw, mean_metric, sampled_estimate
from scrubbing.score.making import make_score
from scrubbing.score.pairing import paired_advantage, same_baseline
from scrubbing.score.participation import Participation
from scrubbing.score.population import Estimand, Population, packed, unpacked
from scrubbing.score.recalling import Recalled, recalled
from scrubbing.score.score import Score
from scrubbing.score.stopping import Stopping
from scrubbing.score.verdicts import AtLeast, Equality
from scrubbing.score.wording import percentage

__all__ = [
    "AtLeast",
    "Cancellation",
    "Equality",
    "Estimand",
    "Estimate",
    "Losses",
    "Metric",
    "Participation",
    "Population",
    "Recalled",
    "Score",
    "Stopping",
    "by_draw",
    "make_score",
    "mean_metric",
    "packed",
    "paired_advantage",
    "percentage",
    "recalled",
    "same_baseline",
    "sampled_estimate",
    "unpacked",
]
