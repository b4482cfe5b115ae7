"""The numbers that the authors published for each head of four networks, where they are at hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from hypotheses.self_repair.published import FIGURES

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "self_repair" / "public_numbers.json"

pytestmark = pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"the authors' numbers are not at {PUBLISHED}")

NETWORKS = ("pythia-160m", "pythia-410m", "gpt2-small", "gpt2-medium")


@pytest.fixture(params=NETWORKS)
def of(request):
    found = json.loads(PUBLISHED.read_text())[request.param]
    return {name: np.array(values) for name, values in found.items()}


def repair(of):
    return of["logit_diff"] - (of["ablated_direct_effects"] - of["direct_effects"])


def test_the_parts_of_every_head_add_up(of):
    """To 5e-7, but for the rounding of six numbers to five digits where the file is rounded."""
    total = sum(of[f"self_repair_from_{part}"] for part in ("heads", "layers", "LN"))
    digits = max(len(repr(x).partition(".")[2]) for x in of["logit_diff"].flatten().tolist())
    rounding = 6 * 0.5 * 10.0**-digits
    assert np.abs(repair(of) - total).max() < 5e-7 + rounding


def test_no_head_or_mlp_is_downstream_of_the_last_layer_of_a_parallel_network():
    of = json.loads(PUBLISHED.read_text())["pythia-160m"]
    assert not np.any(of["self_repair_from_heads"][-1])
    assert not np.any(of["self_repair_from_layers"][-1])


@pytest.mark.parametrize(("name", "known"), [("pythia-160m", "pythia-160m"), ("gpt2-small", "gpt2")])
def test_the_published_means_of_layers_are_those_of_the_heads(name, known):
    of = {key: np.array(values) for key, values in json.loads(PUBLISHED.read_text())[name].items()}
    repaired, by_norm = FIGURES[known]
    np.testing.assert_allclose(repair(of).mean(1), repaired, atol=6e-4)
    np.testing.assert_allclose(of["self_repair_from_LN"].mean(1), by_norm, atol=6e-4)
