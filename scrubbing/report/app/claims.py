"""What a hypothesis says of a row: its picture, the scrubbed run visit by visit, and the losses that come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from scrubbing.errors import MissingPackageError, ScrubbingError
from scrubbing.experiments.progress import ShowProgress
from scrubbing.experiments.scoring import Case
from scrubbing.report.app.replacing import Change
from scrubbing.report.app.subject import Subject
from scrubbing.report.gathering import stood_in
from scrubbing.report.palette import DARK, LIGHT
from scrubbing.report.passages import drawn_alike, is_language_model, passages
from scrubbing.report.picture import draw, visible_lines
from scrubbing.report.text import visible
from scrubbing.report.walk import walk
from scrubbing.score import Score

POLICY = ("unclaimed", "exclude_self")


@dataclass(frozen=True)
class Scrubbed:
    """One row under a hypothesis: the visits as a tree, its loss, and the rows that stood in with their text."""

    walk: str
    change: Change | None
    stood_in: Sequence[Mapping[str, Any]]
    why_no_words: str = ""


def pictured(case: Case, *, dark: bool = False) -> tuple[str, str]:
    """The picture of a hypothesis: as SVG and, for whoever cannot see it, as a tree; without pygraphviz the tree alone.

    >>> from hypotheses import toy
    >>> pictured(toy.case("the first digit alone"))[1].splitlines()[0]
    'loss  reads y  [mixed]'
    """
    picture = draw(case.hypothesis, **{name: case.settings[name] for name in POLICY if name in case.settings})
    try:
        return picture.drawn(theme=DARK if dark else LIGHT, paper=False), visible_lines(str(picture))
    except MissingPackageError as missing:
        return "", visible_lines(f"{picture}\n\n{missing}")


@torch.no_grad()
def scrubbed_row(subject: Subject, case: Case, number: int, seed: int = 0) -> Scrubbed:
    """The scrubbed run of a row, on the donors that `scrub` draws with this seed.

    >>> from hypotheses import toy
    >>> case = toy.case("the first digit alone")
    >>> scrubbed_row(Subject.of(toy.suite()), case, 735).walk.splitlines()[0]
    'row 735  loss'

    Raises what `walk` raises.
    """
    settings = {k: v for k, v in drawn_alike(case, seed, []).items() if k not in ("references", "draws")}
    walked = walk(case.hypothesis, case.data, reference=number, **settings)
    tree, rows = visible_lines(str(walked)), stood_in(case, walked, subject.names)
    if not is_language_model(case.hypothesis):
        return Scrubbed(tree, None, rows)
    try:
        (passage,) = passages(case, [number], seed=seed, name_of=subject.names)
    except ScrubbingError as error:
        return Scrubbed(tree, None, rows, visible(str(error)))
    if not passage["scrubbed"]:
        return Scrubbed(tree, None, rows, "the hypothesis does not claim the logits: there is no loss by token")
    losses = [word[1] for word in passage["words"] if len(word) > 1]
    before, after = (sum(loss[run] for loss in losses) / max(1, len(losses)) for run in (0, 1))
    return Scrubbed(tree, Change(before, after, passage["words"]), rows)


def scored(case: Case, references: int, seed: int = 0, *, progress: ShowProgress = False) -> Score:
    """The score of a hypothesis on so many references, drawn. Raises what `scrub` raises."""
    return case.score(references=references, seed=seed, exact=False, progress=progress)
