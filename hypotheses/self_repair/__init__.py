"""Who makes up for an ablated attention head: later heads, MLPs and their neurons, or the final norm.

The measurements of "Explorations of Self-Repair in Language Models" (Rushing and Nanda 2024), on the network that the
induction study ships, or on any other.
"""

from hypotheses.self_repair.suite import case, suite

__all__ = ["case", "suite"]
