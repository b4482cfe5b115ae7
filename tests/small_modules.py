"""Small modules of many kinds, each with rows to run it on, and the slow way to scrub one of their submodules."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS = 5
SIZES = dict(vocab_size=32, hidden_size=16, intermediate_size=32, num_attention_heads=4, max_position_embeddings=16)


class Products(nn.Module):
    """A hand-written MLP with two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.a(x)) * self.b(x))


class Residual(nn.Module):
    """A convolution beside a convolution, with sums and activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.down = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        y += self.down(x)
        return F.relu_(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.fc = nn.Conv2d(3, 4, 3), Residual(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.block(F.relu(self.stem(x), inplace=True)), 1).flatten(1))


class Recurrent(nn.Module):
    """The last state of an LSTM, and the last input past it; a dict with a state that is not batch first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.head = nn.Embedding(11, 8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, tokens: Tensor) -> dict[str, Any]:
        x = self.embed(tokens)
        h, (last, _) = self.lstm(x)
        return {"logits": self.head(h[:, -1] + x[:, -1]), "last": last, "cache": None}


class Experts(nn.Module):
    """A mixture of two of three experts, each called where it is needed: nothing that can be exported."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(4, 3), nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(2)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            row, k = torch.where(chosen == number)
            if len(row):
                out.index_add_(0, row, expert(x[row]) * weights[row, k, None])
        return out


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.moe, self.out = nn.Linear(4, 4), Experts(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        return self.out(x + self.moe(x))


@dataclass
class Kind:
    """A module, its columns, and a submodule that one node computes, and a chain of nodes leads from to the loss."""

    make: Callable[[], nn.Module]
    columns: Callable[[], dict[str, Tensor]]
    nodes: list[str] | None
    patched: str  # the path of that submodule
    warns: bool = False  # that a submodule is called
    heavy: bool = False  # whether it takes seconds to be taken apart

    def made(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make().eval()

    def rows(self) -> dict[str, Tensor]:
        """Columns with a label `y`, one of four."""
        torch.manual_seed(1)
        return self.columns() | {"y": torch.arange(ROWS) % 4}


def tokens(*names: str, length: int = 6) -> Callable[[], dict[str, Tensor]]:
    return lambda: {name: torch.randint(0, 11, (ROWS, length)) for name in names}


def numbers(name: str, *shape: int) -> Callable[[], dict[str, Tensor]]:
    return lambda: {name: torch.randn(ROWS, *shape)}


def padded() -> dict[str, Tensor]:
    lengths = torch.tensor([6, 4, 3, 6, 5])
    return tokens("input_ids")() | {"attention_mask": (torch.arange(6) < lengths[:, None]).long()}


def huggingface(model: str, **config: Any) -> Callable[[], nn.Module]:
    """A model of transformers, made from its configuration alone."""

    def make() -> nn.Module:
        transformers = pytest.importorskip("transformers")
        cls = getattr(transformers, model)
        return cls(cls.config_class(**config))

    return make


def encoder() -> nn.Module:
    layers = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1, enable_nested_tensor=False
    )
    return nn.Sequential(layers, nn.Flatten(), nn.Linear(32, 4))


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 4))


KINDS = {
    "mlp": Kind(Products, numbers("x", 3), None, "b"),
    "convolutional": Kind(convolutional, numbers("x", 3, 8, 8), None, "0"),
    "resnet": Kind(ResNet, numbers("x", 3, 8, 8), ["block.*", "fc"], "block.bn"),
    "lstm": Kind(Recurrent, tokens("tokens"), None, "head"),
    "encoder": Kind(encoder, numbers("x", 4, 8), ["0.layers.*.*"], "0.layers.0.linear2"),
    "experts": Kind(Mixture, numbers("x", 4), None, "moe", warns=True),
    "bert": Kind(
        huggingface("BertForSequenceClassification", num_labels=4, num_hidden_layers=1, initializer_range=0.5, **SIZES),
        padded,
        ["bert.encoder.layer.*.*", "classifier"],
        "bert.encoder.layer.0.intermediate",
        heavy=True,
    ),
    "t5": Kind(
        huggingface(
            "T5ForConditionalGeneration", vocab_size=32, d_model=16, d_kv=4, d_ff=32, num_layers=1, num_heads=4
        ),
        lambda: tokens("input_ids")() | tokens("decoder_input_ids", length=3)(),
        ["encoder.block.*.layer.*", "decoder.block.*.layer.1.EncDecAttention", "lm_head"],
        "decoder.block.0.layer.1.EncDecAttention",
        heavy=True,
    ),
    "mixtral": Kind(
        huggingface("MixtralForCausalLM", num_hidden_layers=1, num_key_value_heads=2, num_local_experts=4, **SIZES),
        tokens("input_ids"),
        ["model.layers.*.self_attn", "model.layers.*.mlp"],
        "model.layers.0.mlp",
        heavy=True,
    ),
}


def logits_of(output: Any) -> Tensor:
    """The logits, one row of four each, of what any of the modules returns."""
    logits = output if isinstance(output, Tensor) else output["logits"]
    return logits.flatten(1)[:, -4:]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(1)[:, -4:], y, reduction="none")


@contextmanager
def replaced(module: nn.Module, path: str, value: Any) -> Iterator[None]:
    """While a submodule returns a given value, whatever it is called with."""
    handle = module.get_submodule(path).register_forward_hook(lambda *_: deepcopy(value))  # it may be written into
    try:
        yield
    finally:
        handle.remove()


def value_of(module: nn.Module, path: str, columns: Mapping[str, Tensor]) -> Any:
    """What a submodule returns when the whole is run."""
    found: list[Any] = []
    handle = module.get_submodule(path).register_forward_hook(lambda *given: found.append(deepcopy(given[-1])))
    outputs_of(module, columns)
    handle.remove()
    return found[0]


@torch.no_grad()
def outputs_of(module: nn.Module, columns: Mapping[str, Tensor]) -> Any:
    """An ordinary call of a module, of one positional argument if it names none of the columns."""
    given = {name: column for name, column in columns.items() if name != "y"}
    return module(*given.values()) if len(given) == 1 else module(**given)


def losses_with_other_donors(module: nn.Module, path: str, columns: Mapping[str, Tensor]) -> Tensor:
    """`[reference, donor]`: the loss of each row when a submodule returns what it does for another row, by hooks."""
    rows = [{name: column[i : i + 1] for name, column in columns.items()} for i in range(ROWS)]
    values = [value_of(module, path, row) for row in rows]
    losses = torch.zeros(ROWS, ROWS)
    for i, row in enumerate(rows):
        for j, value in enumerate(values):
            with replaced(module, path, value):
                losses[i, j] = cross_entropy(logits_of(outputs_of(module, row)), row["y"])
    return losses
