"""The measured losses of each reference, and the readings made from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from scrubbing.score.statistics import (
    Design,
    Values,
    as_column,
    interval_of_mean,
    interval_of_share,
    two_level_variance,
)

if TYPE_CHECKING:
    import pandas as pd

Column = tuple[float, ...]


class Losses(BaseModel):
    """The losses of each reference: by the network, by the baseline, and scrubbed (the mean over its draws).

    `change` is the mean over draws of the absolute change of the loss, |scrubbed - original|, and `baseline_change` the
    baseline's; `kl` and `baseline_kl` the divergence of the output from the network's own, KL(own || scrubbed), in the
    unit of the loss; `agreement` the share of decisions that stay the network's own, in the weights of the
    loss (a share where the rows' weights sum to one on average). None where it was not measured.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    reference: tuple[int, ...]
    original: Column
    baseline: Column
    scrubbed: Column
    change: Column | None = None
    baseline_change: Column | None = None
    kl: Column | None = None
    baseline_kl: Column | None = None
    agreement: Column | None = None

    def of(self, name: str) -> Float[np.ndarray, " reference"] | None:
        """One of the columns, as an array; None where it was not measured."""
        column = getattr(self, name)
        return None if column is None else np.array(column)

    @property
    def lost(self) -> Float[np.ndarray, " reference"]:
        """The loss that scrubbing adds to each reference: scrubbed - original."""
        return np.array(self.scrubbed) - np.array(self.original)

    @property
    def kept(self) -> Float[np.ndarray, " reference"]:
        """How much better than the baseline each reference is when scrubbed: baseline - scrubbed."""
        return np.array(self.baseline) - np.array(self.scrubbed)

    @property
    def gap(self) -> Float[np.ndarray, " reference"]:
        """What there is to recover of each reference: baseline - original."""
        return np.array(self.baseline) - np.array(self.original)

    @property
    def table(self) -> "pd.DataFrame":
        """One row per reference, one column for each thing that was measured."""
        import pandas as pd  # takes a second that most runs need not pay

        return pd.DataFrame(self.model_dump(exclude_none=True))


class Metric(BaseModel):
    """One way to read a scrubbed run: a number over references with its 95% interval (None where they are too few)."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    value: float
    interval: tuple[float, float] | None


def mean_metric(
    values: Values, design: Design | None = None, *, most: float | None = None, share: bool = False
) -> Metric:
    """A mean over references, with the interval that their design gives it.

    `most` is how much a reference may have of which none was seen; a `share` lies between 0 and 1.
    """
    if share:
        return Metric(value=as_column(values).mean(), interval=interval_of_share(values, design=design))
    return Metric(value=as_column(values).mean(), interval=interval_of_mean(values, design=design, most=most))


@dataclass(frozen=True)
class Estimate:
    """The losses of each reference in a run: expected over draws of donors, or averaged over a sample of them.

    `change` is the mean absolute difference of a reference's scrubbed and original loss; `compared` has the readings
    that compare the output with the network's, by name. The mean loss of n references of R draws each has variance
    between/n + within/(nR); `within` is NaN for a single draw. `draws` has the losses of single draws: in exact mode of
    a few that show what donors have to do with them; None where nobody asked.
    """

    loss: Float[np.ndarray, " reference"]
    change: Float[np.ndarray, " reference"]
    between: float
    within: float
    compared: Mapping[str, Float[np.ndarray, " reference"]] = field(default_factory=dict)
    draws: Float[np.ndarray, "reference draw"] | None = None

    @property
    def readings(self) -> dict[str, Float[np.ndarray, " reference"]]:
        """All that was measured, by name."""
        return {"loss": self.loss, "absolute_change": self.change, **self.compared}


def by_draw(values: Tensor, draws: int) -> Float[np.ndarray, "reference draw"]:
    """A number for each of a sample's draws, as a row for each reference."""
    return values.double().numpy().reshape(-1, draws)


def sampled_estimate(
    losses: Float[np.ndarray, "reference draw"],
    original: Float[np.ndarray, " reference"],
    compared: Mapping[str, Float[np.ndarray, "reference draw"]] = MappingProxyType({}),
) -> Estimate:
    """The estimate of a sample."""
    means = {name: values.mean(axis=1) for name, values in compared.items()}
    with np.errstate(invalid="ignore"):  # losses that are not finite are refused by name
        change = np.abs(losses - original[:, None]).mean(axis=1)
        return Estimate(losses.mean(axis=1), change, *two_level_variance(losses), means, losses)
