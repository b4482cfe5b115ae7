"""How much of what a network does does an explanation account for? Causal scrubbing, as a library."""

from scrubbing.correspondence import Hypothesis
from scrubbing.errors import (
    DataError,
    GraphError,
    HypothesisError,
    ModelError,
    ScrubbingError,
    ScrubbingWarning,
)
from scrubbing.experiment import Case, scrub
from scrubbing.graph import Graph, Node, bins, per_position, reads, within
from scrubbing.plan import mean
from scrubbing.score import Score

__all__ = [
    "Case",
    "DataError",
    "Graph",
    "GraphError",
    "Hypothesis",
    "HypothesisError",
    "ModelError",
    "Node",
    "Score",
    "ScrubbingError",
    "ScrubbingWarning",
    "bins",
    "mean",
    "per_position",
    "reads",
    "scrub",
    "within",
]
