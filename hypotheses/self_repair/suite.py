"""The study on a model and its text: everything that `scrubbing score self-repair` needs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from hypotheses.affordable import affordable, products_of_layer
from hypotheses.corpus import ROWS_FILE
from hypotheses.heads import read_head
from hypotheses.induction.places import SHIPPED as INDUCTION
from hypotheses.ioi.places import SHIPPED as IOI
from hypotheses.ioi.places import tokenizer_of
from hypotheses.self_repair.claims import LABELS_ALONE, hypotheses
from hypotheses.self_repair.data import Rows, prompts, read_tokens
from hypotheses.self_repair.effects import Scale
from hypotheses.self_repair.measuring import Design, Selection
from hypotheses.self_repair.network import Network
from hypotheses.self_repair.neurons import THRESHOLDS
from hypotheses.self_repair.published import SOURCE, published
from hypotheses.self_repair.study import Study
from hypotheses.self_repair.tables import Clip
from hypotheses.shipped import beside, case_of, said_of
from scrubbing import Case
from scrubbing.errors import HypothesisError
from scrubbing.experiments.suites import Suite
from scrubbing.lens import Transformer, TransformerConfig, load_transformer, next_token_data

SHIPPED = {"induction": INDUCTION, "ioi": IOI}
Shipped = Literal["induction", "ioi"]
ROWS = 256
REFERENCES = 64
MANY = 32  # heads; of models with more, hypotheses are about the last layer's


def suite(
    model: Path | None = None,
    data: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    tokens: Annotated[
        Selection, Field(description="whether means are over each head's top 2% of tokens or over all")
    ] = "top",
    clip: Annotated[
        Clip, Field(description="whether each token's share is cut to 0..1, or the ratio of the means")
    ] = "per_token",
    de_ln: Annotated[
        Scale, Field(description="whose norm scales direct effects in the ablated run: the clean run's or its own")
    ] = "clean",
    center_unembed: Annotated[
        bool, Field(description="whether logits are those less the mean over all tokens, as in the authors' code")
    ] = False,
    rows: Annotated[
        int | None, Field(ge=2, description="how many rows are measured; by default 256, or fewer of large models")
    ] = None,
    batch: Annotated[
        int, Field(ge=1, description="rows at a time: those of a mean, and how many rows away donors are")
    ] = 16,
    head: Annotated[
        str | None, Field(description="the head of the scatter plot and of neurons, as 1.5; by default the largest")
    ] = None,
    thresholds: Annotated[
        str, Field(description="percentages of the direct effect that neurons are counted by")
    ] = ",".join(f"{100 * share:g}" for share in THRESHOLDS),
    shipped: Annotated[
        Shipped, Field(description="which network that ships, where --model names none: that of which study")
    ] = "induction",
    checkpoint: Annotated[
        str | None, Field(description="a file that the run is kept in, and goes on from if it was interrupted")
    ] = None,
) -> Suite:
    """Self-repair in the network that the induction study ships, or in any model on an .npz file of tokens, or a text.

    `shipped="ioi"` is the network of indirect objects; without other data it completes prompts of its task.

    Raises `ScrubbingError` for whatever is wrong with either.
    """
    folder = model or SHIPPED[shipped]
    loaded = load_transformer(str(folder)).to(dtype, device)
    path = None
    if data is not None or folder.resolve() != SHIPPED["ioi"].resolve():
        path = beside(folder, (ROWS_FILE,), data, "an .npz file of tokens [row, position + 1], or a text")
        found = read_tokens(path, loaded.config, folder).to(device)
    else:
        found = prompts(tokenizer_of(None), rows or ROWS).to(device)
    network = Network.of(loaded)
    chosen = None if head is None else read_head(head, loaded.config)
    positions = found.shape[1] - 1
    design = Design(rows or affordable_rows(loaded.config, positions), batch, de_ln, center_unembed).fitted(len(found))
    about = _about(folder, path, found, design)
    study = Study(
        network,
        found,
        design,
        tokens,
        clip,
        chosen,
        _percentages(thresholds),
        None if checkpoint is None else Path(checkpoint),
        # What else decides the numbers: which weights, on which rows, in which numbers.
        f"{about['model']} {about['data']} {dtype}",
        published(str(model)),
    )
    cases, note = _cases(loaded, found, design)
    notes = [note] if note else []
    if rows is None and design.rows < min(ROWS, len(found)):
        notes.append(f"{design.rows} rows are measured, so that the job takes minutes; --set rows=N takes more")
    return Suite("self-repair", cases, about, {}, tuple(notes), SOURCE, measurements=study.measurements)


def case(name: str, *, dtype: torch.dtype = torch.float32, shipped: Shipped = "induction") -> Case:
    """One hypothesis on a network that ships: `case("1.5/resampled")`, `case("1.5/norm frozen")`.

    Raises `HypothesisError` for an unknown name.
    """
    return case_of(suite, name, dtype, shipped=shipped)


def _cases(model: Transformer, rows: Rows, design: Design) -> tuple[tuple[Case, ...], str]:
    """The hypotheses, on the donors of the resampling ablation; and what to know of them."""
    config = model.config
    many = config.n_layers * config.n_heads > MANY
    layers = range(config.n_layers - 1, config.n_layers) if many else range(config.n_layers)
    some = rows[: design.rows].cpu()
    every = torch.ones(some[:, 1:].shape, dtype=model.weights["embed.W_E"].dtype)
    made = next_token_data(some, weights=every)
    columns = {name: torch.as_tensor(value).to(rows.device) for name, value in made.items()}
    donors = [(row + design.batch) % design.rows for row in range(design.rows)]
    settings = {"references": range(min(REFERENCES, design.rows)), "others": donors}
    claimed = hypotheses(model, layers).items()
    cases = tuple(Case(name, h, columns, LABELS_ALONE, settings) for name, h in claimed)
    note = f"hypotheses are about the heads of layer {layers[0]}, the last; the tables are about all heads"
    return cases, note if many else ""


def _about(folder: Path, path: Path | None, rows: Rows, design: Design) -> dict[str, Any]:
    said = said_of(folder, path, *SHIPPED.values())
    if path is None:
        said["data"] = f"{len(rows)} prompts of indirect objects, made (seed 0)"
    return {
        **said,
        "rows": f"{design.rows} of {len(rows)}, {rows.shape[1]} tokens each",
        "ablations": f"the row {design.batch} further on, the mean over {design.batch} rows, zero",
        "direct effects": f"in the {design.de_ln} run's scale of the final norm",
        "logits": "less the mean over all tokens" if design.centred else "as they are",
        "pairing": f"one other row for each row, {design.batch} further on",
        "design": asdict(design),
    }


def affordable_rows(config: TransformerConfig, positions: int) -> int:
    """So many rows that the default job takes minutes: every ablation runs again what comes after its head."""
    attention, mlp = products_of_layer(config, positions)
    own = 0 if config.parallel_attn_mlp else mlp
    after = sum((config.n_layers - 1 - layer) * (attention + mlp) + own for layer in range(config.n_layers))
    each = 2 * 3 * config.n_heads * positions * (after + config.d_model * config.d_head)
    return affordable(each, ROWS, fewest=2)


def _percentages(text: str) -> tuple[float, ...]:
    """Shares, from percentages between commas. Raises `HypothesisError` for what is none."""
    try:
        found = tuple(float(part) / 100 for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 <= share <= 1 for share in found):
        raise HypothesisError(f"thresholds={text!r} must be percentages between commas, as in thresholds=50,10,5,2,1")
    return found
