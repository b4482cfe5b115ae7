"""The token filter, against numbers worked out by hand and a slow, obvious implementation of the published recipe."""

import math
from collections import Counter

import numpy as np
import pytest

from hypotheses.induction.whitelist import induction_probability, token_gains, whitelist
from scrubbing.errors import DataError

A, B, C, D = range(4)


def slow_gains(rows, d_vocab, beta, form):
    """Pair by pair, as the appendix tells it, with p' written as it stands there."""
    bigram = Counter((int(r[t]), int(r[t + 1])) for r in rows for t in range(len(r) - 1))
    before, after = {a: [] for a in range(d_vocab)}, {a: [] for a in range(d_vocab)}
    for row in rows.tolist():
        for t in range(len(row) - 1):
            a, b = row[t], row[t + 1]
            p = bigram[a, b] / sum(bigram[a, other] for other in range(d_vocab))
            m = sum(row[s] == a and row[s + 1] == b for s in range(t))
            n = sum(row[s] == a and row[s + 1] != b for s in range(t))
            before[a].append(-math.log(p))
            after[a].append(-math.log(slow_probability(p, m, n, beta, form)))
    return np.array([np.mean(before[a]) - np.mean(after[a]) if before[a] else math.nan for a in range(d_vocab)])


def slow_probability(p, m, n, beta, form):
    if p == 1:
        return 1.0
    shift = beta * math.log(m + 1) - beta * math.log(n + 1) if form == "log" else beta * (m - n)
    return 1 / (1 + math.exp(-(math.log(p / (1 - p)) + shift)))


@pytest.mark.parametrize(("form", "expected"), [("log", 0.142857), ("linear", 0.231969)])
def test_the_published_numbers(form, expected):
    assert induction_probability(0.1, 2, 1, beta=1.0, form=form) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("form", ["log", "linear"])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.999, 1.0])
def test_without_earlier_occurrences_the_bigram_probability_stays(p, form):
    assert induction_probability(p, 0, 0, beta=1.7, form=form) == pytest.approx(p, rel=1e-15)


@pytest.mark.parametrize("form", ["log", "linear"])
@pytest.mark.parametrize(("m", "n"), [(0, 299), (299, 0), (3, 2)])
def test_what_is_certain_or_impossible_stays_so(m, n, form):
    assert induction_probability(1.0, m, n, beta=4.0, form=form) == 1.0
    assert induction_probability(0.0, m, n, beta=4.0, form=form) == 0.0


def test_probabilities_come_in_arrays():
    p = induction_probability(np.array([0.1, 0.5]), np.array([2, 0]), np.array([1, 1]), beta=1.0)
    np.testing.assert_allclose(p, [1 / 7, 1 / 3])


@pytest.mark.parametrize("form", ["log", "linear"])
@pytest.mark.parametrize("beta", [0.4, 1.0, 2.5])
@pytest.mark.parametrize(("d_vocab", "shape"), [(3, (4, 12)), (7, (9, 21)), (40, (6, 15)), (2, (1, 2))])
def test_gains_equal_the_slow_ones(form, beta, d_vocab, shape):
    rows = np.random.default_rng([d_vocab, *shape]).integers(0, d_vocab, shape)
    np.testing.assert_allclose(
        token_gains(rows, d_vocab, beta=beta, form=form), slow_gains(rows, d_vocab, beta, form), atol=1e-12
    )


def test_gain_of_a_token_by_hand():
    # After A stand B, B, C: p = 2/3, 2/3, 1/3 with (m, n) = (0, 0), (1, 0), (0, 2); odds 2, 2 * 2, 1/2 / 3.
    rows = np.array([[A, B, A, B, A, C]])
    before = -(math.log(2 / 3) + math.log(2 / 3) + math.log(1 / 3))
    after = -(math.log(2 / 3) + math.log(4 / 5) + math.log(1 / 7))
    assert token_gains(rows, 3, beta=1.0)[A] == pytest.approx((before - after) / 3)


def test_occurrences_in_other_rows_do_not_count():
    apart = np.array([[A, B], [A, B], [A, C]])
    assert token_gains(apart, 3)[A] == 0


@pytest.mark.parametrize("form", ["log", "linear"])
def test_tokens_that_never_recur_gain_exactly_nothing(form):
    shares = [(a, B if i < a else C) for a in range(4, 50) for i in range(50)]  # p = a / 50 and its complement
    assert not np.nan_to_num(token_gains(np.array(shares), 50, beta=1.3, form=form)).any()


