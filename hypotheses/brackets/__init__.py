"""How a three-layer transformer tells whether brackets are balanced: the method's second published case.

The hypotheses of "Causal scrubbing: results on a paren balance checker" (Redwood Research 2022), on a network trained
by this project, or on the published one.
"""

from hypotheses.brackets.suite import case, heads, suite

__all__ = ["case", "heads", "suite"]
