"""The commands that make a shipped network again: their options, and what all of them do."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from safetensors.torch import save
from torch import Tensor

from scrubbing.cli.running import run_command
from scrubbing.store.files import write_whole

Out = Annotated[Path, typer.Option(help="Folder to write the network to.")]
Steps = Annotated[int, typer.Option(min=1, help="Optimiser steps.")]
Seed = Annotated[int, typer.Option(min=0, help="What the initial weights and the batches are derived from.")]
Device = Annotated[str, typer.Option(help="Where to train: cpu, cuda, mps. What is drawn on the way differs.")]
Threads = Annotated[int, typer.Option(min=1, help="Processor cores to use.")]

say = Console(stderr=True, highlight=False).print


def run(retrain: Callable[..., None]) -> None:
    """Run a command from the command line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(retrain)
    run_command(app)


@contextmanager
def writing_to(out: Path, threads: int) -> Iterator[Path]:
    """A folder that is made ready, and the file in it from which an interrupted run goes on; removed in the end."""
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    yield checkpoint
    checkpoint.unlink(missing_ok=True)
    say(f"wrote {out}")


def write_network(out: Path, weights: Mapping[str, Tensor], configuration: Mapping[str, Any]) -> None:
    """Write a network that `load_transformer` reads."""
    write_whole(save(dict(weights)), out / "model.safetensors")
    write_whole(json.dumps(configuration, indent=2), out / "config.json")
