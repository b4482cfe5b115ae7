"""What was really tested: how freely the donors of a hypothesis could differ from what they stood in for."""

from pydantic import BaseModel, ConfigDict


class NodeVacuity(BaseModel):
    """The freedom of one visited node of I.

    `classes` is the number of agreement classes of its feature (for a claim per position, the mean over positions);
    `singletons` the share of references that agree with no other row; `swapped` the share whose donor is another row,
    in expectation: none where each datum stands for itself, since those that agree pass on the same (`reads`);
    `bits` the mean over references of log2 of the class's size: the draw's entropy given the feature, and so the sum
    over positions where each has a draw of its own.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    classes: float
    singletons: float
    swapped: float
    bits: float


class Vacuity(BaseModel):
    """The freedom of a hypothesis: `bits` sums its nodes', and log2 of the dataset's size if anything is unclaimed.

    A node that is reached on the same datum by several paths, with nothing drawn at or below it, is visited once; what
    it claims stands under the path met first.
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
