"""`write_report`: scores on one page, which opens from disk and asks no network."""

import base64
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from markupsafe import Markup

from scrubbing.engine.cost import Cost
from scrubbing.errors import DataError, MissingPackageError, ScrubbingError
from scrubbing.experiments.suites import Suite
from scrubbing.report import plots
from scrubbing.report.gathering import Section, baseline_code, gathered, in_percent, same_images
from scrubbing.report.palette import DARK, LIGHT
from scrubbing.report.passages import Names
from scrubbing.report.picture import templates
from scrubbing.report.tables import shown_tables, without_style
from scrubbing.report.text import visible
from scrubbing.score import Score
from scrubbing.score.comparison import compare
from scrubbing.store.files import check_writable, write_whole

WHOLE = 60  # hypotheses that are shown with pictures and passages; more are rows of the table alone
COMPARED = 60  # hypotheses of which all pairs are tested
NEEDED = {"altair": "altair", "vl-convert-python": "vl_convert", "pillow": "PIL"}
PACKAGES = ("scrubbing", "torch", "numpy", "scipy", "transformer_lens", "altair")


def write_report(
    scores: Mapping[str, Score],
    path: Path | str,
    *,
    suite: Suite | None = None,
    title: str | None = None,
    tried: int | None = None,
    cost: Cost | None = None,
    seconds: float | None = None,
    command: str = "",
) -> None:
    """Write scores to one HTML file that needs no network: a chart and a table of all, and each hypothesis by itself.

    With the `suite` that was scored there are pictures, claims, and the worst references with the rows that stood in;
    of a language model also the passages with their losses token by token, and attention patterns, of the network's
    own run and of the scrubbed one. `tried` is the number of hypotheses that were tried, of which these are a choice;
    `cost` what the run was planned to take, `seconds` what it took, `command` how to run it again.

    >>> from hypotheses import toy
    >>> suite = toy.suite().only(["the first digit alone"])
    >>> write_report(suite.score(), "/dev/null", suite=suite)

    Raises `DataError` for no scores and for a file that cannot be written, before anything is computed, and
    `MissingPackageError` where the packages of `scrubbing[report]` are not installed.
    """
    path = Path(path)
    check_writable(path)
    check_packages()
    if not scores:
        raise DataError("a report needs at least one score")
    write_whole(
        page_of(scores, suite=suite, title=title, tried=tried, cost=cost, seconds=seconds, command=command), path
    )


