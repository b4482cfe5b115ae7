"""Parts that are neighbours in memory are one view; all others are copied, and the values are the same."""

import pytest
import torch

from scrubbing.lens.components.joining import by_storage, in_memory_order, joined

W = torch.arange(4 * 3 * 5.0).view(4, 3, 5)
WIDE = torch.arange(6 * 12.0).view(6, 12)  # four heads beside each other, as GPT-2 has them


def is_view(tensor, of):
    return tensor.untyped_storage().data_ptr() == of.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    ("parts", "view"),
    [
        ([W[0:1], W[1:2], W[2:3]], True),
        ([W[0:2], W[2:4]], True),
        ([W[0:1], W[2:3]], True),  # one stride leads through both
        ([WIDE[None, :, n : n + 3] for n in (0, 3, 6, 9)], True),
        ([W[1:2], W[0:1]], False),
        ([W[0:1], W[1:2], W[3:4]], False),
        ([W[0:2], W[1:3]], False),  # they overlap
        ([W[0:1], W[1:2].clone()], False),
        ([W[0:1], W[1:3]], False),
        ([W[:, 0:1], W[:, 1:2]], False),  # along the first dimension they do not follow each other
        ([W[2:3]], True),
    ],
)
def test_the_parts_one_after_the_other(parts, view):
    found = joined(parts)
    assert torch.equal(found, torch.cat(parts))
    assert is_view(found, W if parts[0].shape[-1] == 5 else WIDE) == view


def test_along_another_dimension():
    parts = [W[:, 0:1], W[:, 1:2], W[:, 2:3]]
    found = joined(parts, dim=1)
    assert torch.equal(found, W)
    assert is_view(found, W)


def test_the_order_in_memory_keeps_pieces_of_memory_in_the_order_in_which_they_come():
    other = W.clone()
    parts = [other[1], W[2], other[0], W[0]]
    ordered = in_memory_order(parts, lambda part: part)
    assert [part.untyped_storage().data_ptr() for part in ordered[:2]] == [other.data_ptr()] * 2
    assert [torch.equal(a, b) for a, b in zip(ordered, [other[0], other[1], W[0], W[2]], strict=True)] == [True] * 4
    assert [len(some) for some in by_storage(ordered)] == [2, 2]
