"""Shapley values: games with known values, and intervals that hold them."""

from itertools import chain, combinations

import numpy as np
import pytest

from scrubbing.experiments.shapley import Orders, shapley_value

PLAYERS = tuple("abcdefgh")


def game(worth, *, players=PLAYERS, noise=0.0, references=1, rng=None):
    """The value of every coalition, by reference."""
    every = chain.from_iterable(combinations(players, k) for k in range(len(players) + 1))
    weight = 1.0 if rng is None else 1 + noise * rng.normal(size=references)
    return {frozenset(c): worth(frozenset(c)) * np.ones(references) * weight for c in every}


def glove(coalition):
    """Whoever has a left glove (a) needs someone with a right one (b or c)."""
    return float("a" in coalition and bool(coalition & {"b", "c"}))


def test_the_glove_game_is_worth_two_thirds_to_the_one_with_the_rare_glove():
    orders = Orders.of("abc", 6, seed=0)
    assert orders.complete
    values = game(glove, players="abc")
    assert [shapley_value(p, orders, values)[0] for p in "abc"] == pytest.approx([2 / 3, 1 / 6, 1 / 6])


def test_random_orders_come_with_their_reverses_and_share_out_everything():
    orders = Orders.of(PLAYERS, 11, seed=1)
    assert not orders.complete
    assert len(orders.orders) == 12
    assert all(first == second[::-1] for first, second in zip(orders.orders[::2], orders.orders[1::2], strict=True))
    assert len(set(orders.orders)) == 12
    values = game(lambda c: float(len(c) ** 2))
    shares = [shapley_value(p, orders, values)[0] for p in PLAYERS]
    assert sum(shares) == pytest.approx(64)


def test_pairs_are_exact_for_games_of_pairs():
    """What a player adds in an order and in its reverse sums to a constant where only pairs interact."""
    values = game(lambda c: float("a" in c) + 2.0 * ({"a", "b"} <= c) + 3.0 * ({"c", "d"} <= c))
    orders = Orders.of(PLAYERS, 4, seed=2)
    assert [shapley_value(p, orders, values)[0] for p in "abcd"] == pytest.approx([2, 1, 1.5, 1.5])


def test_the_interval_covers_both_orders_and_references():
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        values = game(lambda c: float(len(c & set("abc")) >= 2), noise=1.0, references=40, rng=rng)
        _, interval = shapley_value("a", Orders.of(PLAYERS, 20, seed), values)
        assert interval is not None
        covered += interval[0] <= 1 / 3 <= interval[1]
    assert covered / 300 >= 0.93  # the variances are added, so that it is on the wide side


def test_a_single_reference_or_pair_has_no_interval():
    values = game(lambda c: float(len(c)))
    assert shapley_value("a", Orders.of(PLAYERS, 4, seed=0), values) == (1.0, None)
    assert shapley_value("a", Orders.of(PLAYERS, 2, seed=0), game(lambda c: float(len(c)), references=3)) == (1.0, None)


def test_orders_say_which_they_are():
    assert str(Orders.of("ab", 5, seed=0)) == "Shapley values over all 2 orders"
    assert (
        str(Orders.of(PLAYERS, 3, seed=0)) == "Shapley values over 4 random orders (pairs of an order and its reverse)"
    )