def check_packages() -> None:
    """Raise `MissingPackageError` before the work if a page could not be made after it."""
    missing = [name for name, module in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise MissingPackageError(
            f"a page needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed here: "
            f"pip install 'scrubbing[report]'"
        )


def page_of(
    scores: Mapping[str, Score],
    *,
    suite: Suite | None = None,
    title: str | None = None,
    tried: int | None = None,
    cost: Cost | None = None,
    seconds: float | None = None,
    command: str = "",
) -> str:
    """The page of `write_report`, as text."""
    scripts = [_vega(), _own("page.js")]
    names = Names(suite.vocabulary if suite else ())
    cases = {case.name: case for case in suite.cases} if suite else {}
    sections = [
        gathered(name, score, cases.get(name), names, f"h{i}")
        for i, (name, score) in enumerate(list(scores.items())[:WHOLE])
    ]
    images = same_images(sections)
    any_score, first = next(iter(scores.values())), next(iter(cases.values()), None)
    tables = shown_tables(suite, scores)
    charts = {f"plot{i}": table.chart for i, table in enumerate(tables, 1) if table.chart}
    data = {
        "charts": {"chart": _chart(scores, suite)} | charts,
        "config": {"light": plots.style(LIGHT), "dark": plots.style(DARK)},
        "sections": {section.key: section.data for section in sections},
        "images": images,
    }
    return templates.get_template("page.html.j2").render(
        title=visible(title or (suite.title if suite else "scores")),
        style=Markup(_own("page.css")),
        themes={"light": LIGHT, "dark": DARK},
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
        data=Markup(_as_json(data)),
        rows=_rows(scores, suite, sections),
        sections=[section.html for section in sections],
        beyond=max(0, len(scores) - WHOLE),
        any_score=any_score,
        published=bool(suite and suite.published),
        published_by=visible(suite.published_by) if suite else "",
        tables=tables,
        comparison=_comparison(scores, tried),
        baseline=baseline_code(first) if first else "",
        cost=str(cost) if cost else "",
        seconds=seconds,
        about=_about(suite, any_score),
        notes=[visible(note) for note in (suite.notes if suite else ())],
        versions=_versions(),
        command=visible(command),
    )


def _rows(scores: Mapping[str, Score], suite: Suite | None, sections: Sequence[Section]) -> list[dict[str, Any]]:
    keys = [section.key for section in sections]
    published = suite.published if suite else {}
    return [
        {
            "name": visible(name),
            "key": keys[i] if i < len(keys) else "",
            **in_percent(score),
            "loss": score.scrubbed,
            "published": published.get(name),
            "bits": score.vacuity.bits,
            "references": score.references,
            "tested": not score.vacuity.nothing_was_tested,
        }
        for i, (name, score) in enumerate(scores.items())
    ]


def _chart(scores: Mapping[str, Score], suite: Suite | None) -> dict[str, Any]:
    published = suite.published if suite else {}
    rows = [
        {
            "name": name,
            "group": name.partition("/")[2] or "recovered",
            **in_percent(score),
            "published": published.get(name),
        }
        for name, score in list(scores.items())[:WHOLE]
    ]
    return without_style(plots.recoveries(rows))


def _comparison(scores: Mapping[str, Score], tried: int | None) -> dict[str, Any]:
    if not 1 < len(scores) <= COMPARED:
        said = "one hypothesis alone" if len(scores) == 1 else f"more than {COMPARED} hypotheses: compare some of them"
        return {"standings": [], "said": said, "notes": []}
    try:
        found = compare(dict(scores), tried=tried)
    except ScrubbingError as error:
        return {"standings": [], "said": visible(str(error)), "notes": []}
    standings = [
        {
            "name": visible(standing.name),
            "recovered": standing.recovered,
            "scrubbed": standing.scrubbed,
            "rank": "-".join(map(str, dict.fromkeys(standing.rank))) if standing.rank else "",
            "ties": standing.ties or "",
            "tier": standing.tier,
        }
        for standing in found.standings
    ]
    notes = [
        f"{found.tests:,} paired tests, corrected for {found.tried:,} hypotheses tried ({found.correction}), "
        f"at the level {found.level:g}",
        "hypotheses that share a letter do not differ significantly; a line parts those that do, all from all",
        *map(visible, found.remarks),
    ]
    return {"standings": standings, "said": "", "notes": notes}


def _about(suite: Suite | None, score: Score) -> dict[str, str]:
    """Model, data, hashes and settings, in a line each."""
    lines: dict[str, str] = {}
    for name, value in (suite.about if suite else {}).items():
        if isinstance(value, Mapping):
            lines |= {f"{name}: {key}": str(held) for key, held in value.items()}
        else:
            lines[name] = str(value)
    lines |= {"seed": str(score.seed), "references": f"{score.references}, {score.draws} draw(s) each"}
    lines |= {"estimates": score.estimand}
    if score.recalled:
        lines["recorded"] = f"{score.recalled.time:%Y-%m-%d %H:%M} UTC"
    return {visible(name): visible(value) for name, value in lines.items()}


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    from vl_convert import javascript_bundle

    return javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


def _own(name: str) -> str:
    return (files("scrubbing.report") / "templates" / name).read_text(encoding="utf8")


def _policy(scripts: Sequence[str]) -> str:
    """What a browser may do with the page: run these scripts and no others, and load nothing."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts]
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {' '.join(hashes)}"


def _as_json(data: Any) -> str:
    """JSON that can stand inside a script element: no character of it opens or closes one."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
