"""The table of families and doors in docs/families.md, made by trying each (`python -m tests.family_table`)."""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.append(str(Path(__file__).parent))  # as under pytest

from hugging_face_models import MODELS, hugging_face_model

from scrubbing.lens import Transformer, TransformerConfig, load_transformer, save_transformer, transformer

PAGE = Path(__file__).parents[1] / "docs" / "families.md"
HEADINGS = ("model", "positions", "norm", "blocks", "heads", "MLP", "also", "doors")
BEGIN = """# Families and doors

Each line is a small random model of `transformers`, made from a configuration. Its graph has the model's logits, and a
hypothesis about it scores as when the model is patched by hooks (`tests/lens`). The doors are the ways in through which
`load_transformer` gives the same graph: the model as an **object**, its **folder** (safetensors, in shards), **our
folder** (`save_transformer`), **weights** by transformer_lens' names with their configuration, and a **bridge** of
transformer_lens 4. Names on the hub lead to folders.

`python -m tests.family_table` writes this page; a test compares it with what it finds.
"""
END = """
What is no family here is taken apart by `from_module`. Attention-only models, shortformer positions and
transformer_lens' first repositories (`redwood_attn_2l`, `attn-only-2l-demo`) are read by `load_transformer` as well.
"""


def page() -> str:
    """The page as it should be."""
    lines = [_line(HEADINGS), _line("---" for _ in HEADINGS), *(_line(_row(name)) for name in sorted(MODELS))]
    return "\n".join([BEGIN, *lines, END])


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _row(name: str) -> tuple[str, ...]:
    model = hugging_face_model(name)
    loaded = load_transformer(model)
    c = loaded.config
    heads = {c.n_heads: "own keys", 1: "one key for all"}.get(c.kv_heads, "shared keys")
    mlp = f"{c.act_fn}{', gated' if c.gated_mlp else ''}"
    blocks = "parallel" if c.parallel_attn_mlp else "in sequence"
    norm = f"{c.normalization_type}, {c.norm_placement if c.norm_placement != 'both' else 'before and after'}"
    doors = [door for door, came in _doors(model, loaded) if came == transformer(loaded)]
    return name, _positions(c), norm, blocks, heads, mlp, ", ".join(_also(c, loaded)) or "-", ", ".join(doors)


def _positions(c: TransformerConfig) -> str:
    if c.positional_embedding_type != "rotary":
        return c.positional_embedding_type
    kind = "" if c.rope_scaling is None else f" ({c.rope_scaling.rope_type})"
    part = f" of {c.rotary_dim} in {c.d_head}" if c.rotary_dim not in (None, c.d_head) else ""
    return f"rotary{part}{kind}"


def _also(c: TransformerConfig, loaded: Transformer) -> Iterator[str]:
    said = {
        "sliding windows": c.use_local_attn,
        f"query and key norms by {c.qk_norm}": c.qk_norm is not None,
        "capped scores": c.attn_scores_soft_cap is not None,
        "capped logits": c.output_logits_soft_cap is not None,
        "scaled embeddings": c.embed_scale != 1,
        "normalised embeddings": c.post_embedding_ln,
        "scaled residuals": c.residual_scale != 1,
        "scaled logits": c.logit_scale != 1,
        "scores scaled by layer": c.scale_attn_by_inverse_layer_idx,
        "offset gains": c.rmsnorm_uses_offset,
        "biases": any(".b_" in name for name in loaded.weights),
        "tied embeddings": loaded.weights["unembed.W_U"].data_ptr() == loaded.weights["embed.W_E"].data_ptr(),
    }
    yield from (words for words, is_so in said.items() if is_so)


def _doors(model: Any, loaded: Transformer) -> Iterator[tuple[str, Any]]:
    """The graphs that come through each door."""
    yield "object", transformer(load_transformer(model))
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size="20KB")
        yield "folder", transformer(load_transformer(folder))
    with TemporaryDirectory() as folder:
        save_transformer(loaded, folder)
        yield "our folder", transformer(load_transformer(folder))
    yield "weights", transformer(load_transformer(loaded.weights, loaded.config.model_dump()))
    build: Callable[..., Any] = importlib.import_module(
        "transformer_lens.model_bridge.sources._bridge_builder"
    ).build_bridge_from_module
    with suppress(Exception), warnings.catch_warnings():  # whatever transformer_lens raises for what it does not know
        warnings.simplefilter("ignore")
        bridge = build(model, type(model).__name__, hf_config=model.config, model_name="x")
        yield "bridge", transformer(load_transformer(bridge))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf8")
