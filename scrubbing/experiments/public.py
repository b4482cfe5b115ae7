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
from scrubbing.experiments.circuits import circuit, kept
from scrubbing.experiments.complement import Complement, complement, complement_controls
from scrubbing.experiments.controls import RandomControls, random_controls
from scrubbing.experiments.criteria import criteria
from scrubbing.experiments.edge_controls import EdgeControls, edge_controls
from scrubbing.experiments.effects import DirectEffects, direct_effects
from scrubbing.experiments.engines import Engine
from scrubbing.experiments.explanation import explanation_accuracy, run_explanation
from scrubbing.experiments.instead import add, at, donor
from scrubbing.experiments.interventions import interchange
from scrubbing.experiments.judged import Criteria
from scrubbing.experiments.measures import measure
from scrubbing.experiments.ngrams import bigram, unigram
from scrubbing.experiments.parts import scrub_part
from scrubbing.experiments.patching import paths
from scrubbing.experiments.random_circuits import random_circuit
from scrubbing.experiments.random_hypotheses import random_features, random_nodes, with_row_numbers
from scrubbing.experiments.replication import Replication, replicate
from scrubbing.experiments.scoring import Case, explain, scrub
from scrubbing.experiments.swaps import Swaps, single_swaps
from scrubbing.experiments.sweeps import Sweep, sweep
from scrubbing.experiments.values import values
from scrubbing.experiments.weight_circuits import CircuitRanks, circuit_ranks, effective_embedding
from scrubbing.graph import Graph, Node, bins, per_position, reads, within
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.language_data import next_token_data
from scrubbing.lens.modules import from_module
from scrubbing.score import Score
from scrubbing.score.approx import approx_percent
from scrubbing.score.comparison import compare
from scrubbing.score.sample_size import plan_equality, plan_samples
from scrubbing.store import Store
from scrubbing.store.merging import merge
from scrubbing.store.record import load_record, restore, save_record

__all__ = [
    "Attribution",
    "BaselineLadder",
    "Case",
    "CircuitRanks",
    "Complement",
    "Criteria",
    "DataError",
    "DirectEffects",
    "EdgeControls",
    "Engine",
    "Graph",
    "GraphError",
    "Hypothesis",
    "HypothesisError",
    "ModelError",
    "Node",
    "NodeError",
    "RandomControls",
    "Replication",
    "Score",
    "ScrubbingError",
    "ScrubbingWarning",
    "Store",
    "StoreError",
    "Swaps",
    "Sweep",
    "WorstCase",
    "add",
    "approx_percent",
    "at",
    "attribute_loss",
    "baseline_ladder",
    "bigram",
    "bins",
    "circuit",
    "circuit_ranks",
    "compare",
    "complement",
    "complement_controls",
    "criteria",
    "direct_effects",
    "donor",
    "edge_controls",
    "effective_embedding",
    "explain",
    "explanation_accuracy",
    "from_module",
    "interchange",
    "kept",
    "labels_alone",
    "labels_permuted",
    "load_record",
    "losses_by_position",
    "mean",
    "measure",
    "merge",
    "next_token_data",
    "paths",
    "per_position",
    "plan_equality",
    "plan_samples",
    "random_circuit",
    "random_controls",
    "random_features",
    "random_nodes",
    "reads",
    "replicate",
    "restore",
    "run_explanation",
    "save_record",
    "scrub",
    "scrub_part",
    "scrubbed_activations",
    "single_swaps",
    "sweep",
    "unigram",
    "values",
    "with_row_numbers",
    "within",
    "worst_donors",
]
