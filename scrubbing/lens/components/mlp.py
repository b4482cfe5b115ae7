"""MLPs: from the residual stream to neurons, and to what they write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import MappingProxyType

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.expressions import Caller, Expression
from scrubbing.lens.components.norm import NO_NORM, Norm
from scrubbing.lens.components.positions import Restrictable
from scrubbing.lens.components.projection import taken
from scrubbing.lens.components.residual import OutputProjection, ReadsStream, Resid, ResidualReader

Hidden = Float[Tensor, "batch position neuron"]

_TANH = partial(F.gelu, approximate="tanh")
# By transformer_lens' names.
ACTIVATIONS: MappingProxyType[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "relu": torch.relu,
        "relu2": lambda x: torch.relu(x).square(),
        "gelu": F.gelu,
        "gelu_new": _TANH,
        "gelu_fast": _TANH,
        "gelu_pytorch_tanh": _TANH,
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "silu": F.silu,
        "solu_ln": lambda x: x * x.softmax(dim=-1),  # Elhage et al. 2022, Softmax Linear Units; a norm follows
    }
)


@dataclass(frozen=True, eq=False)
class Neurons(Restrictable):
    """The neurons after their activation, of a normalised stream: with W_gate, `act(x W_gate) * (x W_in)`."""

    W_in: Float[Tensor, "d_model neuron"]
    b_in: Float[Tensor, " neuron"] | None
    act_fn: str
    W_gate: Float[Tensor, "d_model neuron"] | None = None
    b_gate: Float[Tensor, " neuron"] | None = None
    norm: Norm = NO_NORM  # of the neurons, after solu

    def __call__(self, x: Resid) -> Hidden:
        act, linear = ACTIVATIONS[self.act_fn], _affine(x, self.W_in, self.b_in)
        if self.W_gate is None:
            return self.norm(act(linear))
        return act(_affine(x, self.W_gate, self.b_gate)) * linear

    @property
    def mixes(self) -> bool:
        """Whether a neuron depends on others."""
        return self.act_fn == "solu_ln"

    def some(self, neurons: Sequence[int]) -> "Neurons":
        """The same for some of the neurons."""
        W_in, W_gate = (None if W is None else taken(W, neurons, dim=1) for W in (self.W_in, self.W_gate))
        b_in, b_gate = (None if b is None else taken(b, neurons) for b in (self.b_in, self.b_gate))
        return replace(self, W_in=W_in, b_in=b_in, W_gate=W_gate, b_gate=b_gate)


def _affine(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    flat = x.flatten(0, 1)
    y = flat @ W if b is None else torch.addmm(b, flat, W)
    return y.unflatten(0, x.shape[:2])


@dataclass(frozen=True, eq=False)
class MLP(ReadsStream):
    """An MLP, from the residual stream to what it writes: `[batch, position, d_model]`.

    Its output bias is not its own (see `ResidualReader`), unless a norm follows it (`post`).
    """

    neurons: Neurons
    W_out: Float[Tensor, "neuron d_model"]
    post: ResidualReader | None = None

    def some(self, neurons: Sequence[int]) -> "MLP":
        """Some of the neurons and what they write, without the norm that may follow."""
        return MLP(self.reader, self.neurons.some(neurons), taken(self.W_out, neurons))

    @cached_property
    def writer(self) -> OutputProjection:
        """What writes the neurons to the stream."""
        return OutputProjection(self.W_out)

    def __call__(self, *terms: Tensor) -> Resid:
        written = self.writer(self.neurons(self.reader(*terms)))
        return written if self.post is None else self.post(written)

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression:
        """The stream is read once by all that normalise it alike."""
        written = call(self.writer, (call(self.neurons, (call(self.reader, arguments),)),))
        return written if self.post is None else call(self.post, (written,))
