"""All heads ablated one by one, some rows of text at a time: in bounded memory, and taken up where it stopped."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hypotheses.heads import Head
from hypotheses.self_repair.checkpoint import read_checkpoint, write_checkpoint
from hypotheses.self_repair.data import Rows
from hypotheses.self_repair.effects import ABLATIONS, FIELDS, Clean, Records, Scale, ablated, replaced
from hypotheses.self_repair.network import Network, Run
from scrubbing.experiments.progress import ShowProgress, showing_progress
from scrubbing.experiments.reducers import TopShare

PARTS = ("heads", "mlps", "norm")  # that make up for an ablated head
DERIVED = ("self_repair", "norm_ratio_above_one", *(f"{how}_{part}" for how in ("clipped", "share") for part in PARTS))
STATISTICS = (*FIELDS, *DERIVED)
PAUSE = 20.0  # seconds of work that a kill may cost

Selection = Literal["top", "all"]


@dataclass(frozen=True)
class Design:
    """What is measured: on how many rows, how many at a time, and which direct effects.

    `batch` decides what is measured: it is the rows of a mean ablation, and how far away a row's donor is. `share` is
    that of the tokens on which a head's direct effect is largest. With `centred` unembeddings, logits are those less
    the mean over tokens.
    """

    rows: int
    batch: int = 16
    de_ln: Scale = "clean"
    centred: bool = False
    share: float = 0.02

    def fitted(self, rows: int) -> "Design":
        """The same for as many rows as there are, in at least two batches."""
        rows = min(self.rows, rows)
        return Design(**{**asdict(self), "rows": rows, "batch": max(1, min(self.batch, rows // 2))})

    def kept(self, positions: int) -> int:
        """How many tokens are the top ones, of rows with so many positions."""
        return max(1, int(self.share * self.rows * positions))


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows: their plain run, and that of the rows that stand in for them."""

    start: int
    clean: Clean
    donors: Run


def batches(network: Network, rows: Rows, design: Design, *, start: int = 0) -> Iterator[Batch]:
    """The rows, some at a time; the donor of each is the row a batch further on, and the first follow the last."""
    mean = network.readout.W_U.mean(dim=1) if design.centred else None
    rows = rows[: design.rows]
    for first in range(start, design.rows, design.batch):
        here = torch.arange(first, min(first + design.batch, design.rows))
        own, others = rows[here], rows[(here + design.batch) % design.rows]
        yield Batch(first, Clean.of(network, own[:, :-1], own[:, 1:], mean), network.run(others[:, :-1]))


def statistics(records: Float[Tensor, "*many field token"]) -> Float[Tensor, "*many statistic token"]:
    """What is averaged of each token. Shares of a direct effect of 0 are no numbers."""
    of: dict[str, Tensor] = dict(zip(FIELDS, records.unbind(dim=-2), strict=True))
    repair = of["change_in_logit"] - (of["ablated_direct_effect"] - of["direct_effect"])
    effect = of["direct_effect"].where(of["direct_effect"] != 0, torch.nan)
    shares = [of[f"from_{part}"] / effect for part in PARTS]
    derived = [repair, (of["norm_ratio"] > 1).to(repair), *(share.clamp(0, 1) for share in shares), *shares]
    return torch.cat([records, torch.stack(derived, dim=-2)], dim=-2)


@dataclass(frozen=True, eq=False)
class Measured:
    """What all tokens come to, and everything of the tokens on which a head's direct effect is largest."""

    heads: Sequence[Head]
    top: Float[Tensor, "head ablation field kept"]
    sums: Float[Tensor, "head ablation statistic"]
    counts: Float[Tensor, "head ablation statistic"]
    tokens: int

    def means(self, selection: Selection) -> Float[Tensor, "head ablation statistic"]:
        """Means over the top tokens of each head, or over all."""
        if selection == "all":
            return self.sums / self.counts
        return self._top_statistics.double().nanmean(dim=-1)

    def count(self, selection: Selection) -> int:
        """How many tokens that is."""
        return self.tokens if selection == "all" else self.top.shape[-1]

    @cached_property
    def _top_statistics(self) -> Float[Tensor, "head ablation statistic kept"]:
        return statistics(self.top)


class Accumulated:
    """What has been measured so far."""

    def __init__(self, heads: Sequence[Head], kept: int) -> None:
        shape = len(heads), len(ABLATIONS), len(STATISTICS)
        self.heads, self.rows, self.tokens = heads, 0, 0
        self.sums, self.counts = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
        self.tops = [TopShare(1.0, kept) for _ in heads]

    def add(self, number: int, records: Records) -> None:
        """The tokens of a batch, for one head."""
        flat = records.flatten(2).cpu()
        found = statistics(flat)
        self.sums[number] += found.nansum(dim=-1)
        self.counts[number] += found.isfinite().sum(dim=-1)
        self._add_top(number, flat)

    def result(self) -> Measured:
        """What it comes to."""
        return Measured(self.heads, torch.stack(self._tops()), self.sums, self.counts, self.tokens)

    def state(self) -> dict[str, Tensor]:
        """All of it as tensors."""
        numbers = torch.tensor([self.rows, self.tokens])
        tops = {f"top.{n}": records for n, records in enumerate(self._tops())}
        return {"numbers": numbers, "sums": self.sums, "counts": self.counts, **tops}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.rows, self.tokens = state["numbers"].tolist()
        self.sums, self.counts = state["sums"], state["counts"]
        for number in range(len(self.tops)):
            self._add_top(number, state[f"top.{number}"])

    def _add_top(self, number: int, records: Float[Tensor, "ablation field token"]) -> None:
        self.tops[number].add(records[0, 0].numpy(), records=records.movedim(-1, 0).numpy())

    def _tops(self) -> list[Float[Tensor, "ablation field kept"]]:
        return [torch.from_numpy(top.result()["records"]).movedim(0, -1) for top in self.tops]


@torch.no_grad()
def measure(
    network: Network,
    rows: Rows,
    design: Design,
    *,
    progress: ShowProgress = None,
    checkpoint: Path | None = None,
    identity: str = "",
) -> Measured:
    """Ablate every head on every token, in three ways.

    `checkpoint` is a file that the run is kept in now and then, and goes on from; `identity` says of what it is.

    Raises `DataError` for a checkpoint that is damaged or of another run.
    """
    heads = network.heads
    found = Accumulated(heads, design.kept(rows.shape[1] - 1))
    identity = f"{identity} {design} {heads[-1]} {STATISTICS}"
    if checkpoint is not None and checkpoint.exists():
        found.restore(read_checkpoint(checkpoint, identity))
    written = time.monotonic()
    with showing_progress(progress, design.rows, unit="rows") as advance:
        for batch in batches(network, rows, design, start=found.rows):
            _add(found, batch, design)
            advance(found.rows)
            if checkpoint is not None and (found.rows == design.rows or time.monotonic() - written > PAUSE):
                write_checkpoint(checkpoint, identity, found.state())
                written = time.monotonic()
    return found.result()


def _add(found: Accumulated, batch: Batch, design: Design) -> None:
    count, instead = 0, torch.empty(0)
    for number, (layer, head) in enumerate(found.heads):
        if head == 0:
            instead = replaced(batch.clean, batch.donors, layer)
        records = ablated(batch.clean, (layer, head), instead[..., head, :], design.de_ln)
        found.add(number, records)
        count = records[0, 0].numel()
    found.tokens += count
    found.rows = batch.start + len(batch.clean.along)
