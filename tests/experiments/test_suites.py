"""What a suite makes of the names that it is given: experiments, and tables that are measured apart from them."""

import pytest

from scrubbing import Case, Graph, HypothesisError, reads
from scrubbing.experiments.suites import Measurement, Suite
from scrubbing.graph.hypothesis import Hypothesis

G = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y) ** 2)
DATA = {"x": [0.0, 1.0], "y": [0.0, 2.0]}
CASE = Case("naive/Q", Hypothesis(G, Graph(a=reads("x"), loss=reads("a", "y"))), DATA, Graph(loss=reads("y")))


def measured(progress):
    return [{"head": 0, "progress": progress}]


SUITE = Suite(
    "a study",
    (CASE,),
    tables={"losses": lambda scores: [{"loss": score.scrubbed} for score in scores.values()]},
    measurements={"heads": Measurement(measured), "long": Measurement(measured, on_request=True)},
)


@pytest.mark.parametrize(
    ("wanted", "cases", "tables"),
    [
        ([], 1, ["losses", "heads"]),
        (["naive"], 1, ["losses"]),
        (["naive/Q", "long"], 1, ["losses", "long"]),
        (["heads"], 0, ["heads"]),
        (["long", "heads"], 0, ["heads", "long"]),
    ],
)
def test_a_name_is_that_of_experiments_or_of_a_measurement(wanted, cases, tables):
    chosen = SUITE.only(wanted)
    scores = chosen.score()
    assert len(scores) == cases
    assert list(chosen.tabulated(scores)) == tables


def test_a_measurement_is_told_how_to_show_its_progress():
    assert SUITE.only(["heads"]).tabulated({}, False) == {"heads": [{"head": 0, "progress": False}]}


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(HypothesisError, match="no experiment 'hads' in a study; did you mean 'heads'"):
        SUITE.only(["hads"])


def test_nothing_is_counted_where_no_hypothesis_is_chosen():
    with pytest.raises(HypothesisError, match="none of a study is chosen"):
        SUITE.only(["heads"]).cost()
