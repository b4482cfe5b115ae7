"""The study on a network and its prompts: everything that `scrubbing score ioi` needs."""

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from rich.console import RenderableType
from tokenizers import Tokenizer

from hypotheses.affordable import affordable, products_of_layer
from hypotheses.heads import all_heads, in_words
from hypotheses.ioi import plots
from hypotheses.ioi.data import grouped, rows_in_template, rows_of, single_token_names
from hypotheses.ioi.finding import DEFAULT, Thresholds
from hypotheses.ioi.patching import DONORS_OUTPUT
from hypotheses.ioi.places import SHIPPED, is_published, tokenizer_of
from hypotheses.ioi.prompts import TEMPLATES, made, read_prompts, templates
from hypotheses.ioi.published import NOTES
from hypotheses.ioi.roles import FILE, GPT2_SMALL, Roles, read_roles
from hypotheses.ioi.signals import Where
from hypotheses.ioi.study import Study
from hypotheses.shipped import case_of, encoder, said_of
from scrubbing import Case
from scrubbing.experiments.suites import Measurement, Suite
from scrubbing.lens import Transformer, TransformerConfig, load_transformer, transformer
from scrubbing.score.tables import titled

PROMPTS = 112  # eight of each template
MAPS, TOKENS = 9, 20  # inputs to which each head is patched in the default job, and tokens of a prompt, about
SHOWN = 12  # names
EXAMPLES = 4  # prompts to try


def suite(
    model: Path | None = None,
    data: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    prompts: Annotated[
        int | None,
        Field(ge=2, description="how many prompts to make: 112, or fewer for large models"),
    ] = None,
    prompt_templates: Annotated[
        int, Field(ge=2, description="of how many templates, half BABA and half ABBA")
    ] = TEMPLATES,
    prompt_seed: Annotated[int, Field(ge=0, description="what names, places and objects are drawn from")] = 0,
    freeze_mlps: Annotated[
        bool, Field(description="whether MLPs between senders and receivers keep the prompt's own values")
    ] = False,
    union_of_positions: Annotated[
        bool, Field(description="whether a circuit keeps a head wherever its role is in any prompt")
    ] = False,
    signal_positions: Annotated[
        Where, Field(description="where S-inhibition heads are patched for their signals: all positions, or the end")
    ] = "all",
    thresholds: Annotated[
        str, Field(description="measure the parts of heads, by these: moves=0.4,tells=0.05 (and the defaults)")
    ] = "",
) -> Suite:
    """Circuits, path patches and all tables on the shipped network, or on a model and a file of prompts, one a line.

    Raises `ScrubbingError` for whatever is wrong with either.
    """
    study, notes = study_of(
        model,
        data,
        dtype,
        device,
        (prompts, prompt_templates, prompt_seed),
        freeze_mlps=freeze_mlps,
        union_of_positions=union_of_positions,
        signal_positions=signal_positions,
        thresholds=Thresholds.read(thresholds) if thresholds else None,
    )
    settings = {"others": study.donors, "references": range(len(study.rows)), **grouped(study.rows.template)}
    cases = tuple(Case(name, h, study.data, DONORS_OUTPUT, settings) for name, h in study.hypotheses.items())
    about: dict[str, Any] = {
        **said_of(model or SHIPPED, data, SHIPPED),
        "data": f"{len(study.rows)} prompts" + (f" of {data}" if data else f", made (seed {prompt_seed})"),
        "rows": f"{len(rows_in_template(study.rows))} templates, up to {study.rows.tokens.shape[1] - 1} tokens",
        "heads": str(study.roles),
        "loss": "the subject's logit less the object's, at the end of the prompt: less is better",
        "baseline": "the whole run of the prompt's donor, with the prompt's answers",
        "pairing": "the same prompt with three different names",
        "freeze_mlps": str(freeze_mlps).lower(),
        "union_of_positions": str(union_of_positions).lower(),
        "signal_positions": signal_positions,
    }
    texts = dict.fromkeys(prompt.text for prompt in study.rows.prompts[:EXAMPLES])
    return Suite(
        "ioi",
        cases,
        about,
        notes=notes,
        vocabulary=_vocabulary(study.words),
        measurements=_measurements(study),
        network=transformer(study.model),
        encode=encoder(study.words),
        examples={f"prompt {i}": text for i, text in enumerate(texts)},
    )


