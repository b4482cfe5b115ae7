"""What has changed between a record and a live hypothesis or dataset, in sentences."""

from collections.abc import Iterator, Mapping

from scrubbing.graph.differences import Changes
from scrubbing.store.record.parts import DataRecord, FunctionRecord, HypothesisRecord, NodeRecord

SINCE = "since the record was made"


def hypothesis_changes(old: HypothesisRecord, new: HypothesisRecord) -> Iterator[str]:
    """What has changed in a hypothesis, node by node."""
    yield from _graph_changes("G", old.G, new.G)
    yield from _graph_changes("I", old.I, new.I)
    for name in ("c", "columns", "scramble"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{name} has changed {SINCE}: it was {before}, and is {after}"


def data_changes(old: DataRecord, new: DataRecord) -> Iterator[str]:
    """What has changed in a dataset, column by column."""
    if old.rows != new.rows:
        yield f"the data had {old.rows} rows when the record was made, and have {new.rows}"
    columns = Changes.of(old.columns, new.columns)
    yield from (f"the data no longer have the column {name!r}" for name in columns.removed)
    yield from (f"the data have a column {name!r} that the record does not have" for name in columns.added)
    yield from (f"the column {name!r} has changed {SINCE}" for name in columns.changed)


def _graph_changes(where: str, before: Mapping[str, NodeRecord], after: Mapping[str, NodeRecord]) -> Iterator[str]:
    nodes = Changes.of(before, after)
    yield from (f"{where} no longer has the node {name!r} that the record has" for name in nodes.removed)
    yield from (f"{where} has a node {name!r} that the record does not have" for name in nodes.added)
    for name, (old, new) in nodes.changed.items():
        yield from _node_changes(f"{where}'s {name!r}", old, new)


def _node_changes(node: str, old: NodeRecord, new: NodeRecord) -> Iterator[str]:
    if old.inputs != new.inputs:
        yield f"{node} has other inputs {SINCE}: it read {', '.join(old.inputs)}, and reads {', '.join(new.inputs)}"
    if old.options != new.options:
        yield f"{node} is declared otherwise {SINCE}: it was {old.options}, and is {new.options}"
    if old.function.digest != new.function.digest:
        yield _function_change(node, old.function, new.function)


def _function_change(node: str, then: FunctionRecord, now: FunctionRecord) -> str:
    if then.kind != "reads" and now.kind != "reads" and not (then.source and now.source):
        return f"{node} is another function than when the record was made, or cannot be told from it without its source"
    if (then.source, then.kind) != (now.source, now.kind):
        return f"the source of {node} has changed {SINCE}{_both(then, now)}"
    names = sorted({*then.values, *now.values})
    other = [repr(n) for n in names if then.values.get(n) != now.values.get(n)]
    if other:
        return f"{node} uses another value of {', '.join(other)} than when the record was made"
    return f"{node} is {now.path}, and was {then.path} when the record was made"


def _both(then: FunctionRecord, now: FunctionRecord) -> str:
    shown = ["reads(...)" if f.kind == "reads" else f.source or "" for f in (then, now)]
    short = all(text and len(text) <= 80 and "\n" not in text for text in shown)
    return f": it was `{shown[0]}`, and is `{shown[1]}`" if short else ""
