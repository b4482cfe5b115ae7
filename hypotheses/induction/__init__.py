"""How the induction heads of a two-layer attention-only model work: the flagship of the project.

The experiments of Redwood Research's "Causal scrubbing on induction heads" (2022), on a model that this project trained.
"""

from hypotheses.induction.suite import case, suite

__all__ = ["case", "suite"]
