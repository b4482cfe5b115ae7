"""What is packed for workers: views share memory, whatever can be pickled arrives, and nothing is written to."""

import numpy as np
import pytest
import torch

pytest.importorskip("ray", reason="needs scrubbing[ray]")

from scrubbing.experiments.cluster.shipping import packed, unpacked


def address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def test_views_of_one_matrix_stay_views_of_one_matrix():
    matrix = torch.randn(6, 4)
    heads = [matrix[:3].T, matrix[3:], matrix]
    shipment = packed(heads)
    assert [memory.nbytes for _, memory in shipment.pieces] == [96]
    arrived = unpacked(shipment)
    assert all(map(torch.equal, arrived, heads))
    assert [part.stride() for part in arrived] == [part.stride() for part in heads]
    assert len({address(part) for part in arrived}) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int8, torch.bool, torch.complex64])
def test_every_type_arrives(dtype):
    value = torch.ones(3, 2).to(dtype)
    (arrived, empty) = unpacked(packed((value, value[:0])))
    assert torch.equal(arrived, value)
    assert (arrived.dtype, empty.shape) == (dtype, (0, 2))


def test_functions_of_a_notebook_arrive_with_their_tensors():
    weight = torch.nn.Parameter(torch.arange(3.0))
    module = torch.nn.Linear(3, 1)

    def head(x):
        return module(x * weight)

    arrived = unpacked(packed(head))
    assert torch.equal(arrived(torch.ones(3)), head(torch.ones(3)))


def test_the_memory_is_what_ray_maps_and_is_not_copied():
    shipment = packed(torch.zeros(1000))
    ((_, memory),) = shipment.pieces
    memory.flags.writeable = False  # as Ray's is
    assert address(unpacked(shipment)) == memory.ctypes.data
    assert shipment.nbytes == memory.nbytes + len(shipment.content)


def test_what_cannot_be_pickled_is_an_error():
    with pytest.raises(TypeError, match="pickle"):
        packed((torch.ones(2), np.ones(2), (n for n in range(3))))
