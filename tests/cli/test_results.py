"""What a table of scores says below them: what their percentages do not say by themselves."""

import pytest
import torch

from scrubbing import Case, Graph, Hypothesis, reads
from scrubbing.cli.results import shown
from scrubbing.experiments.suites import Suite
from scrubbing.score.tables import rendered

Z = torch.cartesian_prod(*[torch.arange(10)] * 3)
DIGITS = {"z1": Z[:, 0], "z2": Z[:, 1], "y": (Z[:, 0] > 3) | (Z[:, 1] > 3)}
NETWORK = Graph(
    A=lambda z1: z1 > 4,  # one too high: it errs where the claim does not, and the claim where it does not
    B=lambda z2: z2 > 3,
    D=lambda A, B: A | B,
    loss=lambda D, y: (D != y).double(),
)
LABELS = Graph(loss=reads("y"))
CLAIMS = {
    "cancels": Graph(A=lambda z1: z1 > 3, B=lambda z2: z2 > 3, D=lambda A, B: A | B, loss=reads("D", "y")),
    "all of it": Graph(A=reads("z1"), B=reads("z2"), D=reads("A", "B"), loss=reads("D", "y")),
    "half of it": Graph(A=lambda z1: z1 > 4, D=reads("A"), loss=reads("D", "y")),
}


SUITE = Suite(
    "three claims",
    tuple(Case(name, Hypothesis(NETWORK, I), DIGITS, LABELS, {"exact": True}) for name, I in CLAIMS.items()),
    notes=("the suite's own note",),
)


def notes(*names):
    """What stands below the table and the settings, unfolded."""
    suite = SUITE.only(names)
    said = " ".join(rendered(shown(suite, suite.score(), {})).split())
    return said.partition(" the suite's own note")[2].strip()


CANCELS = (
    "cancels: the mean loss is kept better than single losses are: 100.0% recovered by the mean loss, "
    "76.2% by the mean absolute change (difference 23.8 [16.0, 31.6])"
)
VACUOUS = (
    "all of it: nothing was tested: no donor could differ from its reference, so 100% is recovered by construction"
)


@pytest.mark.parametrize(
    ("name", "note"), [("cancels", CANCELS), ("all of it", VACUOUS), ("half of it", "")], ids=list(CLAIMS)
)
def test_what_a_percentage_does_not_say_is_a_note_below_the_ladder(name, note):
    assert notes(name) == note


def test_each_score_has_its_own_note():
    assert notes() == f"{CANCELS} {VACUOUS}"
