"""How much memory is allowed, how much work takes, and what happens where it does not fit."""

import gc
import re
import reprlib
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from scrubbing import DataError, Graph, Hypothesis, NodeError, ScrubbingWarning, reads, scrub
from scrubbing.engine.contract import LOOKED_AT
from scrubbing.engine.memory import (
    DEFAULT,
    Allocations,
    allocations_of,
    held_bytes,
    is_out_of_memory,
    memory_in_bytes,
    readable,
    uncollected,
)

KIB = 1024


@pytest.mark.parametrize(
    ("memory", "size"),
    [(None, DEFAULT), ("2GiB", 2**31), ("500 MB", 500_000_000), ("1.5kib", 1536), (4096, 4096), ("4096", 4096)],
)
def test_memory_is_an_amount_in_words_or_bytes(memory, size):
    assert memory_in_bytes(memory) == size
    assert memory_in_bytes(readable(2**31)) == 2**31


@pytest.mark.parametrize(
    "memory",
    [
        *("much", 0, -1, "0GB", "-3 MB", True, "inf GB", "", "10**6", "2,5GiB", "2GiB junk", "2 GiB 3", "1e9", "1_000"),
        *("GiB", ".GB", "2.", "0x10", "nan", "\uff12GiB", "2GiBB", "2 gigabytes", 2**60, "5EiB", "9" * 40),
    ],
)
def test_what_is_no_amount_is_refused_in_words(memory):
    message = f'memory={reprlib.repr(memory)} is no amount of memory; write for example memory="2GiB"'
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        memory_in_bytes(memory)


def test_a_peak_is_what_is_held_at_once():
    found = allocations_of(partial(torch.zeros, 3, KIB, dtype=torch.uint8))
    assert (found.peak, found.largest) == (3 * KIB, 3 * KIB)

    def one_after_the_other():
        for _ in range(5):
            torch.zeros(KIB, dtype=torch.uint8)

    assert allocations_of(one_after_the_other).peak == KIB
    held = torch.zeros(100 * KIB, dtype=torch.uint8)
    found = allocations_of(lambda: held[:KIB] + 1)  # a view of what was there before does not count
    assert (found.peak, found.largest) == (KIB, KIB)


def test_calls_take_what_they_took_with_arguments_of_these_shapes():
    """Work that is counted call by call takes what it takes when every operation is counted."""
    asked: list[int] = []

    def padded(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        asked.append(len(x))
        return torch.cat([x] * 8)[: len(x)] + 1, x.view(-1)  # eight times as much on the way; a view is nothing new

    def work(metered):
        x = metered(None, [], lambda: torch.zeros(KIB, dtype=torch.uint8))
        first, same = metered(padded, [x], lambda: padded(x))
        second, _ = metered(padded, [first], lambda: padded(first))
        del first, same
        wide = metered(None, [], lambda: torch.zeros(3 * KIB, dtype=torch.uint8))
        return second, metered(padded, [wide], lambda: padded(wide))

    by_call = Allocations()
    kept = work(by_call.counted)
    with Allocations() as by_operation:
        again = work(lambda fn, arguments, compute: compute())
    assert (by_call.peak, by_call.largest) == (by_operation.peak, by_operation.largest)
    assert by_call.now == by_operation.now
    assert by_call.peak > 24 * KIB
    assert asked == [KIB, KIB, 3 * KIB] * 2
    del kept, again
    assert by_call.now == by_operation.now == 0


@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_uncollected_leaves_the_collector_as_it_was(enabled):
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError), uncollected():
            1 / gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_shared_storage_is_held_once():
    x = torch.zeros(KIB, dtype=torch.uint8)
    assert held_bytes([x, {"a": x[3:], "b": (x.view(2, -1), "text", None)}]) == KIB
    assert held_bytes([x, x.clone()]) == 2 * KIB
    assert held_bytes([]) == 0


CPU_WORDS = "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
CPU_ERROR = RuntimeError(CPU_WORDS)


def test_running_out_of_memory_is_told_from_other_errors():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(CPU_ERROR)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_torch_s_own_words_on_a_cpu():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


# -- a run that does not fit


@dataclass(frozen=True, eq=False)
class Hungry:
    """A node that runs out of memory above so many rows."""

    most: int
    error: Exception
    asked: list[int]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(x))
        if len(x) > self.most:
            raise self.error
        return x + 1


ROWS = 41  # one draw is measured, and forty are left
DATA = {"x": torch.arange(ROWS).double(), "y": torch.arange(ROWS).double() % 3}
BASELINE = Graph(loss=reads("y"))


def scored(most: int, error: Exception, **settings):
    """A score, and the numbers of rows that were asked for."""
    asked: list[int] = []
    G = Graph(a=Hungry(most, error, asked), loss=lambda a, y: (a - y).abs())
    h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    return scrub(h, DATA, baseline=BASELINE, check=False, **settings), asked


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), CPU_ERROR], ids=["GPU", "CPU"])
@pytest.mark.parametrize(("most", "halves"), [(30, [20]), (8, [20, 10, 5]), (2, [20, 10, 5, 2, 1])])
def test_what_does_not_fit_goes_on_in_halves_with_equal_scores(most, halves, error, recwarn):
    expected, _ = scored(ROWS, error)
    found, asked = scored(most, error)
    assert found.by_reference == expected.by_reference
    words = [f"out of memory; going on with {n} draw{'s' * (n > 1)} at a time" for n in halves]
    assert [str(w.message) for w in recwarn] == words
    assert all(w.category is ScrubbingWarning for w in recwarn)
    tried_in_vain = [rows for rows in asked if rows > most and rows != LOOKED_AT]
    assert len(tried_in_vain) == len(halves)  # once each: chunks after it are smaller from the start


def test_a_single_row_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError, match=r"^CUDA out of memory$"):
        scored(0, torch.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.filterwarnings("error")
def test_other_errors_are_raised_at_once():
    with pytest.raises(NodeError, match=r"^the function of 'a' raised RuntimeError: shapes$"):
        scored(30, RuntimeError("shapes"))


def test_a_cap_below_one_draw_is_named_and_the_run_goes_on():
    expected, _ = scored(ROWS, CPU_ERROR)
    with pytest.warns(ScrubbingWarning) as warned:
        found, asked = scored(ROWS, CPU_ERROR, memory="10B")
    assert found.by_reference == expected.by_reference
    assert max(rows for rows in asked if rows != LOOKED_AT) == 2  # a reference and its donor
    (words,) = [str(w.message) for w in warned]
    pattern = r"one draw takes \d+ B, and memory='10 B' leaves 10 B; going on all the same, one draw at a time"
    assert re.fullmatch(pattern, words)


def test_a_cap_bounds_the_rows_at_a_time():
    wide = DATA | {"x": torch.arange(ROWS * KIB).reshape(ROWS, KIB).double()}
    G = Graph(a=lambda x: x + 1, loss=lambda a, y: a.sum(1) - y)
    h = Hypothesis(G, Graph(a=lambda x: x[:, 0] % 2, loss=reads("a", "y")))
    done: list[int] = []
    capped = scrub(h, wide, baseline=BASELINE, memory="200KiB", progress=lambda n, total: done.append(n))
    assert capped.by_reference == scrub(h, wide, baseline=BASELINE).by_reference
    sizes = np.diff([0, *done])
    assert 1 < sizes.max() <= 200 / 8
    assert sizes.sum() == ROWS
