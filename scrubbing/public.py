"""The public names: what `from scrubbing import ...` finds."""

from scrubbing.approx import approx_percent
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
from scrubbing.explanation import explanation_accuracy, run_explanation
from scrubbing.graph import Graph, Node, bins, per_position, reads, within
from scrubbing.interventions import interchange
from scrubbing.policy import mean
from scrubbing.record import load_record, restore, save_record
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
    "approx_percent",
    "bins",
    "explanation_accuracy",
    "interchange",
    "load_record",
    "mean",
    "per_position",
    "reads",
    "restore",
    "run_explanation",
    "save_record",
    "scrub",
    "within",
]
