"""Graphs to draw: of a size that has to be folded, and with two claims on one node."""

from scrubbing import Graph, Hypothesis, Node, reads


def value(*inputs):
    """What all nodes of these graphs compute; nothing runs them."""
    return inputs


def many_heads(layers=12, heads=12):
    """The graph of a transformer with MLPs: every head reads all that was written before its layer."""
    nodes = {"embed": Node(value, ("tokens",))}
    for layer in range(layers):
        stream = tuple(nodes)
        nodes |= {f"a{layer}_h{head}": Node(value, stream) for head in range(heads)}
        nodes[f"mlp{layer}"] = Node(value, tuple(nodes))
    nodes["logits"] = Node(value, tuple(nodes))
    return Graph(nodes | {"loss": Node(value, ("logits", "labels"))})


def induction_in_many_heads():
    """A hypothesis about a few heads among many."""
    I = Graph(
        loss=reads("logits", "labels"),
        logits=reads("a5_h1", "a6_h9", "mlp11"),
        mlp11=reads("a6_h9", "embed"),
        a5_h1=reads("a4_h11", "embed"),
        a6_h9=reads("a4_h11", "embed"),
        a4_h11=lambda tokens: tokens > 3,
        embed=reads("tokens"),
    )
    return Hypothesis(many_heads(), I)


def twice_on_one_node():
    """Two nodes of I that one node of G runs, each on a donor of its own."""
    G = Graph(
        head=lambda x, z: x + z,
        left=lambda head: head + 1,
        right=lambda head: head + 2,
        loss=lambda left, right, y: left + right - y,
    )
    I = Graph(
        first=lambda x: x > 0,
        second=lambda z: z > 1,
        left=reads("first"),
        right=reads("second"),
        loss=reads("left", "right", "y"),
    )
    return Hypothesis(G, I, c={"first": "head", "second": "head"})
