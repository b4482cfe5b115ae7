"""What is packed comes back bit for bit."""

import warnings

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from scrubbing.score import Estimate, make_score
from scrubbing.score.vacuity import Vacuity
from scrubbing.store.packing import pack, pack_losses, unpack, unpack_losses

floats = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(floats, floats, floats), min_size=2, max_size=8), st.integers(-(2**70), 2**70))
def test_any_score_comes_back_bit_for_bit(losses, seed):
    original, baseline, scrubbed = (np.array(column) for column in zip(*losses, strict=True))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = make_score(
                name="\x1b[31m\u202e",
                rows=np.arange(len(losses)),
                original=original,
                baseline=Estimate(baseline, original, 0.1, np.nan),
                scrubbed=Estimate(scrubbed, baseline, 1e-300, 0.2),
                precision=1e-16,
                draws=1,
                seed=seed,
                settings={"others": "node"},
                vacuity=Vacuity(nodes=(), bits=0.1 + 0.2),
                donors={},
            )
        except (OverflowError, ValueError, ZeroDivisionError, np.linalg.LinAlgError):
            return
    packed = pack(made)
    shelf = {array.digest: array for array in packed.columns.values()}
    back = unpack(packed.score, packed.losses, packed.digest, shelf.__getitem__)
    assert repr(back.model_dump()) == repr(made.model_dump())
    for name in ("original", "baseline", "scrubbed"):
        assert (
            np.array(getattr(back.by_reference, name)).tobytes() == np.array(getattr(made.by_reference, name)).tobytes()
        )


def test_chunks_come_back_bit_for_bit():
    shared = torch.rand(5, dtype=torch.bfloat16)
    losses = [shared, torch.rand(10)[::2], shared, torch.tensor([torch.nan, torch.inf, -0.0, 1e-310, 1.0]).double()]
    back = unpack_losses(pack_losses(losses))
    assert [b.dtype for b in back] == [x.dtype for x in losses]
    assert all(
        b.numpy(force=True).tobytes() == x.contiguous().numpy(force=True).tobytes()
        for b, x in zip(back[1:2], losses[1:2], strict=True)
    )
    assert all(torch.equal(b.nan_to_num(), x.nan_to_num()) for b, x in zip(back, losses, strict=True))
