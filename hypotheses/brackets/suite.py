"""The claims on a network and its strings: everything that `scrubbing score brackets` needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from rich.console import RenderableType
from torch import Tensor

from hypotheses.brackets.claims import LABELS_ALONE, hypotheses
from hypotheses.brackets.data import base_rate_losses, columns
from hypotheses.brackets.measuring import head_effects
from hypotheses.brackets.network import network
from hypotheses.brackets.places import SHIPPED, strings_file
from hypotheses.brackets.published import FIGURES, SOURCE, is_published
from hypotheses.brackets.roles import read_roles
from hypotheses.brackets.strings import read_strings
from hypotheses.shipped import case_of, said_of
from scrubbing import Case, Graph, Score
from scrubbing.experiments.baselines import labels_permuted
from scrubbing.experiments.suites import Suite
from scrubbing.lens import load_transformer

REFERENCES = 4000
MEMORY = "4GiB"  # 3a and 3b each hold a head's stream on all strings, of a gigabyte


def suite(
    model: Path | None = None,
    data: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    through_mlps: Annotated[
        bool, Field(description="whether 2a, 2b and 4 claim what MLPs make of the head of shares, too")
    ] = True,
) -> Suite:
    """The nine hypotheses on the shipped network, or on a model folder and a file of strings.

    Raises `ScrubbingError` for whatever is wrong with either.
    """
    folder = model or SHIPPED
    loaded = load_transformer(folder).to(dtype, device)
    G = network(loaded)
    roles = read_roles(folder, loaded.config)
    path = strings_file(model, data)
    strings = columns(read_strings(path, loaded.config.n_ctx), dtype)
    strings = {name: column.to(device) for name, column in strings.items()}
    made = hypotheses(G, roles, loaded.config.n_ctx, through_mlps=through_mlps)
    cases = tuple(
        Case(name, h, strings, LABELS_ALONE, {"references": REFERENCES, "memory": MEMORY}) for name, h in made.items()
    )
    published = is_published(loaded)
    rows, balanced = strings["labels"].shape[0], float(strings["labels"][:, 0].double().mean())
    about: dict[str, Any] = {
        **said_of(folder, path, SHIPPED),
        "rows": f"{rows} strings, {100 * balanced:.1f}% of them balanced",
        "heads": str(roles),
        "baseline": "labels alone (0b)",
        "pairing": "one other string per node",
        "normalisation": "cross-entropy of the decision (nats)",
        **({} if through_mlps else {"inside": "what MLPs make of the head of shares is not claimed"}),
    }
    tables = Tables(G, strings, published)
    return Suite(
        "brackets",
        cases,
        about,
        {name: figure.percent for name, figure in FIGURES.items()} if published else {},
        published_by=SOURCE,
        tables={"losses": tables.losses, "baselines": tables.baselines},
    )


def heads(
    model: Path | None = None, data: Path | None = None, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> RenderableType:
    """What each head writes towards the decision, as a table.

    Raises `ScrubbingError` for whatever is wrong with the model or the data.
    """
    loaded = load_transformer(model or SHIPPED).to(dtype, device)
    strings = columns(read_strings(strings_file(model, data), loaded.config.n_ctx), dtype)
    strings = {name: column.to(device) for name, column in strings.items()}
    return head_effects(network(loaded), strings, loaded.config.n_layers, loaded.config.n_heads)


def case(name: str, *, dtype: torch.dtype = torch.float32) -> Case:
    """One hypothesis on the shipped network: `case("1b")`.

    Raises `HypothesisError` for an unknown name.
    """
    return case_of(suite, name, dtype)


@dataclass(frozen=True, eq=False)
class Tables:
    """What stands beside the scores: losses, and what recovers how much against which baseline."""

    G: Graph
    columns: Mapping[str, Tensor]
    published: bool

    def losses(self, scores: Mapping[str, Score]) -> list[dict[str, Any]]:
        """Each hypothesis's loss, what it recovers against each baseline, and the published loss of that network."""
        return [
            {
                "hypothesis": name,
                "loss": score.scrubbed,
                "standard_error": _standard_error(score),
                **{f"against_{baseline}": _recovered(loss, score) for baseline, loss in self._baselines.items()},
                "published_loss": FIGURES[name].loss if self.published and name in FIGURES else None,
            }
            for name, score in scores.items()
        ]

    def baselines(self, scores: Mapping[str, Score]) -> list[dict[str, Any]]:
        """Each baseline's loss on all strings, and what it would itself recover against all pairs."""
        network, every = next(iter(scores.values())).original, self._baselines["all_pairs"]
        return [
            {"baseline": name, "loss": loss, "recovered": (every - loss) / (every - network)}
            for name, loss in self._baselines.items()
        ]

    @cached_property
    def _baselines(self) -> dict[str, float]:
        """Labels against the decisions on all strings, and a constant guess."""
        losses = labels_permuted(self.G, self.columns), base_rate_losses(dict(self.columns))
        return {name: float(each.mean()) for name, each in zip(("all_pairs", "base_rate"), losses, strict=True)}


def _recovered(baseline: float, score: Score) -> float:
    return (baseline - score.scrubbed) / (baseline - score.original)


def _standard_error(score: Score) -> float:
    losses = np.array(score.by_reference.scrubbed)
    return float(losses.std(ddof=1) / len(losses) ** 0.5)
