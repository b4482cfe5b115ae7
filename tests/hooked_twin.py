"""A Hugging Face model as a graph of hooked passes, so that any hypothesis is run by patching: slow and obvious.

Each node is a pass of the whole model in which one module is given another input, and one is read. It has the names
and edges of the library's graph, and nothing else in common with it but the table that says what modules are called.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scrubbing import Graph, Node
from scrubbing.lens import TransformerConfig
from scrubbing.lens.hugging_face.layouts import Layout

Place = tuple[nn.Module, Literal["input", "output"]]


@dataclass(frozen=True, eq=False)
class Twin:
    """A model, and where its blocks write and read."""

    model: Any
    layout: Layout
    config: TransformerConfig

    def graph(self, like: Graph) -> Graph:
        """The graph with the nodes of another, each computed by a hooked pass."""
        return Graph({name: Node(self._fn(name), node.inputs, node.position_axis) for name, node in like.items()})

    def _fn(self, name: str) -> Callable[..., Tensor]:
        match re.fullmatch(r"([am])(\d+)(?:_h(\d+))?", name), name:
            case None, "embed":
                return lambda tokens: self._pass(tokens, read=(self._block(0), "input"))
            case None, "logits":
                return lambda *terms: self._logits(*terms)
            case None, "loss":
                return losses
            case found, _ if found is not None and found[1] == "m":
                return lambda *terms: self._mlp(int(found[2]), *terms)
            case found, _ if found is not None and found[3] is None:
                return lambda *terms: self._after_attention(int(found[2]), *terms)
            case found, _ if found is not None:
                return lambda *terms: self._head(int(found[2]), int(found[3]), *terms)
        raise AssertionError(f"no pass is written for {name!r}")

    def _head(self, layer: int, head: int, *terms: Tensor) -> Tensor:
        stream = self._stream(terms, layer)
        writer = self._within(layer, self.layout.o)
        z = self._patched(stream, self._block(layer), read=(writer, "input"))
        alone, width = torch.zeros_like(z), z.shape[-1] // self.config.n_heads
        at = slice(head * width, (head + 1) * width)
        alone[..., at] = z[..., at]
        with torch.no_grad():
            return self.config.residual_scale * (writer(alone) - writer(torch.zeros_like(z)))

    def _after_attention(self, layer: int, *heads: Tensor) -> Tensor:
        """Where a norm follows attention."""
        norm = self._within(layer, self.layout.ln1_post)
        summed = sum(heads) + _bias(self._within(layer, self.layout.o))
        return self._patched(summed, norm, read=(norm, "output"))

    def _mlp(self, layer: int, *terms: Tensor) -> Tensor:
        parallel, down = self.config.parallel_attn_mlp, self._within(layer, self.layout.down)
        stream = self._stream(terms, layer, attention_too=not parallel)
        if parallel:
            reader = self._block(layer)
        elif self.config.norm_placement == "after":
            reader = self._within(layer, self.layout.down.rpartition(".")[0])
        else:
            reader = self._within(layer, self.layout.ln2 or "post_attention_layernorm")
        if self.config.norm_placement == "before":
            out = self._patched(stream, reader, read=(down, "output")).view_as(stream)
            return self.config.residual_scale * (out - _bias(down))
        return self._patched(stream, reader, read=(self._within(layer, self.layout.ln2_post), "output"))

    def _logits(self, *terms: Tensor) -> Tensor:
        norm = _inside(self.model, f"{self.layout.root}.{self.layout.ln_final or 'norm'}")
        return self._patched(self._stream(terms, self.config.n_layers), norm)

    def _stream(self, terms: tuple[Tensor, ...], layer: int, attention_too: bool = False) -> Tensor:
        """The terms, and the output biases of all that came before."""
        total = reduce(torch.add, terms)
        if self.config.norm_placement != "before":
            return total
        writers = [self._within(n, name) for n in range(layer) for name in (self.layout.o, self.layout.down)]
        writers += [self._within(layer, self.layout.o)] if attention_too else []
        return total + sum(self.config.residual_scale * _bias(writer) for writer in writers)

    def _patched(self, value: Tensor, module: nn.Module, *, read: Place | None = None) -> Tensor:
        """A pass on any tokens, in which a module is given a value."""
        return self._pass(torch.zeros(value.shape[:2], dtype=torch.long), put=(module, value), read=read)

    @torch.no_grad()
    def _pass(
        self, tokens: Tensor, *, put: tuple[nn.Module, Tensor] | None = None, read: Place | None = None
    ) -> Tensor:
        seen: list[Tensor] = []
        with _giving(put), _reading(read, seen):
            output = self.model(input_ids=tokens, use_cache=False).logits
        return seen[0] if read else output

    def _block(self, layer: int) -> nn.Module:
        return _inside(self.model, f"{self.layout.root}.{self.layout.blocks}.{layer}")

    def _within(self, layer: int, path: str | None) -> nn.Module:
        assert path is not None
        return _inside(self._block(layer), path)


def losses(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The weighted cross-entropies of each row."""
    each = nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return (each * weights).sum(1)


def _inside(module: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), module)


def _bias(writer: nn.Module) -> Any:
    bias = getattr(writer, "bias", None)
    return 0.0 if bias is None else bias.detach()


@contextmanager
def _giving(put: tuple[nn.Module, Tensor] | None) -> Iterator[None]:
    """While a module is given another value than its own, and asked for one."""
    if put is None:
        yield
        return
    changed: list[bool] = []

    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        own = args[0] if args else kwargs["hidden_states"]
        given = put[1].to(own.dtype).view_as(own)
        changed.append(not torch.equal(given, own))
        return ((given, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": given})

    handle = put[0].register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
    assert changed == [True], "a hook did not fire once, or changed nothing"


@contextmanager
def _reading(read: Place | None, seen: list[Tensor]) -> Iterator[None]:
    if read is None:
        yield
        return
    module, side = read

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args[0] if args else kwargs["hidden_states"]).clone())

    def after(_: Any, __: Any, output: Tensor) -> None:
        seen.append(output.clone())

    if side == "input":
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
    assert len(seen) == 1, "a hook did not fire once"
