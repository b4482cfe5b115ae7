"""The row classifier: each label on a pattern made for it, the threshold to its edge, and what is counted."""

import pytest
import torch

from hypotheses.polysemantic.behaviours import (
    BEHAVIOURS,
    BIGGER,
    INACTIVE,
    INDUCTION,
    MIXED,
    PREVIOUS,
    UNKNOWN,
    Rule,
    chance_sets,
    classified,
    counted,
    key_sets,
)
from hypotheses.polysemantic.tokens import Kinds
from scrubbing import DataError

# BEGIN, a to d, a new line, one that indents by 4, END
TEXTS = ["<s>", "a", "b", "c", "d", "\n", "\n    ", "</s>"]
KINDS = Kinds.of(TEXTS, [0, 7])
BEGIN, A, B, C, D, LINE, INDENT, END = range(8)


def label(tokens, query, weights, rule=None):
    """What a row does that attends to those sources."""
    rule = rule or Rule()
    row = torch.tensor([tokens])
    pattern = torch.zeros(1, 1, len(tokens), len(tokens), dtype=torch.float64)
    for key, weight in weights.items():
        pattern[0, 0, query, key] = weight
    return BEHAVIOURS[int(classified(pattern, key_sets(row, KINDS, rule), rule)[0, 0, query])]


TOKENS = [BEGIN, A, B, C, D, C, D, A]  # the last A stood at 1 before, and B followed it at 2


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({6: 1.0}, PREVIOUS),
        ({4: 0.5, 5: 0.5}, PREVIOUS),
        ({3: 1.0}, UNKNOWN),  # four back
        ({7: 1.0}, UNKNOWN),  # itself
        ({0: 1.0}, INACTIVE),
        ({2: 1.0}, INDUCTION),
        ({2: 0.4, 6: 0.6}, MIXED),
        ({2: 0.4, 0: 0.6}, UNKNOWN),
        (dict.fromkeys(range(8), 1 / 8), UNKNOWN),
    ],
)
def test_each_pattern_has_its_label(weights, expected):
    assert label(TOKENS, 7, weights) == expected


def test_special_tokens_anywhere_are_inactive_and_no_previous_tokens():
    assert label([BEGIN, A, END, B], 3, {0: 0.5, 2: 0.5}) == INACTIVE
    assert label([BEGIN, A, END, B], 3, {2: 0.5, 1: 0.5}) == UNKNOWN


@pytest.mark.parametrize(("share", "expected"), [(0.949, UNKNOWN), (0.951, PREVIOUS), (0.95, PREVIOUS)])
def test_the_threshold_holds_to_its_edge(share, expected):
    assert label(TOKENS, 7, {6: share, 7: 1 - share}) == expected


def test_windows_and_thresholds_are_arguments():
    assert label(TOKENS, 7, {3: 1.0}, Rule(window=4)) == PREVIOUS
    assert label(TOKENS, 7, {5: 1.0}, Rule(window=1)) == UNKNOWN
    assert label(TOKENS, 7, {7: 1.0}, Rule(include_current=True)) == PREVIOUS
    assert label(TOKENS, 7, {6: 0.6, 7: 0.4}, Rule(threshold=0.6)) == PREVIOUS
    for threshold, window in ((0.5, 3), (1.1, 3), (0.95, 0)):
        with pytest.raises(DataError, match="threshold is" if window else "window is 0"):
            Rule(threshold, window)


def test_a_new_line_attends_to_bigger_indents_alone():
    tokens = [BEGIN, A, INDENT, LINE, B, C, D, LINE]
    assert label(tokens, 7, {2: 1.0}) == BIGGER
    assert label(tokens, 7, {2: 0.5, 3: 0.5}) == UNKNOWN  # as far, which is not further
    assert label([*tokens[:-1], D], 7, {2: 1.0}) == UNKNOWN  # a destination that is no new line


def test_what_follows_itself_is_induction_of_the_current_token():
    assert label([BEGIN, A, B, C, D, A, A], 6, {6: 1.0}) == INDUCTION


def test_chance_takes_sources_that_are_alike_but_for_the_claim():
    tokens = torch.randint(1, 5, (40, 30), generator=torch.Generator().manual_seed(0))
    rule = Rule(window=3)
    real, chance = key_sets(tokens, KINDS, rule), chance_sets(tokens, KINDS, rule)
    distance = torch.arange(30)[:, None] - torch.arange(30)
    assert (chance[PREVIOUS] == ((distance >= 4) & (distance <= 6))).all()
    assert not (chance[INDUCTION] & real[INDUCTION]).any()  # the follower of one token follows no other
    assert chance[INDUCTION].sum() == pytest.approx(int(real[INDUCTION].sum()), rel=0.35)
    wide = chance_sets(tokens, KINDS, Rule(window=2, include_current=True))
    assert (wide[PREVIOUS] == ((distance >= 3) & (distance <= 5))).all()
    lines = torch.tensor([[INDENT, LINE, INDENT, LINE]])
    assert chance_sets(lines, KINDS, rule)[BIGGER][0, 2].tolist() == [False, True, False, False]
    assert key_sets(lines, KINDS, rule)[BIGGER][0, 3].tolist() == [True, False, True, False]


def test_counts_add_up_to_the_rows_of_each_destination():
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 8, (6, 12), generator=generator)
    patterns = [torch.rand(6, 3, 12, 12, generator=generator).tril().pow(12) for _ in range(2)]
    patterns = [pattern / pattern.sum(-1, keepdim=True) for pattern in patterns]
    rule, every = Rule(threshold=0.6), {"all": torch.ones(8, dtype=torch.bool), "a": torch.arange(8) == A}
    labels = [classified(pattern, key_sets(tokens, KINDS, rule), rule) for pattern in patterns]
    counts = counted(labels, tokens, every)
    assert counts.rows.shape == (2, 3, 2, len(BEHAVIOURS))
    assert (counts.rows[:, :, 0].sum(-1) == 6 * 11).all()  # but for the first of each
    assert (counts.rows[:, :, 1].sum(-1) == (tokens[:, 1:] == A).sum()).all()
    assert int((counts.rows[:, :, 0].sum((0, 1)) > 0).sum()) > 3  # not all of one kind
    halves = [counted([part[half] for part in labels], tokens[half], every) for half in (slice(2), slice(2, 6))]
    assert torch.equal((halves[0] + halves[1]).rows, counts.rows)
    table = list(counts.of_head(1, 2))
    assert [row["destination"] for row in table] == ["all"] * 6 + ["a"] * 6
    assert sum(row["share"] for row in table[:6]) == pytest.approx(1)
    assert table[1].keys() == {"destination", "behaviour", "rows", "share"}
