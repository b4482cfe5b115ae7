"""What is said of a run beside its numbers: donors that do not agree, values not averaged, claims without freedom."""

import warnings

import numpy as np
import pytest
import torch

from scrubbing import Graph, Hypothesis, Node, ScrubbingWarning, mean, per_position, reads, scrub

NETWORK = Graph(a=lambda x: 2 * x, b=lambda x, z: x + z, loss=lambda a, b, y: (a + b - y) ** 2)
DATA = {
    "x": torch.arange(6).double(),
    "z": torch.arange(6).double() ** 2,
    "y": torch.arange(6).double() * 3,
}
PARITY = Graph(a=lambda x: x % 2, b=reads("x", "z"), loss=reads("a", "b", "y"))


def score(I, G=NETWORK, data=DATA, **settings):
    return scrub(Hypothesis(G, I), data, baseline=Graph(loss=reads("y")), **settings)


# -- given donors that do not agree


def test_given_donors_that_agree_are_not_remarked_on():
    assert score(PARITY, donors={"a": [2, 3, 4, 5, 0, 1]}).notes == ()


def test_given_donors_that_do_not_agree_are_counted_and_the_first_is_named():
    scored = score(PARITY, donors={"a": [2, 3, 1, 5, 3, 1]})
    note = "2 of 6 given donors of 'a' do not agree with what they stand in for, first row 1 for row 2"
    assert scored.notes == (note,)
    assert f"({note})" in str(scored)


def test_they_are_counted_among_the_references_asked_for_and_their_draws():
    scored = score(PARITY, donors={"a": [2, 3, 1, 5, 3, 1]}, references=[4, 0], draws=3)
    assert scored.notes == (
        "3 of 6 given donors of 'a' do not agree with what they stand in for, first row 3 for row 4",
    )


def test_below_a_given_donor_it_is_the_donor_that_they_stand_in_for():
    G = Graph(a=lambda x: 2 * x, b=lambda a: a + 1, loss=lambda b, y: b - y)
    I = Graph(a=lambda x: x % 2, b=lambda a: a, loss=reads("b", "y"))
    notes = score(I, G, donors={"b": [1, 1, 1, 1, 1, 1], "a": [2, 2, 2, 2, 2, 2]}, references=[0, 1]).notes
    assert [note[:1] + note.partition(",")[2] for note in notes] == [
        "1 first row 1 for row 0",
        "2 first row 2 for row 1",
    ]


TOKENS = {"tokens": torch.tensor([[0, 1], [0, 2], [3, 1]]), "y": torch.zeros(3).double()}
BY_POSITION = Graph(
    h=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1), loss=lambda h, y: h.sum(dim=1).double() - y
)
CLAIM = Graph(h=per_position(lambda tokens: tokens), loss=reads("h", "y"))


@pytest.mark.parametrize(
    ("donors", "note"),
    [
        ([[1, 2], [0, 1], [2, 0]], None),
        ([[1, 2], [2, 1], [2, 1]], "2 of 6 given donors of 'h' do not agree with {}, first row 2 for row 1"),
        ([[0, 1], [1, 1], [2, 2]], "1 of 6 given donors of 'h' do not agree with {}, first row 1 for row 0"),
        ([1, 1, 2], "1 of 6 given donors of 'h' do not agree with {}, first row 1 for row 0"),
    ],
    ids=["all agree", "both", "the second position", "one for all positions"],
)
def test_a_claim_per_position_is_compared_at_each(donors, note):
    notes = score(CLAIM, BY_POSITION, TOKENS, donors={"h": np.array(donors)}).notes
    assert notes == (() if note is None else (note.format("what they stand in for"),))


def test_a_pairing_of_what_is_unclaimed_agrees_with_everything():
    assert score(Graph(loss=reads("y")), others=[1, 2, 3, 4, 5, 0]).notes == ()


# -- resampled and not averaged

PASSES_SOME = Graph(loss=lambda x, y: (x, y))  # of a and b, x is the own datum's


@pytest.mark.parametrize("unclaimed", ["mean", "zero", mean(by="z"), lambda value: 0 * value])
def test_what_a_claim_passes_columns_of_is_resampled_and_said_so(unclaimed):
    scored = score(PASSES_SOME, unclaimed=unclaimed)
    assert scored.notes == ("loss's b is resampled and not averaged: its reader passes on some of its columns",)
    assert scored.scrubbed == score(PASSES_SOME).scrubbed


def test_nothing_is_said_where_it_was_not_asked_for_or_is_done():
    assert score(PASSES_SOME).notes == ()
    assert score(Graph(loss=reads("y")), unclaimed="mean").notes == ()


# -- claims without freedom


def fine(x):
    return torch.sin(17 * x)


def test_a_feature_on_which_no_two_references_agree_is_warned_of():
    with pytest.warns(
        ScrubbingWarning, match=r"^hypothesis 'mine': 100% of the references are alone in their class of 'a'"
    ) as told:
        scrub({"mine": Hypothesis(NETWORK, PARITY | {"a": fine})}, DATA, baseline=Graph(loss=reads("y")))
    assert [str(warning.message).partition(",")[2] for warning in told] == [
        " so that next to nothing was resampled there; claim a coarser feature, or reads(...) if all of it matters"
    ]


@pytest.mark.parametrize(
    ("feature", "references"),
    [(reads("x"), None), (lambda x: x % 2, None), (lambda x: x // 2, None), (fine, [3])],
    ids=["a claim of inputs", "two classes", "pairs", "a single reference"],
)
def test_what_has_freedom_or_claims_inputs_alone_is_not(feature, references):
    with warnings.catch_warnings(action="error"):
        score(PARITY | {"a": feature}, references=references)


def test_the_warning_is_for_the_references_asked_for():
    x = torch.tensor([0.0, 0, 0, 0, 1, 2])
    data = DATA | {"x": x}
    with pytest.warns(ScrubbingWarning, match="alone in their class of 'a'"):
        score(PARITY | {"a": lambda x: x}, data=data, references=[4, 5])
    with warnings.catch_warnings(action="error"):
        score(PARITY | {"a": lambda x: x}, data=data, references=[0, 1, 2])
