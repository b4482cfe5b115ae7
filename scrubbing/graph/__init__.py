"""What a user writes: graphs, claims, hypotheses and columns of data."""

from scrubbing.graph.graph import Graph, Node, Reads, bins, per_position, reads, within
from scrubbing.graph.hypothesis import Hypothesis

__all__ = ["Graph", "Hypothesis", "Node", "Reads", "bins", "per_position", "reads", "within"]
