"""What is read of the output of a run, by name: each reading is a small reducer over the logits, in a file of its own.

All readings share one pass over tiles of logits, which are made once (see `low_rank`).
"""

from collections.abc import Mapping
from types import MappingProxyType

from scrubbing.lens.components.readings.agreement import Agreement
from scrubbing.lens.components.readings.cross_entropy import CrossEntropy
from scrubbing.lens.components.readings.divergence import Divergence
from scrubbing.lens.components.readings.logit_difference import LogitDifference
from scrubbing.lens.components.readings.probability import Probability
from scrubbing.lens.components.readings.rank import Rank
from scrubbing.lens.components.readings.reading import Output, Reading

# Those of every run.
READINGS: Mapping[str, Reading] = MappingProxyType(
    {"loss": CrossEntropy(), "kl": Divergence(), "agreement": Agreement()}
)

__all__ = [
    "READINGS",
    "Agreement",
    "CrossEntropy",
    "Divergence",
    "LogitDifference",
    "Output",
    "Probability",
    "Rank",
    "Reading",
]
