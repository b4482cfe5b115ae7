"""How a transformer names the indirect object: backup heads, path patching, signals, and what makes a circuit good.

The circuit of Wang et al. 2022, "Interpretability in the Wild", and the anomalies that were found in it since, on a
small network trained by this project, or on any other.
"""

from hypotheses.ioi.suite import case, heads, suite

__all__ = ["case", "heads", "suite"]
