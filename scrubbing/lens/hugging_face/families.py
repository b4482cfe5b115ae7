"""The families that are known: what their configurations mean, and the layout of their weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from scrubbing.errors import ModelError, nearest, warn
from scrubbing.lens.hugging_face import layouts
from scrubbing.lens.hugging_face.layouts import Layout

Settings = dict[str, Any]

# What families can be told and these graphs do not compute: the only values that are accepted, wherever they stand.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "add_cross_attention": (False,),
        "apply_residual_connection_post_layernorm": (False,),
        "clip_qkv": (None,),
        "do_layer_norm_before": (True,),
        "_remove_final_layer_norm": (False,),
        "layer_norm_elementwise_affine": (True,),
        "is_encoder_decoder": (False,),
        "new_decoder_architecture": (False,),
        "qk_layernorm": (False,),
        "quantization_config": (None,),
        "use_bidirectional_attention": (False, None),
    }
)


@dataclass(frozen=True)
class Family:
    """How a family's configuration is said in ours, beyond what is common to all, and where its weights lie."""

    settings: Callable[[Settings], Settings]
    layout: Layout

    def config(self, given: Settings) -> Settings:
        """Our settings. Raises `ModelError` for settings that change what is computed in ways that are not known.

        Code that a model brings is not run; that it does is a warning.
        """
        if given.get("auto_map"):
            warn(
                f"config.json names code of the model's own (auto_map), which is never run: it is read as any "
                f"{given['model_type']}; where that code computes something else, take its module apart by from_module"
            )
        for name, accepted in _NEUTRAL.items():
            if name in given and given[name] not in accepted:
                raise ModelError(
                    f"config.json: {name} is {given[name]!r}, and graphs are made only for {accepted[0]!r}; "
                    f"from_module takes any module apart"
                )
        return _common(given) | self.settings(given)


def family_of(config: Settings) -> Family:
    """The family of a model's configuration. Raises `ModelError` for one that is not known."""
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise ModelError(
            f"config.json: model_type is {kind!r}, and no such family is known{nearest(kind, FAMILIES)}; known are "
            f"{', '.join(FAMILIES)}; from_module takes any module apart"
        )
    return FAMILIES[kind]


