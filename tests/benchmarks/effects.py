"""(h) Effects on GPT-2 small's shape: senders to late queries, ablation of each head, heads at roles; and planning.

Each is one call of the library against a loop of passes with hooks, one for each member, on the same model and rows.
The share of planning is what of a call is not spent on computing values.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import torch
from hooked_passes import losses
from torch import Tensor

from scrubbing import at, donor, measure, paths, scrub
from scrubbing.engine.evaluate import Evaluator
from scrubbing.rewrite import split_qkv

from .figures import Figure, quotient
from .gpt2 import KNOWS_NOTHING, Shape, check_equal, shape

SENDERS, ABLATION, ROLES, TINY, PLANNING = 5.0, 1.5, 3.0, 3.0, 0.2
POSITIONS_OF_ROLES = 5

Losses = Mapping[str, np.ndarray]
Head = tuple[int, int]


def measure_effects(
    *,
    rows: int = 4,
    repeats: int = 1,
    positions: int = 64,
    members: int | None = None,
    device: str = "cpu",
    **size: int,
) -> list[Figure]:
    """The figures; with `members` both sides run only so many of them, spread over the network."""
    S = shape(rows=rows, positions=positions, **size).on(device)
    tiny = S.model.config.n_embd < 128
    found: list[Figure] = []
    for what, target, ours, loop in (
        _senders(S, members),
        _ablation(S, members),
        _at_roles(S, members),
    ):
        found += _compared(what, 1 / TINY if tiny else target, ours, loop, repeats)
    return found


def _compared(
    what: str, target: float, ours: Callable[[], Losses], loop: Callable[[], Losses], repeats: int
) -> list[Figure]:
    """The loop's time over the call's, and the share of planning; both give the same losses."""
    found, expected = ours(), loop()
    for name, values in expected.items():
        check_equal(name, found[name], values)
    times: dict[str, list[float]] = {"ours": [], "loop": [], "planning": []}
    for _ in range(repeats):
        with _evaluating() as spent:
            start = time.perf_counter()
            ours()
            times["ours"].append(time.perf_counter() - start)
        times["planning"].append(1 - sum(spent) / times["ours"][-1])
        start = time.perf_counter()
        loop()
        times["loop"].append(time.perf_counter() - start)
    detail = f"{len(expected)} members"
    return [
        quotient("effects", f"hooked passes / {what}", times["loop"], times["ours"], at_least=target, detail=detail),
        Figure("effects", f"planning of {what}", median(times["planning"]), unit="", at_most=PLANNING, detail=detail),
    ]


@contextmanager
def _evaluating() -> Iterator[list[float]]:
    """The seconds that are spent on values, while this lasts."""
    spent: list[float] = []
    own = Evaluator.losses

    def timed(self: Evaluator, *given: Any, **more: Any) -> list[Tensor]:
        start = time.perf_counter()
        try:
            return own(self, *given, **more)
        finally:
            spent.append(time.perf_counter() - start)

    Evaluator.losses = timed
    try:
        yield spent
    finally:
        Evaluator.losses = own


def _heads(S: Shape, layers: int, members: int | None) -> list[Head]:
    every = [(layer, head) for layer in range(layers) for head in range(S.model.config.n_head)]
    return every if members is None else every[:: max(1, len(every) // members)][:members]


def _name(head: Head) -> str:
    return f"a{head[0]}_h{head[1]}"


Case = tuple[str, float, Callable[[], Losses], Callable[[], Losses]]


def _senders(S: Shape, members: int | None) -> Case:
    """Every head to the queries of four late heads, MLPs computed again."""
    layers, count = S.model.config.n_layer, S.model.config.n_head
    late = [(layers - 1 - n % 2, n % count) for n in range(4)]
    G = split_qkv(S.graph, *map(_name, late))
    heads = _heads(S, layers - 2, members)
    receivers = [f"{_name(head)}_q" for head in late]

    def ours() -> Losses:
        hypotheses = {_name(head): paths(G, _name(head), receivers, through="m*") for head in heads}
        scores = scrub(hypotheses, S.data, baseline=KNOWS_NOTHING, others=S.donors, check=False)
        return {name: score.losses["scrubbed"].to_numpy() for name, score in scores.items()}

    recorded: list[Any] = []  # once, outside the times

    def loop() -> Losses:
        if not recorded:
            recorded.extend(S.hooked.record(rows) for rows in (S.data["tokens"], S.data["tokens"][S.donors]))
        return {
            _name(head): losses(
                S.hooked.path_patched(
                    S.data["tokens"], S.donors, [head], late, mlps=True, recorded=(recorded[0], recorded[1])
                ),
                S.data,
            )
            .cpu()
            .numpy()
            for head in heads
        }

    return "senders to the queries of four late heads", SENDERS, ours, loop


def _ablation(S: Shape, members: int | None) -> Case:
    """Every head at its mean, all that follows computed again."""
    heads = _heads(S, S.model.config.n_layer, members)

    def ours() -> Losses:
        scores = measure(S.graph, {_name(head): {_name(head): "mean"} for head in heads}, S.data, check=False)
        return {name: score.losses["scrubbed"].to_numpy() for name, score in scores.items()}

    def loop() -> Losses:
        (z, _), _others = S.recorded
        return {_name(head): _edited(S, head, z[head[0]].mean(0, keepdim=True)) for head in heads}

    return "ablation of each head", ABLATION, ours, loop


def _at_roles(S: Shape, members: int | None) -> Case:
    """Every head at each of five roles, with the donor's value there."""
    heads = _heads(S, S.model.config.n_layer, members)
    rows, positions = S.data["tokens"].shape
    draw = torch.Generator().manual_seed(1)
    roles = {f"role{n}": torch.randint(positions - 1, (rows,), generator=draw) for n in range(POSITIONS_OF_ROLES)}
    interventions = {
        f"{_name(head)} {role}": {_name(head): at(role, donor(S.donors))} for head in heads for role in roles
    }

    def ours() -> Losses:
        scores = measure(S.graph, interventions, {**S.data, **roles}, check=False)
        return {name: score.losses["scrubbed"].to_numpy() for name, score in scores.items()}

    def loop() -> Losses:
        _own, (others, _) = S.recorded
        found = {}
        for head in heads:
            for role, places in roles.items():
                here = (torch.arange(positions) == places[:, None])[..., None]
                found[f"{_name(head)} {role}"] = _edited(S, head, others[head[0]], here)
        return found

    return "each head at each of five roles", ROLES, ours, loop


def _edited(S: Shape, head: Head, stands: Tensor, here: Tensor | None = None) -> np.ndarray:
    """The losses where a head's z is another, at some positions or at all."""
    layer, number = head
    of = S.hooked.of_head(S.recorded[0][0][layer], number)

    def edit(z: Tensor) -> Tensor:
        z = z.clone()
        z[..., of] = stands[..., of] if here is None else stands[..., of].where(here, z[..., of])
        return z

    return losses(S.hooked.run(S.data["tokens"], {S.hooked.writer(layer): edit}), S.data).cpu().numpy()
