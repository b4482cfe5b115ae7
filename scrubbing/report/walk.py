"""`walk`: the scrubbed run of one reference, visit by visit: who stood in, what they agree and differ in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from rich.text import Text
from rich.tree import Tree
from torch import Tensor

from scrubbing.engine.sampling.streams import Stream
from scrubbing.errors import DataError, printable
from scrubbing.experiments.preparation import Options, Prepared, Settings, prepare
from scrubbing.graph.data import Columns, Data, as_columns, of_any_device, whole_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.report.outline import feature_of
from scrubbing.report.text import shortened
from scrubbing.score.tables import Printed

if TYPE_CHECKING:
    import pandas as pd

Rows = int | tuple[int, ...]
SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class Visited:
    """One visit of the recursion to a node of I, or ("other") to what a node leaves unclaimed.

    `row` is the datum that it runs on, or one for each position, and `parent` its reader's. `feature` is what the
    claim says in a line, `agreed` the value that both rows have there, and `differs` the columns in which they differ.
    """

    path: str
    image: str
    row: Rows
    parent: Rows
    feature: str = ""
    agreed: str = ""
    differs: Mapping[str, str] | None = None

    @property
    def swapped(self) -> bool:
        """Whether it runs on another row than its reader."""
        return self.row != self.parent


@dataclass(frozen=True, eq=False, repr=False)
class Walk(Printed):
    """The scrubbed run of one reference, from the output down. `print` it; `table` has a row for each visit."""

    reference: int
    visits: tuple[Visited, ...]

    @property
    def table(self) -> "pd.DataFrame":
        """A row for each visit: path, image, row, parent, feature, agreed, differs."""
        import pandas as pd

        rows = [{**vars(visit), "differs": ", ".join(_in_words(visit))} for visit in self.visits]
        return pd.DataFrame(rows, columns=list(Visited.__dataclass_fields__))

    def __rich__(self) -> Tree:
        first, *rest = self.visits
        tree = Tree(_words(first))
        branches = {first.path: tree}
        for visit in rest:
            above = visit.path
            while above and above not in branches:  # a path may pass nodes that stay on their reader's datum
                above = above.rpartition("/")[0]
            branches[visit.path] = branches.get(above, tree).add(_words(visit))
        return tree


@torch.no_grad()
def walk(hypothesis: Hypothesis, data: Data, *, reference: int = 0, **settings: Unpack[Settings]) -> Walk:
    """The scrubbed run of one reference, a row of the data, on the donors that `scrub` draws with these `settings`.

    A node that is reached in several ways on donors of its own is visited in each of them. Where several paths bring
    the same datum, the node is visited once, under the first.

    >>> from hypotheses import toy
    >>> case = toy.case("the first digit alone")
    >>> print(walk(case.hypothesis, case.data, reference=735))
    row 735  loss
    └── row 735  D  as its reader
        ├── row 442  A  z1 > 3 is True; differs in z1 4 (was 7), z2 4 (was 3), z3 2
        │   (was 5)
        │   └── row 755  what A leaves unclaimed
        └── row 47  what D leaves unclaimed

    Raises `DataError` for a reference that is no row of the data, and whatever `scrub` raises.
    """
    columns = as_columns(data)
    count, reference = len(next(iter(columns.values()))), whole_number("reference", reference)
    if not 0 <= reference < count:
        raise DataError(f"reference={reference}, but the data have rows 0 to {count - 1}")
    prepared = prepare(hypothesis, data, hypothesis, Options(**{**settings, "references": [reference], "draws": 1}))
    planned = prepared.jobs[0].scrubbed
    top = Visited(hypothesis.I.output, hypothesis.image(hypothesis.I.output), reference, reference)
    visits = [_visited(hypothesis, columns, prepared, v.path, v.donor, v.parent) for v in planned.visits]
    known = {visit.path for visit in visits}
    others = [
        Visited(path, "", _rows(prepared, stream), _parent(visits, path, reference))
        for path, stream in planned.streams.items()
        if path not in known and path.rpartition("/")[2] in ("other", "(other)")
    ]
    return Walk(reference, (top, *sorted([*visits, *others], key=_depth_first)))


def _visited(h: Hypothesis, columns: Columns, prepared: Prepared, path: str, donor: Stream, parent: Stream) -> Visited:
    name = path.rpartition("/")[2]
    row, above = _rows(prepared, donor), _rows(prepared, parent)
    feature = feature_of(h, name) or f"reads {', '.join(h.I[name].inputs)}"
    visit = Visited(path, h.image(name), row, above, feature)
    rows = len(next(iter(columns.values())))
    if not isinstance(row, int) or not isinstance(above, int) or row == above or max(row, above) >= rows:
        return visit
    agreed = "" if h.I[name].is_reads else _value(h.I.activations(_at(columns, row), name)[0])
    differs = _differences(columns, sorted(h.G.upstream_columns[h.image(name)]), row, above)
    return Visited(path, visit.image, row, above, feature, agreed, differs)


def _rows(prepared: Prepared, stream: Stream) -> Rows:
    rows = prepared.sample.rows(stream)[0]
    return int(rows) if rows.ndim == 0 else tuple(rows.tolist())


def _parent(visits: list[Visited], path: str, reference: int) -> Rows:
    above = path.rpartition("/")[0]
    return next((visit.row for visit in visits if visit.path == above), reference)


def _depth_first(visit: Visited) -> list[tuple[bool, str]]:
    return [(name in ("other", "(other)"), name) for name in visit.path.split("/")]


def _at(columns: Columns, row: int) -> dict[str, Any]:
    return {name: column[row : row + 1] for name, column in columns.items()}


def _value(value: Any) -> str:
    """A feature's value on one row, in a line."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})"
    array = of_any_device(value)
    if array.size == 1:
        found = array.reshape(-1)[0].item()
        return f"{found:.4g}" if isinstance(found, float) else str(found)
    return shortened(np.array2string(array[0], threshold=8, separator=" "), SHOWN)


def _differences(columns: Columns, names: list[str], row: int, parent: int) -> dict[str, str]:
    found = {}
    for name in names:
        mine, theirs = (
            np.asarray(columns[name][at].cpu() if isinstance(columns[name], Tensor) else columns[name][at])
            for at in (row, parent)
        )
        unequal = mine != theirs
        if mine.ndim == 0 and unequal:
            found[name] = f"{_value(mine)} (was {_value(theirs)})"
        elif np.any(unequal):
            found[name] = f"at {int(np.sum(unequal))} of {unequal.size} places"
    return found


def _in_words(visit: Visited) -> list[str]:
    return [f"{name} {said}" for name, said in (visit.differs or {}).items()]


def _words(visit: Visited) -> Text:
    name = visit.path.rpartition("/")[2]
    row = f"row {visit.row}" if isinstance(visit.row, int) else f"{len(set(visit.row))} rows, by position"
    if not visit.image:
        said = f"what {visit.path.split('/')[-2]} leaves unclaimed" if "/" in visit.path else "all that is unclaimed"
        return Text(f"{row}  ").append(printable(said), "dim")
    words = Text(f"{row}  ").append(printable(name), "bold")
    if visit.path == name:
        return words
    if not visit.swapped:
        return words.append("  as its reader", "dim")
    words.append(printable(f"  {visit.feature}{f' is {visit.agreed}' if visit.agreed else ''}"))
    return words.append(printable(f"; differs in {', '.join(_in_words(visit)) or 'nothing that is read'}"), "dim")
