"""The walk of one reference sees the donors that the score recorded."""

import pytest

from hypotheses import toy
from scrubbing import DataError
from scrubbing.report import walk

CASE = toy.case("a threshold too high")


def test_it_has_the_donors_of_the_score():
    score = CASE.score(seed=3)
    for reference in (0, 535, 999):
        rows = {v.path: v.row for v in walk(CASE.hypothesis, CASE.data, reference=reference, seed=3).visits}
        assert {path: rows[path] for path in score.donors} == {p: int(d[reference]) for p, d in score.donors.items()}


def test_what_rows_agree_on_and_where_they_differ():
    columns = CASE.data
    visits = walk(CASE.hypothesis, columns, reference=535).visits
    swapped = [v for v in visits if v.agreed]
    assert {v.path for v in swapped} == {"loss/D", "loss/D/A", "loss/D/B"}
    (a,) = [v for v in swapped if v.path == "loss/D/A"]
    assert (a.feature, a.image) == ("z1 > 5", "A")
    assert a.agreed == str(bool(columns["z1"][a.row] > 5)) == str(bool(columns["z1"][a.parent] > 5))
    for name, said in a.differs.items():
        assert said == f"{columns[name][a.row].item():.4g} (was {columns[name][a.parent].item():.4g})"
    same = [name for name in ("z1", "z2", "z3") if columns[name][a.row] == columns[name][a.parent]]
    assert not set(same) & set(a.differs)


def test_a_row_for_each_visit():
    found = walk(CASE.hypothesis, CASE.data, reference=535)
    assert list(found.table["path"]) == [v.path for v in found.visits]
    assert str(found).splitlines()[0] == "row 535  loss"


def test_a_donor_for_the_whole_hypothesis_ends_the_tree():
    lines = str(walk(CASE.hypothesis, CASE.data, reference=5, others="reference")).splitlines()
    assert lines[-1].endswith("all that is unclaimed")


@pytest.mark.parametrize("reference", [-1, 1000])
def test_other_rows_are_refused(reference):
    with pytest.raises(DataError, match="but the data have rows 0 to 999"):
        walk(CASE.hypothesis, CASE.data, reference=reference)
