"""What a page says of each hypothesis, gathered from its score and, where there is a case, from runs of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from scrubbing.errors import MissingPackageError, ScrubbingError
from scrubbing.experiments.scoring import Case
from scrubbing.graph import Graph
from scrubbing.graph.data import as_columns
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.report import attention
from scrubbing.report.code import claims_of, code_of
from scrubbing.report.passages import Names, drawn_alike, is_language_model, passages
from scrubbing.report.picture import draw, visible_lines
from scrubbing.report.text import visible
from scrubbing.report.walk import Walk, walk
from scrubbing.score import Metric, Score

WORST = 2  # references of each hypothesis that are shown whole
LISTED = 10  # references that are listed
READINGS = {
    "loss": "the mean loss of the scrubbed network",
    "absolute_change": "the mean absolute change of a reference's loss",
    "kl": "the divergence of the output from the network's own",
    "agreement": "how often the most probable token stays the network's own",
}


@dataclass(frozen=True)
class Section:
    """One hypothesis of a page: what is shown at once (`html`), and what its script shows when asked (`data`)."""

    key: str
    html: Mapping[str, Any]
    data: Mapping[str, Any]


def gathered(name: str, score: Score, case: Case | None, names: Names, key: str) -> Section:
    """All that is shown of one hypothesis. What cannot be had is said in its place."""
    settings = drawn_alike(case, score.seed, []) if case else {}
    html = {
        "name": visible(name),
        "key": key,
        "score": score,
        "remarks": [visible(remark) for remark in _remarks(score)],
        "readings": [_reading(n, metric) for n, metric in score.readings.items()],
        "vacuity": [{**node.model_dump(), "path": visible(node.path)} for node in score.vacuity.nodes],
        "bits": score.vacuity.bits,
        "quantiles": score.quantiles(0.05, 0.5, 0.95).reset_index().to_dict("records"),
        "worst": _worst(score),
        "settings": {visible(str(k)): visible(str(v)) for k, v in score.settings.items()},
        **(_picture(case.hypothesis, settings) if case else {"drawn": "", "picture": ""}),
        "code": visible_lines(code_of(case.hypothesis)) if case else "",
        "walk": "",
        "stood_in": [],
        "said": "",
    }
    data: dict[str, Any] = {"passages": [], "attention": []}
    if case is not None:
        rows = [int(entry["reference"]) for entry in html["worst"][:WORST]]
        try:
            settings = {name: value for name, value in settings.items() if name not in ("references", "draws")}
            walked = walk(case.hypothesis, case.data, reference=rows[0], **settings)
            html["walk"] = visible_lines(str(walked))
            if is_language_model(case.hypothesis):
                data["passages"] = passages(case, rows, seed=score.seed, name_of=names)
                data["attention"] = list(_attention(case, score, rows[0]))
                html["stood_in"] = stood_in(case, walked, names)
        except ScrubbingError as error:
            html["said"] = visible(str(error))
    return Section(key, html, data)


def baseline_code(case: Case) -> str:
    """What recovers nothing, as Python."""
    baseline = case.baseline
    return claims_of(baseline) if isinstance(baseline, Graph) else code_of(baseline)


def _remarks(score: Score) -> list[str]:
    found = (
        score.why_no_percentage,
        score.why_uncounted,
        score.why_reversed,
        score.why_vacuous,
        score.why_cancelled,
        score.why_too_good,
        *score.notes,
    )
    return [remark for remark in found if remark]


def _reading(name: str, metric: Metric) -> dict[str, Any]:
    return {"name": visible(name), "means": READINGS.get(name, ""), "value": metric.value, "interval": metric.interval}


def _worst(score: Score) -> list[dict[str, Any]]:
    columns = ["reference", "original", "baseline", "scrubbed", "added"]
    return score.worst(LISTED).loc[:, columns].to_dict("records")


def _picture(h: Hypothesis, settings: Mapping[str, Any]) -> dict[str, str]:
    """As SVG, and without pygraphviz as text."""
    policy = {name: settings[name] for name in ("unclaimed", "exclude_self") if name in settings}
    picture = draw(h, **policy)
    try:
        return {"drawn": Markup(picture.drawn(paper=False)), "picture": ""}
    except MissingPackageError as missing:
        return {"drawn": "", "picture": f"{picture}\n\n{missing}"}


def _attention(case: Case, score: Score, worst: int):
    if not attention.pattern_nodes(case.hypothesis):
        return
    rows = [worst, *dict.fromkeys(score.by_reference.reference)][: 1 + attention.AVERAGED]
    yield from attention.shown("original", attention.own_patterns(case.hypothesis.G, case.data, rows), rows)
    yield from attention.shown("scrubbed", attention.scrubbed_patterns(case, score.seed, rows), rows)


def stood_in(case: Case, walked: Walk, names: Names) -> list[dict[str, Any]]:
    """The other rows that the run of a reference saw, and their text."""
    tokens = as_columns(case.data).get("tokens")
    if tokens is None:
        return []
    rows = {
        v.row for v in walked.visits if isinstance(v.row, int) and v.row != walked.reference and v.row < len(tokens)
    }
    return [{"row": r, "text": names.text(np.asarray(tokens[r]).tolist())} for r in sorted(rows)[:LISTED]]


def in_percent(score: Score) -> dict[str, float | None]:
    """What is recovered and its interval, in percent."""
    low, high = score.interval or (None, None)
    found = {"recovered": score.recovered, "low": low, "high": high}
    return {name: None if value is None or not np.isfinite(value) else 100 * value for name, value in found.items()}


def same_images(sections: Sequence[Section]) -> list[str]:
    """Every image of the sections once; in their data, its number takes its place."""
    images: dict[str, int] = {}
    for section in sections:
        for entry in section.data["attention"]:
            entry["image"] = images.setdefault(entry["image"], len(images))
    return list(images)
