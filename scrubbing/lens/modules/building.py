"""From a module to a graph."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import fx

from scrubbing.errors import ModelError
from scrubbing.graph import Graph, Node, reads
from scrubbing.lens.modules.checking import check_graph, check_module, some_rows
from scrubbing.lens.modules.columns import OfColumns, arguments, named_inputs, subject
from scrubbing.lens.modules.nodes import Named, nodes_of
from scrubbing.lens.modules.trace import Trace
from scrubbing.lens.modules.tracing import traced
from scrubbing.lens.modules.units import chosen_paths, units

LOSS = "loss"


def from_module(
    module: Callable[..., Any],
    example_inputs: Any,
    nodes: str | Iterable[str] | None = None,
    *,
    loss: Callable[..., Any] | Node | None = None,
    bound: Mapping[str, Any] | None = None,
) -> Graph:
    """The graph of any module, or function, of torch. Its weights are shared with the module, not copied.

    - `example_inputs`: a few rows of your data: a dict of columns `[row, ...]`, or tensors in the order of the module's
      parameters. All sizes but the number of rows stand fixed in the graph
    - `nodes`: None for a node per operation; or paths of submodules that are nodes, `*` for anything between two dots
      (`["encoder.*", "head"]`): what stands beside them becomes nodes too. `[]`: the module is one node
    - `loss`: a function of outputs and columns, by name, with one value per row; the only output of a module may have
      any name, if it comes first. Without it, the output of a module that returns one value per row is the loss
    - `bound`: further arguments of the module: settings, or tensors that have no rows

    Nodes have the names of their modules (`encoder.0.lin` is `encoder_0_lin`), and of the operation where a module has
    several. What depends on no column is no node.

    >>> import torch
    >>> from torch import nn
    >>> from scrubbing import from_module
    >>> mlp = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    >>> rows = {"x": torch.randn(4, 2), "y": torch.tensor([0, 1, 1, 0])}
    >>> G = from_module(mlp, rows, loss=lambda logits, y: nn.functional.cross_entropy(logits, y, reduction="none"))
    >>> G
    Graph of 4 nodes, output 'loss', columns x, y
      layer0(x)
      layer1(layer0)
      layer2(layer1)
      loss(layer2, y)
    >>> torch.allclose(G.activations(rows, "layer2")[0], mlp(rows["x"]))
    True

    The graph is compared with the module on the example: all rows, all but one, reversed, and each alone. What cannot
    be exported is called, as one node for each submodule, and warned of.

    Raises `ModelError` for a module in training mode, one that is random, keeps a state or mixes rows, TorchScript,
    patterns that match nothing, and chosen modules that pass on values without one entry per row first. The graph
    raises `DataError` for columns of other sizes or types than the example's.

    Source: the traces of `torch.export`.
    """
    fn = subject(module)
    columns = named_inputs(fn, example_inputs)
    node = None if loss is None else Node.of(loss, name=LOSS)
    given, by_name = arguments(fn, columns, frozenset(node.inputs if node else ()))
    few = some_rows(columns)
    whole = OfColumns(fn, given, bound or {}, by_name=by_name)
    read = _read_by(node, list(check_module(whole, few)))
    trace, calls = traced(whole, {name: few[name] for name in given}, tuple(dict.fromkeys(read.values())))
    labels = [] if node is None else [name for name in node.inputs if name not in read]
    named = Named({*columns, *labels, LOSS}, {} if node else _loss_itself(trace))
    made = nodes_of(trace, units(trace, _chosen(trace, nodes)), named, calls)
    outputs = {name: named.values[value] for name, value in trace.outputs.items()}
    G = Graph(_with_output(made, outputs, named) if node is None else _with_loss(made, outputs, named, node, read))
    check_graph(G, outputs, whole, few)
    return G


def _chosen(trace: Trace, nodes: str | Iterable[str] | None) -> frozenset[str] | None:
    if nodes is None:
        return None
    patterns = [nodes] if isinstance(nodes, str) else list(nodes)
    called = dict.fromkeys(call.path for op in trace.operations for call in trace.calls(op) if call.path)
    return chosen_paths(list(called), patterns)


def _read_by(loss: Node | None, returned: list[str]) -> dict[str, str]:
    """The outputs that a loss reads, by the names that it has for them."""
    if loss is None:
        return {name: name for name in returned}
    found = {name: name for name in loss.inputs if name in returned}
    if not found and len(returned) == 1 and loss.inputs:
        return {loss.inputs[0]: returned[0]}
    if not found:
        raise ModelError(
            f"the loss reads {', '.join(loss.inputs) or 'nothing'}, and none of what the module returns: "
            f"{', '.join(returned)}; name its parameters so"
        )
    return found


def _with_loss(
    made: dict[str, Node], outputs: Mapping[str, str], named: Named, loss: Node, read: Mapping[str, str]
) -> dict[str, Node]:
    inputs: list[str] = []
    for name in loss.inputs:
        value = outputs[read[name]] if name in read else name
        if value in inputs:  # the module returns it under two names, or as it came
            value, made = (again := named.fresh(name)), made | {again: reads(value)}
        inputs.append(value)
    return made | {LOSS: replace(loss, inputs=tuple(inputs))}


def _with_output(made: dict[str, Node], outputs: Mapping[str, str], named: Named) -> dict[str, Node]:
    """The nodes with one output: what a module returns for each row is its loss, and several values are a tuple."""
    values = list(dict.fromkeys(outputs.values()))
    if len(values) > 1 or values[0] not in made:
        return made | {named.fresh("outputs"): reads(*values)}
    return made


def _loss_itself(trace: Trace) -> dict[fx.Node, str]:
    """The name of an output that has one value for each row, if it is the only one."""
    values = list(trace.outputs.values())
    return {values[0]: LOSS} if len(values) == 1 and values[0].meta["val"].ndim == 1 else {}
