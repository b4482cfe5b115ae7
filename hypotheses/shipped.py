"""The files of studies: what a result says of them, tokenizers, the hypotheses on what ships and its model cards."""

from collections.abc import Callable
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tokenizers import Encoding, Tokenizer

from hypotheses.runs import Run
from scrubbing import Case
from scrubbing.errors import DataError, HypothesisError
from scrubbing.experiments.suites import Suite
from scrubbing.graph.reading import in_short, read_file
from scrubbing.lens.folders import weight_files
from scrubbing.store.files import write_whole

SHOWN = 12  # digits of a hash
LONGEST = 200  # characters of a text that are shown


def case_of(suite: Callable[..., Suite], name: str, dtype: torch.dtype, **options: Any) -> Case:
    """One hypothesis of a suite on what ships, of a rung the last; the suite is made once with the same `options`.

    Raises `HypothesisError` for a name that is unknown, or that of a table.
    """
    made = _on_what_ships(suite, dtype=dtype, **options)
    chosen = made.only([name]).cases
    if not chosen:
        raise HypothesisError(f"{name!r} is a table and no hypothesis; there are {', '.join(made.hypotheses)}")
    return chosen[-1]


@lru_cache(maxsize=8)
def _on_what_ships(suite: Callable[..., Suite], **options: Any) -> Suite:
    return suite(**options)


def beside(folder: Path, names: tuple[str, ...], data: Path | None, what: str) -> Path:
    """The data of a study: the file that is named, or the first of some names that stands beside the model.

    Raises `DataError`, saying `what` could be named, where there is neither.
    """
    path = data or next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder} holds no {' and no '.join(names)}; name {what}, with --data FILE")
    return path


def said_of(folder: Path, data: Path | None, *shipped: Path) -> dict[str, Any]:
    """What a result says of the files that it is of, with their hashes; `shipped` are folders of the project."""
    weights = weight_files(folder) if folder.is_dir() else []
    weights = weights if all(path.is_file() for path in weights) else []
    files = {"model": weights, "data": [] if data is None else [data]}
    said = {
        "model": described(*weights, shipped=folder in shipped) if weights else str(folder),
        "data": "" if data is None else described(data, shipped=data.parent in shipped),
    }
    return said | {"hashes": {name: digest(*paths) for name, paths in files.items() if paths}}


def digest(path: Path, *more: Path) -> str:
    """The SHA-256 of a file; of several files, that of their digests."""
    found: list[str] = []
    for each in (path, *more):
        with each.open("rb") as file:
            found.append(file_digest(file, "sha256").hexdigest())
    return sha256(" ".join(found).encode()).hexdigest() if more else found[0]


def described(path: Path, *more: Path, shipped: bool) -> str:
    """A file as a line of a result: its name, and the beginning of its hash; or the first of several files."""
    others = f" and {len(more)} more" if more else ""
    return f"{'the shipped ' + path.name if shipped else path}{others} ({digest(path, *more)[:SHOWN]})"


def write_card(folder: Path, template: Path, recipe: Any, run: Run, **values: Any) -> None:
    """Write the model card of a folder, which is Markdown for people: nothing is escaped for HTML."""
    templates = Environment(loader=FileSystemLoader(template.parent), undefined=StrictUndefined)
    known = {"torch": torch.__version__.split("+")[0], "minutes": round(run.seconds / 60), "curve": run.curve}
    text = templates.get_template(template.name).render(**{**known, "recipe": recipe, **values})
    write_whole(text, folder / "README.md")


def read_tokenizer(path: Path, *, mend: str = "copy it again") -> Tokenizer:
    """The tokenizer of a tokenizer.json. Raises `DataError`, with how to `mend` it, for a file that is none."""
    try:
        return Tokenizer.from_buffer(read_file(path))
    except Exception as error:  # the type that tokenizers raises for whatever is wrong with a file
        raise DataError(f"{path} is damaged or no tokenizer ({in_short(error)}); {mend}") from None


def encoded(tokenizer: Tokenizer, text: str) -> Encoding:
    """A text as tokens, with none added. Raises `DataError` for a word that the tokenizer has no token for."""
    try:
        return tokenizer.encode(text, add_special_tokens=False)
    except Exception as error:  # the type that tokenizers raises where a word has no token
        raise DataError(
            f"the tokenizer has no token for some word of {text[:LONGEST]!r} ({in_short(error)}); give a text of its "
            f"own words"
        ) from None


def encoder(tokenizer: Tokenizer | None) -> Callable[[str], list[int]] | None:
    """What makes tokens of a text, as `encoded` does; None where there is no tokenizer."""
    return None if tokenizer is None else lambda text: encoded(tokenizer, text).ids
