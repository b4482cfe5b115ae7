"""A run cut into pieces, and put together again."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ray", reason="needs scrubbing[ray]")

from scrubbing.experiments.cluster.tiles import busiest, first_needed, groups, tiles, wanted_groups, whole

RANGES = [range(4), range(4, 8), range(8, 9)]
needed = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=3), min_size=1, max_size=8)


@given(jobs=st.integers(0, 40), wanted=st.integers(1, 12))
def test_every_hypothesis_is_in_one_group(jobs, wanted):
    found = groups(jobs, wanted)
    assert len(found) <= wanted
    assert [job for group in found for job in group] == list(range(jobs))


@given(needed=needed, wanted=st.integers(1, 9))
def test_every_loss_is_that_of_one_group(needed, wanted):
    found = [root for group in groups(len(needed), wanted) for root in first_needed(needed, group)]
    assert sorted(found) == list(range(len({root for some in needed for root in some})))


def test_a_loss_is_that_of_the_first_group_that_needs_it():
    losses = [["a", "b"], ["a", "c"], ["d"], ["d", "a"]]
    assert [first_needed(losses, group) for group in groups(4, 2)] == [[0, 1, 2], [3]]


def test_ranges_are_cut_by_hypotheses_where_they_are_few():
    assert len(tiles(4, RANGES, 1, len)) == 3
    assert len(tiles(4, RANGES[:1], 8, len)) == 4


def test_what_is_shared_is_not_done_again_for_nothing():
    assert len(tiles(4, RANGES[:1], 8, lambda group: 10.0)) == 1  # all is shared
    assert len(tiles(4, RANGES[:1], 8, lambda group: 10.0 + len(group))) == 4  # 11 in place of 14
    assert len(tiles(4, RANGES[:2], 2, lambda group: 10.0 + len(group))) == 2  # one range for each worker


def test_nothing_is_weighed_where_there_is_nothing_to_choose():
    def weigh(group):
        raise AssertionError

    assert len(tiles(4, RANGES, 1, weigh)) == 3


@given(jobs=st.integers(1, 9), workers=st.integers(1, 9), data=st.data())
def test_the_last_worker_is_done_first_with_the_groups_that_are_chosen(jobs, workers, data):
    each = data.draw(st.lists(st.floats(0.1, 10), min_size=9, max_size=9))
    shared = data.draw(st.floats(0, 10))

    def weigh(group):
        return shared + sum(each[job] for job in group)

    chosen = tiles(jobs, RANGES, workers, weigh)
    wanted = wanted_groups(jobs, len(RANGES), workers)
    load = [weigh(tile.jobs) * len(tile.draws) for tile in chosen]
    assert wanted == 1 or load == sorted(load, reverse=True)
    for number in {n for n in (1, 2, 4, 8) if n < wanted} | {wanted}:
        other = [weigh(group) * len(draws) for group in groups(jobs, number) for draws in RANGES]
        assert busiest(load, workers) <= busiest(other, workers) * (1 + 1e-9)


@given(needed=needed, workers=st.integers(1, 9), order=st.randoms())
def test_pieces_make_the_whole_in_whatever_order_they_come(needed, workers, order):
    roots = len({root for some in needed for root in some})
    losses = torch.arange(9.0) + 100 * torch.arange(roots)[:, None]
    pieces = tiles(len(needed), RANGES, workers, len)
    order.shuffle(pieces)
    done = [
        (tile, {root: losses[root, tile.draws.start : tile.draws.stop] for root in first_needed(needed, tile.jobs)})
        for tile in pieces
    ]
    chunks = sorted(whole(done, roots), key=lambda chunk: chunk.start)
    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(0, 4), (4, 8), (8, 9)]
    assert torch.equal(torch.cat([torch.stack(chunk.losses) for chunk in chunks], dim=1), losses)
