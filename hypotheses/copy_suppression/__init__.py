"""Does a head do nothing but copy suppression? It is ablated but for what suppresses predicted words that were said.

Copy-suppression-preserving ablation (McDougall et al. 2023), on a head of a network trained by this project, or on any
model's.
"""

from hypotheses.copy_suppression.suite import case, suite

__all__ = ["case", "suite"]
