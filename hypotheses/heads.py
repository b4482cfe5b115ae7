"""Attention heads by layer and number: their nodes, what people write for them, and what a file says of their roles."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from scrubbing import Graph
from scrubbing.errors import HypothesisError, ModelError
from scrubbing.graph.reading import in_short, read_json
from scrubbing.lens import Transformer, TransformerConfig, transformer
from scrubbing.rewrite import split_qkv

Head = tuple[int, int]  # layer, number
WRITTEN = re.compile(r"\s*(\d{1,4})\s*[.,]\s*(\d{1,4})\s*")
R = TypeVar("R", bound=BaseModel)


def head_name(head: Head) -> str:
    """The node of a head.

    >>> head_name((1, 0))
    'a1_h0'
    """
    return f"a{head[0]}_h{head[1]}"


def in_words(heads: Iterable[Head]) -> str:
    """Heads by layer and number.

    >>> in_words([(9, 9), (10, 0)])
    '9.9 10.0'
    """
    return " ".join(f"{layer}.{number}" for layer, number in heads)


def all_heads(config: TransformerConfig) -> list[Head]:
    """Every head of a model, in order."""
    return [(layer, number) for layer in range(config.n_layers) for number in range(config.n_heads)]


def is_head(head: Head, config: TransformerConfig) -> bool:
    """Whether a model has that head."""
    return 0 <= head[0] < config.n_layers and 0 <= head[1] < config.n_heads


def check_head(head: Head, config: TransformerConfig) -> None:
    """Raise `ModelError` for a head that the model does not have."""
    if not is_head(head, config):
        raise ModelError(
            f"there is no head {in_words([head])}: the model has layers 0 to {config.n_layers - 1} with heads 0 to "
            f"{config.n_heads - 1}; name one of them, as in head=0.0"
        )


def check_direct(config: TransformerConfig) -> None:
    """Raise `ModelError` where a norm follows its blocks: what a head writes is not what is added to the stream."""
    if config.norm_placement != "before":
        raise ModelError(
            f"the model has a norm after its blocks (norm_placement is {config.norm_placement!r}), so that what a head "
            f"writes is not what is added to the stream, and has no direct effect; the study needs norm_placement "
            f"'before'"
        )


def read_head(given: str, config: TransformerConfig) -> Head:
    """A head written as layer and number: "10.7".

    Raises `HypothesisError` for other words, and `ModelError` for a head that the model does not have.
    """
    match = WRITTEN.fullmatch(given)
    if match is None:
        raise HypothesisError(f"head={given!r} names no head; write its layer and number, as in head=1.5")
    head = int(match[1]), int(match[2])
    check_head(head, config)
    return head


def whole_layers(config: TransformerConfig) -> dict[str, Any]:
    """The groups in which the heads of a layer are one node, `layer0`: options of `transformer`."""
    return {f"layer{layer}": f"a{layer}_h*" for layer in range(config.n_layers)}


def by_layer(model: Transformer) -> Graph:
    """The graph in which the heads of a layer are one node, `layer0`, and their attention another, `layer0_pattern`."""
    layers = whole_layers(model.config)
    return split_qkv(transformer(model, **layers), *layers)


def read_roles(path: Path, kind: type[R], example: str) -> R:
    """What a file says of which heads play which part.

    Raises `ModelError`, with an `example`, for a file that is damaged.
    """
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ModelError(f"{path}: {where}: {first['msg']}; for example {example}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {in_short(error)}") from None
