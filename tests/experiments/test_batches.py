"""Interventions side by side: the scores of each are those that it has alone, and a run serves many of them."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hugging_face_models import VOCABULARY, loaded, tried

from scrubbing import DataError, Graph, add, at, donor, mean, measure
from scrubbing.engine.evaluate import Evaluator
from scrubbing.experiments import measures
from scrubbing.lens import next_token_data, transformer

ROWS = torch.randint(0, VOCABULARY, (6, 9), generator=torch.Generator().manual_seed(3))
DONORS, OTHERS = np.array([3, 0, 4, 1, 5, 2]), np.array([1, 2, 3, 4, 5, 0])
DATA = dict(next_token_data(ROWS)) | {"groups": torch.arange(6) % 3, "here": torch.tensor([1, 3, 0, 2, 5, 7])}

INTERVENTIONS = {
    "heads of the first layer": {
        "by donors": {"a0_h0": donor(DONORS)},
        "by others": {"a0_h0": donor(OTHERS)},
        "mean": {"a0_h1": "mean"},
        "mean of groups": {"a0_h2": mean(by="groups")},
        "zero": {"a0_h3": "zero"},
        "two": {"a0_h0": donor(DONORS), "a0_h1": "zero"},
        "here": {"a0_h1": at("here", donor(DONORS))},
        "elsewhere": {"a0_h1": at([0, 2], "mean", elsewhere=True)},
    },
    "an MLP and what is behind it": {
        "MLP": {"m0": "mean"},
        "more of it": {"m0": add("m0", 1.0)},
        "MLP, and the last one frozen": {"m0": "zero", "m1": "clean"},
        "MLP, and the last one zero": {"m0": "zero", "m1": "zero"},
        "last heads": {"a1_h0": "mean"},
        "other last heads": {"a1_h3": donor(DONORS)},
    },
}
READINGS = ("original", "baseline", "scrubbed", "kl", "agreement", "change")


def readings(score):
    return np.array([score.by_reference.of(name) for name in READINGS])


def alone(G, interventions, data):
    with patch.object(measures, "batches", return_value=[]):
        return measure(G, interventions, data, check=False)


@pytest.mark.parametrize("kind", INTERVENTIONS)
@pytest.mark.parametrize("name", tried(["gpt2", "llama", "gemma2", "gpt_neox", "olmo2", "bloom"], always=["gpt2"]))
def test_each_has_the_scores_that_it_has_alone(name, kind):
    G, found = transformer(loaded(name)), {}
    with patch.object(Evaluator, "losses", autospec=True, side_effect=Evaluator.losses) as runs:
        found = measure(G, INTERVENTIONS[kind], DATA)
    assert len(runs.call_args_list) > 1  # not only the plain run
    expected = alone(G, INTERVENTIONS[kind], DATA)
    assert list(found) == list(expected)
    for what, score in found.items():
        np.testing.assert_allclose(readings(score), readings(expected[what]), rtol=0, atol=1e-9, err_msg=what)
        assert score.vacuity == expected[what].vacuity
        assert score.donors.keys() == expected[what].donors.keys()
    assert len({score.scrubbed for score in found.values()}) == len(found)


def test_a_node_is_computed_once_for_all_that_replace_one_before_it():
    calls = []

    def sum_(a, b):
        calls.append(len(a))
        return a + b

    G = Graph(a=lambda x: 2 * x, b=lambda x: x + 1, sum=sum_, loss=lambda sum, y: (sum - y) ** 2)
    data = {"x": torch.arange(40.0), "y": torch.zeros(40)}
    interventions = {f"{node} {instead}": {node: instead} for node in "ab" for instead in ("zero", "mean", "clean")}
    found = measure(G, interventions, data, check=False)
    x, together = np.arange(40.0), len(calls)
    for name, loss in (("a zero", x + 1), ("b mean", 2 * x + x.mean() + 1), ("b clean", 3 * x + 1)):
        np.testing.assert_allclose(found[name].by_reference.scrubbed, loss**2, rtol=1e-6)
    alone(G, interventions, data)
    assert together <= len(calls) - together - 2  # the four that change something are one


def test_functions_and_values_that_are_no_numbers_stay_alone():
    G = Graph(
        kind=lambda x: x > 2,
        pair=lambda x: (x, -x),
        loss=lambda kind, pair, y: torch.where(kind, pair[0], 2 * pair[1]) - y,
    )
    data = {"x": torch.arange(6.0), "y": torch.zeros(6)}
    x = torch.arange(6.0)
    found = measure(
        G,
        {
            "kind": {"kind": donor(DONORS)},
            "other kind": {"kind": donor(OTHERS)},
            "pair": {"pair": donor(DONORS)},
            "other pair": {"pair": donor(OTHERS)},
            "not": {"kind": lambda kind: ~kind},
        },
        data,
    )
    for name, kind, pair in (
        ("kind", x[DONORS] > 2, x),
        ("other kind", x[OTHERS] > 2, x),
        ("pair", x > 2, x[DONORS]),
        ("other pair", x > 2, x[OTHERS]),
        ("not", x <= 2, x),
    ):
        np.testing.assert_allclose(found[name].by_reference.scrubbed, torch.where(kind, pair, -2 * pair), err_msg=name)


def test_an_error_names_the_intervention_that_it_is_about():
    G = Graph(a=lambda x: 2 * x, loss=lambda a, y: a - y)
    data = {"x": torch.arange(4.0), "y": torch.zeros(4)}
    interventions = {"one": {"a": "mean"}, "two": {"a": add("a", float("nan"))}, "three": {"a": "zero"}}
    with pytest.raises(DataError, match=r"^under 'two' the loss"):
        measure(G, interventions, data)


def test_progress_rises_to_its_end():
    told = []
    G = transformer(loaded("gpt2"))
    heads = {f"{layer}.{head}": {f"a{layer}_h{head}": "zero"} for layer in (0, 1) for head in range(4)}
    more = {"m0": {"m0": "zero"}, "m0's mean": {"m0": "mean"}, "twice": {"m0": lambda value: 2 * value}}
    measure(G, heads | more, DATA, progress=lambda done, total: told.append((done, total)))
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert totals == (done[-1],) * len(told)
