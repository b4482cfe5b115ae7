"""Rotary position embeddings, and the ways in which they are stretched to longer contexts."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.errors import DataError
from scrubbing.lens.components.residual import PerHead


class RopeScaling(BaseModel):
    """How frequencies are stretched, in Hugging Face's words.

    "linear" divides all by `factor`; "llama3" and "yarn" (Peng et al. 2024) stretch low frequencies alone. "dynamic"
    changes nothing for rows within the context, and longer ones are refused.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    rope_type: Literal["default", "linear", "dynamic", "llama3", "yarn"]
    factor: float = Field(default=1.0, gt=0)
    original_max_position_embeddings: int | None = Field(default=None, ge=1)
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, given: object) -> object:
        return given | {"rope_type": given["type"]} if isinstance(given, dict) and "type" in given else given

    @model_validator(mode="after")
    def _knows_its_context(self) -> "RopeScaling":
        if self.rope_type in ("dynamic", "llama3", "yarn") and self.original_max_position_embeddings is None:
            raise ValueError(f"rope_type {self.rope_type!r} needs original_max_position_embeddings")
        return self


@dataclass(frozen=True, eq=False)
class Rotary(Component):
    """Rotary position embedding of the first `dims` entries of each head (Su et al. 2021).

    `adjacent` pairs entries (0, 1), (2, 3), ...; otherwise (0, dims/2), (1, dims/2 + 1), ...
    """

    dims: int
    base: float = 10_000.0
    adjacent: bool = False
    scaling: RopeScaling | None = None

    def __call__(self, x: PerHead, at: Int[Tensor, "#batch position"] | None = None) -> PerHead:
        at = torch.arange(x.shape[1], device=x.device)[None] if at is None else at
        self._refuse_beyond_context(at)
        angle = at[..., None, None] * self._frequencies.to(x.device)
        size = self._attention_factor
        cos, sin = (size * angle.cos()).to(x), (size * angle.sin()).to(x)
        rotated, kept = x[..., : self.dims], x[..., self.dims :]
        layout = "b s h (n two) -> two b s h n" if self.adjacent else "b s h (two n) -> two b s h n"
        first, second = rearrange(rotated, layout, two=2)
        turned = torch.stack([first * cos - second * sin, second * cos + first * sin])
        left, right = layout.split(" -> ")
        return torch.cat([rearrange(turned, f"{right} -> {left}"), kept], dim=-1)

    def _refuse_beyond_context(self, at: Tensor) -> None:
        s = self.scaling
        if s is not None and s.rope_type == "dynamic" and int(at.max()) >= (s.original_max_position_embeddings or 0):
            raise DataError(
                f"a row has a token at position {int(at.max())}, but the model's context is "
                f"{s.original_max_position_embeddings}, and beyond it 'dynamic' positions depend on the longest row"
            )

    @cached_property
    def _frequencies(self) -> Float[Tensor, " pair"]:
        """Radians per position."""
        exponents = torch.arange(0, self.dims, 2, dtype=torch.float64) / self.dims
        plain = self.base**-exponents
        match self.scaling:
            case RopeScaling(rope_type="linear", factor=factor):
                return plain / factor
            case RopeScaling(rope_type="llama3") as scaling:
                return _llama3(plain, scaling)
            case RopeScaling(rope_type="yarn") as scaling:
                return _yarn(plain, scaling, self.dims, self.base)
        return plain

    @property
    def _attention_factor(self) -> float:
        """What the rotated entries are multiplied by; only yarn's are."""
        s = self.scaling
        if s is None or s.rope_type != "yarn":
            return 1.0
        if s.attention_factor is not None:
            return s.attention_factor
        if s.mscale and s.mscale_all_dim:
            return _mscale(s.factor, s.mscale) / _mscale(s.factor, s.mscale_all_dim)
        return _mscale(s.factor, 1.0)


def _mscale(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _llama3(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Wavelengths beyond the original context are stretched, short ones are not, those between in part (Llama 3.1)."""
    turns = (scaling.original_max_position_embeddings or 1) * plain / (2 * math.pi)
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    return _mixed(plain, scaling.factor, kept.clamp(0, 1))


def _yarn(plain: Tensor, scaling: RopeScaling, dims: int, base: float) -> Tensor:
    """Entries that turn more than `beta_fast` times within the original context are kept (Peng et al. 2024)."""
    context = scaling.original_max_position_embeddings or 1

    def entry(turns: float) -> float:
        """The entry that turns so many times in the context."""
        return dims * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = entry(scaling.beta_fast), entry(scaling.beta_slow)
    low, high = (math.floor(low), math.ceil(high)) if scaling.truncate else (low, high)
    low, high = max(low, 0), min(high, dims - 1)
    ramp = (torch.arange(dims // 2, dtype=torch.float64) - low) / max(high - low, 0.001)
    return _mixed(plain, scaling.factor, 1 - ramp.clamp(0, 1))


def _mixed(plain: Tensor, factor: float, kept: Tensor) -> Tensor:
    return kept * plain + (1 - kept) * plain / factor
