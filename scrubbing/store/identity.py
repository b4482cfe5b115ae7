"""What makes two runs the same: everything that the bits of a result depend on, as content hashes."""

import functools
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import Sample
from scrubbing.graph import Graph, Node
from scrubbing.graph.data import Columns
from scrubbing.graph.fingerprint import content_hash, digest
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.store.dependencies import PACKAGE, dependencies_of
from scrubbing.store.record.parts import DataRecord, HypothesisRecord, NodeRecord

SHOWN = 20  # characters of a hash


class Identity(BaseModel):
    """What a run's result depends on, as it stands in the store; `key` is the hash of all of it.

    `models`, `hypotheses` and `baselines` are content hashes, one for each hypothesis; `code` is that of everything
    that their functions reach; `environment` has versions, devices and what else shapes the bits.
    `unseen` names what no hash can be made of: a run with any cannot be told from another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...]
    hypotheses: tuple[str, ...]
    baselines: tuple[str, ...]
    data: str
    settings: str
    references: str
    draws: int
    seed: int
    code: str
    environment: dict[str, str]
    unseen: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The content hash of the run."""
        return content_hash(self.model_dump_json())


def differences(one: Identity, other: Identity) -> list[str]:
    """What makes two runs different, in words."""
    ours, theirs = ({**i.model_dump(exclude={"environment"}), **i.environment} for i in (one, other))
    return [
        f"{name} ({_in_short(ours.get(name))} and {_in_short(theirs.get(name))})"
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
    ]


def _in_short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


@dataclass(frozen=True)
class Described:
    """A run's identity, and the records that its hashes are of."""

    identity: Identity
    hypotheses: Mapping[str, str]  # JSON by content hash
    data: DataRecord


def describe(
    hypotheses: Sequence[Hypothesis],
    baselines: Sequence[Hypothesis],
    columns: Columns,
    *,
    policy: Policy,
    sample: Sample,
    settings: Mapping[str, Any],
    threads: str | None = None,
) -> Described:
    """The identity of a call of `scrub`. `settings` are all that is said of it in its scores.

    `threads` says by how many threads other processes compute; this one's are counted where nothing is said.
    """
    known: dict[Node, NodeRecord] = {}  # hypotheses that are scored together share most nodes
    records = {id(h): _record(h, known) for h in (*hypotheses, *baselines)}
    hashes = {key: content_hash(record) for key, record in records.items()}
    models = {graph: _model(graph, known) for graph in {h.G.origin: None for h in hypotheses}}
    graphs = dict.fromkeys(graph for h in (*hypotheses, *baselines) for graph in (h.G.origin, h.G, h.I))
    reached = dependencies_of([*(g[n].fn for g in graphs for n in g.order), policy.unclaimed, dict(policy.donors)])
    devices = {str(c.device) for c in columns.values() if isinstance(c, Tensor)} | reached.devices
    data = DataRecord.of(columns)
    identity = Identity(
        models=tuple(models[h.G.origin] for h in hypotheses),
        hypotheses=tuple(hashes[id(h)] for h in hypotheses),
        baselines=tuple(hashes[id(h)] for h in baselines),
        data=data.digest,
        settings=digest([dict(settings), policy.others, sorted(map(sorted, policy.together))]),
        references=digest(sample.references),
        draws=sample.draws,
        seed=sample.seed,
        code=reached.digest,
        environment=environment(devices, reached.packages, threads or str(torch.get_num_threads())),
        unseen=tuple(sorted(set(reached.unseen))),
    )
    return Described(identity, {hashes[key]: record for key, record in records.items()}, data)


def model_hash(graph: Graph) -> str:
    """The content hash of a network, however it was rewritten since: of its weights, or of its functions without."""
    return _model(graph.origin, {})


def hypothesis_hash(h: Hypothesis) -> str:
    """The content hash of a hypothesis."""
    return content_hash(_record(h, {}))


def environment(devices: set[str], packages: set[str], threads: str) -> dict[str, str]:
    """What else shapes the bits of a result: versions, devices, threads, and how torch multiplies."""
    versioned = {"torch", "numpy"} | packages - {"scrubbing"} - sys.stdlib_module_names
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "devices": ", ".join(sorted(map(_device, devices))),
        "threads": threads,
        "arithmetic": f"{torch.get_float32_matmul_precision()} {torch.are_deterministic_algorithms_enabled()}",
        "scrubbing": _own_version(),
        **{name: _version(name) for name in sorted(versioned)},
    }


def versions() -> dict[str, str]:
    """The versions that processes which compute one run have in common."""
    packages = {name: _version(name) for name in ("torch", "numpy")}
    return {"python": platform.python_version(), "scrubbing": _own_version(), **packages}


def _record(h: Hypothesis, known: dict[Node, NodeRecord]) -> str:
    nodes = {which: {n: _node(graph[n], known) for n in graph.order} for which, graph in (("G", h.G), ("I", h.I))}
    return HypothesisRecord(**nodes, c=dict(h.c), columns=h.columns, scramble=h.scramble).model_dump_json()


def _node(node: Node, known: dict[Node, NodeRecord]) -> NodeRecord:
    if node not in known:
        known[node] = NodeRecord.of(node)
    return known[node]


def _model(origin: Graph, known: dict[Node, NodeRecord]) -> str:
    weights = dependencies_of(origin[name].fn for name in origin.order).tensors
    return digest(sorted(weights) or [(n, _node(origin[n], known).model_dump_json()) for n in origin.order])


def _device(name: str) -> str:
    return f"{name} ({torch.cuda.get_device_name(name)})" if name.startswith("cuda") else name


def _version(package: str) -> str:
    """The version of a package that is loaded; nothing for one of Python's own."""
    return str(getattr(sys.modules.get(package), "__version__", "")) or _installed_version(package)


@functools.cache
def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@functools.cache
def _own_version() -> str:
    """This package's version, and a hash of its sources, which change between versions."""
    sources = b"".join(file.read_bytes() for file in sorted(PACKAGE.rglob("*.py")))
    return f"{_installed_version('scrubbing')} ({content_hash(sources)})"
