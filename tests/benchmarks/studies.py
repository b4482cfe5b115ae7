"""How long the default jobs of studies take on a network of GPT-2 small's shape, and in how much memory.

`python -m tests.benchmarks.studies ioi -- --set prompts=28`: what stands after the dashes goes to `scrubbing score`.
The network is random; its tokenizer is that of a network that ships, so that there are prompts and text for it.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.torch import save_file

from hypotheses.induction.places import SHIPPED as INDUCTION
from hypotheses.ioi.places import SHIPPED as IOI
from scrubbing.lens import TransformerConfig
from scrubbing.lens.weights import _shapes

GPT2_SMALL = TransformerConfig(
    n_layers=12,
    n_heads=12,
    d_model=768,
    d_head=64,
    d_mlp=3072,
    d_vocab=50257,
    n_ctx=1024,
    attn_only=False,
    act_fn="gelu_new",
)
TOKENIZERS = {"ioi": IOI, "copy-suppression": INDUCTION, "polysemantic": INDUCTION, "self-repair": INDUCTION}
ROWS = 256  # at hand; a study takes as many as it can afford


def random_weights(config: TransformerConfig, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights as small as those that training begins with."""
    generator = torch.Generator().manual_seed(seed)
    required, optional = _shapes(config)
    return {n: 0.02 * torch.randn(s, generator=generator) for n, s in (required | optional).items()}


def folder(out: Path, study: str, config: TransformerConfig, positions: int) -> Path:
    """A model folder with a tokenizer, and `data.npz`: rows of Python source, of so many positions."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "model.safetensors").exists():
        save_file(random_weights(config), out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(config.model_dump(exclude_unset=True)))
    (out / "tokenizer.json").write_bytes((TOKENIZERS[study] / "tokenizer.json").read_bytes())
    text = np.load(INDUCTION / "data.npz")["tokens"]
    stream, begin = text[:, 1:].reshape(-1), text[0, 0]
    rows = stream[: ROWS * positions].reshape(ROWS, positions)
    np.savez(out / "data.npz", tokens=np.insert(rows, 0, begin, axis=1))
    return out


def measured(study: str, model: Path, *options: str) -> dict[str, Any]:
    """What `scrubbing score` takes."""
    data = () if study == "ioi" else ("--data", str(model / "data.npz"))
    command = [sys.executable, "-m", "scrubbing", "score", study, "--model", str(model), *data, "--no-store", *options]
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=sys.stderr)
    wall, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "study": study,
        "options": list(options),
        "seconds": round(wall),
        "processor_seconds": round(used.ru_utime + used.ru_stime),
        "peak_GiB": round(used.ru_maxrss / 2**20, 2),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }


def main(
    study: Annotated[str, typer.Argument(help="ioi, copy-suppression, polysemantic or self-repair.")],
    options: Annotated[list[str] | None, typer.Argument(help="Further options of scrubbing score.")] = None,
    positions: Annotated[int, typer.Option(help="Positions in a row of text.")] = 128,
    out: Annotated[Path | None, typer.Option(help="Where the network is kept.")] = None,
) -> None:
    """Print what a study takes, as JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        made = folder(out or Path(scratch), study, GPT2_SMALL, positions)
        print(json.dumps(measured(study, made, *(options or []))), flush=True)


if __name__ == "__main__":
    typer.run(main)
