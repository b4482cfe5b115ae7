"""(h) A billion parameters: a Llama-like model of random weights on disk becomes a graph in seconds, and is scrubbed.

The weights are mapped from their files in the type that they have there; what scrubbing takes beside them is what
`explain` says. It is measured in a process of its own.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file

from .figures import Figure
from .memory import forget_peak, peak

GIB = 2**30
CAP, WITHIN, SECONDS = "512MiB", 1.2, 30.0
LLAMA = {  # 1.2 billion parameters
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 128_256,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def measure(*, rows: int = 2, positions: int = 16, dtype: str = "bfloat16", **size: int) -> list[Figure]:
    """How long the graph takes to be made, and the peak of scrubbing a few rows beside what was said before."""
    with TemporaryDirectory() as folder:
        total = write_model(Path(folder), getattr(torch, dtype), **size)
        found = _in_a_process(Path(folder), rows, positions)
    about = f"{total / GIB:.2f} GiB of {dtype}"
    return [
        Figure("a billion", "from disk to graph", found["loading"], unit=" s", at_most=SECONDS, detail=about),
        Figure(
            "a billion",
            "measured peak / weights and what explain says",
            found["bytes"] / (total + found["said"]),
            at_most=WITHIN,
            detail=f"{found['bytes'] / GIB:.2f} GiB, {found['said'] / GIB:.2f} of them said; "
            f"{rows} rows of {positions} tokens in {found['scrubbing']:.3g} s",
        ),
    ]


def write_model(folder: Path, dtype: torch.dtype, **size: int) -> int:
    """A folder as Hugging Face has it, a shard for each layer; the bytes of its weights."""
    settings = {**LLAMA, **size}
    d, f = settings["hidden_size"], settings["intermediate_size"]
    width = d // settings["num_attention_heads"] * settings["num_key_value_heads"]
    noise = 0.02 * torch.randn(2**20 + 7, generator=torch.Generator().manual_seed(0))

    def random(*shape: int) -> torch.Tensor:
        count = torch.Size(shape).numel()
        return noise.repeat(count // len(noise) + 1)[:count].view(shape).to(dtype)

    sizes = {
        "self_attn.q_proj": (d, d),
        "self_attn.k_proj": (width, d),
        "self_attn.v_proj": (width, d),
        "self_attn.o_proj": (d, d),
        "mlp.gate_proj": (f, d),
        "mlp.up_proj": (f, d),
        "mlp.down_proj": (d, f),
    }
    where, total = {}, 0
    for layer in range(-1, settings["num_hidden_layers"]):
        if layer < 0:
            tensors = {"model.embed_tokens.weight": random(settings["vocab_size"], d)}
            tensors["model.norm.weight"] = torch.ones(d, dtype=dtype)
        else:
            block = f"model.layers.{layer}"
            tensors = {f"{block}.{name}.weight": random(*shape) for name, shape in sizes.items()}
            norms = ("input_layernorm", "post_attention_layernorm")
            tensors |= {f"{block}.{name}.weight": torch.ones(d, dtype=dtype) for name in norms}
        file = f"model-{layer + 1:05}.safetensors"
        save_file(tensors, folder / file)
        where |= dict.fromkeys(tensors, file)
        total += sum(tensor.nbytes for tensor in tensors.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    config = {**settings, "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500_000.0}
    (folder / "config.json").write_text(json.dumps(config))
    return total


def _in_a_process(folder: Path, rows: int, positions: int) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    command = [sys.executable, "-m", f"{__package__}.billion", str(folder), str(rows), str(positions)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"scrubbing {folder} failed:\n{run.stderr}")
    return json.loads(run.stdout)


def main(folder: str, rows: int, positions: int) -> None:
    """Load, make the graph and scrub a few rows; print the seconds and the peak as JSON."""
    from scrubbing import Graph, explain, paths, reads, scrub
    from scrubbing.lens import load_transformer, next_token_data, transformer

    forget_peak()
    before = peak()
    start = time.perf_counter()
    loaded = load_transformer(folder)
    G = transformer(loaded)
    made = time.perf_counter()
    tokens = torch.randint(loaded.config.d_vocab, (rows, positions + 1), generator=torch.Generator().manual_seed(1))
    data = next_token_data(tokens, model=loaded)
    h = paths(G, "m1", "logits", through="*")
    settings = {"baseline": Graph(loss=reads("labels", "weights")), "others": "reference", "memory": CAP}
    score = scrub(h, data, **settings)
    if not score.scrubbed > 0:
        raise AssertionError(f"the loss is {score.scrubbed}")
    found = {"loading": made - start, "scrubbing": time.perf_counter() - made, "bytes": peak() - before}
    print(json.dumps(found | {"said": explain(h, data, **settings).peak_bytes}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
