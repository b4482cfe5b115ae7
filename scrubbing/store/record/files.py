"""Records as files."""

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from scrubbing.errors import DataError
from scrubbing.errors.arguments import checked
from scrubbing.graph.data import Data
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.graph.reading import in_short, read_json
from scrubbing.score import Score
from scrubbing.store.files import write_whole
from scrubbing.store.record.changes import data_changes, hypothesis_changes
from scrubbing.store.record.parts import DataRecord, HypothesisRecord, RecordPart
from scrubbing.store.record.plausible import implausible, unlike_its_losses

SCHEMA = "scrubbing.store.record/1"
LARGEST = 2**31  # bytes of a record, whose losses by reference may be many


class Record(RecordPart):
    """A hypothesis, its data's content hash, the settings that it was scored with, and its score, as a file."""

    schema_: Literal["scrubbing.store.record/1"] = Field(default=SCHEMA, alias="schema")
    hypothesis: HypothesisRecord
    data: DataRecord
    settings: dict[str, Any] = Field(default_factory=dict)
    score: Score | None = None

    @model_validator(mode="after")
    def _can_be(self) -> "Record":
        if self.score is not None:
            problem = implausible(self.score, self.data.rows) or unlike_its_losses(self.score)
            if problem:
                raise ValueError(problem)
        return self

    @checked
    def check(self, hypothesis: Hypothesis, data: Data | None = None) -> tuple[str, ...]:
        """What has changed since the record was made, in sentences; nothing if nothing has.

        A function has changed if its source has, or a value that it uses (a default, a closure, a global, a field).
        """
        changes = [*hypothesis_changes(self.hypothesis, HypothesisRecord.of(hypothesis))]
        return (*changes, *(() if data is None else data_changes(self.data, DataRecord.of(data))))

    def matches(self, hypothesis: Hypothesis, data: Data | None = None) -> bool:
        """Whether the record is of this hypothesis (and these data): `check` finds nothing."""
        return not self.check(hypothesis, data)


def data_hash(data: Data) -> str:
    """The content hash of a dataset: names, types, shapes and values of its columns, in whatever order they stand."""
    return DataRecord.of(data).digest


@checked
def save_record(
    path: Path | str,
    hypothesis: Hypothesis,
    data: Data,
    score: Score | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Record:
    """Write a record as JSON: the hypothesis, the data's fingerprint, settings and score. A reader sees all or nothing.

    >>> from hypotheses import toy
    >>> from tempfile import TemporaryDirectory
    >>> case = toy.case("an or of thresholds")
    >>> with TemporaryDirectory() as folder:
    ...     save_record(f"{folder}/or.json", case.hypothesis, case.data).matches(case.hypothesis)
    True

    Raises `DataError` for settings that are not JSON, a score that is of other data or not finite, and where the file
    cannot be written.
    """
    described, found = HypothesisRecord.of(hypothesis), DataRecord.of(data)
    try:
        record = Record(hypothesis=described, data=found, settings=_json_settings(settings or {}), score=score)
    except ValidationError as error:
        raise DataError(f"the score cannot be recorded: {_first(error)}") from None
    write_whole(_text(record), Path(path))
    return record


def _text(record: Record) -> str:
    return json.dumps(_finite(record.model_dump(by_alias=True)), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    """The same with text for numbers that JSON does not have ("inf", "nan"), which pydantic reads as the numbers."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


@checked
def load_record(path: Path | str) -> Record:
    """Read a record: plain data, of which nothing is run or imported. `restore` makes a hypothesis of it.

    >>> load_record("no_such_file.json")
    Traceback (most recent call last):
    scrubbing.errors.DataError: no_such_file.json cannot be read: No such file or directory

    Raises `DataError` for a file that is missing, damaged or of another version.
    """
    try:
        found = read_json(Path(path), LARGEST)
        if not isinstance(found, dict) or "schema" not in found:
            raise DataError(f"{path} is no record of a hypothesis: it has no schema; save one with save_record")
        if found["schema"] != SCHEMA:
            schema = reprlib.repr(found["schema"])
            raise DataError(f"{path} has the schema {schema}, and this version reads only {SCHEMA!r}")
        return Record.model_validate(found)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {in_short(error)}") from None
    except ValidationError as error:
        raise DataError(f"{path} is damaged: {_first(error)}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: it is not JSON ({in_short(error)})") from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{in_short(ValueError(place))}: {first['msg']}" if place else first["msg"].removeprefix("Value error, ")


def _json_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in settings.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            kind = type(value).__name__
            raise DataError(
                f"settings[{name!r}] is a {kind}, which JSON does not have; give numbers, text or lists (x.tolist())"
            ) from None
    return dict(settings)
