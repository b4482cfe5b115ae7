"""A head that does several things: what each row of its attention does, and what the network loses without it.

The measurements of "Polysemantic attention head in a 4-layer transformer" (2023), on a network grown by this project.
"""

from hypotheses.polysemantic.suite import case, suite

__all__ = ["case", "suite"]
