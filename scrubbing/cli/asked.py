"""What a run in parts was asked to score, as its store keeps it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from scrubbing.cli.options import Precision
from scrubbing.cli.settings import scrub_settings
from scrubbing.cli.suites import experiments
from scrubbing.experiments.suites import Suite


class Asked(BaseModel):
    """What `scrubbing score` was asked to score: kept with a part, so that `merge` can ask the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    model: Path | None
    data: Path | None
    only: list[str] | None
    options: list[str] | None
    references: int | None
    seed: int
    dtype: Precision
    device: str
    memory: str | None

    def chosen(self) -> Suite:
        """The experiments, and nothing that is measured apart from them."""
        given = self.model_dump(include={"model", "data", "only", "options", "dtype", "device"})
        return replace(experiments(self.suite, **given), measurements={})

    def settings(self, chosen: Suite) -> dict[str, Any]:
        """The settings of `scrub`."""
        return scrub_settings(chosen, references=self.references, memory=self.memory, seed=self.seed)


def absolute(path: Path) -> Path:
    """A file or folder as it is found from any other folder; names of the hub stay as they are."""
    return path.absolute() if path.exists() else path
