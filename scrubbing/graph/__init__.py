"""What a user writes: graphs, claims, hypotheses and columns of data."""

from scrubbing.graph.graph import Graph
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.graph.nodes import Node, Reads, bins, per_position, reads, within

__all__ = ["Graph", "Hypothesis", "Node", "Reads", "bins", "per_position", "reads", "within"]
