"""Interventions side by side: those after which the same nodes are computed again are one run, on draws of their own.

A pass over the network then serves many of them, as a batch does in a loop of hooked passes, and all share the plain
run before the first node that is replaced.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from scrubbing.engine.evaluate import Advance
from scrubbing.engine.outcomes import Job, Outcome, estimate
from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.policy import mean
from scrubbing.engine.sampling.streams import Sample
from scrubbing.experiments.instead import Interventions, Plain, add, at, donor, intervened_together
from scrubbing.experiments.preparation import Prepared
from scrubbing.graph import Graph
from scrubbing.score import by_draw

Members = Mapping[str, Interventions]


@dataclass(frozen=True)
class Batch:
    """Interventions that are one run, by name, with what it computes."""

    members: Members
    runs: Sequence[Scrubbed]

    @classmethod
    def of(cls, members: Members, G: Graph, prepared: Prepared, plain: Plain) -> "Batch":
        """Plan some interventions as one run."""
        named = {repr(name): nodes for name, nodes in members.items()}
        return cls(members, intervened_together(named, G, prepared, plain))


def batches(G: Graph, interventions: Members, prepared: Prepared, plain: Plain) -> list[Members]:
    """The interventions that can be computed together, where there are several; the others stay as they are."""
    alike: dict[frozenset[str], dict[str, Interventions]] = {}
    for name, nodes in interventions.items():
        if _keeps_the_form(G, nodes, prepared, plain):
            alike.setdefault(_computed_again(G, nodes), {})[name] = nodes
    return [members for members in alike.values() if len(members) > 1]


def _computed_again(G: Graph, nodes: Interventions) -> frozenset[str]:
    """The nodes downstream of those that are replaced."""
    changed = set(nodes)
    changed.update(node for node in G.order if not changed.isdisjoint(G[node].read) and not changed.add(node))
    return frozenset(changed - nodes.keys())


def _keeps_the_form(G: Graph, nodes: Any, prepared: Prepared, plain: Plain) -> bool:
    """Whether nodes of numbers are given other numbers of the same shape: functions may return anything."""
    return (
        isinstance(nodes, Mapping)
        and any(instead != "clean" for instead in nodes.values())
        and all(node in G and node != G.output and _is_like_a_value(instead) for node, instead in nodes.items())
        and all(prepared.planner.dataset.is_floating(plain[node]) for node in nodes)
    )


def _is_like_a_value(instead: Any) -> bool:
    instead = instead.instead if isinstance(instead, at) else instead
    return isinstance(instead, donor | mean | add | str)


def outcomes_side_by_side(
    made: Sequence[Batch], plain: Outcome, job: Job, prepared: Prepared, advance: Advance
) -> dict[str, tuple[Scrubbed, Outcome]]:
    """The run and the outcome of each intervention of some batches. `plain` and `job` are those of the plain run."""
    by_size: dict[int, list[Batch]] = {}
    for batch in made:
        by_size.setdefault(len(batch.members), []).append(batch)
    found: dict[str, tuple[Scrubbed, Outcome]] = {}
    done = 0
    for size, some in by_size.items():
        sample = replace(prepared.sample, draws=size)
        found |= _outcomes(some, sample, plain, job, prepared, lambda n, done=done: advance(done + n))
        done += len(sample)
    return found


def _outcomes(
    some: Sequence[Batch], sample: Sample, plain: Outcome, job: Job, prepared: Prepared, advance: Advance
) -> dict[str, tuple[Scrubbed, Outcome]]:
    """The same for batches of one size, whose plain runs are shared."""
    outputs = list(dict.fromkeys(batch.runs[0].output for batch in some))
    compared = prepared.planner.expressions.compared(job.original, outputs, len(sample))
    readings = {output: compared.get(output, {"loss": output}) for output in outputs}
    roots = list(dict.fromkeys(root for named in readings.values() for root in named.values()))
    values = dict(zip(roots, prepared.evaluator.on(sample).losses(roots, advance), strict=True))
    found: dict[str, tuple[Scrubbed, Outcome]] = {}
    for batch in some:
        named = readings[batch.runs[0].output]
        of_draw = {name: by_draw(values[root], sample.draws) for name, root in named.items()}
        precision = torch.finfo(values[named["loss"]].dtype).eps
        for i, (name, run) in enumerate(zip(batch.members, batch.runs, strict=True)):
            scrubbed = estimate({reading: each[:, i : i + 1] for reading, each in of_draw.items()}, plain.original)
            found[name] = run, Outcome(plain.original, plain.baseline, scrubbed, precision)
    return found
