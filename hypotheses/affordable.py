"""How much a default job takes on: so much that it ends in minutes, on a network of whatever size."""

from scrubbing.lens import TransformerConfig

OPERATIONS = 2e13  # floating-point ones, that a default job may take


def products_of_layer(config: TransformerConfig, positions: int) -> tuple[int, int]:
    """The multiplications that a layer takes at one position of a row: of its heads, and of its MLP."""
    d, inner = config.d_model, config.n_heads * config.d_head
    attention = 4 * d * inner + 2 * positions * inner
    return attention, 0 if config.attn_only else (3 if config.gated_mlp else 2) * d * config.neurons


def operations_of_row(config: TransformerConfig, positions: int) -> int:
    """The floating-point operations of a plain run on one row, with all logits."""
    layers = config.n_layers * sum(products_of_layer(config, positions))
    return 2 * positions * (layers + config.d_model * config.out_vocab)


def affordable(each: int | float, most: int, *, share: float = 1.0, fewest: int = 1) -> int:
    """How many things, of so many operations each, a share of a default job can take on: at most `most` of them.

    >>> affordable(1e12, 100), affordable(1e12, 100, share=0.1), affordable(1e30, 100)
    (20, 2, 1)
    """
    return max(fewest, min(most, int(share * OPERATIONS / each)))
