"""The ladder on a model and its data: everything that `scrubbing score induction` needs."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from hypotheses.induction.data import Per, Rows, read_rows
from hypotheses.induction.ladder import (
    HEADS_DO_NOTHING,
    PUBLISHED,
    experiments,
    hypothesis,
    is_typical,
    network,
)
from hypotheses.induction.roles import HeadScores, Roles, find_roles, head_scores, load_roles, pooled
from hypotheses.induction.typicality import PROSE, SOURCE_CODE, atypical
from scrubbing import Case, DataError, Hypothesis
from scrubbing.experiments.suites import Suite
from scrubbing.graph.reading import in_short, read_file
from scrubbing.lens import Transformer, load_transformer, transformer
from scrubbing.rewrite import split_qkv

SHIPPED = Path(__file__).parent / "model"
MEASURED_ROWS = 128  # rows on which heads are measured where roles.json is missing


def suite(
    model: Path | None = None,
    data: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    per: Per = "example",
    rh1_k_direct: bool = False,
) -> Suite:
    """The 26 experiments (the baseline is the 26th) on the shipped model, or on a model folder and a data file.

    `per` divides losses by evaluated examples or by all positions (percentages are equal); `rh1_k_direct` lets the keys
    of refined 1 read the embedding too.

    Raises `ScrubbingError` for whatever is wrong with either.
    """
    folder = model or SHIPPED
    loaded = load_transformer(folder).to(dtype, device)
    path = _data_file(model, data)
    rows = read_rows(path, loaded.config, dtype)
    roles, roles_note = _roles(folder, loaded, rows)
    columns, typicality_note = _with_typicality(rows, folder, per)
    columns = {name: column.to(device) for name, column in columns.items()}
    G = network(loaded, roles)
    baseline = Hypothesis(G, HEADS_DO_NOTHING)
    settings = {"others": "reference" if rows.other is None else rows.other, "references": rows.references}
    cases = tuple(
        Case(name, hypothesis(G, streams), columns, baseline, settings)
        for name, streams in experiments(rh1_k_direct=rh1_k_direct).items()
        if "atypical" in columns or not is_typical(streams)
    )
    about = {
        "model": _described(folder / "model.safetensors", shipped=model is None),
        "data": _described(path, shipped=path == SHIPPED / "data.npz"),
        "rows": f"{len(rows.tokens)} of {rows.tokens.shape[1]} tokens, {len(rows.references)} evaluated",
        "evaluated": rows.selection,
        "heads": _in_words(roles),
        "pairing": "one other row per row, drawn uniformly" if rows.other is None else "the file's",
        "normalisation": f"mean over {'evaluated' if per == 'example' else 'all'} positions (nats)",
        "hashes": {name: _digest(file) for name, file in (("model", folder / "model.safetensors"), ("data", path))},
    }
    notes = tuple(note for note in (roles_note, typicality_note) if note)
    return Suite("induction", cases, about, PUBLISHED, notes)


@lru_cache(maxsize=4)
def _shipped(dtype: torch.dtype) -> Suite:
    return suite(dtype=dtype)


def case(name: str, *, dtype: torch.dtype = torch.float32) -> Case:
    """One experiment on the shipped model: `case("naive")` is all inputs at once, `case("naive/Q")` the queries alone.

    Raises `HypothesisError` for an unknown name.
    """
    chosen = _shipped(dtype).only([name]).cases
    return chosen[-1]


def measure_heads(
    model: Transformer, tokens: Tensor, begin: int | None, *, chunk: int = 16
) -> tuple[HeadScores, HeadScores]:
    """What the heads of both layers attend to, on rows of tokens."""
    layers = {f"a{layer}": " ".join(f"a{layer}_h{head}" for head in range(model.config.n_heads)) for layer in range(2)}
    G = split_qkv(transformer(model, **layers), *layers)

    def scores(layer: str) -> Iterator[HeadScores]:
        for rows in tokens.split(chunk):
            (pattern,) = G.activations({"tokens": rows}, f"{layer}_pattern")
            yield head_scores(pattern, rows, begin)

    return pooled(scores("a0")), pooled(scores("a1"))


def _data_file(model: Path | None, data: Path | None) -> Path:
    if data is not None:
        return data
    path = (model or SHIPPED) / "data.npz"
    if not path.is_file():
        raise DataError(f"{path.parent} holds no data.npz; name a data file with --data FILE.npz")
    return path


def _roles(folder: Path, model: Transformer, rows: Rows) -> tuple[Roles, str | None]:
    """The model's roles.json, or what its heads are measured to do."""
    path = folder / "roles.json"
    if path.exists():
        return load_roles(path, n_layers=model.config.n_layers, n_heads=model.config.n_heads), None
    first = rows.tokens[:, 0].unique()
    begin = int(first) if len(first) == 1 else None
    inputs = rows.tokens[:MEASURED_ROWS, :-1].to(model.weights["embed.W_E"].device)
    roles = find_roles(*measure_heads(model, inputs, begin))
    return roles, f"{folder} holds no roles.json; its heads were measured on {len(inputs)} rows: {_in_words(roles)}"


def _with_typicality(rows: Rows, folder: Path, per: Per) -> tuple[dict[str, Tensor], str | None]:
    """The columns, with the atypical positions from the data file or by the model's tokenizer."""
    tokenizer = folder / "tokenizer.json"
    if rows.atypical is not None:
        return rows.columns(per=per), None
    if not tokenizer.exists():
        return rows.columns(per=per), (
            "refined 5's K and All are left out: the data file has no 'atypical' and the model folder no tokenizer.json"
        )
    rule = SOURCE_CODE if folder == SHIPPED else PROSE
    marked = atypical(rows.tokens[:, :-1].numpy(), _tokenizer(tokenizer), rule)
    return rows.columns(per=per) | {"atypical": torch.from_numpy(marked)}, None


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(read_file(path))
    except Exception as error:  # the type that tokenizers raises for whatever is wrong with a file
        raise DataError(f"{path} is damaged or no tokenizer ({in_short(error)}); copy it again or remove it") from None


def _in_words(roles: Roles) -> str:
    groups: Mapping[str, Any] = roles.model_dump(by_alias=True)
    named = {name: " ".join(f"{layer}.{head}" for layer, head in heads) or "none" for name, heads in groups.items()}
    return ", ".join(f"{name} {heads}" for name, heads in named.items())


def _described(path: Path, *, shipped: bool) -> str:
    return f"{'the shipped ' + path.name if shipped else path} ({_digest(path)[:12]})"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
