"""Every argument of every public function, replaced by what it cannot be: one error in words, and never a traceback."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch

import scrubbing.lens as lens
import scrubbing.rewrite as rewrite
from hypotheses import induction
from hypotheses.induction.suite import SHIPPED
from scrubbing import (
    Case,
    Graph,
    Hypothesis,
    Node,
    ScrubbingError,
    Store,
    approx_percent,
    attribute_loss,
    baseline_ladder,
    bigram,
    bins,
    compare,
    explain,
    explanation_accuracy,
    interchange,
    labels_alone,
    labels_permuted,
    load_record,
    losses_by_position,
    mean,
    next_token_data,
    per_position,
    plan_samples,
    random_controls,
    random_features,
    random_nodes,
    reads,
    restore,
    run_explanation,
    save_record,
    scrub,
    scrubbed_activations,
    single_swaps,
    unigram,
    with_row_numbers,
    within,
    worst_donors,
)
from scrubbing.experiments import public
from scrubbing.experiments.suites import Suite

pytestmark = pytest.mark.usefixtures("unchecked_throughout")

G = Graph(a=lambda x: 2.0 * x, b=lambda x: 3.0 * x, loss=lambda a, b, y: (a + b - y) ** 2)
H = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
OTHER = Hypothesis(G, Graph(b=lambda x: x % 2, loss=reads("b", "y")))
DECIDED = Hypothesis(G, H.I | {"loss": lambda a, y: a > y})
DATA = {"x": torch.arange(6), "y": torch.tensor([0.0, 1.0, 2.0, 3.0, 5.0, 8.0])}
MANY = {"x": torch.arange(60), "y": 5.0 * torch.arange(60) + torch.arange(60) % 7}
TOKENS = {"tokens": torch.tensor([[0, 1], [1, 0]]), "labels": torch.tensor([[1, 0], [0, 1]])}
BASELINE = Graph(loss=reads("y"))


class Opaque:
    """What no function knows."""


WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "a fraction": lambda: 3.5,
    "below zero": lambda: -1,
    "huge": lambda: 2**140,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "complex": lambda: 1j,
    "text": lambda: "x",
    "empty text": lambda: "",
    "bytes": lambda: b"x",
    "True": lambda: True,
    "an object": Opaque,
    "a class": lambda: Opaque,
    "a function of nothing": lambda: lambda: None,
    "an empty list": list,
    "an empty dict": dict,
    "an empty tuple": tuple,
    "a set": lambda: {1},
    "a list of objects": lambda: [Opaque()],
    "a ragged list": lambda: [[1], [1, 2]],
    "a dict of numbers": lambda: {1: 2},
    "a generator": lambda: (i for i in "ab"),
    "an array of nothing": lambda: np.array(None),
    "fractions": lambda: np.array([0.5, float("nan")]),
    "a tensor without rows": lambda: torch.zeros(0),
    "a module": lambda: np,
}

# Their own tests try what they refuse.
APART = {"circuit", "direct_effects", "from_module", "kept", "measure", "paths", "plan_equality", "project"}
APART |= {"circuit_ranks", "complement", "complement_controls", "criteria", "edge_controls", "effective_embedding"}
APART |= {"merge", "random_circuit", "scrub_part"}
APART |= {"group", "replicate", "scatter", "split_neurons", "split_norm", "split_positions", "sweep", "values"}

POLICY = {"references": 4, "others": "node", "exclude_self": False, "unclaimed": "resample", "together": (), "seed": 0}
SETTINGS = POLICY | dict(draws=1, exact=False, until=None, memory=None, check=True, progress=None, cap=1000, store=None)
FEW = {"references": 4, "seed": 0}  # of the settings that are passed on: `scrub` has all of them
WITH_DONORS = SETTINGS | {"donors": {"a": [0] * 6}}


@cache
def calls(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Each public function, with arguments that it accepts; those whose arguments have no name as functions."""
    score, other = scrub([H, OTHER], DATA, baseline=BASELINE, references=4)
    pilot = scrub(Hypothesis(G, Graph(a=reads("x"), loss=reads("a", "y"))), MANY, baseline=BASELINE)
    record, file = save_record(folder / "record.json", H, DATA), folder / "store.db"
    scrub(H, DATA, baseline=BASELINE, references=4, store=file)
    store, model, language = Store(file), lens.load_transformer(SHIPPED), induction.case("naive/Q")
    tokens = {name: column[:4] for name, column in language.data.items()}
    T = lens.transformer(model)
    split = rewrite.split_qkv(T, "a0_h0")
    both = {"hypothesis": H, "data": DATA}
    scored = both | {"baseline": BASELINE}
    return {
        "Graph": (Graph, {"a": lambda x: x}),
        "Graph.activations": (lambda data, name: G.activations(data, name), {"data": DATA, "name": "a"}),
        "Graph.__call__": (lambda data: G(data), {"data": DATA}),
        "Graph.__or__": (lambda changes: G | changes, {"changes": {"a": lambda x: x}}),
        "Graph.__getitem__": (lambda name: G[name], {"name": "a"}),
        "Graph.rewritten": (G.rewritten, {"changes": {"a": lambda x: x}}),
        "Graph.readers": (G.readers, {"name": "a"}),
        "Graph.upstream": (lambda name: G.upstream(name), {"name": "a"}),
        "Node": (
            lambda **fields: Graph(a=Node(**fields)),
            dict(fn=lambda x: x, inputs=("x",), position_axis=None, per_position=False, binning=None, swaps=True)
            | dict(keeps=frozenset(), constant=False),
        ),
        "Hypothesis": (Hypothesis, {"G": G, "I": H.I, "c": {}, "columns": (), "scramble": ()}),
        "Hypothesis.diff": (H.diff, {"other": OTHER}),
        "reads": (lambda names: Graph(a=reads(names)), {"names": "x"}),
        "per_position": (lambda claim: Graph(a=per_position(claim)), {"claim": lambda x: x}),
        "within": (lambda **given: Graph(a=within(**given)), {"claim": lambda x: x, "tolerance": 1.0}),
        "bins": (lambda **given: Graph(a=bins(**given)), {"claim": lambda x: x, "k": 2}),
        "mean": (mean, {"by": "x"}),
        "scrub": (scrub, {"hypotheses": H, "data": DATA, "baseline": BASELINE} | WITH_DONORS),
        "explain": (explain, {"hypotheses": H, "data": DATA, "baseline": BASELINE} | WITH_DONORS),
        "Case": (lambda **given: Case(**given).score(references=2), scored | {"name": "n", "settings": {}}),
        "Suite": (
            lambda **given: Suite(**given).only(["n"]).score(references=2),
            {"title": "t", "cases": (Case("n", H, DATA, BASELINE),), "about": {}, "published": {}, "notes": ()},
        ),
        "approx_percent": (approx_percent, {"percent": 1, "within": 1}),
        "attribute_loss": (attribute_loss, scored | FEW | {"by_input": False, "shapley": 0}),
        "baseline_ladder": (baseline_ladder, both | FEW | {"baselines": {"b": BASELINE}}),
        "baseline_ladder of": (lambda b: baseline_ladder(H, DATA, {"b": b}), {"b": BASELINE}),
        "labels_alone": (labels_alone, {"G": G}),
        "labels_permuted": (labels_permuted, {"G": G, "data": DATA}),
        "unigram": (unigram, dict(data=TOKENS, counted_on=TOKENS, d_vocab=2, labels="labels", weights="weights")),
        "bigram": (
            bigram,
            dict(data=TOKENS, counted_on=TOKENS, strength=3.0, d_vocab=2, tokens="tokens", labels="labels")
            | {"weights": "weights"},
        ),
        "compare": (
            compare,
            dict(scores={"a": score, "b": other}, against=None, correction="holm", tried=2, level=0.05),
        ),
        "explanation_accuracy": (
            explanation_accuracy,
            both | dict(of="a", against="model", decide=None, tolerance=1.0),
        ),
        "run_explanation": (run_explanation, both),
        "interchange": (
            interchange,
            both
            | {"hypothesis": DECIDED, "node": "a", "of": "loss", "pairs": 2, "seed": 0}
            | {"decide": lambda value: value > 1, "tolerance": None},
        ),
        "losses_by_position": (
            losses_by_position,
            {"hypothesis": language.hypothesis, "data": tokens, "references": 2},
        ),
        "scrubbed_activations": (
            lambda hypothesis, data, name, **settings: scrubbed_activations(hypothesis, data, name, **settings),
            both | FEW | {"name": "a"},
        ),
        "plan_samples": (plan_samples, dict(pilot=pilot, width=0.1, draws=1, cost_ratio=1.0, confidence=0.95)),
        "random_controls": (random_controls, scored | FEW | {"controls": "features", "count": 3}),
        "random_features": (random_features, both | {"data": with_row_numbers(DATA), "seed": 0}),
        "random_nodes": (random_nodes, {"hypothesis": H, "seed": 0}),
        "with_row_numbers": (with_row_numbers, {"data": DATA}),
        "single_swaps": (single_swaps, both | dict(score=score, reference=None, draw=0, unclaimed=None, together=None)),
        "worst_donors": (
            worst_donors,
            both | POLICY | {"exact": False, "starts": 1, "sweeps": 1, "candidates": 2, "cap": 1000},
        ),
        "load_record": (load_record, {"path": folder / "record.json"}),
        "save_record": (save_record, both | {"path": folder / "other.json", "score": None, "settings": {}}),
        "restore": (lambda record, source: restore(record, source), {"record": record, "source": H}),
        "Record.check": (record.check, both),
        "Store": (lambda **fields: Store(**fields).history(), {"path": file, "reuse": True, "suite": None}),
        "Store.history": (store.history, dict(last=1, suite=None, name=None, model=None, data=None)),
        "Store.score": (store.score, {"id": 1}),
        "Store.record": (store.record, {"id": 1}),
        "Store.tried": (store.tried, {"model": H, "suite": "toy"}),
        "Store.frame": (store.frame, {"by_reference": False, "last": 1}),
        "next_token_data": (
            next_token_data,
            dict(tokens=[[0, 1, 2]], lengths=[3], weights=[[1.0, 1.0]], groups=[0], model=None, d_vocab=5, n_ctx=5),
        ),
        "load_transformer": (lens.load_transformer, {"source": SHIPPED}),
        "save_transformer": (lens.save_transformer, {"model": model, "folder": folder / "saved"}),
        "transformer": (
            lambda model, both: lens.transformer(model, both=both),
            {"model": model, "both": "a0_h0 a0_h1"},
        ),
        "gather": (rewrite.gather, {"G": T, "reader": "logits", "rest": "a0_h0"}),
        "all_but": (
            lambda names: rewrite.gather(T, "logits", rest=rewrite.all_but(names)),
            {"names": "a1_h5"},
        ),
        "group_heads": (rewrite.group_heads, {"G": T, "reader": None, "ind": "a1_h5 a1_h6"}),
        "split_qkv": (
            lambda G, name, reader: rewrite.split_qkv(G, name, reader=reader),
            {"G": T, "name": "a1_h5", "reader": None},
        ),
        "split_mask": (rewrite.split_mask, {"G": split, "name": "a0_h0", "reader": None, "prev": rewrite.offset(1)}),
        "split_residual": (
            rewrite.split_residual,
            {"G": G, "name": "a", "guess": Node(lambda x: x, ("x",)), "reader": None},
        ),
        "identity_attention": (rewrite.identity_attention, {"G": split, "name": "a0_h0"}),
        "copy": (rewrite.copy, {"G": G, "name": "a", "reader": None}),
        "offset": (lambda d: rewrite.offset(d), {"d": 1}),
        "Score.at_least": (lambda **given: bool(score.at_least(**given)), {"fraction": 0.5, "level": 0.05}),
        "Score.equals": (lambda **given: bool(score.equals(**given)), {"other": other, "within": 0.5, "level": 0.05}),
        "Score.__gt__": (lambda other: score > other, {"other": other}),
        "Score.__lt__": (lambda other: score < other, {"other": other}),
        "Score.bootstrap": (pilot.bootstrap, {"confidence": 0.95, "resamples": 99}),
        "Score.best_draws": (score.best_draws, {"cost_ratio": 1.0}),
        "Score.strata": (score.strata, {"column": DATA["x"]}),
        "Score.quantiles": (lambda level: score.quantiles(level), {"level": 0.5}),
        "Score.cvar": (score.cvar, {"level": 0.9}),
        "Score.worst": (score.worst, {"n": 2}),
    }


