"""A hypothesis's claims as the Python that would write them."""

from scrubbing.graph import Graph, Node
from scrubbing.graph.binning import Bins, Within
from scrubbing.graph.fingerprint import source
from scrubbing.graph.hypothesis import Hypothesis


def code_of(h: Hypothesis) -> str:
    """The claims of a hypothesis, the output first.

    >>> from hypotheses import toy
    >>> print(code_of(toy.case("the first digit alone").hypothesis))
    Graph(
        loss=reads("D", "y"),
        D=reads("A"),
        A=lambda z1: z1 > 3,
    )
    """
    more = [f"c={dict(h.c)!r}"] if h.c else []
    more += [f"{name}={tuple(names)!r}" for name in ("columns", "scramble") if (names := getattr(h, name))]
    definitions = [written for node in h.I.values() for written in _definitions(node)]
    return "\n\n\n".join([*dict.fromkeys(definitions), claims_of(h.I)]) + "".join(f"\n# {line}" for line in more)


def claims_of(explanation: Graph) -> str:
    """The nodes of an explanation, as Python."""
    lines = [f"    {name}={_claim(explanation[name])}," for name in reversed(explanation.order)]
    return "\n".join(["Graph(", *lines, ")"])


def _claim(node: Node) -> str:
    if node.is_reads:
        written = f"reads({', '.join(map(_quoted, node.inputs))})"
    else:
        text = source(node.fn) or ""
        written = text if text.startswith("lambda") and "\n" not in text else _name(node)
    match node.binning:
        case Within(tolerance):
            written = f"within({written}, {tolerance:g})"
        case Bins(k):
            written = f"bins({written}, {k})"
    return f"per_position({written})" if node.per_position else written


def _definitions(node: Node) -> list[str]:
    """The source of a function that a line does not hold."""
    text = None if node.is_reads else source(node.fn)
    return [text] if text and text.startswith(("def", "class", "@")) else []


def _name(node: Node) -> str:
    return getattr(node.fn, "__name__", type(node.fn).__name__)


def _quoted(name: str) -> str:
    return f'"{name}"'
