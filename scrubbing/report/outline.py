"""What there is to draw: a hypothesis, or a graph, as boxes and arrows. Nothing here knows where they will stand."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from scrubbing.engine.policy import Policy
from scrubbing.engine.rules import ClaimedInput, OpenInput, OwnInput, Rules, rules
from scrubbing.graph import Graph
from scrubbing.graph.binning import Bins, Within
from scrubbing.graph.differences import Claim
from scrubbing.graph.fingerprint import source
from scrubbing.graph.hypothesis import Hypothesis

Kind = Literal["reference", "donor", "mixed", "ablated", "open", "plain", "column"]

NAMED = 4  # members of a group that its box names


@dataclass(frozen=True)
class Box:
    """A node, or several that are drawn as one.

    `lines` stand below the title, `tip` is shown on hover, and `members` are the nodes of G that it stands for.
    """

    key: str
    title: str
    kind: Kind
    lines: tuple[str, ...] = ()
    tip: str = ""
    members: tuple[str, ...] = ()
    own: Kind | None = None  # of a mixed node: whose datum it runs on itself


@dataclass(frozen=True)
class Arrow:
    """A value that one box hands to another: claimed by the hypothesis, or not."""

    source: str
    target: str
    claimed: bool = True


@dataclass(frozen=True)
class Outline:
    """Boxes and arrows, the output first."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    notes: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of boxes that occur."""
        return tuple(dict.fromkeys(box.kind for box in self.boxes))


def outline_of_graph(graph: Graph) -> Outline:
    """A graph, with the columns that it reads."""
    boxes = [Box(name, name, "plain", tip=_said(name, graph), members=(name,)) for name in reversed(graph.order)]
    boxes += [Box(column, column, "column", tip=f"{column}: a column of the data") for column in graph.columns]
    arrows = [Arrow(read, name) for name, node in graph.items() for read in node.inputs]
    return Outline(f"a graph of {len(graph)} nodes", tuple(boxes), tuple(arrows))


def outline_of_hypothesis(h: Hypothesis, policy: Policy | None = None) -> Outline:
    """G with c(I): each node of I, and what it leaves unclaimed of the node of G that runs it."""
    policy = policy or Policy()
    table = {name: rules(h, policy, name) for name in h.I.order}
    kinds = _kinds(h, table)
    boxes = [_claimed_box(h, name, *kinds[name]) for name in reversed(h.I.order) if name in kinds]
    arrows = [Arrow(i.child, name) for name in kinds for i in table[name].claimed]
    left, left_arrows = _left_open(h, {name: table[name] for name in kinds})
    images = {h.image(name) for name in kinds}
    title = f"{len(kinds)} claimed nodes on {len(images)} of the {len(h.G)} nodes of the network"
    return Outline(title, (*boxes, *left), (*arrows, *left_arrows))


def feature_of(h: Hypothesis, name: str) -> str:
    """The feature that I's node claims, in a line; "" where it only says which inputs matter."""
    node = h.I[name]
    claimed = _body(Claim(node, h.image(name)).feature)
    match node.binning:
        case Within(tolerance):
            claimed = f"{claimed or ', '.join(node.inputs)} within {tolerance:g}"
        case Bins(k):
            claimed = f"{claimed or ', '.join(node.inputs)} in {k} bins"
    return f"{claimed or ', '.join(node.inputs)}, per position" if node.per_position else claimed


def _body(feature: str) -> str:
    """What a lambda computes; its parameters are the arrows."""
    if not feature.startswith("lambda"):
        return feature
    expression = ast.parse(feature, mode="eval").body
    return ast.unparse(expression.body) if isinstance(expression, ast.Lambda) else feature


def _claimed_box(h: Hypothesis, name: str, kind: Kind, own: Kind) -> Box:
    image, feature, columns = h.image(name), feature_of(h, name), h.read_columns(name)
    lines = [f"run by {image}"] if image != name else []
    lines += [feature] if feature else [f"reads {', '.join(columns)}"] if columns else []
    lines += [] if h.I[name].swaps else ["on its reader's datum"]
    written = source(h.I[name].fn) if feature else None
    tip = [f"{name}({', '.join(h.I[name].inputs)})", f"run by {image} of the network", *([written] if written else [])]
    return Box(name, name, kind, tuple(lines), "\n".join(tip), (image,), own if kind == "mixed" else None)


# -- on whose datum a node runs


