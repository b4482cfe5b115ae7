"""How good a circuit is, in numbers.

Source: Wang et al. 2022, Interpretability in the Wild, section 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType

from scrubbing.experiments.knockouts import EVERYTHING, NOTHING, Knockouts, PerReference
from scrubbing.experiments.places import Place
from scrubbing.score.tables import Printed, decimals_for, fixed, titled

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 30


@dataclass(frozen=True)
class Row:
    """One number of a circuit: its size, in the output's units, with the 95% interval of that size.

    `removed` are the places K that are gone; of a minimality, `place` is the one whose loss is measured. `values` holds
    the difference for each reference, with its sign.
    """

    criterion: str
    name: str
    removed: tuple[Place, ...]
    place: Place | None
    value: float
    low: float
    high: float
    values: PerReference = field(repr=False, compare=False)


@dataclass(frozen=True, eq=False, repr=False)
class Criteria(Printed):
    """How good a circuit is. F is the mean output, M the whole network, C the circuit.

    - `performance`: F of the network, of the circuit, of nothing, and the mean over random circuits of its size
    - `faithfulness`: |F(M) - F(C)|, and the mean of that over the random circuits: small is faithful
    - `completeness`: |F(C without K) - F(M without K)| for each set K of the circuit that was tried: small is complete
    - `minimality`: for each place v the largest |F(C without K and v) - F(C without K)|: large is needed

    All differences are paired: each reference with itself.
    """

    F: Knockouts = field(repr=False)
    circuit: tuple[Place, ...]
    performance: tuple[Row, ...]
    faithfulness: tuple[Row, ...]
    completeness: tuple[Row, ...]
    minimality: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All numbers."""
        return self.performance + self.faithfulness + self.completeness + self.minimality

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """A row for each number: `criterion`, what it is of, `value` with its 95% interval, and `share`.

        `share` is the value over |F(M) - F(nothing)|, all that can be lost.
        """
        import pandas as pd

        all_of_it = abs(float(self.F(EVERYTHING).mean() - self.F(NOTHING).mean()))
        rows = [
            (row.criterion, row.name, " ".join(map(str, row.removed)), row.value, row.low, row.high)
            for row in self.rows
        ]
        frame = pd.DataFrame(rows, columns=["criterion", "of", "removed", "value", "low", "high"])
        shares = frame["value"] / all_of_it if all_of_it else np.nan
        return frame.assign(share=np.where(frame["criterion"] == "F", np.nan, shares))

    def __rich__(self) -> RenderableType:
        order = {name: sorted(of, key=lambda row: -row.value) for name, of in self._parts()}
        shown = [row for of in order.values() for row in of[:SHOWN]]
        decimals = decimals_for(row.value for row in shown)
        rows = [
            [
                row.criterion,
                row.name,
                fixed(row.value, decimals),
                f"{fixed(row.low, decimals)} to {fixed(row.high, decimals)}",
            ]
            for row in (*self.performance, *shown)
        ]
        cut = [f"the {SHOWN} largest of {len(of)} of {name}" for name, of in order.items() if len(of) > SHOWN]
        size = f"{len(self.circuit)} places; differences are paired, of {len(self.performance[0].values)} references"
        return titled("a circuit", ["criterion", "of", "value", "95% interval"], rows, [size, *cut], left=["of"])

    def _parts(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        for name in ("faithfulness", "completeness", "minimality"):
            yield name, getattr(self, name)
