"""The settings of a run: those of `scrub`, and the options of a suite, which are the keywords of its function."""

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from scrubbing.errors import HypothesisError, nearest
from scrubbing.experiments.engines import Engine
from scrubbing.experiments.suites import Suite

OF_EVERY_SUITE = ("dtype", "device")
IN_WORDS = {"boolean": "true or false", "number": "a number", "integer": "a whole number", "string": "text"}


def scrub_settings(
    chosen: Suite, *, references: int | None, memory: str | None, seed: int = 0, engine: Engine | None = None
) -> dict[str, Any]:
    """The settings of `scrub` that stand for these options, where they say something."""
    from scrubbing.engine.sampling.streams import draw_references

    found: dict[str, Any] = {"seed": seed}
    if memory is not None:
        found["memory"] = memory
    if engine is not None:
        found["engine"] = engine
    if references is not None and chosen.cases:
        rows = chosen.cases[0].settings.get("references")
        from_all = rows is None or isinstance(rows, int)
        found["references"] = references if from_all else draw_references(np.asarray(rows), references, seed)
    return found


def engine_of(name: str | None, *, address: str | None, workers: int | None, device: str) -> Engine | None:
    """The engine that the options name; each of its workers has a GPU where the suite is on one.

    Raises `HypothesisError` for options of an engine without it.
    """
    if name is None:
        if address is not None or workers is not None:
            raise HypothesisError("--address and --workers are of an engine; add --engine ray, or leave them out")
        return None
    return Engine(address=address, workers=workers, gpus=int(device.startswith("cuda")))


def read_options(make: Callable[..., Suite], given: Sequence[str]) -> dict[str, Any]:
    """What `--set NAME=VALUE` says, as the keywords of a suite's function.

    Raises `HypothesisError` for a name that it does not have, and for a value that is none of its type.
    """
    model = _options(make)
    named: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise HypothesisError(f"--set {text!r} sets nothing; write --set NAME=VALUE")
        if name not in model.model_fields:
            known = ", ".join(model.model_fields)
            hint = nearest(name, model.model_fields) or (f"; there are {known}" if known else "; it has none")
            raise HypothesisError(f"the suite has no option {name!r}{hint}")
        if name in named:
            raise HypothesisError(f"--set gives {name!r} twice; give it once")
        named[name] = value
    try:
        return model.model_validate(named).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        values = _values(model.model_json_schema()["properties"][name])
        raise HypothesisError(f"--set {name}={named[name]} cannot be: {name} is {values}") from None


def options_table(make: Callable[..., Suite]) -> RenderableType:
    """A suite's own options, what each may be, and what it does."""
    schema = _options(make).model_json_schema()["properties"]
    if not schema:
        return Text("it has no options of its own")
    table = Table()
    for column in ("--set", "is", "by default", "which means"):
        table.add_column(column)
    for name, option in schema.items():
        default = option.get("default")
        said = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        table.add_row(Text(name), Text(_values(option)), Text(said), Text(option.get("description", "")))
    return table


def _options(make: Callable[..., Suite]) -> type[BaseModel]:
    """The options of a suite as a model, which checks them: its keyword-only parameters, as annotated."""
    hints = get_type_hints(make, include_extras=True)
    own: dict[str, Any] = {
        name: (hints.get(name, str), parameter.default)
        for name, parameter in signature(make).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY and name not in OF_EVERY_SUITE
    }
    return create_model("Options", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **own)


def _values(option: dict[str, Any]) -> str:
    """What an option may be, in words."""
    kinds = [kind for kind in option.get("anyOf", [option]) if kind.get("type") != "null"]
    words = [" or ".join(map(str, kind["enum"])) if "enum" in kind else _number(kind) for kind in kinds]
    return " or ".join(words)


def _number(kind: dict[str, Any]) -> str:
    bounds = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}
    said = " and ".join(f"{words} {kind[bound]:g}" for bound, words in bounds.items() if bound in kind)
    return " ".join(filter(None, [IN_WORDS.get(kind.get("type", ""), "text"), said]))