def _kinds(h: Hypothesis, table: Mapping[str, Rules]) -> dict[str, tuple[Kind, Kind]]:
    """What the value of each node of I that the output reaches is computed from, and whose datum is its own.

    A node that is reached in several ways, on the reference and on a donor, is mixed.
    """
    known: dict[tuple[str, str], frozenset[str]] = {}
    for name, own in _reached(h, table):
        known[name, own] = _data(known, table[name], name, own)
    kinds: dict[str, set[Kind]] = {}
    owns: dict[str, set[Kind]] = {}
    for (name, own), data in known.items():
        kinds.setdefault(name, set()).add(_kind(data))
        owns.setdefault(name, set()).add(_kind(frozenset([own])))
    return {name: (_only(kinds[name]), _only(owns[name])) for name in h.I.order if name in kinds}


def _only(kinds: set[Kind]) -> Kind:
    return next(iter(kinds)) if len(kinds) == 1 else "mixed"


def _reached(h: Hypothesis, table: Mapping[str, Rules]) -> list[tuple[str, str]]:
    """The nodes that are visited, each with whose datum it is visited on, after all those that it reads."""
    reached: dict[str, set[str]] = {h.I.output: {"reference"}}
    for name in reversed(h.I.order):
        for claimed in table[name].claimed if name in reached else ():
            for own in reached[name]:
                reached.setdefault(claimed.child, set()).add(_datum(claimed, own))
    return [(name, own) for name in h.I.order for own in sorted(reached.get(name, ()))]


def _datum(claimed: ClaimedInput, own: str) -> str:
    return own if claimed.donor == "own" else "donor of " + "+".join(claimed.group)


def _data(known: Mapping[tuple[str, str], frozenset[str]], found: Rules, name: str, own: str) -> frozenset[str]:
    """The data that a node's value is computed from, when its own datum is `own`."""
    data: set[str] = set()
    for taken in found.inputs:
        match taken:
            case ClaimedInput():
                data |= known[taken.child, _datum(taken, own)]
            case OwnInput():
                data.add(own)
            case OpenInput():
                data |= {own} if taken.own else set()
                data |= {"constant"} if taken.averaged else {f"other of {name}"} if taken.donated else set()
    return frozenset(data or {own})


def _kind(data: frozenset[str]) -> Kind:
    if len(data) > 1:
        return "mixed"
    return "reference" if data == {"reference"} else "donor"


# -- what is left unclaimed


@dataclass(frozen=True)
class _Left:
    """Inputs that are left unclaimed alike; several nodes of I may leave the same."""

    inputs: tuple[str, ...]
    kind: Kind
    own: frozenset[str] = field(default=frozenset())


def _left_open(h: Hypothesis, table: Mapping[str, Rules]) -> tuple[list[Box], list[Arrow]]:
    readers: dict[_Left, list[str]] = {}
    for name, found in table.items():
        for left in _left_by(h, name, found):
            readers.setdefault(left, []).append(name)
    boxes, arrows = [], []
    for i, (left, names) in enumerate(readers.items()):
        key = f"({i})"  # no node's name
        boxes.append(_left_box(h, key, left))
        arrows += [Arrow(key, name, claimed=left.kind == "reference") for name in names]
    return boxes, arrows


def _left_by(h: Hypothesis, name: str, found: Rules) -> Iterator[_Left]:
    groups: dict[tuple[Kind, frozenset[str]], list[str]] = {}
    for taken in found.inputs:
        if isinstance(taken, OpenInput):
            kind: Kind = "ablated" if taken.averaged else "mixed" if taken.own and taken.donated else "open"
            groups.setdefault((kind, taken.own), []).append(taken.input)
        elif isinstance(taken, OwnInput) and taken.input in h.G and not found.is_plain:
            groups.setdefault(("plain", frozenset()), []).append(taken.input)
    for (kind, own), inputs in groups.items():
        yield _Left(tuple(sorted(inputs, key=numbered)), kind, own)


def numbered(name: str) -> list[tuple[int, str]]:
    """A key by which a2 comes before a10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _left_box(h: Hypothesis, key: str, left: _Left) -> Box:
    images = {h.image(name) for name in h.I}
    behind = {n for p in left.inputs if p in h.G for n in h.G.upstream(p)} - set(left.inputs) - images
    names, count = ", ".join(left.inputs), len(left.inputs)
    said = {"ablated": "ablated", "plain": "on its reader's datum"}.get(left.kind, "unclaimed")
    some = left.inputs if count <= NAMED else (*left.inputs[: NAMED - 2], "...", left.inputs[-1])
    lines = [said] if count == 1 else [*some]
    lines += [f"{', '.join(sorted(left.own))} of its reader"] if left.own else []
    lines += [f"+ {len(behind)} nodes behind"] if len(behind) > 1 else []
    title = left.inputs[0] if count == 1 else f"{count} {said}"
    tip = f"{said}: {names}" + (f"\nbehind: {', '.join(sorted(behind))}" if behind else "")
    return Box(key, title, left.kind, tuple(lines), tip, left.inputs)


def _said(name: str, graph: Graph) -> str:
    return f"{name}({', '.join(graph[name].inputs)})"
