"""Hypotheses in tests: a fixture `scrub` that scores each case once, and failures that say by how much and where.

pytest loads this module in every run of whoever has the package installed, so it imports nothing that takes time; the
rest is in `scrubbing.testing`, loaded when a test first asks for a score.
"""

import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scrubbing.errors import printable

if TYPE_CHECKING:
    from scrubbing.testing.fixture import Scrub
    from scrubbing.testing.report import Report
    from scrubbing.testing.scores import Scores

TITLE = "causal scrubbing"
WORKER_KEY = "scrubbing_report"

_scores: "pytest.StashKey[Scores]" = pytest.StashKey()  # of this process; missing until a test asks for `scrub`
_test: pytest.StashKey[str] = pytest.StashKey()
_workers: pytest.StashKey[list[str]] = pytest.StashKey()  # reports of xdist's workers, as JSON
_crashed: pytest.StashKey[list[str]] = pytest.StashKey()  # those that left none
_report: "pytest.StashKey[Report]" = pytest.StashKey()
_problem: pytest.StashKey[str] = pytest.StashKey()


# -- options


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("scrubbing", "causal scrubbing")
    options = {
        "references": ("N", "draw N references for each case whose test does not say how many"),
        "seed": ("S", "what everything random is derived from, where a test does not say"),
        "report": ("FILE", "write all scores, and the tests that asked for them, as JSON"),
    }
    for name, (metavar, help) in options.items():
        group.addoption(f"--scrub-{name}", metavar=metavar, dest=f"scrub_{name}", help=help)
        parser.addini(f"scrub_{name}", f"{help} (--scrub-{name})", default="")


def _option(config: pytest.Config, name: str) -> str | None:
    """What the command line says, or else the ini file."""
    given = config.getoption(f"scrub_{name}")
    return str(given) if given is not None else config.getini(f"scrub_{name}") or None


def _number(config: pytest.Config, name: str, *, least: int | None = None) -> int | None:
    text = _option(config, name)
    try:
        number = None if text is None else int(text)
    except ValueError:
        raise pytest.UsageError(f"--scrub-{name} is {text!r}, and must be an integer") from None
    if number is not None and least is not None and number < least:
        raise pytest.UsageError(f"--scrub-{name} is {number}, and must be at least {least}")
    return number


def _report_path(config: pytest.Config) -> Path | None:
    """Where to write: beside the command if it says so, beside the ini file if that does."""
    path = _option(config, "report")
    base = config.rootpath if config.getoption("scrub_report") is None else config.invocation_params.dir
    return None if path is None or _is_worker(config) else base / path


def pytest_configure(config: pytest.Config) -> None:
    _number(config, "references", least=1)
    _number(config, "seed")
    path = _report_path(config)
    if path is not None:
        from scrubbing.errors import DataError
        from scrubbing.store.files import check_writable

        try:
            check_writable(path)
        except DataError as error:
            raise pytest.UsageError(printable(f"--scrub-report: {error}")) from None


def pytest_report_header(config: pytest.Config) -> str | None:
    said = [f"{name} {_option(config, name)}" for name in ("references", "seed") if _option(config, name)]
    return f"scrubbing: {', '.join(said)}" if said else None


# -- the fixture


@pytest.fixture(scope="session")
def scrub(pytestconfig: pytest.Config) -> "Scrub":
    """Score hypotheses: `scrub(case)`, `scrub(case, case)`, or `scrub(hypothesis, data, baseline=...)`.

    Equal cases with equal settings are scored once in a run, on common references and random numbers, so that
    `refined > naive` is a paired test. With one seed its verdict is the same in every run; of new seeds, at most one in
    forty finds for a hypothesis that recovers no more than the other.
    """
    from scrubbing.testing.fixture import Scrub
    from scrubbing.testing.scores import Options, Scores

    options = Options(references=_number(pytestconfig, "references"), seed=_number(pytestconfig, "seed"))
    scores = pytestconfig.stash.setdefault(_scores, Scores(options))
    return Scrub(scores, test=lambda: pytestconfig.stash[_test])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    item.config.stash[_test] = item.nodeid


# -- failures


def _shown(lines: Iterable[str] | None) -> list[str] | None:
    """All that this plugin prints: names come from users and their data, and may not steer a terminal."""
    return None if lines is None else list(map(printable, lines))


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    if "scrubbing.score" not in sys.modules:  # then neither side is a score, or read from one
        return None
    from scrubbing.testing.failures import why

    known = config.stash.get(_scores, None)
    return _shown(why(op, left, right, [asked.score for asked in known or ()]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    known = item.config.stash.get(_scores, None)
    if report.failed and known is not None:
        from scrubbing.testing.failures import ladder

        scores = known.of_test(item.nodeid)
        if scores:
            report.sections.append(("Scores of this test", "\n".join(_shown(ladder(scores)) or ())))
    return report


# -- all scores of the run


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of xdist has ended; one that crashed leaves nothing."""
    output = getattr(node, "workeroutput", {})
    if WORKER_KEY not in output:
        node.config.stash.setdefault(_crashed, []).append(node.gateway.id)
    elif output[WORKER_KEY] is not None:
        node.config.stash.setdefault(_workers, []).append(output[WORKER_KEY])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    asked, path = config.stash.get(_scores, None), _report_path(config)
    workers = config.stash.get(_workers, [])
    if _is_worker(config):
        config.workeroutput[WORKER_KEY] = None  # type: ignore[attr-defined]  # xdist's; stays where nothing was asked
    if config.option.collectonly or (asked is None and not workers and path is None):
        return
    from scrubbing.errors import DataError
    from scrubbing.testing.report import Report

    report = Report.merged([Report.of(asked or ()), *map(Report.model_validate_json, workers)])
    if _is_worker(config):
        config.workeroutput[WORKER_KEY] = report.to_json()  # type: ignore[attr-defined]
        return
    config.stash[_report] = report
    if path is not None:
        try:
            report.write(path)
        except DataError as error:
            config.stash[_problem] = str(error)
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report, path, problem = config.stash.get(_report, None), _report_path(config), config.stash.get(_problem, None)
    quiet = terminalreporter.verbosity < 0 and problem is None
    if report is None or quiet or (path is None and not report.scores):
        return
    terminalreporter.write_sep("=", TITLE)
    for line in _shown(report.lines(all_tests=terminalreporter.verbosity > 0)) or ():
        terminalreporter.write_line(line)
    crashed = config.stash.get(_crashed, [])
    if crashed:
        terminalreporter.write_line(
            f"the scores of workers that crashed are missing: {', '.join(crashed)}", yellow=True
        )
    if problem is not None:
        terminalreporter.write_line(printable(f"--scrub-report: {problem}"), red=True)
    elif path is not None:
        terminalreporter.write_line(printable(f"{len(report.scores)} scores written to {path}"))
