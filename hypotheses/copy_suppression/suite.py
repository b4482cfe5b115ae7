"""The ablations on a network and its text: everything that `scrubbing score copy-suppression` needs."""

from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from hypotheses.affordable import affordable, operations_of_row
from hypotheses.copy_suppression.behaviours import calibration, in_practice, pathways, queries, triple
from hypotheses.copy_suppression.circuits import ranks, semantic_similarity
from hypotheses.copy_suppression.directions import Unembeddings
from hypotheses.copy_suppression.heads import head_scores, most_suppressing
from hypotheses.copy_suppression.network import MEAN_ABLATION, Parts
from hypotheses.copy_suppression.passes import mean_output
from hypotheses.copy_suppression.places import ROWS, SHIPPED, Vocabulary, read_columns, read_vocabulary
from hypotheses.copy_suppression.preserving import Rules
from hypotheses.copy_suppression.published import SOURCE, published
from hypotheses.copy_suppression.repair import self_repair
from hypotheses.copy_suppression.sources import Share
from hypotheses.copy_suppression.study import MODES, Study, controls, effect_explained, plot_quantiles, quantiles
from hypotheses.copy_suppression.words import function_words, related
from hypotheses.corpus import ROWS_FILE
from hypotheses.heads import in_words, read_head
from hypotheses.shipped import beside, case_of, encoder, said_of
from scrubbing import Case, DataError, HypothesisError
from scrubbing.experiments.suites import Measurement, Suite
from scrubbing.lens import load_transformer, transformer

LEAST = 0.05  # logits, that a head must take from words that it attends to
PASSES = 34  # of the network on a row, that the default job comes to
EXAMPLES = {
    "a word was said": " pearl near coat. market under basket and pearl near",
    "no word was said": " lamp and apple or ladder with chair near stone and",
}


def suite(
    model: Path | None = None,
    data: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    head: Annotated[
        str | None, Field(description="the head, as layer.number; by default the one that suppresses copies most")
    ] = None,
    k_u: Annotated[
        float, Field(gt=0, description="sources kept of each destination: a share below 1, or a whole number")
    ] = 0.05,
    negative_only: Annotated[
        bool, Field(description="whether of a projection only what lowers the source's logit is kept")
    ] = True,
    keep_invalid: Annotated[
        bool, Field(description="keep all sources where too few are valid, as the authors' code does")
    ] = False,
    neighbours: Annotated[
        int, Field(ge=1, le=20, description="project onto the unembeddings of so many forms of the source's word")
    ] = 1,
    centred: Annotated[bool, Field(description="whether unembeddings are less their mean over all tokens")] = True,
    mean_rows: Annotated[int, Field(ge=1, description="rows that the head's mean output is taken over")] = 100,
    rows: Annotated[
        int | None, Field(ge=1, description="how many rows; by default all, or fewer of large models")
    ] = None,
    parts: Annotated[int, Field(ge=1, le=1000, description="quantiles of the table; the text has 100")] = 20,
) -> Suite:
    """Copy-suppression-preserving ablation of one head, of its OV circuit, its QK circuit, and both.

    On the shipped network, or on any model and a text or an .npz file of tokens `[row, position + 1]`.

    Raises `ScrubbingError` for whatever is wrong with either, and for switches that exclude each other.
    """
    if neighbours > 1 and negative_only:
        raise HypothesisError(
            "neighbours is above 1 and negative_only is true, but of a projection onto several directions no sign can "
            "be told; set negative_only=false too"
        )
    folder = model or SHIPPED
    loaded = load_transformer(str(folder)).to(dtype, device)
    network = Parts.of(loaded)
    vocabulary = read_vocabulary(folder, loaded.config.out_vocab)
    path = beside(folder, (ROWS, ROWS_FILE), data, "a text, or an .npz file of tokens")
    columns, evaluated = read_columns(path, vocabulary, loaded.config, dtype)
    there, positions = columns["tokens"].shape
    few = affordable(PASSES * operations_of_row(loaded.config, positions), there)
    columns = {name: columns[name][: rows or few].to(device) for name in ("tokens", "labels", "weights")}
    taken = len(columns["tokens"])
    words = _function_words(vocabulary, loaded.config.d_vocab).to(device)
    scored = cache(partial(head_scores, network, columns, words, vocabulary))
    chosen = most_suppressing(scored()) if head is None else read_head(head, loaded.config)
    rules = Rules(share=Share.read(k_u), negative_only=negative_only, keep_invalid=keep_invalid, centred=centred)
    mean = mean_output(network, chosen, columns["tokens"], mean_rows)
    table = None
    if neighbours > 1:
        _need(vocabulary, "neighbours")
        table = related(vocabulary.texts, Unembeddings(network.readout, centred), neighbours).to(device)
    study = Study(network, chosen, mean, rules, words, columns, vocabulary, table)
    cases = tuple(
        Case(mode, study.hypothesis(mode=mode), columns, MEAN_ABLATION, {"unclaimed": "zero"}) for mode in MODES
    )
    about: dict[str, Any] = {
        **said_of(folder, path, SHIPPED),
        "rows": f"{taken} of {positions} tokens; evaluated: {evaluated}",
        "head": in_words([chosen]) + ("" if head else ", which suppresses copies most"),
        "kept": f"the sources predicted most, {_in_words(rules.share)}; {_projection(rules, neighbours)}",
        "mean": f"of the head's output at each position, over {min(mean_rows, taken)} rows",
        "baseline": "mean ablation of the direct path, the final norm's scale kept",
        "normalisation": "KL(clean || ablated) (nats)",
    }
    notes = [] if vocabulary.texts else [f"{folder} holds no tokenizer.json: no token is taken for a function word"]
    best = max(row["copy_suppression"] for row in scored()) if head is None else LEAST
    if best < LEAST:
        notes.append(
            f"no head suppresses copies: head {in_words([chosen])} takes most from the logits of words that it attends "
            f"to, {best:.4f}; all others add to them or take less"
        )
    if rows is None and taken < there:
        notes.append(f"{taken} of {there} rows are taken, so that the job takes minutes; --set rows=N takes more")
    return Suite(
        "copy-suppression",
        cases,
        about,
        published(model, chosen),
        tuple(notes),
        published_by=SOURCE,
        tables={"effect_explained": effect_explained},
        vocabulary=vocabulary.texts,
        measurements=_measurements(study, scored, parts),
        network=transformer(loaded),
        encode=encoder(vocabulary.tokenizer),
        examples=EXAMPLES if model is None else {},
    )


