"""A transformer's configuration, in transformer_lens' names where it has one."""

import reprlib
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scrubbing.errors import ModelError, nearest
from scrubbing.lens.components.rotary import RopeScaling

Size = Annotated[int, Field(ge=1, lt=2**31)]
Positive = Annotated[float, Field(gt=0)]
MISSPELT = 0.9  # how alike an unknown name is to a known one that was meant

ActFn = Literal["relu", "relu2", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "silu", "solu_ln"]

# What transformer_lens can be told and these graphs do not compute: the only values that are accepted.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "num_experts": (None, 0),
    "relative_attention_max_distance": (None,),
    "load_in_4bit": (False, None),
    "ssm_state_size": (None,),
}
_NO_CAP = (-1, -1.0, 0, 0.0, None)


class TransformerConfig(BaseModel):
    """The fields that decide what a transformer computes; others are ignored if they are neutral.

    Beyond transformer_lens': `norm_placement` ("before" a block, "after" it or "both"), `norm_has_bias`, `qk_norm`
    (of each "head", or of all heads of a "layer" together), the factors `embed_scale` (of embeddings), `residual_scale`
    (of what blocks write) and `logit_scale`, and the positions "alibi" and "none".
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    n_layers: Size
    n_heads: Size
    d_model: Size
    d_head: Size
    d_vocab: Size
    n_ctx: Size
    d_vocab_out: int | None = None

    attn_only: bool = True
    d_mlp: Size | None = None
    act_fn: str | None = None
    gated_mlp: bool = False
    parallel_attn_mlp: bool = False

    positional_embedding_type: Literal["standard", "rotary", "shortformer", "alibi", "none"] = "standard"
    rotary_dim: int | None = None
    rotary_base: Positive = 10_000.0
    rotary_base_local: Positive | None = None
    rotary_adjacent_pairs: bool = False
    rope_scaling: RopeScaling | None = None

    normalization_type: Literal["LN", "LNPre", "RMS", "RMSPre"] | None = "LN"
    norm_placement: Literal["before", "after", "both"] = "before"
    norm_has_bias: bool = True
    final_rms: bool = False
    eps: float = Field(default=1e-5, ge=0)
    rmsnorm_uses_offset: bool = False
    post_embedding_ln: bool = False
    embed_scale: Positive = 1.0
    residual_scale: Positive = 1.0
    logit_scale: Positive = 1.0

    attention_dir: Literal["causal", "bidirectional"] = "causal"
    n_key_value_heads: Size | None = None
    use_attn_scale: bool = True
    attn_scale: float | None = None
    scale_attn_by_inverse_layer_idx: bool = False
    attn_scores_soft_cap: Positive | None = None
    use_local_attn: bool = False
    attn_types: tuple[Literal["global", "local"], ...] | None = Field(default=None, strict=False)
    window_size: Size | None = None
    qk_norm: Literal["head", "layer"] | None = None
    output_logits_soft_cap: Positive | None = None

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
        return _in_our_words(given)

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

    @model_validator(mode="after")
    def _blocks_fit(self) -> "TransformerConfig":
        if not self.attn_only and self.act_fn not in get_args(ActFn):
            known = ", ".join(get_args(ActFn))
            raise ValueError(
                f"act_fn is {self.act_fn!r}{nearest(str(self.act_fn), get_args(ActFn))}; known are {known}"
            )
        if self.n_heads % self.kv_heads:
            raise ValueError(
                f"n_key_value_heads is {self.kv_heads}, which does not divide n_heads, which is {self.n_heads}"
            )
        if self.use_local_attn and self.window_size is None:
            raise ValueError("use_local_attn is True and window_size is missing")
        if self.attn_types is not None and len(self.attn_types) != self.n_layers:
            raise ValueError(f"attn_types has {len(self.attn_types)} entries; there must be one for each layer")
        if self.logit_scale != 1 and self.norm_kind is None:
            raise ValueError("logit_scale is not 1, and there is no final norm")
        if self.norm_placement != "before" and (self.normalization_type is None or self.parallel_attn_mlp):
            raise ValueError(f"norm_placement is {self.norm_placement!r}; it needs a norm, and blocks one by one")
        return self

    @property
    def out_vocab(self) -> int:
        """The number of tokens that are predicted."""
        return self.d_vocab if self.d_vocab_out in (None, -1) else self.d_vocab_out

    @property
    def neurons(self) -> int:
        """The width of an MLP."""
        return self.d_mlp or 4 * self.d_model

    @property
    def kv_heads(self) -> int:
        """The number of heads that have keys and values of their own."""
        return self.n_key_value_heads or self.n_heads

    def score_scale(self, layer: int) -> float:
        """What a layer's attention scores are multiplied by."""
        scale = 1 / self.attn_scale if self.attn_scale and self.attn_scale > 0 else self.d_head**-0.5
        scale = scale if self.use_attn_scale else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale

    def is_local(self, layer: int) -> bool:
        """Whether a layer's heads see a window of positions only."""
        if not self.use_local_attn:
            return False
        return self.attn_types is None or self.attn_types[layer] == "local"

    @property
    def norm_kind(self) -> Literal["LN", "RMS"] | None:
        """The norm, whether or not its gain is folded away."""
        return None if self.normalization_type is None else "LN" if "LN" in self.normalization_type else "RMS"

    @property
    def norm_has_gain(self) -> bool:
        """Whether the norm has parameters of its own."""
        return self.normalization_type in ("LN", "RMS")


def validated(given: Any, where: str) -> TransformerConfig:
    """A configuration of settings. Raises `ModelError` that says `where` the first wrong one stands."""
    try:
        return TransformerConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"{where}: {place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from None


def _in_our_words(given: dict[str, Any]) -> dict[str, Any]:
    """The settings of transformer_lens that are said in another way here."""
    said = {name: value for name, value in given.items() if not (name.endswith("_soft_cap") and value in _NO_CAP)}
    if said.get("n_key_value_heads") == said.get("n_heads"):
        said.pop("n_key_value_heads", None)
    if said.pop("use_normalization_before_and_after", False):
        said["norm_placement"] = "both"
    if said.pop("use_qk_norm", False):
        said["qk_norm"] = said.get("qk_norm") or "head"
    if said.pop("use_NTK_by_parts_rope", False):
        said["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": given.get("NTK_by_parts_factor", 8.0),
            "low_freq_factor": given.get("NTK_by_parts_low_freq_factor", 1.0),
            "high_freq_factor": given.get("NTK_by_parts_high_freq_factor", 4.0),
            "original_max_position_embeddings": given.get("NTK_original_ctx_len", 8192),
        }
    if said.get("act_fn") == "swish":
        said["act_fn"] = "silu"
    if said.get("attn_only") is True or "attn_only" not in said:
        said = {name: value for name, value in said.items() if name != "gated_mlp"}
    return said
