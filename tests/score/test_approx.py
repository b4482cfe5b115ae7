"""A range of percentages equals what lies in it, from either side of the ==."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypotheses import toy
from scrubbing import DataError, approx_percent

IN, OUT = [0.32, 0.35, 0.38, np.float64(0.33), np.float32(0.33), Fraction(1, 3)], [0.3199, 0.3801, 35, 1, 0, -0.35]


@pytest.mark.parametrize("fraction", IN)
def test_a_fraction_in_the_range_is_equal_ends_included(fraction):
    assert fraction == approx_percent(35, within=3)
    assert approx_percent(35, within=3) == fraction
    assert not fraction != approx_percent(35, within=3)


@pytest.mark.parametrize("other", [*OUT, math.nan, math.inf, None, True, "35%", [0.35]])
def test_anything_else_is_unequal(other):
    assert other != approx_percent(35, within=3)
    assert approx_percent(35, within=3) != other
    assert not approx_percent(35, within=3) == other


@given(percent=st.integers(-200, 200), within=st.integers(0, 50))
def test_both_ends_belong_to_the_range_whatever_their_rounding(percent, within):
    expected = approx_percent(percent, within)
    assert (percent - within) / 100 == expected
    assert (percent + within) / 100 == expected
    assert (percent + within) / 100 + 1e-6 != expected


@pytest.mark.parametrize(("percent", "equal"), [(100, True), (99, False)])
def test_a_score_is_equal_if_what_it_recovers_is(percent, equal):
    score = toy.case("the digits themselves").score(references=20)
    assert (score == approx_percent(percent, within=0)) is equal
    assert (approx_percent(percent, within=0) == score) is equal
    assert (score != approx_percent(percent, within=0)) is not equal


def test_a_score_without_a_percentage_is_unequal():
    nothing = toy.case("the digits themselves").score(references=20).model_copy(update={"recovered": None})
    assert nothing != approx_percent(0, within=100)


def test_it_prints_what_it_stands_for():
    assert repr(approx_percent(35, within=3)) == "35% ± 3 points"
    assert repr(approx_percent(-2.5, within=0.25)) == "-2.5% ± 0.25 points"


def test_it_has_no_hash_since_it_equals_what_does_not_equal_each_other():
    with pytest.raises(TypeError, match="unhashable"):
        hash(approx_percent(35, within=3))


@pytest.mark.parametrize(
    ("percent", "within", "message"),
    [
        (math.nan, 3, r"approx_percent\(nan\): the percentage must be a finite number"),
        (35, -3, r"approx_percent\(35, within=-3\): `within` is in percentage points, 0 or more"),
        (35, math.nan, r"approx_percent\(35, within=nan\): `within` is in percentage points, 0 or more"),
        (35, math.inf, r"approx_percent\(35, within=inf\): `within` is in percentage points, 0 or more"),
    ],
)
def test_what_is_no_range_is_refused(percent, within, message):
    with pytest.raises(DataError, match=f"^{message}$"):
        approx_percent(percent, within)
