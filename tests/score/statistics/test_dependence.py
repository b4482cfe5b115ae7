"""References that share rows or groups: intervals hold the truth as often as they say, which plain ones do not."""

import numpy as np
import pytest
from sampled import by_default
from scipy import stats
from simulations.rows import grouped

from scrubbing.score.statistics import Column, Design, columns, fieller, intraclass, moments, p_of_mean
from scrubbing.score.statistics.clusters import clustering, neighbours_correlate

pytestmark = pytest.mark.usefixtures("unchecked")


def donated(losses, rows, classes):
    """The column of losses `[reference, draw]` whose draws have these donors `[reference, stream, draw]`."""
    weight = np.empty(rows.shape)
    for stream in range(rows.shape[1]):
        number = classes[rows[:, stream]]
        sizes = np.maximum(np.bincount(number.ravel()), 1)
        weight[:, stream] = losses - (np.bincount(number.ravel(), losses.ravel()) / sizes)[number]
    n, streams, draws = rows.shape
    which = np.zeros(streams * draws, dtype=np.int64)
    return Column(losses.mean(1), rows.reshape(n, -1), weight.reshape(n, -1) / draws, which, (classes,), losses)


def sample(rng, n, *, draws=1, streams=1):
    """Losses with parts of the reference, of donors from its class, and of both: rows stand in for each other.

    Their mean over the source is 0.4 + 0.2 streams.
    """
    classes = (rng.random(n) < 0.4).astype(np.int64)
    own, as_donor = rng.normal(size=n), rng.normal(size=(streams, n))
    members = [np.flatnonzero(classes == c) for c in (0, 1)]
    rows = np.stack([rng.choice(members[c], size=(streams, draws)) for c in classes])
    losses = (own + classes)[:, None] + rng.normal(size=(n, draws)) / 2
    for s in range(streams):
        part = as_donor[s] + classes / 2 + own / 2
        losses = losses + part[rows[:, s]] + as_donor[s][rows[:, s]] * own[:, None] / 2
    return donated(losses, rows, classes), Design(np.arange(n), np.arange(n)), 0.4 + 0.2 * streams


def coverage(rng, replications, **settings):
    """How often the 95% interval has the truth: as it is, and if references were independent."""
    held, plain = [], []
    for _ in range(replications):
        column, design, truth = sample(rng, **settings)
        found = moments([column], design)
        error = abs(column.mean() - truth) / stats.t.ppf(0.975, found.df)
        held.append(error <= np.sqrt(found.variance([1.0])))
        plain.append(error <= np.sqrt(found.without_donors[0, 0]))
    return np.mean(held), np.mean(plain)


def test_without_donors_and_groups_it_is_the_ordinary_covariance():
    values = np.random.default_rng(0).normal(size=(2, 30))
    for design in (None, Design(np.arange(30)), Design(np.arange(30), np.arange(30))):
        found = moments(list(values), design)
        np.testing.assert_allclose(found.covariance, np.cov(values) / 30, rtol=1e-12)
        assert found.df == 29


def test_one_donor_each_by_hand():
    # Residuals -1, 0, 1 and donors 1, 2, 1. Row 1 is in all three draws, row 2 in two: with all rows in one class
    # c = (-1, -1 + 0 + 1, 0 + 1), and each draw counts once: sum c^2 less what draws share with themselves.
    losses, rows = np.array([[1.0], [2.0], [3.0]]), np.array([1, 2, 1]).reshape(3, 1, 1)
    column = donated(losses, rows, np.zeros(3, dtype=np.int64))
    found = moments([column], Design(np.arange(3), np.arange(3)))
    c = np.array([-1.0, 0.0, 1.0])
    # v - p: each donor has its residual e, less e/3 for each of three rows, beside the reference's own e.
    e, own = np.array([-1.0, 0.0, 1.0]), np.arange(3)
    shared = sum(  # sum_u (v_u)^2 - e^2 - 2 e p_own - sum_u v_u p_u, with p = e/3 for every row
        e[i] ** 2 * ((2.0 if rows[i, 0, 0] != own[i] else 4.0) - 1 - 2 / 3 - 1 / 3) for i in range(3)
    )
    assert found.covariance[0, 0] == pytest.approx(3 / 2 * (c @ c - shared) / 9)


@pytest.mark.parametrize("size", [1, 3])
def test_several_draws_are_counted_as_pairs_are(size):
    """As docs/dependence.md has it, pair by pair: a donor's unit counts less how often its class would have it."""
    rng, n = np.random.default_rng(size), 12
    classes = (rng.random(n) < 0.5).astype(np.int64), rng.integers(0, 3, n)
    columns, unit = [], np.arange(n) // size
    for _ in range(2):
        rows = np.stack([rng.choice(np.flatnonzero(of == of[i]), 4) for i in range(n) for of in classes])
        weight, which = rng.normal(size=(n, 8)), np.repeat([0, 1], 4)
        columns.append(Column(rng.normal(size=n), rows.reshape(n, 8), weight, which, classes))
    found = moments(columns, Design(unit, unit))
    expected, units = np.zeros((2, 2)), int(unit.max()) + 1
    for k, other in np.ndindex(2, 2):
        v, p = np.zeros((2, n, units)), np.zeros((2, n, units))
        for side, column in enumerate((columns[k], columns[other])):
            residual = column.values - column.mean()
            for i in range(n):
                v[side, i, unit[i]] += residual[i]
                for part in range(8):
                    donor, of = column.row[i, part], classes[column.which[part]]
                    v[side, i, unit[donor]] += column.weight[i, part]
                    for row in np.flatnonzero(of == of[donor]):
                        p[side, i, unit[row]] += column.weight[i, part] / (of == of[donor]).sum()
        own = [column.values - column.mean() for column in (columns[k], columns[other])]
        among = [v[side] - np.eye(units)[unit] * own[side][:, None] for side in (0, 1)]  # of donors alone
        shared = (v[0] * v[1]).sum()
        for first, second in ((0, 1), (1, 0)):
            shared -= ((v[first] - among[first] / 2) * p[second]).sum()
        expected[k, other] = v[0].sum(0) @ v[1].sum(0) - shared + own[0] @ own[1]
    np.testing.assert_allclose(found.covariance, units / (units - 1) * expected / n**2, rtol=1e-10)


