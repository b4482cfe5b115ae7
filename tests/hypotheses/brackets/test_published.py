"""The published figures, on the published network and strings where these are at hand."""

import math

import numpy as np
import pytest
import torch
from bracket_checker import ABSENT, PAD, PUBLISHED

from hypotheses.brackets.published import FIGURES
from hypotheses.brackets.suite import suite

pytestmark = [
    pytest.mark.skipif(not PUBLISHED.is_dir(), reason=ABSENT),
    pytest.mark.usefixtures("unchecked"),
]

# Of an independent run of 4,000 references, where it did not find the published losses.
RERUN = {"3b": (1.12, 1.27), "4": (1.76, 1.76)}


@pytest.fixture(scope="module")
def published():
    return suite(PUBLISHED)


def standard_error(score) -> float:
    losses = np.array(score.by_reference.scrubbed)
    return float(losses.std(ddof=1)) / len(losses) ** 0.5


def test_it_is_known_by_its_weights(published):
    assert published.published == {name: figure.percent for name, figure in FIGURES.items()}
    assert published.about["heads"] == "count 1.0 2.0, horizon 2.1, share 0.0"
    assert "100000 strings, 26.4% of them balanced" in published.about["rows"]


@pytest.mark.slow
def test_rows_0a_to_2b_are_as_published(published):
    names = ["0a", "0b", "1a", "1b", "2a", "2b"]
    scores = published.only(names).score(references=1000)
    for name in names[1:]:
        assert abs(scores[name].scrubbed - FIGURES[name].loss) < 4 * standard_error(scores[name]), name
    assert scores["1b"].scrubbed < scores["1a"].scrubbed < scores["2a"].scrubbed < 1 < scores["0b"].scrubbed


@pytest.mark.slow
def test_losses_on_all_strings(published):
    first = published.cases[0]
    lengths = (first.data["tokens"] != PAD).sum(1)  # strings of about one length, without the padding beyond it
    pieces = lengths.argsort().split(5000)
    cut = ({k: v[rows, : lengths[rows].max()] for k, v in first.data.items()} for rows in pieces)
    losses = torch.cat([first.hypothesis.G(piece) for piece in cut])
    assert float(losses.mean()) == pytest.approx(0.000657, abs=2e-6)
    assert int((losses > math.log(2)).sum()) == 13
    pairs, rate = published.tables["baselines"](published.only(["0a"]).score(references=50))
    assert pairs["loss"] == pytest.approx(4.3203, abs=1e-3)
    assert rate["loss"] == pytest.approx(0.577, abs=1e-3)
    assert rate["recovered"] == pytest.approx(0.87, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", RERUN)
def test_positions_of_their_own_do_not_replicate(published, name):
    score = published.only([name]).score(references=1000)[name]
    low, high = RERUN[name]
    assert low - 4 * standard_error(score) < score.scrubbed < high + 4 * standard_error(score)