def test_a_token_that_never_occurs_as_an_input_has_no_gain():
    gains = token_gains(np.array([[A, B, A, D]]), 4)
    assert np.isnan(gains).tolist() == [False, False, True, True]


@pytest.mark.parametrize("form", ["log", "linear"])
def test_a_certain_bigram_gains_exactly_nothing(form):
    rows = np.tile(np.array([A, B, C], dtype=np.uint16), (2, 100))
    assert token_gains(rows, 3, beta=5.0, form=form).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_small_integers_do_not_overflow(dtype):
    rows = np.random.default_rng(0).integers(0, 200, (30, 40))
    np.testing.assert_array_equal(token_gains(rows.astype(dtype), 50_259), token_gains(rows, 50_259))


def induction_rows(rows=60):
    """Each row has its own partner of tokens 0..9, always the same within the row; tokens 10..49 are noise."""
    rng = np.random.default_rng(0)
    out = rng.integers(10, 50, (rows, 61))
    for row in out:
        partner = rng.permutation(40)[:10] + 10
        for t in range(0, 60, 2):
            row[t] = rng.integers(0, 10)
            row[t + 1] = partner[row[t]]
    return out


def test_the_default_keeps_the_fifth_that_gains_most():
    rows = induction_rows()
    keep = whitelist(rows, 60)
    assert keep.dtype == bool
    assert keep.shape == (60,)
    assert np.flatnonzero(keep).tolist() == list(range(10))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 1.0])
def test_the_share_is_of_the_tokens_that_occur(share):
    rows = np.random.default_rng(1).integers(0, 50, (200, 30))
    assert whitelist(rows, 1000, share=share).sum() == round(50 * share)


def test_a_threshold_is_exceeded_not_met():
    rows = induction_rows()
    gains = token_gains(rows, 60)
    fifth = np.sort(gains[~np.isnan(gains)])[-5]
    keep = whitelist(rows, 60, threshold=float(fifth))
    assert keep.sum() == 4
    np.testing.assert_array_equal(keep, gains > fifth)


def test_excluded_tokens_are_neither_kept_nor_counted():
    rows = induction_rows()
    keep = whitelist(rows, 60, exclude=(0, 1, 2, 3, 4, 59))
    assert np.flatnonzero(keep)[:5].tolist() == [5, 6, 7, 8, 9]
    assert keep.sum() == round(0.2 * 45)


def test_the_choice_does_not_depend_on_the_order_of_rows():
    rows = induction_rows()
    np.testing.assert_array_equal(whitelist(rows, 60), whitelist(rows[::-1], 60))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": 99.0}, r"no token's gain exceeds the threshold 99 nats \(the largest is 0\.\d+\); lower the"),
        ({"share": 0.0}, "share 0.0 of the vocabulary was asked for; give a share above 0 and at most 1"),
        ({"share": 20}, "share 20 of the vocabulary was asked for"),
        ({"form": "lgo"}, "form 'lgo' is unknown; the forms are log and linear; did you mean 'log'"),
        ({"beta": math.nan}, "beta nan is not a finite number"),
        ({"exclude": (60,)}, "token 60 cannot be excluded: the vocabulary is 0 to 59"),
        ({"exclude": range(60)}, "no token occurs, apart from the excluded ones"),
        ({"exclude": range(60), "threshold": 0.0}, "no token occurs, apart from the excluded ones"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_settings_are_named(given, message):
    with pytest.raises(DataError, match=message):
        whitelist(induction_rows(), 60, **given)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 5), dtype=int), r"rows of shape \[0, 5\] hold no adjacent tokens"),
        (np.zeros((5, 1), dtype=int), r"rows of shape \[5, 1\] hold no adjacent tokens"),
        (np.zeros(5, dtype=int), r"rows of shape \[5\] hold no adjacent tokens"),
        (np.zeros((5, 5)), "rows of float64 are not tokens"),
        (np.full((5, 5), 7), "token 7 is outside the vocabulary of 4; give rows of tokens 0 to 3"),
        (np.full((5, 5), -1), "token -1 is outside the vocabulary of 4"),
        (np.arange(4).reshape(2, 2), "the whitelist is empty: no token's gain exceeds the threshold 0 nats"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_rows_are_named(rows, message):
    with pytest.raises(DataError, match=message):
        whitelist(rows, 4)


def test_a_probability_outside_0_to_1_is_an_error():
    with pytest.raises(DataError, match="outside 0 to 1"):
        induction_probability(1.5, 0, 0, beta=1.0)
