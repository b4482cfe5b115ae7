"""Runs in parts: merged, they are the run in one piece, to the last bit."""

import numpy as np
import pytest
from recorded import BOTH, DATA, KNOWS_NOTHING, OR, count_chunks, score, sql

from scrubbing import HypothesisError, ScrubbingWarning, Store, StoreError, merge, scrub_part
from scrubbing.experiments.parts import share


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """The starts of chunks that are computed, in runs of many chunks."""
    return count_chunks(monkeypatch, 7)


def part(number, of, file, data=DATA, **settings):
    return scrub_part(BOTH, data, part=(number, of), baseline=KNOWS_NOTHING, store=file, **settings)


def test_parts_are_the_chunks_of_a_whole_run_each_once():
    for draws, size, of in [(10, 3, 2), (1, 5, 3), (100, 7, 8), (12, 3, 4)]:
        found = [draw for number in range(of) for some in share(draws, size, number, of) for draw in some]
        assert found == list(range(draws))
        counts = [len(share(draws, size, number, of)) for number in range(of)]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("settings", [{}, {"draws": 3, "references": 40}, {"references": [5, 5, 9, 2, 7] * 9}])
def test_parts_that_are_merged_are_the_whole_to_the_last_bit(tmp_path, computed, settings):
    whole = score(BOTH, **settings)
    starts = computed.copy()
    assert len(starts) > 5
    computed.clear()
    files = [tmp_path / f"{number}.db" for number in range(3)]
    for number in (2, 0, 1):
        part(number, 3, files[number], **settings)
    assert sorted(computed) == starts
    computed.clear()
    (run,) = merge(files, tmp_path / "all.db")
    assert run.missing == ()
    assert score(BOTH, store=tmp_path / "all.db", **settings) == whole
    assert computed == []
    assert sql(Store(tmp_path / "all.db"), "SELECT * FROM parts") == []


def test_a_part_says_what_there_is(tmp_path, computed):
    found = part(1, 2, tmp_path / "1.db")
    assert found.missing == (range(50),)
    assert f"50 of its {len(DATA['y'])} draws; missing are 0 to 50" in str(found)


def test_what_is_missing_is_named_and_may_come_later(tmp_path, computed):
    files = [tmp_path / f"{number}.db" for number in range(3)]
    for number, file in enumerate(files):
        part(number, 3, file)
    (run,) = merge([files[0], files[2]], tmp_path / "all.db")
    assert [len(gap) for gap in run.missing] == [35]
    (run,) = merge([files[1]], tmp_path / "all.db")
    assert run.missing == ()
    assert merge([files[1]], tmp_path / "again.db")[0].missing == (range(29), range(64, 100))


def test_a_part_that_was_interrupted_goes_on(tmp_path, computed):
    def interrupt(done, total):
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part(0, 2, tmp_path / "0.db", progress=interrupt)
    before = computed.copy()
    computed.clear()
    part(0, 2, tmp_path / "0.db")
    assert before + computed == [0, *range(1, 50, 7)]


def test_parts_of_different_runs_are_told_apart(tmp_path, computed):
    other = {**DATA, "y": DATA["y"] + 1}
    part(0, 2, tmp_path / "0.db")
    part(1, 2, tmp_path / "1.db", other)
    with pytest.warns(ScrubbingWarning, match=r"parts of 2 different runs, none of them whole; .* differ in data \("):
        runs = merge([tmp_path / "0.db", tmp_path / "1.db"], tmp_path / "all.db")
    assert [len(run.missing) for run in runs] == [1, 1]


def test_different_experiments_are_joined_with_their_scores(tmp_path):
    score(OR, store=tmp_path / "0.db")
    score(BOTH, store=tmp_path / "1.db")
    assert merge([tmp_path / "0.db", tmp_path / "1.db", tmp_path / "0.db"], tmp_path / "all.db") == []
    joined = Store(tmp_path / "all.db")
    assert [entry.name for entry in joined.history()] == [None, "or", "xor"]
    for id, store in [(1, "0.db"), (2, "1.db")]:
        assert joined.score(id) == Store(tmp_path / store).score(1)


def test_draws_that_are_damaged_are_left_out(tmp_path, computed):
    part(0, 1, tmp_path / "0.db")
    sql(Store(tmp_path / "0.db"), "UPDATE chunks SET losses = zeroblob(length(losses)) WHERE start = 15")
    with pytest.warns(ScrubbingWarning, match="draws 15 to 22 of run .* are damaged"):
        (run,) = merge([tmp_path / "0.db"], tmp_path / "all.db")
    assert run.missing == (range(15, 22),)


def test_an_older_store_gets_the_new_table(tmp_path):
    old = Store(tmp_path / "old.db")
    first = score(OR, store=old)
    sql(old, "DROP TABLE parts")
    sql(old, "PRAGMA user_version = 1")
    assert merge([old.file], tmp_path / "all.db") == []  # read as it is
    part(0, 1, old.file)
    assert old.score(1) == first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"part": (3, 3)}, r"part=\(3, 3\) is none; the parts of 3 are \(0, 3\) and so on"),
        ({"part": (0, 0)}, "is none; the parts of 1"),
        ({"exact": True}, "exact=True has no draws"),
        ({"until": 0.1}, "until= chooses its draws"),
        ({"engine": "ray"}, "engine= is no setting of scrub_part"),
        ({"store": None}, "give one of its own"),
    ],
)
def test_what_has_no_parts_is_refused(tmp_path, settings, message):
    with pytest.raises(HypothesisError, match=message):
        scrub_part(OR, DATA, **{"part": (0, 2), "baseline": KNOWS_NOTHING, "store": tmp_path / "0.db", **settings})


def test_a_part_with_nothing_to_do_says_so(tmp_path):
    with pytest.warns(ScrubbingWarning, match="part 0 of 3 has nothing to do"):
        part(0, 3, tmp_path / "0.db")


def test_a_store_is_not_merged_into_itself(tmp_path):
    score(OR, store=tmp_path / "0.db")
    with pytest.raises(StoreError, match="merged into itself"):
        merge([tmp_path / "0.db"], tmp_path / "0.db")
    with pytest.raises(StoreError, match="there is no store"):
        merge([tmp_path / "none.db"], tmp_path / "all.db")
    assert not (tmp_path / "all.db").exists()


def test_a_run_that_cannot_be_recognised_has_no_parts(tmp_path):
    from scrubbing import Graph, Hypothesis, reads

    generator = np.random.default_rng(0)
    G = Graph(a=lambda x: x + 0 * len(str(generator)), loss=lambda a, y: (a - y) ** 2)
    h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    data = {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 2.0, 4.0, 6.0]}
    with pytest.warns(ScrubbingWarning), pytest.raises(StoreError, match="could not be told from another run's"):
        scrub_part(h, data, part=(0, 1), baseline=Graph(loss=reads("y")), store=tmp_path / "0.db")
