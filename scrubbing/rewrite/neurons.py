"""An MLP as sets of its neurons."""

from collections.abc import Iterable

from scrubbing.errors import GraphError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.mlp import MLP
from scrubbing.lens.components.residual import RESID_POSITION_AXIS
from scrubbing.rewrite.copies import for_reader
from scrubbing.rewrite.editing import fn_of, replace_by_sum, require_new


@checked
def split_neurons(G: Graph, name: str, *, reader: str | None = None, **sets: Iterable[int]) -> Graph:
    """An MLP as the sum of sets of its neurons, each a node `[row, position, d_model]` that reads what the MLP read.

    What is in none of the sets is `{name}_rest`. Where a norm follows the MLP, `{name}` stays: the norm of their sum.

    >>> from hypotheses.brackets.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = transformer(load_transformer(SHIPPED))
    >>> split_neurons(G, "m0", counting=[3, 17])["logits"].inputs[:5]
    ('embed', 'a0_h0', 'a0_h1', 'counting', 'm0_rest')

    Raises `GraphError` for a node that is no MLP, sets that overlap, are empty or name neurons that it does not have,
    and for neurons that are normalised together (solu).
    """
    G, name = for_reader(G, name, reader)
    mlp, node = fn_of(G, name, MLP, "an MLP"), G[name]
    if mlp.neurons.mixes:
        raise GraphError(f"the neurons of {name!r} are normalised together, so each depends on all of them")
    left = set(range(len(mlp.W_out)))
    chosen: dict[str, list[int]] = {}
    for part, given in sets.items():
        require_new(G, part)
        neurons = chosen[part] = sorted(given)
        if not neurons or len(set(neurons)) < len(neurons) or not set(neurons) <= left:
            wrong = sorted(set(neurons) - left)
            named = f"neuron {wrong[0]}" if wrong else "no neuron, or one twice"
            raise GraphError(
                f"{part!r} names {named}; {name!r} has neurons 0 to {len(mlp.W_out) - 1}, and each may stand in one set"
            )
        left -= set(neurons)
    if left:
        require_new(G, f"{name}_rest")
        chosen[f"{name}_rest"] = sorted(left)
    parts = {part: Node(mlp.some(neurons), node.inputs, RESID_POSITION_AXIS) for part, neurons in chosen.items()}
    if mlp.post is not None:
        return G.rewritten(parts | {name: Node(mlp.post, tuple(parts), RESID_POSITION_AXIS)})
    return replace_by_sum(G, name, parts)