@pytest.mark.parametrize(("n", "draws", "streams"), by_default([(200, 1, 1), (200, 8, 3), (1000, 1, 3)]))
def test_rows_that_are_references_and_donors_are_counted(n, draws, streams):
    held, plain = coverage(np.random.default_rng(n + draws), 300, n=n, draws=draws, streams=streams)
    assert 0.92 <= held <= 0.98
    assert plain < 0.91


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize(("draws", "streams"), [(1, 1), (1, 5), (8, 1), (8, 3), (32, 1)])
def test_rows_are_counted_in_many_runs(n, draws, streams):
    """At 50 references of one draw the variance itself is hardly known, and a percent or two are lost."""
    held, plain = coverage(
        np.random.default_rng(n + draws), 2000 if n < 1000 else 500, n=n, draws=draws, streams=streams
    )
    assert (0.915 if n == 50 else 0.93) <= held <= 0.97
    assert plain < 0.91


def test_a_one_sided_test_of_two_hypotheses_errs_as_seldom_as_was_said():
    rng, above = np.random.default_rng(5), []
    for _ in range(400):
        column, design, truth = sample(rng, 200)
        shifted = column - Column(np.full(200, truth))
        above.append(p_of_mean(shifted, design=design) <= 0.05 and shifted.mean() > 0)
    assert np.mean(above) <= 0.025 + 0.02


def test_what_two_columns_share_cancels_in_their_difference():
    column, design, _ = sample(np.random.default_rng(2), 100, draws=2)
    difference = column - column
    assert difference.mean() == 0
    assert moments([difference], design).variance([1.0]) == pytest.approx(0, abs=1e-18)


def test_the_mean_over_the_dataset_has_the_error_of_its_draws_alone():
    rng, held = np.random.default_rng(3), []
    data = rng.normal(size=60) * 5
    for _ in range(500):
        losses = data[:, None] + rng.normal(size=(60, 4))
        found = moments([Column(losses.mean(1), draws=losses)], Design(np.arange(60), finite=1.0))
        held.append(abs(losses.mean() - data.mean()) <= 1.96 * np.sqrt(found.variance([1.0])))
    assert 0.92 <= np.mean(held) <= 0.975
    half = moments([Column(data[:30])], Design(np.arange(30), finite=0.5))  # one draw: as many independent references
    assert half.variance([1.0]) == pytest.approx(data[:30].var(ddof=1) / 30)


# -- groups


def test_intervals_by_groups_hold_the_truth():
    rng, held, plain = np.random.default_rng(4), [], []
    for _ in range(400):
        kept, gap, group = grouped(rng, 60)
        low, high = fieller(kept, gap, design=Design(group, group))
        held.append(low <= 0.7 <= high)
        low, high = fieller(kept, gap)
        plain.append(low <= 0.7 <= high)
    assert 0.925 <= np.mean(held) <= 0.975
    assert np.mean(plain) < 0.6


def test_the_correlation_within_groups_and_the_design_effect_are_those_of_the_data():
    kept, gap, group = grouped(np.random.default_rng(6), 2000, alike=0.3)
    found = clustering(kept, gap, Design(group, group))
    assert found.groups == 2000
    assert found.correlation == pytest.approx(0.3, abs=0.02)
    sizes = np.bincount(group)
    assert found.design_effect == pytest.approx(1 + ((sizes**2).sum() / sizes.sum() - 1) * 0.3, rel=0.05)
    assert str(found).startswith("2,000 groups, design effect ")
    assert intraclass(kept, np.arange(len(kept))) == 0  # groups of one each
    assert abs(intraclass(np.random.default_rng(0).normal(size=len(kept)), group)) < 0.02


def test_neighbours_that_correlate_are_noticed_and_others_are_not():
    rng = np.random.default_rng(7)
    assert neighbours_correlate(np.repeat(rng.normal(size=50), 4)) > 0.5
    assert sum(neighbours_correlate(rng.normal(size=200)) is not None for _ in range(200)) <= 1
    assert neighbours_correlate(np.ones(200)) is None


def test_parts_of_one_row_are_one_part_where_there_are_many(monkeypatch):
    random = np.random.default_rng(0)
    classes = (np.array([0, 0, 1, 1, 1]), np.zeros(5, int))

    def column():
        row, weight = random.integers(0, 5, (7, 40)), random.normal(size=(7, 40))
        return Column(random.normal(size=7), row, weight, np.repeat([0, 1], 20), classes)

    held, design = [column(), column()], Design(np.arange(7) % 5, np.arange(5))
    assert columns._compact(held[0], 5).weight.shape == (7, 10)
    few = moments(held, design)
    monkeypatch.setattr(columns, "_compact", lambda column, rows: column)
    np.testing.assert_allclose(few.covariance, moments(held, design).covariance, rtol=1e-12, atol=1e-13)
