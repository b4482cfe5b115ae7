"""All scores of a test run, as a file (`--scrub-report`) and as a few lines at its end."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from scrubbing.graph.fingerprint import digest
from scrubbing.score import Score
from scrubbing.store.files import write_whole
from scrubbing.store.record import data_hash
from scrubbing.testing.failures import ladder_in_short
from scrubbing.testing.scores import Asked

SCHEMA = "scrubbing.tests/1"
SHOWN_TESTS = 20


class Part(BaseModel):
    """Anything that stands in a report."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, ser_json_inf_nan="strings")


class Entry(Part):
    """A score, the tests that asked for it, and the content hashes of its hypothesis and data."""

    tests: tuple[str, ...]
    hypothesis: str
    data: str
    score: Score


class Report(Part):
    """The scores of a test run, each whole, so that `Report.model_validate_json` gives scores to compare."""

    schema_: Literal["scrubbing.tests/1"] = Field(default=SCHEMA, alias="schema")
    scores: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, asked: Iterable[Asked]) -> "Report":
        """The report of one process."""
        return cls(scores=tuple(map(_entry, asked)))

    @classmethod
    def merged(cls, reports: Iterable["Report"]) -> "Report":
        """One report of several processes: what two of them scored stands there once."""
        entries: dict[str, Entry] = {}
        for entry in (entry for report in reports for entry in report.scores):
            key = entry.model_dump_json(exclude={"tests"})
            tests = entries[key].tests if key in entries else ()
            entries[key] = entry.model_copy(update={"tests": tuple(dict.fromkeys((*tests, *entry.tests)))})
        return cls(scores=tuple(entries.values()))

    def to_json(self) -> str:
        """As it stands in the file."""
        return self.model_dump_json(by_alias=True)

    def write(self, path: Path) -> None:
        """Write the file so that a reader sees all of it or none.

        Raises `DataError` where it cannot be written.
        """
        write_whole(self.to_json(), path)

    def lines(self, *, all_tests: bool = False) -> Iterator[str]:
        """A short table: each test, and what it asked for."""
        by_test: dict[str, list[Score]] = {}
        for entry in self.scores:
            for test in entry.tests:
                by_test.setdefault(test, []).append(entry.score)
        shown = list(by_test) if all_tests else list(by_test)[:SHOWN_TESTS]
        for test in shown:
            yield test
            yield from ladder_in_short(by_test[test])
        if len(shown) < len(by_test):
            yield f"and {len(by_test) - len(shown)} more tests; -v shows them all"


def _entry(asked: Asked) -> Entry:
    return Entry(
        tests=tuple(asked.tests),
        hypothesis=digest(asked.case.hypothesis),
        data=data_hash(asked.case.data),
        score=asked.score,
    )
