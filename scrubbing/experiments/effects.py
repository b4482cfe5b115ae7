"""Direct effects on the logits: what heads, MLPs, embeddings and biases each add to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal, Unpack

import numpy as np
from jaxtyping import Float
from rich.console import RenderableType

from scrubbing.engine.expressions import Call, Caller, Expression
from scrubbing.engine.plan import scrubbed
from scrubbing.engine.sampling.streams import References
from scrubbing.errors import DataError, HypothesisError, nearest
from scrubbing.errors.arguments import checked
from scrubbing.experiments.circuits import kept
from scrubbing.experiments.places import Names, named
from scrubbing.experiments.preparation import Options, Prepared, Settings, prepare, refuse_engine
from scrubbing.graph import Graph
from scrubbing.graph.data import Data, as_array
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.direct import Along, Constant, Pulled, Terms, Unembedded, Weighted
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.positions import At, EvaluatedPositions, Take, restricted
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import ResidualReader, Scale, summed, terms_of, written
from scrubbing.lens.language_data import check_whole_numbers
from scrubbing.score.statistics import mean_interval
from scrubbing.score.tables import Printed, decimals_for, estimate, titled

if TYPE_CHECKING:
    import pandas as pd

BIASES, NORM_BIAS = "biases", "norm_bias"  # what attention and MLPs add everywhere; the bias of the final norm
SHOWN = 20

On = Annotated[str | Sequence[str], 'a column of tokens such as "labels", or a pair of columns']


@dataclass(frozen=True, eq=False, repr=False)
class DirectEffects(Printed):
    """What each term of the final stream adds to a logit, or to a difference of two: `values[name]` is `[reference]`.

    In logits: the sum over positions of weight times effect, as the loss sums. Larger is better for the first token.
    With all terms, `total` is the logit less the unembedding's bias (and before a cap, if the model has one).
    """

    values: Mapping[str, Float[np.ndarray, " reference"]]
    on: tuple[str, ...]
    scale: str

    @property
    def total(self) -> Float[np.ndarray, " reference"]:
        """The sum over all terms."""
        return np.sum(list(self.values.values()), axis=0)

    @property
    def frame(self) -> "pd.DataFrame":
        """A row for each term, as in the graph: the mean effect, with the 95% interval over references (Student)."""
        import pandas as pd

        rows = [(float(v.mean()), *(mean_interval(v) or (np.nan, np.nan))) for v in self.values.values()]
        return pd.DataFrame(rows, index=pd.Index(self.values, name="term"), columns=["effect", "low", "high"])

    def __rich__(self) -> RenderableType:
        means = {name: float(v.mean()) for name, v in self.values.items()}
        largest = sorted(means, key=lambda name: -abs(means[name]))[:SHOWN]
        decimals = decimals_for(means.values())
        rows = [(name, estimate(means[name], mean_interval(self.values[name]), decimals)) for name in largest]
        total = ("all terms", estimate(float(self.total.mean()), mean_interval(self.total), decimals))
        title = f"direct effects on the logit of {' less that of '.join(self.on)}"
        notes = [f"{len(self.total)} references, 95% intervals; the {self.scale} scale of the final norm"]
        notes += [f"the {SHOWN} largest of {len(means)} terms"] if len(means) > SHOWN else []
        return titled(title, ["term", "logits"], [*rows, None, total], notes)


@checked
def direct_effects(
    of: Graph | Hypothesis,
    data: Data,
    *,
    terms: Names | None = None,
    on: On = "labels",
    scale: Literal["clean", "own"] = "clean",
    **settings: Unpack[Settings],
) -> DirectEffects:
    """What each term of the final stream adds to a logit, the final norm's scale held fixed, at evaluated positions.

    - `of`: a graph, or a hypothesis: then the terms are those of its scrubbed run
    - `terms`: names of nodes that `logits` reads; by default all of them, and the biases
    - `on`: the column of the token whose logit is meant, or a pair of columns, for the difference of two logits. A
      column holds a token for each row `[row]`, or for each position `[row, position]`
    - `scale`: what the norm multiplies the stream by, in the plain run ("clean") or in the hypothesis's ("own")

    `settings` are those of `scrub`.

    >>> from hypotheses import induction
    >>> from scrubbing import direct_effects
    >>> case = induction.case("naive/Q")
    >>> effects = direct_effects(case.hypothesis.G.origin, case.data, references=[0, 1])
    >>> effects.frame.index[0], effects.total.shape
    ('embed', (2,))

    Raises `HypothesisError` for a graph that was not made of a language model and for what is no term, `DataError` for
    a column that holds no tokens.

    Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; logit attribution.
    """
    h = of if isinstance(of, Hypothesis) else Hypothesis(of, Graph(kept(of, of.output)))
    name, readout = _readout(h.G)
    columns = (on,) if isinstance(on, str) else tuple(on)
    chosen = None if terms is None else _chosen(h.G, name, terms)
    options = Options.of(settings)
    refuse_engine(options, "direct_effects")
    prepared = prepare(h, data, h, options)
    _check_tokens(prepared, h.G, columns, readout)
    directions = _Directions.of(prepared, h, name, columns)
    roots = directions.effects(scale, chosen)
    found = prepared.evaluator.losses(list(roots.values()))
    return DirectEffects({term: v.numpy() for term, v in zip(roots, found, strict=True)}, columns, scale)


@dataclass(frozen=True)
class _Directions:
    """What direct effects are read along, as expressions, in the run of a hypothesis."""

    reader: ResidualReader
    call: Caller
    terms: Mapping[str, Expression]  # of the hypothesis's run
    sizes: Mapping[str, Expression]  # the norm's scale, in the plain run and in the hypothesis's
    at: At
    unembedded: Expression
    pulled: Expression  # through the norm

    @classmethod
    def of(cls, prepared: Prepared, h: Hypothesis, name: str, columns: tuple[str, ...]) -> "_Directions":
        planner, call = prepared.planner, prepared.planner.expressions.call
        _, readout = _readout(h.G)
        arguments, weights = _planned(prepared, h, name)
        plain = tuple(planner.on(References(), h.G, i) for i in h.G[name].inputs)
        at = At(call(EvaluatedPositions(), (weights,)), Take(weights))
        tokens = tuple(planner.expressions.leaf(column, References()) for column in columns)
        unembedded = call(Unembedded(readout), (at.index, *tokens))
        runs = {"clean": plain, "own": arguments}
        return cls(
            readout.reader,
            call,
            dict(zip(_terms(h.G, name), arguments, strict=False)),
            {run: _size(readout.reader, values, at, call) for run, values in runs.items()},
            at,
            unembedded,
            call(Pulled(readout), (unembedded,)),
        )

    def effects(self, scale: str, chosen: Sequence[str] | None) -> dict[str, Expression]:
        """The effect of each term, one number for each reference; the biases too where no terms are chosen."""
        size, reader, found = self.sizes[scale], self.reader, {}
        for name in self.terms if chosen is None else chosen:
            along = self.call(Along(), (self.pulled, restricted(self.terms[name], self.at, self.call)))
            found[name] = self._weighted(along, size)
        if chosen is None and reader.bias is not None:
            found[BIASES] = self._weighted(self.call(Constant(reader.bias), (self.pulled,)), size)
        if chosen is None and reader.norm.b is not None:
            found[NORM_BIAS] = self._weighted(self.call(Constant(reader.norm.b), (self.unembedded,)))
        return found

    def _weighted(self, along: Expression, *size: Expression) -> Expression:
        return self.call(Weighted(), (self.at.index, self.at.weights, along, *size))


def _planned(prepared: Prepared, h: Hypothesis, name: str) -> tuple[tuple[Expression, ...], Expression]:
    """What the readout reads in the hypothesis's run, and the weights of positions."""
    _, readout = _readout(h.G)
    marked = replace(h, G=h.G | {name: replace(h.G[name], fn=Terms(readout))})
    logits, _, weights = scrubbed(prepared.planner, marked).arguments
    assert isinstance(logits, Call)
    return logits.arguments, weights


