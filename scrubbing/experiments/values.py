"""What nodes compute, with or without interventions, some rows at a time."""

from collections.abc import Iterator, Mapping
from typing import Any, Unpack

import numpy as np
from jaxtyping import Int

from scrubbing.errors.arguments import checked
from scrubbing.experiments.circuits import kept
from scrubbing.experiments.instead import Interventions, intervened, plain_run
from scrubbing.experiments.measures import refuse_settings
from scrubbing.experiments.places import Names, named
from scrubbing.experiments.preparation import Options, Prepared, Settings, prepare, refuse_engine
from scrubbing.experiments.progress import showing_progress
from scrubbing.graph import Graph
from scrubbing.graph.data import Data
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.readout import Logits

Chunk = tuple[Int[np.ndarray, " row"], Mapping[str, Any]]


@checked
def values(
    G: Graph,
    data: Data,
    nodes: Names,
    instead: Interventions | None = None,
    **settings: Unpack[Settings],
) -> Iterator[Chunk]:
    """What nodes compute when others are given other values: chunks of row numbers, and of values by name.

    `instead` is an intervention of `measure`; without it the run is the plain one. The data stream through in chunks
    that fit into `memory`, in order: add them up (`scrubbing.experiments.reducers`), so that as much text as you have
    takes no more than one chunk. Of the settings of `scrub`, `references` (the rows), `memory` and `progress` mean what
    they mean there.

    >>> from scrubbing import Graph, values
    >>> G = Graph(a=lambda x: 2 * x, b=lambda a: a + 1, loss=lambda a, b, y: (a + b - y) ** 2)
    >>> data = {"x": [0.0, 1.0, 2.0], "y": [1.0, 5.0, 9.0]}
    >>> for rows, found in values(G, data, "b", {"a": "mean"}, references=[2, 0]):
    ...     print(rows, found["b"])
    [2 0] tensor([3., 3.], dtype=torch.float64)

    Raises what `measure` raises.
    """
    refuse_settings(settings, "values")
    options, wanted = Options.of(settings), named(G, nodes)
    refuse_engine(options, "values")
    known = Hypothesis(G, Graph(kept(G, G.output)))
    prepared = prepare(known, data, known, options)
    plain = plain_run(G, prepared)
    run = intervened("instead", G, instead or {}, prepared, plain)
    roots = {name: run.values.get(name) or plain[name] for name in wanted}
    return _streamed(prepared, roots, options)


def _streamed(prepared: Prepared, roots: Mapping[str, Any], options: Options) -> Iterator[Chunk]:
    sample = prepared.sample
    with showing_progress(options.progress, len(sample), unit="rows") as advance:
        for chunk, found in prepared.evaluator.chunks(list(roots.values())):
            held = [value.all() if isinstance(value, Logits) else value for value in found]
            yield np.asarray(sample.references)[chunk], dict(zip(roots, held, strict=True))
            advance(chunk.stop)
