"""A run cut into pieces, and put together again."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ray", reason="needs scrubbing[ray]")

from scrubbing.experiments.cluster.tiles import busiest, groups, shares, tiles, wanted_groups, whole

RANGES = [range(4), range(4, 8), range(8, 9)]
needed = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=3), min_size=1, max_size=8)


@given(needed=needed, wanted=st.integers(1, 12))
def test_every_root_is_in_one_group(needed, wanted):
    found = groups(needed, wanted)
    assert 1 <= len(found) <= wanted
    roots = len({root for some in needed for root in some})
    assert sorted(root for group in found for root in group) == list(range(roots))


@given(jobs=st.integers(0, 40), workers=st.integers(1, 9))
def test_every_hypothesis_is_in_one_share(jobs, workers):
    found = shares(jobs, workers)
    assert [job for share in found for job in share] == list(range(jobs))
    assert len(found) <= 2 * workers


def test_hypotheses_that_share_stay_together():
    assert groups([["a", "b"], ["a", "c"], ["d"], ["d", "a"]], 2) == [(0, 1, 2), (3,)]


ALONE = [["a"], ["b"], ["c"], ["d"]]


def test_ranges_are_cut_by_hypotheses_where_they_are_few():
    assert len(tiles(ALONE, RANGES, 1, len)) == 3
    assert len(tiles(ALONE, RANGES[:1], 8, len)) == 4


def test_what_is_shared_is_not_done_again_for_nothing():
    assert len(tiles(ALONE, RANGES[:1], 8, lambda group: 10.0)) == 1  # all is shared
    assert len(tiles(ALONE, RANGES[:1], 8, lambda group: 10.0 + len(group))) == 4  # 11 in place of 14
    assert len(tiles(ALONE, RANGES[:2], 2, lambda group: 10.0 + len(group))) == 2  # one range for each worker


@given(needed=needed, workers=st.integers(1, 9), data=st.data())
def test_the_last_worker_is_done_first_with_the_groups_that_are_chosen(needed, workers, data):
    each = data.draw(st.lists(st.floats(0.1, 10), min_size=9, max_size=9))
    shared = data.draw(st.floats(0, 10))

    def weigh(group):
        return shared + sum(each[root] for root in group)

    chosen = tiles(needed, RANGES, workers, weigh)
    load = [weigh(tile.roots) * len(tile.draws) for tile in chosen]
    assert load == sorted(load, reverse=True)
    for number in range(1, wanted_groups(len(needed), len(RANGES), workers) + 1):
        other = [weigh(group) * len(draws) for group in groups(needed, number) for draws in RANGES]
        assert busiest(load, workers) <= busiest(other, workers) * (1 + 1e-9)


@given(needed=needed, workers=st.integers(1, 9), order=st.randoms())
def test_pieces_make_the_whole_in_whatever_order_they_come(needed, workers, order):
    roots = len({root for some in needed for root in some})
    losses = torch.arange(9.0) + 100 * torch.arange(roots)[:, None]
    pieces = tiles(needed, RANGES, workers, len)
    order.shuffle(pieces)
    done = [(tile, [losses[root, tile.draws.start : tile.draws.stop] for root in tile.roots]) for tile in pieces]
    chunks = sorted(whole(done, roots), key=lambda chunk: chunk.start)
    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(0, 4), (4, 8), (8, 9)]
    assert torch.equal(torch.cat([torch.stack(chunk.losses) for chunk in chunks], dim=1), losses)
