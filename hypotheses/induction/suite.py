"""The ladder on a model and its data: everything that `scrubbing score induction` needs."""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Int
from pydantic import Field
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
from hypotheses.induction.measuring import in_words, measured_roles
from hypotheses.induction.places import SHIPPED, data_file
from hypotheses.induction.roles import Roles, load_roles
from hypotheses.induction.typicality import PROSE, SOURCE_CODE, atypical
from hypotheses.induction.whitelist import Form, whitelist
from scrubbing import Case, DataError, Hypothesis
from scrubbing.experiments.suites import Suite
from scrubbing.graph.reading import in_short, read_file
from scrubbing.lens import Transformer, load_transformer


def suite(
    model: Path | None = None,
    data: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    per: Annotated[Per, Field(description="divide losses by evaluated examples or all positions")] = "example",
    rh1_k_direct: Annotated[bool, Field(description="whether the keys of refined 1 read the embedding too")] = False,
    whitelist_form: Annotated[
        Form | None, Field(description="make the whitelist of these rows, by counts or their logarithms")
    ] = None,
    whitelist_beta: Annotated[
        float | None, Field(gt=0, description="make it of these rows: how far an earlier occurrence moves the logit")
    ] = None,
    whitelist_threshold: Annotated[
        float | None, Field(description="make it of these rows: the gain in nats that a token must exceed")
    ] = None,
) -> Suite:
    """The 26 experiments (the baseline is the 26th) on the shipped model, or on a model folder and a data file.

    `per` divides losses by evaluated examples or by all positions (percentages are equal); `rh1_k_direct` lets the keys
    of refined 1 read the embedding too. Any of the three of the whitelist makes one of these rows, in place of the data
    file's; the others are then "log", 1, and the threshold that keeps a fifth of the tokens.

    Raises `ScrubbingError` for whatever is wrong with either.
    """
    folder = model or SHIPPED
    loaded = load_transformer(folder).to(dtype, device)
    path = data_file(model, data)
    chosen = _token_filter(folder, whitelist_form, whitelist_beta, whitelist_threshold)
    rows = read_rows(path, loaded.config, dtype, whitelist=chosen)
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
        "heads": in_words(roles),
        "pairing": "one other row per row, drawn uniformly" if rows.other is None else "the file's",
        "normalisation": f"mean over {'evaluated' if per == 'example' else 'all'} positions (nats)",
        **({} if chosen is None else {"whitelist": str(chosen)}),
        **({"refined 1's keys": "read the embedding too"} if rh1_k_direct else {}),
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


@dataclass(frozen=True)
class TokenFilter:
    """A whitelist made of the rows that are scored, in place of the file's: by which rule."""

    form: Form = "log"
    beta: float = 1.0
    threshold: float | None = None
    exclude: frozenset[int] = frozenset()

    def __call__(self, tokens: Int[np.ndarray, "row position_plus_1"], d_vocab: int) -> Bool[np.ndarray, " d_vocab"]:
        """The tokens that are kept; a row's BEGIN never is."""
        begin = {int(token) for token in tokens[:1, 0] if (tokens[:, 0] == token).all()}
        return whitelist(
            tokens,
            d_vocab,
            beta=self.beta,
            threshold=self.threshold,
            form=self.form,
            exclude=self.exclude | begin,
        )

    def __str__(self) -> str:
        above = "the best fifth of the tokens" if self.threshold is None else f"gain above {self.threshold:g} nats"
        return f"made of these rows: {above}, form {self.form}, beta {self.beta:g}"


def _token_filter(folder: Path, form: Form | None, beta: float | None, threshold: float | None) -> TokenFilter | None:
    """What the options say of the whitelist; None where they say nothing, and the file's is used."""
    given = {"form": form, "beta": beta, "threshold": threshold}
    given = {name: value for name, value in given.items() if value is not None}
    path = folder / "tokenizer.json"
    added = _tokenizer(path).get_added_tokens_decoder() if given and path.exists() else ()
    return TokenFilter(**given, exclude=frozenset(added)) if given else None


def _roles(folder: Path, model: Transformer, rows: Rows) -> tuple[Roles, str | None]:
    """The model's roles.json, or what its heads are measured to do."""
    path = folder / "roles.json"
    if path.exists():
        return load_roles(path, n_layers=model.config.n_layers, n_heads=model.config.n_heads), None
    roles, count = measured_roles(model, rows)
    return roles, f"{folder} holds no roles.json; its heads were measured on {count} rows: {in_words(roles)}"


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


def _described(path: Path, *, shipped: bool) -> str:
    return f"{'the shipped ' + path.name if shipped else path} ({_digest(path)[:12]})"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