def _size(reader: ResidualReader, arguments: tuple[Expression, ...], at: At, call: Caller) -> Expression:
    """The scale of the final norm in one run."""
    if reader.scale_apart:
        return restricted(arguments[-1], at, call)
    total = summed(written(terms_of(arguments), call), call)
    return restricted(call(Scale(reader), (total,)), at, call)


def _readout(G: Graph) -> tuple[str, Readout]:
    """The node that makes the logits."""
    output = G[G.output]
    logits = output.inputs[0] if isinstance(output.fn, WeightedCrossEntropy) else ""
    fn = G[logits].fn if logits in G else None
    if not isinstance(fn, Readout):
        raise HypothesisError(
            f"direct effects are those on the logits of a language model, and the output {G.output!r} is no "
            f"cross-entropy of logits; make the graph with transformer(model)"
        )
    return logits, fn


def _terms(G: Graph, readout: str) -> tuple[str, ...]:
    """What the readout adds up."""
    node = G[readout]
    assert isinstance(node.fn, Readout)
    return node.inputs[node.fn.terms(len(node.inputs))]


def _chosen(G: Graph, readout: str, names: Names) -> list[str]:
    terms, found = _terms(G, readout), set()
    for word in [word for given in ([names] if isinstance(names, str) else names) for word in given.split()]:
        like = set(named(G, word)) & set(terms)
        if not like:
            raise HypothesisError(
                f"{word!r} is no term of what {readout!r} reads, so that it has no direct effect; the terms are "
                f"{', '.join(terms[:8])}{', ...' if len(terms) > 8 else ''}{nearest(word, terms)}"
            )
        found |= like
    return [term for term in terms if term in found]


def _check_tokens(prepared: Prepared, G: Graph, columns: tuple[str, ...], readout: Readout) -> None:
    """Raise for columns that hold no tokens where they are read: in every row, or at every evaluated position."""
    if len(columns) not in (1, 2):
        raise DataError(f"on={columns!r} names {len(columns)} columns; name one, or two for a difference of logits")
    weights = as_array("weights", prepared.data[G[G.output].inputs[2]])
    empty = [int(row) for row in prepared.sample.references if not weights[row].any()]
    if empty:
        raise DataError(
            f"row {empty[0]} has no position of weight above 0, so that no logit is read there "
            f"({len(empty)} of {len(prepared.sample.references)} references); leave such rows out of references="
        )
    for column in columns:
        if column not in prepared.data:
            raise DataError(f"the data have no column {column!r}{nearest(column, prepared.data)}")
        array = as_array(column, prepared.data[column])
        if array.shape not in (weights.shape, weights.shape[:1]):
            shape = list(array.shape)
            raise DataError(f"{column!r} has the shape {shape}, but must hold a token for each row or each position")
        read = np.where(weights != 0, array, 0) if array.ndim > 1 else array
        check_whole_numbers(column, read, readout.W_U.shape[1], "token")
