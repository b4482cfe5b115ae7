"""Each stream draws its donors for itself, and keeps them whatever else is asked."""

import numpy as np
from known_answers import is_uniform

from scrubbing.engine.sampling.agreement import Classes
from scrubbing.engine.sampling.streams import Drawn, Fixed, References, Sample, draw_references

MIXED = Classes(np.array([2, 0, 2, 1, 2, 0]))


U = Drawn(("other",))
AGREES = Drawn(("loss", "A"), References(), MIXED)


def test_references_stand_as_often_as_they_are_drawn():
    assert Sample(np.array([4, 1]), 6, draws=2).rows(References()).tolist() == [4, 4, 1, 1]


def test_a_fixed_stream_gives_the_row_for_the_references_row():
    sample = Sample(np.array([2, 0]), 3, draws=2)
    assert sample.rows(Fixed(np.array([5, 6, 7]))).tolist() == [7, 7, 5, 5]
    assert sample.rows(Fixed(np.array([[5, 50], [6, 60], [7, 70]])))[::2].tolist() == [[7, 70], [5, 50]]
    assert Fixed(np.array([1, 2])) == Fixed(np.array([1, 2]))
    assert Fixed(np.array([1, 2])) != Fixed(np.array([[1], [2]]))


def test_repetitions_of_a_reference_have_donors_of_their_own():
    rows = Sample(np.zeros(3000, dtype=np.int64), 6, draws=2).rows(U).reshape(3000, 2)
    assert is_uniform(rows[:, 0] * 6 + rows[:, 1], of=36)
    assert is_uniform(rows[:-1, 0] * 6 + rows[1:, 0], of=36)


def test_a_reference_keeps_its_donor_whatever_else_is_asked():
    alone = Sample(np.array([3]), 6, seed=5).rows(AGREES)
    among = Sample(np.array([0, 3, 5, 3]), 6, seed=5).rows(AGREES)
    more_draws = Sample(np.array([3]), 6, seed=5, draws=4).rows(AGREES)
    assert among[1] == alone[0] == more_draws[0]


def test_a_donor_agrees_with_its_parents_donor():
    sample = Sample(np.repeat(np.arange(6), 200), 6)
    parent = Drawn(("loss", "A"), References(), Classes(np.array([0, 0, 0, 1, 1, 1])))
    child = Drawn(("loss", "A", "B"), parent, MIXED)
    assert (MIXED.ids[sample.rows(child)] == MIXED.ids[sample.rows(parent)]).all()
    assert (MIXED.ids[sample.rows(child)] != MIXED.ids[sample.references]).any()


def test_a_stream_with_positions_draws_at_each():
    rows = Sample(np.arange(6).repeat(500), 6).rows(Drawn(("other",), positions=2))
    assert rows.shape == (3000, 2)
    assert is_uniform(rows[:, 0] * 6 + rows[:, 1], of=36)


def test_excluding_oneself_excludes_the_parents_row():
    sample = Sample(np.arange(6).repeat(100), 6, exclude_self=True)
    own = sample.rows(Drawn(("loss", "A"), References(), MIXED))
    other = sample.rows(Drawn(("loss", "A", "other"), Drawn(("loss", "A"), References(), MIXED)))
    assert (other != own).all()
    assert (other == sample.references).any()


def test_drawn_references_are_uniform_and_repeat():
    drawn = draw_references([10, 11, 12, 13], 4000, seed=3)
    assert is_uniform(drawn - 10, of=4)
    assert (drawn[:100] == draw_references([10, 11, 12, 13], 100, seed=3)).all()
    assert (drawn[:100] != draw_references([10, 11, 12, 13], 100, seed=4)).any()
