"""A transformer's configuration, in transformer_lens' names."""

import reprlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scrubbing.errors import nearest

Size = Annotated[int, Field(ge=1, lt=2**31)]
MISSPELT = 0.9  # how alike an unknown name is to a known one that was meant

# What transformer_lens can be told and these graphs do not compute: the only values that are accepted.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "attn_only": (True,),
    "attention_dir": ("causal",),
    "use_local_attn": (False, None),
    "parallel_attn_mlp": (False, None),
    "scale_attn_by_inverse_layer_idx": (False, None),
    "attn_scores_soft_cap": (-1, -1.0, None),
    "output_logits_soft_cap": (-1, -1.0, None),
    "final_rms": (False, None),
    "use_normalization_before_and_after": (False, None),
    "post_embedding_ln": (False, None),
    "use_qk_norm": (False, None),
    "rmsnorm_uses_offset": (False, None),
    "rope_scaling": (None,),
    "use_NTK_by_parts_rope": (False, None),
}


class TransformerConfig(BaseModel):
    """The fields that decide what an attention-only transformer computes; others are ignored if they are neutral."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    n_layers: Size
    n_heads: Size
    d_model: Size
    d_head: Size
    d_vocab: Size
    n_ctx: Size
    attn_only: bool = True
    d_vocab_out: int | None = None
    positional_embedding_type: Literal["standard", "rotary", "shortformer"] = "standard"
    normalization_type: Literal["LN", "LNPre", "RMS", "RMSPre"] | None = "LN"
    eps: float = Field(default=1e-5, ge=0)
    act_fn: str | None = None
    use_attn_scale: bool = True
    attn_scale: float | None = None
    rotary_dim: int | None = None
    rotary_base: float = Field(default=10_000.0, gt=0)
    rotary_adjacent_pairs: bool = False

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_computed(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for name, accepted in _NEUTRAL.items():
            if name in given and given[name] not in accepted:
                raise ValueError(f"{name} is {reprlib.repr(given[name])}, and graphs are made only for {accepted[0]!r}")
        for name in given.keys() - cls.model_fields.keys():
            if isinstance(name, str) and (meant := nearest(name, cls.model_fields, cutoff=MISSPELT)):
                raise ValueError(f"there is no setting {name!r}{meant}")
        if given.get("n_key_value_heads") not in (None, given.get("n_heads")):
            raise ValueError("n_key_value_heads differs from n_heads, and grouped queries are not supported")
        return given

    @model_validator(mode="after")
    def _what_minus_one_stands_for(self) -> "TransformerConfig":
        if self.d_vocab_out is not None and self.d_vocab_out < 1 and self.d_vocab_out != -1:
            raise ValueError(f"d_vocab_out is {self.d_vocab_out}; it must be above 0, or -1 for d_vocab")
        if self.attn_scale is not None and self.attn_scale <= 0 and self.attn_scale != -1:
            raise ValueError(f"attn_scale is {self.attn_scale}; it must be above 0, or -1 for the root of d_head")
        return self

    @model_validator(mode="after")
    def _rotary_fits(self) -> "TransformerConfig":
        dims = self.rotary_dim or self.d_head
        if self.positional_embedding_type == "rotary" and (dims % 2 or not 0 < dims <= self.d_head):
            raise ValueError(f"rotary_dim is {dims}; it must be even and at most d_head, which is {self.d_head}")
        return self

    @property
    def out_vocab(self) -> int:
        """The number of tokens that are predicted."""
        return self.d_vocab if self.d_vocab_out in (None, -1) else self.d_vocab_out

    @property
    def score_scale(self) -> float:
        """What attention scores are multiplied by."""
        if not self.use_attn_scale:
            return 1.0
        return 1 / self.attn_scale if self.attn_scale and self.attn_scale > 0 else self.d_head**-0.5

    @property
    def norm_kind(self) -> Literal["LN", "RMS"] | None:
        """The norm, whether or not its gain is folded away."""
        return None if self.normalization_type is None else "LN" if "LN" in self.normalization_type else "RMS"

    @property
    def norm_has_gain(self) -> bool:
        """Whether the norm has parameters of its own."""
        return self.normalization_type in ("LN", "RMS")
