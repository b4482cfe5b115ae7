"""How the induction heads of a two-layer attention-only model work: the flagship of the project.

The experiments of "Causal scrubbing on induction heads" (Redwood Research 2022), on a model trained by this project.
"""

from hypotheses.induction.measuring import heads
from hypotheses.induction.suite import case, suite

__all__ = ["case", "heads", "suite"]
