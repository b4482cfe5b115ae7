"""Which of several hypotheses recover more."""

from scrubbing.comparison.comparing import compare
from scrubbing.comparison.comparison import Comparison, Difference, Standing

__all__ = ["Comparison", "Difference", "Standing", "compare"]
