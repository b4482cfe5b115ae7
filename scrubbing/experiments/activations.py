"""What a scrubbed run computes: the values of its nodes, and its losses by position."""

from collections.abc import Mapping
from typing import Any, Unpack

from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.expressions import Expression
from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.sampling.values import concatenated
from scrubbing.errors import HypothesisError, nearest
from scrubbing.errors.arguments import checked
from scrubbing.experiments.preparation import Options, Prepared, Settings, prepare, refuse_engine
from scrubbing.graph.data import Data
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.loss import LossesByPosition, WeightedCrossEntropy
from scrubbing.lens.components.readout import Logits

AT_ONCE = 16  # references


@checked
def scrubbed_activations(
    hypothesis: Hypothesis, data: Data, *names: str, **settings: Unpack[Settings]
) -> dict[str, Any]:
    """The values of nodes in a scrubbed run, by name: `[reference * draws, ...]` each.

    Name nodes of I, or paths where a node is reached in several ways ("loss/D/A"). You get the value of the node of G
    that it names, on the donors that `scrub` draws with the same `settings`. At each position of a node that is
    claimed per position, it is the value on the donor there. Unclaimed nodes have no value here. A few `references=`
    are enough for a picture.

    Raises `HypothesisError` for a name that the run does not visit, or visits by several paths.

    >>> from scrubbing import Graph, Hypothesis, reads
    >>> G = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y) ** 2)
    >>> h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    >>> scrubbed_activations(h, {"x": [0, 1, 2, 3], "y": [0, 2, 4, 6]}, "a")["a"] % 4
    tensor([0, 2, 0, 2])
    """
    prepared = _prepared(hypothesis, data, settings, "scrubbed_activations")
    planned = prepared.jobs[0].scrubbed
    found = {name: _value_of(planned, name) for name in names}
    return dict(zip(found, _computed(prepared, list(found.values())), strict=True))


@checked
def losses_by_position(
    hypothesis: Hypothesis, data: Data, **settings: Unpack[Settings]
) -> Float[Tensor, "reference position"]:
    """The scrubbed cross-entropy at each position, in nats: `[reference * draws, position]`; 0 where the weight is 0.

    `settings` are those of `scrub`. For the network's own losses, claim `loss=reads("logits", "labels", "weights")`
    and `logits=reads("tokens")`: nothing is scrubbed.

    >>> from hypotheses import induction
    >>> case = induction.case("naive/Q")
    >>> losses_by_position(case.hypothesis, case.data, references=[0, 1]).shape
    torch.Size([2, 300])

    Raises `HypothesisError` for a network whose output is no weighted cross-entropy of logits.
    """
    if not isinstance(hypothesis.G[hypothesis.G.output].fn, WeightedCrossEntropy):
        raise HypothesisError(
            f"the output {hypothesis.G.output!r} of G is no weighted cross-entropy, so that it has no losses by "
            f"position; ask for the values of its inputs with scrubbed_activations"
        )
    prepared = _prepared(hypothesis, data, settings, "losses_by_position")
    arguments = prepared.jobs[0].scrubbed.arguments
    (found,) = _computed(prepared, [prepared.planner.expressions.call(LossesByPosition(), arguments)])
    return found


def _prepared(hypothesis: Hypothesis, data: Data, settings: Mapping[str, Any], of: str) -> Prepared:
    options = Options.of(settings)
    refuse_engine(options, of)
    return prepare(hypothesis, data, hypothesis, options)


def _value_of(planned: Scrubbed, name: str) -> Expression:
    paths = [path for path in planned.values if path == name or path.endswith(f"/{name}")]
    if len(paths) > 1 and name not in planned.values:
        raise HypothesisError(f"{name!r} is reached by several paths: name one of {', '.join(sorted(paths))}")
    if not paths:
        names = {path.rpartition("/")[2] for path in planned.values}
        raise HypothesisError(f"the run visits no node {name!r} of I{nearest(name, names)}")
    return planned.values[name if name in planned.values else paths[0]]


def _computed(prepared: Prepared, roots: list[Expression]) -> list[Any]:
    """The values of expressions for all draws, some at a time."""
    draws = len(prepared.sample)
    chunks = [slice(start, min(start + AT_ONCE, draws)) for start in range(0, draws, AT_ONCE)]
    pieces = [list(map(_held, prepared.evaluator.interpreter.values(roots, chunk))) for chunk in chunks]
    return [concatenated(list(values)) for values in zip(*pieces, strict=True)]


def _held(value: Any) -> Any:
    return value.all() if isinstance(value, Logits) else value
