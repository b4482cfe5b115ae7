"""How much of what a network does does an explanation account for? Causal scrubbing, as a library."""

from scrubbing.comparison import compare
from scrubbing.correspondence import Hypothesis
from scrubbing.errors import (
    DataError,
    GraphError,
    HypothesisError,
    ModelError,
    ScrubbingError,
    ScrubbingWarning,
    StoreError,
)
from scrubbing.experiment import Case, scrub
from scrubbing.explanation import explanation_accuracy, run_explanation
from scrubbing.graph import Graph, Node, bins, per_position, reads, within
from scrubbing.interventions import interchange
from scrubbing.policy import mean
from scrubbing.record import load_record, restore, save_record
from scrubbing.sample_size import plan_samples
from scrubbing.score import Score
from scrubbing.store import Store

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
    "Store",
    "StoreError",
    "bins",
    "compare",
    "explanation_accuracy",
    "interchange",
    "load_record",
    "mean",
    "per_position",
    "plan_samples",
    "reads",
    "restore",
    "run_explanation",
    "save_record",
    "scrub",
    "within",
]
