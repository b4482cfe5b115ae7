"""Which sources are kept: how many, which count, and which never are."""

import pytest
import torch

from hypotheses.copy_suppression.sources import Share, by_chance, first_occurrences, kept_pairs, last_seen
from scrubbing import HypothesisError

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize(("query", "number"), [(0, 1), (18, 1), (19, 1), (20, 2), (39, 2), (40, 3), (59, 3), (60, 4)])
def test_a_twentieth_is_counted_in_whole_numbers(query, number):
    assert Share.read(0.05).of(query + 1) == number


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1.5, float("nan")])
def test_what_is_no_share(wrong):
    with pytest.raises(HypothesisError, match=r"k_u is .*; it must be a share of the sources"):
        Share.read(wrong)


def kept(tokens, scores, *, number, invalid=(), **settings):
    tokens = torch.tensor([tokens])
    valid = ~torch.isin(tokens, torch.tensor(invalid, dtype=torch.long))
    scores = torch.tensor(scores, dtype=torch.float64).expand(1, tokens.shape[1], -1)
    return kept_pairs(scores, tokens, valid, Share(number=number), **settings)[0]


def test_a_token_counts_once_and_is_kept_wherever_it_stands():
    found = kept([5, 7, 5, 8], [3.0, 1.0, 3.0, 2.0], number=2)
    assert found[3].tolist() == [True, False, True, True]
    assert found[1].tolist() == [True, True, False, False]


def test_ties_are_kept_together():
    assert kept([5, 6, 7], [1.0, 1.0 + 1e-9, 0.5], number=1)[2].tolist() == [True, True, False]


def test_function_words_and_later_sources_are_never_kept():
    found = kept([0, 5, 0, 6], [9.0, 1.0, 9.0, 2.0], number=1, invalid=[0])
    assert found.tolist() == [
        [False, False, False, False],
        [False, True, False, False],
        [False, True, False, False],
        [False, False, False, True],
    ]


def test_the_authors_code_keeps_everything_where_too_few_are_valid():
    found = kept([0, 5, 0, 6], [9.0, 1.0, 9.0, 2.0], number=2, invalid=[0], keep_invalid=True)
    assert found.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [False, True, False, True],
    ]
    ours = kept([0, 5, 0, 6], [9.0, 1.0, 9.0, 2.0], number=2, invalid=[0])
    assert ours[2].tolist() == [False, True, False, False]


def test_against_the_plain_rule_on_random_rows():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(6, (4, 12), generator=generator)
    by_token = torch.randn(4, 12, 6, generator=generator)
    scores = by_token.gather(2, tokens[:, None, :].expand(-1, 12, -1))
    found = kept_pairs(scores, tokens, tokens != 0, Share("0.3"))
    for row in range(4):
        for query in range(12):
            seen = {int(t) for t in tokens[row, : query + 1] if t}
            best = sorted(seen, key=lambda t: -by_token[row, query, t])[: Share("0.3").of(query + 1)]
            expected = [k <= query and int(tokens[row, k]) in best for k in range(12)]
            assert found[row, query].tolist() == expected


def test_what_controls_rank_by():
    tokens = torch.tensor([[5, 7, 5, 8, 7]])
    assert first_occurrences(tokens).tolist() == [[True, True, False, True, False]]
    assert last_seen(tokens)[0, 3].tolist() == [2, 1, 2, 3, 1]
    assert last_seen(tokens)[0, 4].tolist() == [2, 4, 2, 3, 4]
    chance = by_chance(tokens, seed=0)
    assert (chance[0, :, 0] == chance[0, :, 2]).all()  # one number for one token
    assert len(chance[0, :, :2].unique()) == 10
    assert not torch.equal(chance, by_chance(tokens, seed=1))
    many = by_chance(torch.arange(2000)[None], seed=0)
    assert float(many.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(many.std()) == pytest.approx(12**-0.5, abs=0.02)
