"""Weights by a family's own names as weights by transformer_lens' names. All are views: nothing is copied."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from scrubbing.errors import ModelError
from scrubbing.lens.config import TransformerConfig
from scrubbing.lens.hugging_face.layouts import Layout

# What files carry beside parameters.
_BUFFERS = ("attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias", "inv_freq", "position_ids")


def converted(
    config: TransformerConfig, layout: Layout, given: Mapping[str, Tensor], *, bridged: bool = False
) -> dict[str, Tensor]:
    """Weights by our names. A `bridged` model of transformer_lens has further names for the same parameters.

    Raises `ModelError` for a parameter that is missing or of the wrong shape, and for those that nothing here reads.
    """
    files = _Files(layout, given)
    found = dict(_named(config, layout, files))
    left = [name for name in files.unread if not name.endswith(_BUFFERS)]
    if left and not bridged:
        raise ModelError(f"the weights hold {left[0]!r}, which no model of this family and configuration has")
    return {name: value for name, value in found.items() if value is not None}


class _Files:
    """The tensors of a model, by their names below the root; it remembers which were read."""

    def __init__(self, layout: Layout, given: Mapping[str, Tensor]) -> None:
        root = f"{layout.root}."
        self._given = given
        self._prefix = root if any(name.startswith(root) for name in given) else ""
        self._root = root
        self._transposed = layout.transposed
        self._read: set[str] = set()

    @property
    def unread(self) -> list[str]:
        return [name for name in self._given if name not in self._read]

    def get(self, name: str, *, at_root: bool = False) -> Tensor | None:
        """A tensor, or None."""
        full = name if at_root else self._prefix + name
        self._read.add(full)
        return self._given.get(full)

    def linear(self, module: str, *, at_root: bool = False) -> tuple[Tensor, Tensor | None]:
        """The matrix `[in, out]` of a linear layer, and its bias. Raises `ModelError` where there is none."""
        W = self.get(f"{module}.weight", at_root=at_root)
        if W is None or W.ndim != 2:
            shape = "is missing" if W is None else f"has the shape {list(W.shape)}"
            raise ModelError(f"the weights' {self._prefix}{module}.weight {shape}; it must be a matrix")
        return (W if self._transposed and not at_root else W.T), self.get(f"{module}.bias", at_root=at_root)


Named = Iterator[tuple[str, Tensor | None]]


def _named(config: TransformerConfig, layout: Layout, files: _Files) -> Named:
    embedding = files.get(f"{layout.embed}.weight")
    yield "embed.W_E", embedding
    if layout.pos_embed is not None:
        positions = files.get(f"{layout.pos_embed}.weight")
        yield "pos_embed.W_pos", positions if positions is None else positions[layout.positions_skipped :]
    yield from _norm(files, "embed.ln", layout.embed_norm)
    for layer in range(config.n_layers):
        ours, theirs = f"blocks.{layer}", f"{layout.blocks}.{layer}"
        yield from _attention(config, layout, files, f"{ours}.attn", theirs)
        yield from _mlp(layout, files, f"{ours}.mlp", theirs)
        for name in ("ln1", "ln1_post", "ln2", "ln2_post"):
            module = getattr(layout, name)
            yield from _norm(files, f"{ours}.{name}", module and f"{theirs}.{module}")
    yield from _norm(files, "ln_final", layout.ln_final)
    heads = [files.get(f"{name}.weight", at_root=True) for name in layout.unembed]
    unembedding = next(
        (head for head in heads if head is not None), embedding
    )  # tied to the embedding if there is none
    yield "unembed.W_U", None if unembedding is None else unembedding.T
    biases = [files.get(f"{name}.bias", at_root=True) for name in layout.unembed]
    yield "unembed.b_U", next((bias for bias in biases if bias is not None), None)


def _norm(files: _Files, ours: str, module: str | None) -> Named:
    if module is not None:
        yield f"{ours}.w", files.get(f"{module}.weight")
        yield f"{ours}.b", files.get(f"{module}.bias")


def _attention(config: TransformerConfig, layout: Layout, files: _Files, ours: str, block: str) -> Named:
    for m, (W, b) in zip("QKV", _queries_keys_values(config, layout, files, block), strict=True):
        yield f"{ours}.W_{m}", W.movedim(1, 0)
        yield f"{ours}.b_{m}", b
    W, b = files.linear(f"{block}.{layout.o}")
    yield f"{ours}.W_O", _divided(W, 0, config.n_heads, block)
    yield f"{ours}.b_O", b
    for name, module in (("q_norm", layout.q_norm), ("k_norm", layout.k_norm)):
        if module is not None:
            yield f"{ours}.{name}.w", files.get(f"{block}.{module}.weight")


def _queries_keys_values(
    config: TransformerConfig, layout: Layout, files: _Files, block: str
) -> list[tuple[Tensor, Tensor | None]]:
    """Three matrices `[in, head, d_head]`, and biases `[head, d_head]`."""
    counts = config.n_heads, config.kv_heads, config.kv_heads
    if layout.qkv is None:
        parts = [files.linear(f"{block}.{name}") for name in (layout.q, layout.k, layout.v)]
    else:
        fused = files.linear(f"{block}.{layout.qkv}")
        if layout.fused == "by_head":
            W, b = (None if x is None else _divided(x, -1, config.n_heads, block) for x in fused)
            biases = (None,) * 3 if b is None else b.chunk(3, dim=-1)
            return list(zip(() if W is None else W.chunk(3, dim=-1), biases, strict=True))
        widths = [count * config.d_head for count in counts]
        if sum(widths) != fused[0].shape[-1]:
            raise ModelError(f"the weights of {block}.{layout.qkv} are for {fused[0].shape[-1]} numbers, not {widths}")
        biases = (None,) * 3 if fused[1] is None else fused[1].split(widths)
        parts = list(zip(fused[0].split(widths, dim=-1), biases, strict=True))
    return [
        (_divided(W, -1, n, block), None if b is None else _divided(b, -1, n, block))
        for n, (W, b) in zip(counts, parts, strict=True)
    ]


def _divided(value: Tensor, dim: int, heads: int, block: str) -> Tensor:
    if value.shape[dim] % heads:
        raise ModelError(f"the weights of {block} are for {value.shape[dim]} numbers, which {heads} heads do not share")
    return value.unflatten(dim, (heads, -1))


def _mlp(layout: Layout, files: _Files, ours: str, block: str) -> Named:
    if layout.gate_up is not None:
        W, b = files.linear(f"{block}.{layout.gate_up}")
        gate, up = W.chunk(2, dim=-1)
        yield from ((f"{ours}.W_gate", gate), (f"{ours}.W_in", up))
        if b is not None:
            yield from zip((f"{ours}.b_gate", f"{ours}.b_in"), b.chunk(2), strict=True)
    for name, module in (("gate", layout.gate), ("in", layout.up)):
        if module is not None:
            W, b = files.linear(f"{block}.{module}")
            yield from ((f"{ours}.W_{name}", W), (f"{ours}.b_{name}", b))
    W, b = files.linear(f"{block}.{layout.down}")
    yield from ((f"{ours}.W_out", W), (f"{ours}.b_out", b))
