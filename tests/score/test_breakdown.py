"""Where the loss was lost: tables that hold what they say, for each stratum, quantile and reference."""

import numpy as np
import pandas as pd
import pytest
import torch

from scrubbing import DataError, Graph, Hypothesis, reads, scrub
from scrubbing.score.statistics import interval_of_ratio

N = 200
X = torch.arange(N).double()
DATA = {"x": X, "half": X % 2, "y": X % 7, "template": np.array(["one", "two", "three", "four"] * (N // 4))}
MODEL = Graph(h=lambda x, half: x % 7 + 3 * half * (x // 7 % 2), loss=lambda h, y: (h - y) ** 2)
H = Hypothesis(MODEL, Graph(h=lambda x: x % 7, loss=reads("h", "y")))
NOTHING = Graph(loss=reads("y"))
SCORE = scrub(H, DATA, baseline=NOTHING)


def test_strata_partition_the_references_and_their_losses():
    table = SCORE.strata(DATA["template"])
    assert list(table.index) == ["four", "one", "three", "two"]
    assert table["references"].tolist() == [50] * 4
    for loss in ("original", "baseline", "scrubbed"):
        assert np.average(table[loss], weights=table["references"]) == pytest.approx(getattr(SCORE, loss))


def test_a_stratum_is_a_score_of_its_rows():
    even = scrub(H, DATA, baseline=NOTHING, references=range(0, N, 2))
    whole = SCORE.strata(DATA["half"]).loc[0.0]
    interval = interval_of_ratio(even.column("kept"), even.column("gap"), design=even.design, signed=False)
    assert (whole["recovered"], whole["low"], whole["high"]) == pytest.approx((even.recovered, *interval))


def test_references_that_were_drawn_are_in_the_strata_of_their_rows():
    drawn = scrub(H, DATA, baseline=NOTHING, references=77)
    table = drawn.strata(pd.Series(DATA["template"], name="template"))
    assert table.index.name == "template"
    assert table["references"].sum() == 77
    expected = np.array(DATA["template"])[list(drawn.by_reference.reference)] == "one"
    assert table.loc["one", "references"] == expected.sum()


def test_intervals_of_strata_may_not_exist():
    table = scrub(H, DATA, baseline=NOTHING, references=[0, 1, 2]).strata(np.arange(N))
    assert table["low"].isna().all()


@pytest.mark.parametrize("column", [[1, 2], np.zeros((N, 2)), 3], ids=["too short", "two axes", "a number"])
def test_strata_need_a_column_of_the_data(column):
    message = r"^strata needs one value for each row of the data, and got an array of shape .*; the references go up to"
    with pytest.raises(DataError, match=message):
        SCORE.strata(column)


def test_quantiles_and_tails_are_of_the_loss_that_scrubbing_adds():
    added = (SCORE.losses["scrubbed"] - SCORE.losses["original"]).to_numpy()
    table = SCORE.quantiles(0.1, 0.9)
    assert table["added"].tolist() == np.quantile(added, [0.1, 0.9]).tolist()
    assert (table["low"] <= table["added"]).all()
    assert (table["added"] <= table["high"]).all()
    assert list(SCORE.quantiles().index) == [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    assert SCORE.cvar(0.95).value == pytest.approx(np.sort(added)[-10:].mean())
    assert SCORE.cvar(0.0).value == pytest.approx(added.mean())


@pytest.mark.parametrize("level", [-0.1, 1.0])
def test_levels_are_shares(level):
    with pytest.raises(DataError, match=rf"^{level} is no level of a tail; 0.95 is the mean over the worst 5% of the "):
        SCORE.cvar(level)
    with pytest.raises(DataError, match=rf"^{level} is no level of a quantile; give one between 0 and 1, such as 0.95"):
        SCORE.quantiles(0.5, level)


def test_the_worst_references_come_with_their_donors():
    table = SCORE.worst(5)
    assert len(table) == 5
    assert table["added"].is_monotonic_decreasing
    assert table["added"][0] == max(SCORE.losses["scrubbed"] - SCORE.losses["original"])
    # What the network makes of the donor is what the reference was charged.
    for _, row in table.iterrows():
        donor, other, reference = (int(row[name]) for name in ("loss/h", "loss/h/other", "reference"))
        x, half = DATA["x"][donor], DATA["half"][other]
        made = (x % 7 + 3 * half * (x // 7 % 2) - DATA["y"][reference]) ** 2
        assert row["scrubbed"] == pytest.approx(float(made))


def test_with_several_draws_each_has_its_donors_and_without_donors_there_are_none():
    table = scrub(H, DATA, baseline=NOTHING, draws=3).worst(2)
    assert [len(rows) for rows in table["loss/h"]] == [3, 3]
    assert "loss/h" not in scrub(H, DATA, baseline=NOTHING, exact=True).worst(2)
    assert "loss/h" not in type(SCORE).model_validate_json(SCORE.model_dump_json()).worst(2)
