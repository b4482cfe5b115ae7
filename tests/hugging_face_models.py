"""Small random models of each family, made from a configuration of transformers without a network."""

import importlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
import torch

from scrubbing.lens import Transformer, load_transformer

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 50,
    "max_position_embeddings": 32,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "n_positions": 32}
GROUPED = SIZES | {"num_key_value_heads": 2}
GEMMA = GROUPED | {"head_dim": 16, "sliding_window": 5, "query_pre_attn_scalar": 8}
LOCAL_FIRST = {"layer_types": ["sliding_attention", "full_attention"]}


def _stretched(kind: str, **more: Any) -> dict[str, Any]:
    return GROUPED | {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, "factor": 4.0} | more}


# By name: the family, and the settings of a small model.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50}),
    "bloom with 6 heads": ("bloom", {"hidden_size": 48, "n_layer": 2, "n_head": 6, "vocab_size": 50}),
    "cohere": ("cohere", GROUPED),
    "falcon": ("falcon", {k: v for k, v in SIZES.items() if k != "intermediate_size"} | {"multi_query": True}),
    "gemma2": ("gemma2", GEMMA | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma3": ("gemma3_text", GEMMA | LOCAL_FIRST),
    "gpt2": ("gpt2", GPT2),
    "gpt2 scaled by layer": ("gpt2", GPT2 | {"scale_attn_by_inverse_layer_idx": True}),
    "gpt_bigcode": ("gpt_bigcode", GPT2),
    "gpt_neo": (
        "gpt_neo",
        {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 50, "max_position_embeddings": 32}
        | {"intermediate_size": 48, "attention_types": [[["global", "local"], 1]], "window_size": 5},
    ),
    "gpt_neox": ("gpt_neox", SIZES),
    "gpt_neox in sequence": ("gpt_neox", SIZES | {"use_parallel_residual": False}),
    "gptj": ("gptj", GPT2 | {"rotary_dim": 4}),
    "granite": (
        "granite",
        GROUPED
        | {"embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.3}
        | {"logits_scaling": 2.0},
    ),
    "llama": ("llama", GROUPED),
    "llama with biases": ("llama", GROUPED | {"attention_bias": True, "mlp_bias": True}),
    "llama, tied": ("llama", GROUPED | {"tie_word_embeddings": True}),
    "llama, linear": ("llama", _stretched("linear")),
    "llama, dynamic": ("llama", _stretched("dynamic")),
    "llama, llama3": (
        "llama",
        _stretched("llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16),
    ),
    "llama, yarn": ("llama", _stretched("yarn", original_max_position_embeddings=8)),
    "mistral": ("mistral", GROUPED | {"sliding_window": 5}),
    "olmo": ("olmo", SIZES),
    "olmo2": ("olmo2", GROUPED),
    "opt": ("opt", SIZES | {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "phi": ("phi", SIZES | {"partial_rotary_factor": 0.5}),
    "phi3": ("phi3", SIZES | {"pad_token_id": 0}),
    "qwen2": ("qwen2", GROUPED),
    "qwen3": ("qwen3", GROUPED | {"head_dim": 16}),
    "stablelm": ("stablelm", GROUPED | {"partial_rotary_factor": 0.5, "use_qkv_bias": True}),
    "stablelm in parallel": ("stablelm", GROUPED | {"partial_rotary_factor": 0.5, "use_parallel_residual": True}),
}
VOCABULARY, CONTEXT = 50, 32

# One of each kind of positions, norms, blocks and caps: these are tried in every run, all others where time is given.
REPRESENTATIVES = ("gpt2", "gemma2", "gpt_neox", "bloom", "olmo2")


def tried(names: Iterable[str], *, always: Iterable[str] = REPRESENTATIVES) -> list[Any]:
    """Names as parameters of a test, of which all but a few are slow."""
    always = frozenset(always)
    return [pytest.param(name, marks=[] if name in always else pytest.mark.slow) for name in names]


def hugging_face_model(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model with random parameters, biases and gains too, all large enough to matter."""
    transformers = importlib.import_module("transformers")  # which takes seconds
    kind, settings = MODELS[name]
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = 0.2 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise if parameter.ndim > 1 else parameter + noise)
    return model.eval().to(dtype)


@cache
def loaded(name: str, dtype: torch.dtype = torch.float64) -> Transformer:
    """The same as the library loads it, made once for all tests."""
    return load_transformer(hugging_face_model(name, dtype), check=False)