def each(kinds: set[str], *arguments: str) -> dict[str, set[str]]:
    return dict.fromkeys(arguments, kinds)


# What is no mistake, by the argument; below, by a call and its argument.
FINE = {
    **each({"a class", "a function of nothing"}, "a", "fn", "claim"),  # of no input: a constant
    **each({"True"}, "per_position", "swaps", "constant", "exclude_self", "exact", "check", "by_input"),
    **each({"True"}, "reuse", "by_reference"),
    **each({"an empty dict"}, "changes", "c", "settings", "about", "published"),
    **each({"an empty list", "an empty tuple"}, "columns", "scramble", "together"),
    **each({"an empty tuple"}, "inputs", "notes"),
    **each({"None"}, "binning", "references", "until", "memory", "store", "counted_on", "reference"),
    **each({"None"}, "decide", "pairs", "lengths", "groups", "reader"),
    **each({"text", "empty text"}, "title", "suite"),
    "progress": {"None", "True"},
    "donors": {"None", "an empty dict"},
    "position_axis": {"None", "below zero", "huge"},
    "seed": {"below zero"},
    "cap": {"huge"},
    "last": {"None", "huge"},
    "by": {"None", "text", "empty text"},  # that the data lack it is known when they come
    "tolerance": {"a fraction", "huge"},
    "percent": {"a fraction", "below zero", "huge"},
    **each({"a fraction", "huge"}, "within", "strength", "cost_ratio"),
    "fraction": {"a fraction", "below zero", "huge"},
    "n": {"huge"},
    "d": {"below zero", "huge"},
}
FINE_HERE = {
    **each({"text"}, "Graph.activations.name", "Graph.readers.name", "explanation_accuracy.against"),
    **each({"text"}, "reads.names", "save_record.path"),
    **each({"None", "a fraction", "huge"}, "explanation_accuracy.tolerance", "interchange.tolerance"),
    **each({"None", "huge"}, "next_token_data.d_vocab", "next_token_data.n_ctx"),
    **each({"None"}, "unigram.d_vocab", "bigram.d_vocab", "compare.against", "compare.tried"),
    **each({"None"}, "next_token_data.model", "next_token_data.weights", "Record.check.data", "plan_samples.draws"),
    **each({"None"}, "single_swaps.unclaimed", "save_record.score"),
    **each({"None", "text", "empty text"}, "Store.history.name", "Store.history.model", "Store.history.data"),
    **each({"text", "empty text"}, "Store.tried.model", "Case.name"),
    **each({"None", "text", "empty text"}, "Store.tried.suite"),
    **each({"None", "text", "empty text"}, "Store.suite", "Store.history.suite"),
    **each({"None", "text", "empty text"}, "explain.store"),  # not opened
    **each({"None", "text"}, "scrub.store"),
    **each(set(), "worst_donors.cap", "gather.reader", "worst_donors.unclaimed"),
    "save_transformer.folder": {"empty text"},  # "x" is a file by then
    "interchange.of": {"None", "empty text"},  # the output
    "all_but.names": {"empty text"},
    "single_swaps.together": {"None", "an empty list", "an empty tuple"},
    "save_record.settings": {"None", "an empty dict"},
    "restore.source": {"a class", "a function of nothing", "an empty dict", "a module"},
}


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    return calls(tmp_path_factory.mktemp("known"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # "x" is a file that some of them write


def is_fine(call: str, argument: str, kind: str) -> bool:
    return kind in FINE_HERE.get(f"{call}.{argument}", FINE.get(argument, set()))


def outcome(call: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """What an error says; None where there is none. Anything but an error of the library's own is not caught."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call(**arguments)
        except ScrubbingError as error:
            return str(error)
    return None


def test_what_the_mistakes_are_made_in_is_right(known):
    assert {name: outcome(call, valid) for name, (call, valid) in known.items()} == dict.fromkeys(known)


def test_each_wrong_value_of_each_argument_is_one_error_in_words(known):
    tried, silent, dumb = 0, [], []
    for name, (call, valid) in known.items():
        for argument in valid:
            for kind, make in WRONG.items():
                said = outcome(call, {**valid, argument: make()})
                tried += 1
                if (said is None) != is_fine(name, argument, kind):
                    silent.append(f"{name}({argument}={kind}): {said}")
                if said is not None and ("Traceback" in said or not said.strip()):
                    dumb.append(f"{name}({argument}={kind}): {said}")
    assert (silent, dumb) == ([], [])
    assert tried > 5000


def test_each_public_function_is_among_them(known):
    functions = {
        n for module in (public, rewrite, lens) for n in module.__all__ if isinstance(getattr(module, n), FunctionType)
    }
    assert functions - known.keys() == APART


@pytest.mark.parametrize(
    ("call", "argument", "kind", "said"),
    [
        (
            "scrub",
            "baseline",
            "None",
            "baseline=None, but it must be a Graph such as Graph(loss=reads('labels')), or a ",
        ),
        ("scrub", "hypotheses", "a fraction", "hypotheses=3.5, but it must be a Hypothesis (write Hypothesis(G, I)), "),
        ("scrub", "seed", "huge", "seed=139379657490816394...2392040522594123776, but it must lie between -2^128 and "),
        ("scrub", "data", "text", "data='x', but it must be a dict by name or a table"),
        ("Hypothesis", "I", "an empty dict", "I is dict, and must be a Graph: write Graph(...) around it"),
        ("mean", "by", "a fraction", "mean(by=3.5) needs the name of a column, as in mean(by='template')"),
        ("within", "tolerance", "text", "tolerance='x', but it must be a number"),
        ("reads", "names", "a fraction", "names=3.5, but it must be text"),
        ("compare", "correction", "text", 'correction=\'x\', but it must be "holm", "benjamini-hochberg" or "max-t"'),
        ("compare", "level", "a fraction", "level=3.5, but it must be a number between 0 and 1: 0.05 allows a false "),
        ("gather", "G", "None", "G=None, but it must be a Graph (write Graph(name=function, ...))"),
        ("transformer", "model", "None", "model=None, but it must be a Transformer (load_transformer returns it)"),
        (
            "explanation_accuracy",
            "decide",
            "a function of nothing",
            "decide=<lambda>, but it must be a function of one value or None",
        ),
        (
            "Score.__gt__",
            "other",
            "a fraction",
            "a score is compared with scores; write score.at_least(3.5) for a test",
        ),
    ],
)
def test_the_error_says_what_was_given_and_what_it_must_be(known, call, argument, kind, said):
    fn, valid = known[call]
    assert (outcome(fn, {**valid, argument: WRONG[kind]()}) or "").startswith(said)


def test_a_setting_that_there_is_not_is_named():
    with pytest.raises(ScrubbingError, match=r"^there is no setting 'sed'; did you mean 'seed'\?$"):
        explain(H, DATA, baseline=BASELINE, sed=1)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_named_functions_are_to_be_called():
    with pytest.raises(
        ScrubbingError, match=r"^baseline=labels_alone \(it is a function: call it\), but it must be a Gr"
    ):
        scrub(H, DATA, baseline=labels_alone)  # pyright: ignore[reportCallIssue, reportArgumentType]
