"""Compute a run in parts, each by a process of its own that knows nothing of the others: jobs of an array."""

from functools import partial
from typing import Any, Unpack

from scrubbing.engine.checks import check_networks
from scrubbing.engine.evaluate import chunk_ranges
from scrubbing.errors import HypothesisError, warn
from scrubbing.errors.arguments import checked
from scrubbing.experiments.arguments import Baseline, Hypotheses
from scrubbing.experiments.preparation import Options, Settings, prepare, refuse_engine
from scrubbing.experiments.progress import showing_progress
from scrubbing.experiments.scoring import described
from scrubbing.graph.data import Data
from scrubbing.store import as_store
from scrubbing.store.identity import Identity
from scrubbing.store.parts import PartialRun
from scrubbing.store.recording import recording


@checked
def scrub_part(
    hypotheses: Hypotheses,
    data: Data,
    *,
    part: tuple[int, int],
    baseline: Baseline,
    **settings: Unpack[Settings],
) -> PartialRun:
    """Compute one part of what `scrub` computes with the same arguments, and keep it in `store`, one of its own.

    `part=(0, 3)` is the first of three. `merge` joins the stores of all parts, and `scrub(..., store=merged)` makes the
    scores of them, the same to the last bit as in one run. A part that was interrupted goes on where it was.

    >>> import tempfile
    >>> from scrubbing import Graph, Hypothesis, merge, reads, scrub, scrub_part
    >>> G = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y) ** 2)
    >>> h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    >>> data = {"x": list(range(100)), "y": list(range(0, 200, 2))}
    >>> asked = dict(hypotheses=h, data=data, baseline=Graph(loss=reads("y")), memory="1 kB")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = [f"{folder}/{i}.db" for i in range(2)]
    ...     for i, file in enumerate(files):
    ...         found = scrub_part(**asked, part=(i, 2), store=file)
    ...     runs = merge(files, f"{folder}/all.db")
    ...     scrub(**asked, store=f"{folder}/all.db") == scrub(**asked)
    True

    Raises what `scrub` raises; `HypothesisError` for a part that is none, and for exact=True and until=, which are not
    cut by draws; `StoreError` for what cannot be recognised when it is merged.
    """
    number, of = part
    if not 0 <= number < of:
        raise HypothesisError(f"part={part} is none; the parts of {max(of, 1)} are (0, {max(of, 1)}) and so on")
    options = Options.of(settings)
    if options.store is None:
        raise HypothesisError("a part is kept in a store; give one of its own, store=FILE")
    refuse_engine(options, "scrub_part")
    if options.exact or options.until is not None:
        what = "exact=True has no draws" if options.exact else "until= chooses its draws as it goes on"
        raise HypothesisError(f"{what}, so that parts of them cannot be computed apart; leave it out")
    prepared = prepare(hypotheses, data, baseline, options)
    evaluator, roots = prepared.evaluator, prepared.outputs.roots
    if options.check:
        check_networks([job.hypothesis.G for job in prepared.jobs], prepared.planner, evaluator.interpreter)
    with recording(as_store(options.store), partial(described, prepared)) as record:
        assert record is not None  # there is a store
        record.begin_parts(len(prepared.sample))
        checkpoints = record.checkpoints(len(roots), len(prepared.sample))
        work = evaluator.arranged(roots)
        size = evaluator.chunk_size(work)
        mine = share(len(prepared.sample), size, number, of)
        if not mine:
            warn(f"part {number} of {of} has nothing to do: the run has fewer chunks, of {size:,} draws each")
        done = 0
        with showing_progress(options.progress, sum(map(len, mine)), unit="references") as advance:
            for draws in mine:
                for chunk in evaluator.on_range(work, draws, size, checkpoints):
                    done += chunk.stop - chunk.start
                    advance(done)
        return record.parts()


def share(draws: int, size: int, number: int, of: int) -> list[range]:
    """The chunks of a run that one of its parts computes: neighbours, as many as any other part, or one more.

    >>> share(10, 3, number=1, of=2)
    [range(4, 7), range(7, 10)]
    """
    chunks = chunk_ranges(draws, size)
    return chunks[len(chunks) * number // of : len(chunks) * (number + 1) // of]


def identity_of(hypotheses: Hypotheses, data: Data, *, baseline: Baseline, **settings: Any) -> Identity:
    """The identity of the run that `scrub` would make with the same arguments."""
    return described(prepare(hypotheses, data, baseline, Options.of(settings))).identity
