"""The public names: what `from scrubbing import ...` finds."""

from scrubbing.adversary import WorstCase, worst_donors
from scrubbing.approx import approx_percent
from scrubbing.attribution import Attribution, attribute_loss
from scrubbing.baselines import BaselineLadder, baseline_ladder, labels_alone, labels_permuted
from scrubbing.comparison import compare
from scrubbing.controls import RandomControls, random_controls, random_features, random_images, with_row_numbers
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
from scrubbing.experiment import Case, explain, scrub
from scrubbing.explanation import explanation_accuracy, run_explanation
from scrubbing.graph import Graph, Node, bins, per_position, reads, within
from scrubbing.interventions import interchange
from scrubbing.ngrams import bigram, unigram
from scrubbing.policy import mean
from scrubbing.record import load_record, restore, save_record
from scrubbing.sample_size import plan_samples
from scrubbing.score import Score
from scrubbing.store import Store
from scrubbing.swaps import Swaps, single_swaps

__all__ = [
    "Attribution",
    "BaselineLadder",
    "Case",
    "DataError",
    "Graph",
    "GraphError",
    "Hypothesis",
    "HypothesisError",
    "ModelError",
    "Node",
    "RandomControls",
    "Score",
    "ScrubbingError",
    "ScrubbingWarning",
    "Store",
    "StoreError",
    "Swaps",
    "WorstCase",
    "approx_percent",
    "attribute_loss",
    "baseline_ladder",
    "bigram",
    "bins",
    "compare",
    "explain",
    "explanation_accuracy",
    "interchange",
    "labels_alone",
    "labels_permuted",
    "load_record",
    "mean",
    "per_position",
    "plan_samples",
    "random_controls",
    "random_features",
    "random_images",
    "reads",
    "restore",
    "run_explanation",
    "save_record",
    "scrub",
    "single_swaps",
    "unigram",
    "with_row_numbers",
    "within",
    "worst_donors",
]
