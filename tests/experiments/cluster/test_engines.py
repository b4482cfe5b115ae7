"""What is asked of an engine, and what goes wrong before any worker begins."""

import pickle
import time

import pytest
from recorded import BOTH, DATA, KNOWS_NOTHING, score

from scrubbing import Engine, HypothesisError, NodeError, ScrubbingError, direct_effects, explain, values
from scrubbing.errors import MissingPackageError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers=0 of an Engine must be 1 or more"),
        ({"threads": -1}, "threads=-1"),
        ({"gpus": 2}, "gpus=2 of an Engine must be 0 or 1"),
        ({"memory": "much"}, "no amount of memory"),
    ],
)
def test_an_engine_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ScrubbingError, match=message):
        Engine(**arguments)


def test_an_engine_that_is_none_is_refused():
    with pytest.raises(ScrubbingError, match="'ray', or an Engine"):
        score(BOTH, engine="dask")


def test_what_computes_here_has_no_engine():
    h = BOTH["or"]
    with pytest.raises(HypothesisError, match="engine= is no setting of values"):
        next(values(h.G, DATA, h.G.output, engine="ray"))
    with pytest.raises(HypothesisError, match="engine= is no setting of direct_effects"):
        direct_effects(_transformer(), {"tokens": [[0, 1]]}, engine="ray")


def _transformer():
    from hypotheses import induction

    return induction.case("naive/Q").hypothesis.G.origin


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr("scrubbing.experiments.cluster.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'scrubbing\[ray\]'"):
        score(BOTH, engine="ray")


def test_an_address_where_nothing_listens_is_said_soon():
    pytest.importorskip("ray")
    started = time.monotonic()
    with pytest.raises(ScrubbingError, match=r"no Ray answers at 127\.0\.0\.1:9 .* `ray start --head`"):
        score(BOTH, engine=Engine(address="127.0.0.1:9"))
    assert time.monotonic() - started < 60  # Ray alone tries for minutes


def test_other_versions_are_refused(monkeypatch):
    working = pytest.importorskip("ray") and pytest.importorskip("scrubbing.experiments.cluster.working")
    theirs = working.versions() | {"torch": "1.13.1"}
    with pytest.raises(ScrubbingError, match=r"a worker has torch .* and this process 1\.13\.1"):
        working._check_versions(theirs)


def test_how_workers_would_share_a_run_is_foreseen():
    pytest.importorskip("ray")
    found = explain(BOTH, DATA, baseline=KNOWS_NOTHING, engine=Engine(workers=3)).shared
    assert found is not None
    assert (found.workers, found.pieces, found.groups) == (3, 2, 2)
    assert 1 / 3 < found.balance <= 2 / 3
    assert 0 < found.repeated < 1
    assert found.sent_bytes > 1000
    assert found.returned_bytes == 8 * 100 * 4  # of 100 rows: the network, the baseline, and two hypotheses


def test_an_error_of_a_node_is_the_same_in_another_process():
    error = NodeError("a0_h1", ValueError("no"))
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), arrived.node) == (NodeError, str(error), "a0_h1")
