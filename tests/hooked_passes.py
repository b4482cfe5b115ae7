"""Interventions on Hugging Face models by plain forward hooks: slow, obvious, and the judge of the library's own.

Every hook must fire: one that does not is the commonest mistake of such code.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

FAMILIES = ("gpt2", "llama", "gpt_neox", "gemma2", "opt", "bloom")

# By family: the blocks, and within a block what writes attention's and the MLP's output, and what makes queries.
_PLACES = {
    "gpt2": ("transformer.h", "attn.c_proj", "mlp.c_proj", "attn.c_attn"),
    "llama": ("model.layers", "self_attn.o_proj", "mlp.down_proj", "self_attn.q_proj"),
    "gpt_neox": ("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h", "attention.query_key_value"),
    "gemma2": ("model.layers", "self_attn.o_proj", "mlp.down_proj", "self_attn.q_proj"),
    "opt": ("model.decoder.layers", "self_attn.out_proj", "fc2", "self_attn.q_proj"),
    "bloom": ("transformer.h", "self_attention.dense", "mlp.dense_4h_to_h", "self_attention.query_key_value"),
}
_FINAL_NORM = {
    "gpt2": "transformer.ln_f",
    "llama": "model.norm",
    "gpt_neox": "gpt_neox.final_layer_norm",
    "gemma2": "model.norm",
    "opt": "model.decoder.final_layer_norm",
    "bloom": "transformer.ln_f",
}
_INTERLEAVED = ("gpt_neox", "bloom")  # queries, keys and values of a head lie beside each other

Head = tuple[int, int]  # layer and number
Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HookedModel:
    """A model, and the places at which its heads, MLPs and queries can be read and replaced."""

    model: Any
    family: str
    n_heads: int = 4

    @property
    def n_layers(self) -> int:
        return len(self._blocks)

    @property
    def _blocks(self) -> Any:
        return _within(self.model, _PLACES[self.family][0])

    def writer(self, layer: int) -> nn.Module:
        """What takes all heads' z, beside each other."""
        return _within(self._blocks[layer], _PLACES[self.family][1])

    def mlp(self, layer: int) -> nn.Module:
        """What gives the MLP's output."""
        return _within(self._blocks[layer], _PLACES[self.family][2])

    def queries(self, layer: int) -> nn.Module:
        """What gives the queries of all heads, and in some families their keys and values."""
        return _within(self._blocks[layer], _PLACES[self.family][3])

    def of_head(self, z: Tensor, head: int) -> slice:
        """The place of a head in z."""
        width = z.shape[-1] // self.n_heads
        return slice(head * width, (head + 1) * width)

    def of_queries(self, z_width: int, head: int) -> slice:
        """The place of a head's queries in what `queries` gives."""
        width, step = z_width // self.n_heads, 3 if self.family in _INTERLEAVED else 1
        return slice(head * step * width, head * step * width + width)

    @torch.no_grad()
    def run(self, tokens: Tensor, inputs: Mapping[Any, Edit] | None = None, outputs: Mapping[Any, Edit] | None = None):
        """The logits, where functions edit what modules are given and what they return."""
        with _hooked(inputs or {}, outputs or {}):
            return self.model(input_ids=tokens).logits

    def record(self, tokens: Tensor) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """The z and the MLP outputs of each layer."""
        z: dict[int, Tensor] = {}
        mlp: dict[int, Tensor] = {}

        def keep(where: dict[int, Tensor], layer: int) -> Edit:
            def edit(value: Tensor) -> Tensor:
                where[layer] = value.clone()
                return value

            return edit

        layers = range(self.n_layers)
        self.run(tokens, {self.writer(n): keep(z, n) for n in layers}, {self.mlp(n): keep(mlp, n) for n in layers})
        return z, mlp

    def activation_patched(self, tokens: Tensor, donors: Tensor, heads: Sequence[Head]) -> Tensor:
        """The logits where some heads have the donors' values, and all that follows is computed again."""
        z, _ = self.record(tokens[donors])
        return self.run(tokens, {self.writer(n): self._with(z[n], n, heads) for n in {n for n, _ in heads}})

    def path_patched(
        self,
        tokens: Tensor,
        donors: Tensor,
        senders: Sequence[Head],
        queries: Sequence[Head],
        *,
        mlps: bool,
        sent_at: Tensor | None = None,
        received_at: Tensor | None = None,
        recorded: tuple[Any, Any] | None = None,
    ) -> Tensor:
        """The logits where queries (or without any, the logits) are what they are with the donors' senders.

        All heads are frozen on the way; MLPs are too, or are computed again. Masks `[row, position]` say where senders
        send, and where queries receive; by default everywhere. What was `recorded` of rows and donors may be given.
        """
        everywhere = torch.ones(tokens.shape, dtype=torch.bool)
        sent, received = (everywhere if at is None else at for at in (sent_at, received_at))
        (clean, clean_mlp), (other, _) = recorded or (self.record(tokens), self.record(tokens[donors]))
        made: dict[int, Tensor] = {}

        def keep(layer: int) -> Edit:
            def edit(value: Tensor) -> Tensor:
                made[layer] = value.clone()
                return value

            return edit

        layers = range(self.n_layers)
        frozen = {}
        for n in layers:
            patched = clean[n].clone()
            for layer, head in senders:
                if layer == n:
                    at = self.of_head(patched, head)
                    patched[..., at] = other[n][..., at].where(sent[..., None], patched[..., at])
            frozen[self.writer(n)] = lambda _, patched=patched: patched
        outputs: dict[Any, Edit] = {self.queries(n): keep(n) for n in layers}
        outputs |= {} if mlps else {self.mlp(n): lambda _, n=n: clean_mlp[n] for n in layers}
        logits = self.run(tokens, frozen, outputs)
        if not queries:
            return logits

        def with_queries(layer: int) -> Edit:
            def edit(value: Tensor) -> Tensor:
                value = value.clone()
                for n, head in queries:
                    if n == layer:
                        at = self.of_queries(clean[n].shape[-1], head)
                        value[..., at] = made[n][..., at].where(received[..., None], value[..., at])
                return value

            return edit

        return self.run(tokens, outputs={self.queries(n): with_queries(n) for n in {n for n, _ in queries}})

    def written(self, z: Tensor, layer: int, head: int) -> Tensor:
        """What a head writes: its part of z, with zeros for the others, through the module without its bias."""
        alone, at, writer = torch.zeros_like(z), self.of_head(z, head), self.writer(layer)
        alone[..., at] = z[..., at]
        with torch.no_grad():
            return writer(alone) - writer(torch.zeros_like(z))

    @torch.no_grad()
    def logit_effect(self, tokens: Tensor, added: Tensor, on: Tensor) -> Tensor:
        """What a term of the final stream adds to the logits of `on`, by the clean scale: written out."""
        norm, seen = _within(self.model, _FINAL_NORM[self.family]), []
        self.run(tokens, {norm: lambda x: (seen.append(x), x)[1]})
        (x,) = seen
        if isinstance(norm, nn.LayerNorm):
            centred = x - x.mean(-1, keepdim=True)
            scale, added, gain = (centred.square().mean(-1, keepdim=True) + norm.eps).rsqrt(), added, norm.weight
            added = added - added.mean(-1, keepdim=True)
        else:
            eps = self.model.config.rms_norm_eps
            scale = (x.square().mean(-1, keepdim=True) + eps).rsqrt()
            gain = norm.weight + 1 if self.family == "gemma2" else norm.weight
        logits = (added * scale * gain) @ self.model.get_output_embeddings().weight.T
        return logits.gather(2, on[..., None])[..., 0]

    def _with(self, donated: Tensor, layer: int, heads: Sequence[Head]) -> Edit:
        def edit(z: Tensor) -> Tensor:
            z = z.clone()
            for n, head in heads:
                if n == layer:
                    z[..., self.of_head(z, head)] = donated[..., self.of_head(z, head)]
            return z

        return edit


def losses(logits: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
    """The weighted cross-entropies of each row."""
    each = nn.functional.cross_entropy(logits.transpose(1, 2), columns["labels"], reduction="none")
    return (each * columns["weights"]).sum(1)


def _within(module: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), module)


@contextmanager
def _hooked(inputs: Mapping[Any, Edit], outputs: Mapping[Any, Edit]) -> Iterator[None]:
    fired: set[Any] = set()

    def before(module: Any, edit: Edit) -> Any:
        def hook(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            fired.add(("input", module))
            return (edit(given[0]), *given[1:])

        return module.register_forward_pre_hook(hook)

    def after(module: Any, edit: Edit) -> Any:
        def hook(_: Any, __: Any, output: Tensor) -> Tensor:
            fired.add(("output", module))
            return edit(output)

        return module.register_forward_hook(hook)

    handles = [before(module, edit) for module, edit in inputs.items()]
    handles += [after(module, edit) for module, edit in outputs.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    assert len(fired) == len(inputs) + len(outputs), "a hook did not fire"
