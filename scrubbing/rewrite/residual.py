"""A value as a guess and the error of the guess."""

from dataclasses import replace

from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.residual import Difference
from scrubbing.rewrite.copies import for_reader
from scrubbing.rewrite.editing import replace_by_sum


@checked
def split_residual(G: Graph, name: str, *, guess: Node, reader: str | None = None) -> Graph:
    """`x = guess + (x - guess)`: the node as `{name}_guess`, for any guess of its value, and `{name}_error`.

    The guess is a node whose value has the shape of x, for example `identity_attention(G, name)`. x itself stays as
    `{name}_whole`.

    >>> from scrubbing import Graph, Node
    >>> G = Graph(a=lambda x: x, loss=lambda a, y: (a - y) ** 2)
    >>> split_residual(G, "a", guess=Node(lambda x: x.round(), ("x",)))["a"].inputs
    ('a_guess', 'a_error')

    Raises `GraphError` for names that exist and for a `reader` that does not read the node.
    """
    G, name = for_reader(G, name, reader)
    x, guessed, error = f"{name}_whole", f"{name}_guess", f"{name}_error"
    node = G[name]
    guess = replace(guess, position_axis=node.position_axis)
    terms = {guessed: guess, error: Node(Difference(), (x, guessed), node.position_axis)}
    return replace_by_sum(G, name, terms, also={x: node})
