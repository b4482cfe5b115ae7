"""A diff lists the claims that were added, removed and changed, and nothing else."""

import pytest

from hypotheses.toy import CLAIMS, NETWORK
from scrubbing import Graph, Hypothesis, per_position, reads
from scrubbing.graph.differences import diff

OR, XOR = (Hypothesis(NETWORK, CLAIMS[name]) for name in ("an or of thresholds", "an exclusive or"))
FIRST = Hypothesis(NETWORK, CLAIMS["the first digit alone"])


def lines(old, new):
    return str(diff(old, new)).splitlines()


def test_equal_hypotheses_do_not_differ_wherever_their_functions_are_written():
    again = Hypothesis(
        Graph(dict(NETWORK)),
        Graph(A=lambda z1: z1 > 3, B=lambda z2: z2 > 3, D=lambda A, B: A | B, loss=lambda D, y: D == y),
    )
    assert not diff(OR, again)
    assert str(diff(OR, again)) == "no difference"


def test_a_changed_feature_is_shown_old_and_new():
    changes = diff(OR, XOR)
    assert changes
    assert set(changes.changed) == {"D"}
    assert not changes.added
    assert not changes.removed
    assert str(changes) == "~ D: feature lambda A, B: A ^ B (was lambda A, B: A | B)"


def test_added_and_removed_claims_say_what_they_read():
    assert lines(FIRST, OR) == [
        "+ B reads z2, feature lambda z2: z2 > 3",
        "~ D: reads A, B (was A)",
        "~ D: feature lambda A, B: A | B (was none)",
        "~ loss: feature lambda D, y: D == y (was none)",
    ]
    assert lines(OR, FIRST)[0] == "- B reads z2, feature lambda z2: z2 > 3"


def test_the_same_source_with_another_value_is_another_feature():
    def claims(limit):
        return Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": lambda z1: z1 > limit})

    assert not diff(claims(3), claims(3))
    assert lines(claims(3), claims(4)) == ["~ A: feature uses other values: lambda z1: z1 > limit"]


def test_how_a_claim_is_made_is_part_of_it():
    changed = Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": per_position(lambda z1: z1 > 3)})
    assert lines(OR, changed) == ["~ A: per_position True (was False)"]


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (Hypothesis(NETWORK, CLAIMS["the first digit alone"], columns=("group",)), "~ columns: group (was none)"),
        (Hypothesis(NETWORK, FIRST.I | {"loss": reads("D")}, scramble=("y",)), "~ scramble: y (was none)"),
        (
            Hypothesis(NETWORK, Graph(A=lambda z2: z2 > 3, D=reads("A"), loss=reads("D", "y")), c={"A": "B"}),
            "~ A: runs on B (was A)",
        ),
        (
            Hypothesis(NETWORK | {"C": lambda z1: 0 * z1}, CLAIMS["the first digit alone"]),
            "  the networks differ in C",
        ),
    ],
)
def test_everything_else_that_a_hypothesis_says_is_compared(new, line):
    assert line in lines(FIRST, new)
