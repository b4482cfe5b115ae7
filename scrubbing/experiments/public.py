"""The public names: what `from scrubbing import ...` finds."""

from scrubbing.engine.policy import mean
from scrubbing.errors import (
    DataError,
    GraphError,
    HypothesisError,
    ModelError,
    NodeError,
    ScrubbingError,
    ScrubbingWarning,
    StoreError,
)
from scrubbing.experiments.activations import losses_by_position, scrubbed_activations
from scrubbing.experiments.adversary import WorstCase, worst_donors
from scrubbing.experiments.attribution import Attribution, attribute_loss
from scrubbing.experiments.baselines import BaselineLadder, baseline_ladder, labels_alone, labels_permuted
from scrubbing.experiments.controls import (
    RandomControls,
    random_controls,
    random_features,
    random_nodes,
    with_row_numbers,
)
from scrubbing.experiments.explanation import explanation_accuracy, run_explanation
from scrubbing.experiments.interventions import interchange
from scrubbing.experiments.ngrams import bigram, unigram
from scrubbing.experiments.scoring import Case, explain, scrub
from scrubbing.experiments.swaps import Swaps, single_swaps
from scrubbing.graph import Graph, Node, bins, per_position, reads, within
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.language_data import next_token_data
from scrubbing.score import Score
from scrubbing.score.approx import approx_percent
from scrubbing.score.comparison import compare
from scrubbing.score.sample_size import plan_samples
from scrubbing.store import Store
from scrubbing.store.record import load_record, restore, save_record

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
    "NodeError",
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
    "losses_by_position",
    "mean",
    "next_token_data",
    "per_position",
    "plan_samples",
    "random_controls",
    "random_features",
    "random_nodes",
    "reads",
    "restore",
    "run_explanation",
    "save_record",
    "scrub",
    "scrubbed_activations",
    "single_swaps",
    "unigram",
    "with_row_numbers",
    "within",
    "worst_donors",
]
