"""A training run at some step: what the studies that ship a network of their own train with, and resume."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from torch import Tensor

from scrubbing.errors import ModelError
from scrubbing.experiments.progress import showing_progress
from scrubbing.graph.reading import in_short, open_file
from scrubbing.store.files import writing

Parameters = dict[str, Tensor]


@dataclass
class Run:
    """A training run at some step."""

    parameters: Parameters
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    seconds: float = 0.0  # spent in training, over all sittings
    curve: list[dict[str, float]] = field(default_factory=list)


def begun(
    parameters: Parameters,
    muon: Callable[[list[Tensor]], torch.optim.Optimizer],
    adam: Callable[[list[Tensor]], torch.optim.Optimizer],
) -> Run:
    """A run at step 0: one optimiser for the matrices of attention and MLPs, another for all else."""
    leaves = {name: value.requires_grad_() for name, value in parameters.items()}
    parts = ([value for name, value in leaves.items() if is_matrix(name) == wanted] for wanted in (True, False))
    return Run(leaves, [optimizer(part) for optimizer, part in zip((muon, adam), parts, strict=True)])


def step(run: Run, loss: Tensor, rates: Sequence[float]) -> float:
    """One step of each optimiser, at its learning rate; returns the loss."""
    loss.backward()
    for optimizer, rate in zip(run.optimizers, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    run.step += 1
    return loss.item()


def save_checkpoint(run: Run, path: Path) -> None:
    """Write the run so that a kill at any moment leaves the old file or the new one."""
    state = {
        "parameters": {name: value.detach() for name, value in run.parameters.items()},
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "step": run.step,
        "seconds": run.seconds,
        "curve": run.curve,
    }
    with writing(path) as file:
        torch.save(state, file)


def resumed(run: Run, path: Path) -> Run:
    """A run that has just begun, taken up where it was saved.

    Raises `ModelError` for a file that is damaged, or of another recipe.
    """
    try:
        with open_file(path) as file:
            state = torch.load(file, weights_only=True)
        with torch.no_grad():
            for name, value in run.parameters.items():
                value.copy_(state["parameters"][name])
        for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        run.step, run.seconds, run.curve = state["step"], state["seconds"], state["curve"]
    except Exception as error:  # of all that torch raises for a file that is none of its own
        raise ModelError(
            f"{path} is damaged, or a checkpoint of another recipe ({in_short(error)}); remove it to begin anew"
        ) from None
    return run


Advance = Callable[[Run], float]  # one step, and its loss
Measure = Callable[[Run], dict[str, float]]  # a point of the curve


def train(
    run: Run, steps: int, advance: Advance, measure: Measure, *, checkpoint: Path, every: int = 250
) -> Iterator[tuple[int, float]]:
    """Train to so many steps, yielding (step, loss); the curve and the checkpoint grow every `every` steps."""
    while run.step < steps:
        started = time.monotonic()
        loss = advance(run)
        run.seconds += time.monotonic() - started
        if run.step % every == 0 or run.step == steps:
            run.curve.append(measure(run))
            save_checkpoint(run, checkpoint)
        yield run.step, loss


def completed(run: Run, steps: int, advance: Advance, measure: Measure, *, checkpoint: Path, every: int = 250) -> Run:
    """A finished run: from the checkpoint if there is one, with a progress bar.

    Raises `ModelError` for a checkpoint that is damaged, or of another recipe.
    """
    run = resumed(run, checkpoint) if checkpoint.exists() else run
    with showing_progress(True, steps, unit="steps") as show:
        for step, _ in train(run, steps, advance, measure, checkpoint=checkpoint, every=every):
            show(step)
    return run


@runtime_checkable
class Schedule(Protocol):
    """What of a recipe decides the learning rate: a short warm-up, flat, then linearly to zero."""

    @property
    def steps(self) -> int: ...
    @property
    def warmup(self) -> int: ...
    @property
    def decay_share(self) -> float: ...


def share_of_rate(recipe: Schedule, step: int) -> float:
    """The share of the full learning rate at a step."""
    decay = recipe.steps * recipe.decay_share
    return min(1.0, (step + 1) / recipe.warmup, (recipe.steps - step) / decay)


def is_matrix(name: str) -> bool:
    """Whether a parameter is a matrix of attention or of an MLP."""
    return name.rsplit(".", 1)[-1] in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out")


def by_head(parameters: Mapping[str, Tensor], n_heads: int) -> Parameters:
    """Parameters in the file format, one matrix per head, of those in which heads lie side by side."""
    found = {}
    for name, value in parameters.items():
        value = value.detach()
        match name.rsplit(".", 1)[-1]:
            case "W_Q" | "W_K" | "W_V":
                value = rearrange(value, "d (h e) -> h d e", h=n_heads)
            case "b_Q" | "b_K" | "b_V":
                value = rearrange(value, "(h e) -> h e", h=n_heads)
            case "W_O":
                value = rearrange(value, "(h e) d -> h e d", h=n_heads)
        found[name] = value.contiguous()
    return found
