"""The ladder on a model and its data: everything that `scrubbing score induction` needs."""

from dataclasses import dataclass
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
    SOURCE,
    experiments,
    hypothesis,
    is_typical,
    network,
)
from hypotheses.induction.measuring import in_words, measured_roles
from hypotheses.induction.places import CANDIDATES, SHIPPED, data_file, model_folder, tokenizer_file
from hypotheses.induction.roles import Roles, check_roles, load_roles
from hypotheses.induction.typicality import PROSE, SOURCE_CODE, atypical
from hypotheses.induction.whitelist import Form, whitelist
from hypotheses.shipped import case_of, encoder, read_tokenizer, said_of
from scrubbing import Case, Hypothesis
from scrubbing.experiments.suites import Suite
from scrubbing.lens import Transformer, load_transformer, transformer

SOURCE_ITSELF = "Redwood Research 2022, on this model"

# The heads that the source names, of its own model, which has no roles.json.
SOURCES_OWN = Roles.model_validate(
    {"induction": [(1, 5), (1, 6)], "previous": [(0, 0)], "self": [(0, 1), (0, 2), (0, 5)]}
)

EXAMPLES = {
    "a name comes again": "class Fjord:\n    def __init__(self, quib):\n        self.quib = quib\n        self.quib",
    "a line comes again": "for wumpus in garden.blim():\n    print(wumpus)\nfor wumpus in garden.blim():",
}


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
    """The 26 experiments (the baseline is the 26th) on the shipped model, or on another and a data file.

    `model` is a folder, or a name on the hub: "redwood_attn_2l" is the source's own model, with its rows, whitelist and
    heads.

    `per` divides losses by evaluated examples or by all positions (percentages are equal); `rh1_k_direct` lets the keys
    of refined 1 read the embedding too. Any of the three of the whitelist makes one of these rows, in place of the data
    file's; the others are then "log", 1, and the threshold that keeps a fifth of the tokens.

    Raises `ScrubbingError` for whatever is wrong with either.
    """
    folder = model_folder(model)
    loaded = load_transformer(folder).to(dtype, device)
    path, tokenizer = data_file(folder, data), tokenizer_file(folder, model)
    chosen = _token_filter(tokenizer, whitelist_form, whitelist_beta, whitelist_threshold)
    rows = read_rows(path, loaded.config, dtype, whitelist=chosen)
    roles, roles_note = _roles(folder, loaded, rows)
    columns, typicality_note = _with_typicality(rows, tokenizer, per, shipped=folder == SHIPPED)
    columns = {name: column.to(device) for name, column in columns.items()}
    G = network(loaded, roles)
    baseline = Hypothesis(G, HEADS_DO_NOTHING)
    settings = {"others": "reference" if rows.other is None else rows.other, "references": rows.references}
    if rows.groups is not None:
        settings["groups"] = "groups"
    cases = tuple(
        Case(name, hypothesis(G, streams), columns, baseline, settings)
        for name, streams in experiments(rh1_k_direct=rh1_k_direct).items()
        if "atypical" in columns or not is_typical(streams)
    )
    about = {
        **said_of(folder, path, SHIPPED),
        "rows": f"{len(rows.tokens)} of {rows.tokens.shape[1]} tokens, {len(rows.references)} evaluated",
        "evaluated": rows.selection,
        "heads": in_words(roles),
        "pairing": "one other row per row, drawn uniformly" if rows.other is None else "the file's",
        "normalisation": f"mean over {'evaluated' if per == 'example' else 'all'} positions (nats)",
        **({} if chosen is None else {"whitelist": str(chosen)}),
        **({"refined 1's keys": "read the embedding too"} if rh1_k_direct else {}),
    }
    notes = tuple(note for note in (roles_note, typicality_note) if note)
    source = SOURCE_ITSELF if roles == SOURCES_OWN and _is_source(folder) else SOURCE
    words = _tokenizer(tokenizer) if tokenizer.exists() else None
    return Suite(
        "induction",
        cases,
        about,
        PUBLISHED,
        notes,
        published_by=source,
        vocabulary=_vocabulary(words),
        network=transformer(loaded),
        encode=encoder(words),
        examples=EXAMPLES,
    )


def case(name: str, *, dtype: torch.dtype = torch.float32) -> Case:
    """One experiment on the shipped model: `case("naive")` is all inputs at once, `case("naive/Q")` the queries alone.

    Raises `HypothesisError` for an unknown name.
    """
    return case_of(suite, name, dtype)


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


def _token_filter(path: Path, form: Form | None, beta: float | None, threshold: float | None) -> TokenFilter | None:
    """What the options say of the whitelist; None where they say nothing, and the file's is used."""
    given = {"form": form, "beta": beta, "threshold": threshold}
    given = {name: value for name, value in given.items() if value is not None}
    added = _tokenizer(path).get_added_tokens_decoder() if given and path.exists() else ()
    return TokenFilter(**given, exclude=frozenset(added)) if given else None


def _roles(folder: Path, model: Transformer, rows: Rows) -> tuple[Roles, str | None]:
    """The model's roles.json, those of the source for its own model, or what its heads are measured to do."""
    path = folder / "roles.json"
    sizes = {"n_layers": model.config.n_layers, "n_heads": model.config.n_heads}
    if path.exists():
        return load_roles(path, **sizes), None
    if _is_source(folder):
        check_roles(SOURCES_OWN, **sizes)
        return SOURCES_OWN, None
    roles, count = measured_roles(model, rows)
    return roles, f"{folder} holds no roles.json; its heads were measured on {count} rows: {in_words(roles)}"


def _is_source(folder: Path) -> bool:
    """Whether it is the repository of the source's own model."""
    return (folder / CANDIDATES).is_file()


def _with_typicality(rows: Rows, tokenizer: Path, per: Per, *, shipped: bool) -> tuple[dict[str, Tensor], str | None]:
    """The columns, with the atypical positions from the data file or by the model's tokenizer."""
    if rows.atypical is not None:
        return rows.columns(per=per), None
    if not tokenizer.exists():
        return rows.columns(per=per), (
            "refined 5's K and All are left out: the data file has no 'atypical' and the model folder no tokenizer.json"
        )
    rule = SOURCE_CODE if shipped else PROSE
    marked = atypical(rows.tokens[:, :-1].numpy(), _tokenizer(tokenizer), rule)
    return rows.columns(per=per) | {"atypical": torch.from_numpy(marked)}, None


def _vocabulary(tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """The text of each token; none where the model folder has no tokenizer."""
    if tokenizer is None:
        return ()
    return tuple(tokenizer.decode([token], skip_special_tokens=False) for token in range(tokenizer.get_vocab_size()))


def _tokenizer(path: Path) -> Tokenizer:
    return read_tokenizer(path, mend="copy it again or remove it")