def _measurements(study: Study, scored: Any, parts: int) -> dict[str, Measurement]:
    """The figures of the text by name; those that take long, or are no part of its main result, on request."""
    later = [row for row in scored() if row["layer"] > study.head[0]] if study.head[0] + 1 < _layers(study) else []
    other = most_suppressing(later) if later else None
    always = {
        "quantiles": Measurement(
            lambda _: quantiles(study, parts),
            "tokens by what mean ablation does to them: mean KL in nats, and the share explained by both",
            plot=plot_quantiles,
        ),
        "circuit_ranks": Measurement(
            lambda _: ranks(study.parts, study.head, study.function_words),
            "shares of tokens that come first, in the first 10 and 5%, in their own row of the head's circuits",
        ),
        "scores": Measurement(
            lambda _: scored(),
            "what heads take from the logit of the right token, by attention to it",
            plot=plot_scores,
        ),
        "controls": Measurement(
            lambda progress: controls(study, progress), "both, but with sources or unembeddings that mean nothing"
        ),
    }
    on_request = {
        "paths": (lambda _: pathways(study, other), "loss added and KL in nats, by path and norm"),
        "criterion": (lambda _: triple(study), "shares of the 5% of completions that the head helps most, and of all"),
        "in_practice": (lambda _: in_practice(study), "rank of the source's token, of pairs with attention above 10%"),
        "calibration": (lambda _: calibration(study), "what heads add to entropy (nats) and to overconfidence"),
        "queries": (lambda _: queries(study), "the effect explained when queries are projected on unembeddings"),
        "self_repair": (
            lambda _: self_repair(study),
            "direct effects before and after predictors are ablated, in logits",
        ),
        "semantic": (lambda _: [_semantic(study)], "sources that the OV circuit lowers, but not most of all"),
    }
    return always | {name: Measurement(make, about, on_request=True) for name, (make, about) in on_request.items()}


def _semantic(study: Study) -> dict[str, Any]:
    _need(study.vocabulary, "semantic")
    return semantic_similarity(study.parts, study.head, study.function_words, study.vocabulary.texts)


def plot_scores(frame: Any) -> Any:
    """Anti-induction against copy suppression, a point for each head."""
    import altair as alt

    return (
        alt.Chart(frame)
        .mark_point(filled=True)
        .encode(x="copy_suppression:Q", y="anti_induction:Q", color="layer:O", tooltip=["layer", "head"])
    )


def case(name: str, *, dtype: torch.dtype = torch.float32) -> Case:
    """One ablation of the shipped network's head: `case("both")`, `case("ov")` or `case("qk")`.

    Raises `HypothesisError` for an unknown name.
    """
    return case_of(suite, name, dtype)


def _layers(study: Study) -> int:
    return study.parts.config.n_layers


def _function_words(vocabulary: Vocabulary, d_vocab: int) -> Tensor:
    if not vocabulary.texts:
        return torch.zeros(d_vocab, dtype=torch.bool)
    return function_words(vocabulary.texts)


def _need(vocabulary: Vocabulary, what: str) -> None:
    if not vocabulary.texts:
        raise DataError(f"{what} needs to know what tokens say; put the model's tokenizer.json beside it")


def _in_words(share: Share) -> str:
    return f"{share.share} of them" if share.number is None else f"{share.number} of them"


def _projection(rules: Rules, neighbours: int) -> str:
    onto = "the source's unembedding" if neighbours == 1 else f"unembeddings of {neighbours} forms of the source's word"
    sign = ", what lowers it alone" if rules.negative_only else ""
    return f"projected onto {onto}{sign}"
