"""Which of several hypotheses recover more."""

from scrubbing.score.comparison.comparing import compare
from scrubbing.score.comparison.comparison import Comparison, Difference, HeldOut, Standing

__all__ = ["Comparison", "Difference", "HeldOut", "Standing", "compare"]