def study_of(
    model: Path | None = None,
    data: Path | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    made_of: tuple[int | None, int, int] = (None, TEMPLATES, 0),
    thresholds: Thresholds | None = None,
    **switches: Any,
) -> tuple[Study, tuple[str, ...]]:
    """The network with its prompts, and what is to be said of them."""
    loaded = load_transformer(str(model or SHIPPED)).to(dtype, device)
    words = tokenizer_of(model)
    names, several = single_token_names(words)
    count, of, seed = made_of
    few = affordable_prompts(loaded.config)
    chosen = read_prompts(data) if data is not None else made(count or few, seed, names=names, of=templates(of))
    rows = rows_of(chosen, words, n_ctx=loaded.config.n_ctx)
    # Whoever names thresholds wants heads to be measured by them.
    roles = None if thresholds else _roles(model, loaded)
    notes: list[str] = []
    study = Study(loaded, words, rows, names, roles, seed, device, thresholds=thresholds or DEFAULT, **switches)
    if several and data is None:
        notes.append(f"names that are no token of their own were left out: {_few(several)}")
    if roles is None:
        why = "by these thresholds" if thresholds else f"as there is no {FILE}"
        notes.append(f"heads were measured on these prompts, {why}: {study.roles}")
    if data is None and count is None and few < PROMPTS:
        notes.append(f"{few} prompts are made, so that the job takes minutes; --set prompts=N makes more")
    if is_published(model):
        notes += NOTES
    return study, tuple(notes)


def affordable_prompts(config: TransformerConfig) -> int:
    """So many prompts that the default job takes minutes: each head is patched to several inputs, and what follows run.

    At the least one of each template.
    """
    half = TOKENS * config.n_layers * sum(products_of_layer(config, TOKENS))  # operations of half a run
    return affordable(MAPS * config.n_layers * config.n_heads * half, PROMPTS, fewest=TEMPLATES)


def _vocabulary(words: Tokenizer) -> tuple[str, ...]:
    """The text of each token, with the space before it where the tokenizer puts one between tokens."""
    texts = [words.decode([token], skip_special_tokens=False) for token in range(words.get_vocab_size())]
    twice = [words.decode([token, token], skip_special_tokens=False) for token in range(len(texts))]
    return tuple(f" {text}" if double == f"{text} {text}" else text for text, double in zip(texts, twice, strict=True))


def _roles(model: Path | None, loaded: Transformer) -> Roles | None:
    """The roles beside the model, or those of the published network by its name."""
    path = (model or SHIPPED) / FILE
    if path.exists():
        return read_roles(path, loaded.config)
    return GPT2_SMALL if is_published(model) else None


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _measurements(study: Study) -> dict[str, Measurement]:
    """The tables of the study; those that take long, or are of a single plot, are made when they are named."""
    return {
        "logit_difference": Measurement(study.logit_difference, about="the top name mover knocked out at the end"),
        "direct_effects": Measurement(
            study.direct_effects, plot=plots.direct_effects, about="of each head, before and after"
        ),
        "path_patching": Measurement(study.path_patching, plot=plots.path_patching, about="changes by path patches"),
        "signals": Measurement(study.signals, plot=plots.signals, about="token and position, by patched heads"),
        "circuit": Measurement(study.circuit, plot=plots.minimality, about="faithful, complete, minimal"),
        "scores": Measurement(study.scores, plot=plots.scores, about="attention on repeated tokens"),
        "norm_sizes": Measurement(
            study.norm_sizes, on_request=True, plot=plots.norm_sizes, about="the final norm, before and after"
        ),
        "completeness": Measurement(
            study.completeness, on_request=True, plot=plots.completeness, about="circuit and network without the same"
        ),
        "attention": Measurement(study.attention, on_request=True, about="attention between the names of prompts"),
        "repeated": Measurement(
            study.repeated, on_request=True, plot=plots.repeated, about="induction heads on repeated tokens"
        ),
    }


def heads(
    model: Path | None = None, data: Path | None = None, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> RenderableType:
    """What each head attends to between the names of prompts, and adds to the logit difference, as a table.

    Raises `ScrubbingError` for whatever is wrong with the model or the data.
    """
    study, notes = study_of(model, data, dtype, device)
    parts = {head: name for name, places in study.roles.classes.items() for head, _ in places}
    rows = [
        (
            in_words([head]),
            f"{study.effects[head]:.2f}",
            *(f"{float(of[head]):.2f}" for of in study.looks.values()),
            parts.get(head, "").replace("_", " "),
        )
        for head in all_heads(study.model.config)
    ]
    return titled(
        "ioi: what each head does", ["head", "logits", *study.looks, "role"], rows, list(notes), left=["role"]
    )


def case(name: str, *, dtype: torch.dtype = torch.float32) -> Case:
    """One hypothesis on the shipped network: `case("full circuit")`.

    Raises `HypothesisError` for an unknown name.
    """
    return case_of(suite, name, dtype)