def _common(c: Settings) -> Settings:
    """What all families have, each under a name of its own."""

    def first(*names: str, default: Any = None) -> Any:
        return next((c[name] for name in names if c.get(name) is not None), default)

    d_model, n_heads = first("hidden_size", "n_embd"), first("num_attention_heads", "n_head", "num_heads")
    if d_model is None or n_heads is None:
        raise ModelError("config.json: the model's width or its number of heads is missing (hidden_size, n_embd, ...)")
    return {
        "n_layers": first("num_hidden_layers", "n_layer", "num_layers"),
        "n_heads": n_heads,
        "n_key_value_heads": first("num_key_value_heads", "num_kv_heads"),
        "d_model": d_model,
        "d_head": first("head_dim", default=d_model // n_heads),
        "d_vocab": c.get("vocab_size"),
        "n_ctx": first("max_position_embeddings", "n_positions", "seq_length", default=2048),
        "attn_only": False,
        "d_mlp": first("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", default=4 * d_model),
        "act_fn": first("hidden_act", "activation_function", "hidden_activation", "activation"),
        "eps": first("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", default=1e-5),
    }


def _rotary(c: Settings, given: Settings | None = None) -> Settings:
    """Rotary positions, as transformers 5 says them (`rope_parameters`) or as earlier versions did."""
    old = {"rope_theta": c.get("rope_theta", c.get("rotary_emb_base", 10_000.0)), **(c.get("rope_scaling") or {})}
    params: Settings = given or c.get("rope_parameters") or old
    kind = params.get("rope_type", params.get("type", "default"))
    context = params.get("original_max_position_embeddings") or c.get("max_position_embeddings")
    share = params.get("partial_rotary_factor", c.get("partial_rotary_factor", c.get("rotary_pct", 1.0)))
    d_head = _common(c)["d_head"]
    scaling = {**params, "rope_type": kind, "original_max_position_embeddings": context}
    return {
        "positional_embedding_type": "rotary",
        "rotary_base": float(params.get("rope_theta", 10_000.0)),
        "rotary_dim": int(d_head * share),
        "rope_scaling": None if kind == "default" else scaling,
    }


def _local(c: Settings) -> Settings:
    """Sliding windows: of all layers, or of those that `layer_types` names."""
    window = c.get("sliding_window")
    if window is None or c.get("use_sliding_window") is False:
        return {}
    types = c.get("layer_types")
    if types is None and "max_window_layers" in c:
        types = ["sliding_attention" if layer >= c["max_window_layers"] else "" for layer in range(_layers(c))]
    local = None if types is None else ["local" if kind == "sliding_attention" else "global" for kind in types]
    return {"use_local_attn": True, "window_size": window, "attn_types": local}


def _layers(c: Settings) -> int:
    return _common(c)["n_layers"]


def _llama(c: Settings) -> Settings:
    return _rotary(c) | _local(c) | {"normalization_type": "RMS", "gated_mlp": True}


def _gemma2(c: Settings) -> Settings:
    return _llama(c) | {
        "norm_placement": "both",
        "rmsnorm_uses_offset": True,
        "embed_scale": float(c["hidden_size"]) ** 0.5,
        "attn_scale": float(c["query_pre_attn_scalar"]) ** 0.5,
        "attn_scores_soft_cap": c.get("attn_logit_softcapping"),
        "output_logits_soft_cap": c.get("final_logit_softcapping"),
    }


def _gemma3(c: Settings) -> Settings:
    params = c.get("rope_parameters") or {}
    whole = params.get("full_attention")
    local = params.get("sliding_attention", {}).get("rope_theta", c.get("rope_local_base_freq", 10_000.0))
    types = c.get("layer_types") or [
        "full_attention" if (layer + 1) % c.get("sliding_window_pattern", 6) == 0 else "sliding_attention"
        for layer in range(_layers(c))
    ]
    said = _gemma2(c) | _rotary(c, whole) | _local({**c, "layer_types": types})
    return said | {"qk_norm": "head", "rotary_base_local": float(local)}


def _qwen3(c: Settings) -> Settings:
    return _llama(c) | {"qk_norm": "head"}


def _olmo(c: Settings) -> Settings:
    return _llama(c) | {"normalization_type": "LNPre"}


def _olmo2(c: Settings) -> Settings:
    return _llama(c) | {"norm_placement": "after", "qk_norm": "layer"}


def _granite(c: Settings) -> Settings:
    return _llama(c) | {
        "embed_scale": float(c.get("embedding_multiplier", 1.0)),
        "attn_scale": 1 / float(c["attention_multiplier"]),
        "residual_scale": float(c.get("residual_multiplier", 1.0)),
        "logit_scale": 1 / float(c.get("logits_scaling", 1.0)),
    }


def _cohere(c: Settings) -> Settings:
    if c.get("use_qk_norm"):
        raise ModelError("config.json: use_qk_norm is True, and graphs of this family are made only for False")
    return _llama(c) | {
        "normalization_type": "LN",
        "norm_has_bias": False,
        "parallel_attn_mlp": True,
        "rotary_adjacent_pairs": True,
        "logit_scale": float(c.get("logit_scale", 1.0)),
    }


def _stablelm(c: Settings) -> Settings:
    parallel = bool(c.get("use_parallel_residual"))
    return _llama(c) | {"normalization_type": "LN", "parallel_attn_mlp": parallel}


def _phi(c: Settings) -> Settings:
    return _rotary(c) | {"parallel_attn_mlp": True}


def _gpt_neox(c: Settings) -> Settings:
    return _rotary(c) | {"parallel_attn_mlp": bool(c.get("use_parallel_residual", True))}


def _gpt2(c: Settings) -> Settings:
    return {
        "use_attn_scale": c.get("scale_attn_weights", True),
        "scale_attn_by_inverse_layer_idx": c.get("scale_attn_by_inverse_layer_idx", False),
    }


def _gpt_bigcode(c: Settings) -> Settings:
    return _gpt2(c) | {"n_key_value_heads": 1 if c.get("multi_query", True) else None}


def _gpt_neo(c: Settings) -> Settings:
    types = c.get("attention_layers") or [kind for kinds, times in c["attention_types"] for kind in kinds * times]
    return {"use_attn_scale": False, "use_local_attn": True, "attn_types": types, "window_size": c["window_size"]}


def _gptj(c: Settings) -> Settings:
    return _rotary(c) | {
        "rotary_dim": c["rotary_dim"],
        "rotary_adjacent_pairs": True,
        "parallel_attn_mlp": True,
    }


def _bloom(c: Settings) -> Settings:
    return {"positional_embedding_type": "alibi", "post_embedding_ln": True, "act_fn": "gelu_new"}


def _falcon(c: Settings) -> Settings:
    if c.get("alibi") or not c.get("multi_query"):
        raise ModelError("config.json: graphs of this family are made only for alibi=False and multi_query=True")
    parallel = bool(c.get("parallel_attn", True))
    return _rotary(c) | {"n_key_value_heads": 1, "parallel_attn_mlp": parallel}


def _opt(c: Settings) -> Settings:
    if c.get("word_embed_proj_dim", c["hidden_size"]) != c["hidden_size"]:
        raise ModelError("config.json: word_embed_proj_dim differs from hidden_size: embeddings that are projected")
    return {}


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "bloom": Family(_bloom, layouts.BLOOM),
        "cohere": Family(_cohere, layouts.COHERE),
        "falcon": Family(_falcon, layouts.FALCON),
        "gemma2": Family(_gemma2, layouts.GEMMA2),
        "gemma3_text": Family(_gemma3, layouts.GEMMA3),
        "gpt2": Family(_gpt2, layouts.GPT2),
        "gpt_bigcode": Family(_gpt_bigcode, layouts.GPT_BIGCODE),
        "gpt_neo": Family(_gpt_neo, layouts.GPT_NEO),
        "gpt_neox": Family(_gpt_neox, layouts.GPT_NEOX),
        "gptj": Family(_gptj, layouts.GPTJ),
        "granite": Family(_granite, layouts.LLAMA),
        "llama": Family(_llama, layouts.LLAMA),
        "mistral": Family(_llama, layouts.LLAMA),
        "olmo": Family(_olmo, layouts.OLMO),
        "olmo2": Family(_olmo2, layouts.OLMO2),
        "opt": Family(_opt, layouts.OPT),
        "phi": Family(_phi, layouts.PHI),
        "phi3": Family(_llama, layouts.PHI3),
        "qwen2": Family(_llama, layouts.LLAMA),
        "qwen3": Family(_qwen3, layouts.QWEN3),
        "stablelm": Family(_stablelm, layouts.LLAMA),
    }
)
