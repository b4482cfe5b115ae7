"""Vacuity: how much the donors of a hypothesis could differ from the data that they stood in for."""

from pydantic import BaseModel, ConfigDict


class NodeVacuity(BaseModel):
    """How much could be swapped at one visited node of I.

    - `classes`: the number of classes of its feature (the mean over positions, for a claim per position)
    - `singletons`: the share of references that are alone in their class
    - `swapped`: the expected share of references whose donor gives the node something else than its own row would
    - `bits`: the mean entropy over references, in bits, of what the donor gives the node (summed over positions)
    """

    model_config = ConfigDict(frozen=True)

    path: str
    classes: float
    singletons: float
    swapped: float
    bits: float


class Vacuity(BaseModel):
    """How much could be swapped in a hypothesis: node by node, and `bits` in all, with those of unclaimed inputs.

    If several paths reach a node on the same datum, and nothing is drawn at or below it, it is listed under the first.
    """

    model_config = ConfigDict(frozen=True)

    nodes: tuple[NodeVacuity, ...]
    bits: float

    @property
    def nothing_was_tested(self) -> bool:
        """Whether every donor had to be the reference itself, so that 100% is recovered by construction."""
        all_claimed = self.bits == sum(node.bits for node in self.nodes)
        return all_claimed and not any(node.swapped for node in self.nodes)

    def __str__(self) -> str:
        if self.nothing_was_tested:
            return "nothing was tested: no donor could differ from its reference"
        lines = [f"{self.bits:.1f} bits scrubbed"]
        for n in self.nodes:
            lines.append(
                f"  {n.path}: {n.bits:.1f} bits, {n.classes:,.0f} classes, "
                f"{n.singletons:.0%} singletons, {n.swapped:.0%} swapped"
            )
        return "\n".join(lines)
