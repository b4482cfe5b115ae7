"""Random networks and rows for the study of indirect objects, and its circuits in networks whose answer is known."""

from functools import cache

import torch
from torch import Tensor

from hypotheses.ioi.data import Rows, rows_of
from hypotheses.ioi.network import OUTPUT
from hypotheses.ioi.prompts import made
from hypotheses.ioi.text import tokenizer
from scrubbing import Graph, Node
from scrubbing.lens import Transformer, TransformerConfig

WORDS = tokenizer()
SMALL = {"n_layers": 3, "n_heads": 2, "d_model": 12, "d_head": 6, "d_mlp": 16, "n_ctx": 24, "act_fn": "gelu"}


def random_network(seed: int = 0, **settings: object) -> Transformer:
    """A network with random weights, in double precision, that reads the words of prompts."""
    given = SMALL | {"d_vocab": WORDS.get_vocab_size(), "attn_only": False, "normalization_type": "LN"} | settings
    c = TransformerConfig(**given)  # pyright: ignore[reportArgumentType]
    norms = ["ln1", "ln2"] if c.normalization_type and not c.attn_only else ["ln1"] if c.normalization_type else []
    block = {f"{norm}.{part}": (c.d_model,) for norm in norms for part in "wb"}
    block |= {f"attn.W_{m}": (c.n_heads, c.d_model, c.d_head) for m in "QKV"}
    block |= {f"attn.b_{m}": (c.n_heads, c.d_head) for m in "QKV"}
    block |= {"attn.W_O": (c.n_heads, c.d_head, c.d_model), "attn.b_O": (c.d_model,)}
    if not c.attn_only:
        block |= {
            "mlp.W_in": (c.d_model, 16),
            "mlp.b_in": (16,),
            "mlp.W_out": (16, c.d_model),
            "mlp.b_out": (c.d_model,),
        }
    shapes = {"embed.W_E": (c.d_vocab, c.d_model), "pos_embed.W_pos": (c.n_ctx, c.d_model)}
    shapes |= {f"blocks.{layer}.{name}": shape for layer in range(c.n_layers) for name, shape in block.items()}
    shapes |= {"ln_final.w": (c.d_model,), "ln_final.b": (c.d_model,)} if c.normalization_type else {}
    shapes |= {"unembed.W_U": (c.d_model, c.d_vocab), "unembed.b_U": (c.d_vocab,)}
    generator = torch.Generator().manual_seed(seed)
    return Transformer(
        c, {n: 0.4 * torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    )


KINDS = {
    "sequential": {},
    "parallel": {"parallel_attn_mlp": True},
    "without norms": {"normalization_type": None},
    "attention alone": {"attn_only": True, "act_fn": None, "d_mlp": None},
}


@cache
def rows(count: int = 8, seed: int = 0) -> Rows:
    """Prompts as these networks read them."""
    return rows_of(made(count, seed), WORDS)


def doubled(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """The columns in double precision."""
    return {name: column.double() if column.is_floating_point() else column for name, column in columns.items()}


def instead(value: Tensor) -> Node:
    """A node that writes a given value, whatever it reads."""
    return Node(lambda tokens: value, ("tokens",), 1)


# -- networks whose answer is known


def backup_pair() -> Graph:
    """Two heads that favour the object: the second does so where it sees no flag of the first at the end.

    The logit difference is 1 where either of them writes, whichever it is.
    """

    def copies(tokens: Tensor, informed: Tensor) -> Tensor:
        return informed[:, None, None].double().expand(*tokens.shape, 1)

    def copies_if_absent(a0_h0: Tensor, tokens: Tensor, informed: Tensor) -> Tensor:
        return copies(tokens, informed) * (1 - a0_h0)

    def difference(a0_h0: Tensor, a1_h0: Tensor, a1_h1: Tensor, END: Tensor) -> Tensor:
        at_end = torch.arange(len(END)), END
        return (a0_h0[at_end] + a1_h0[at_end] + 0 * a1_h1[at_end])[:, 0]

    def dead(tokens: Tensor) -> Tensor:
        return torch.zeros(*tokens.shape, 1, dtype=torch.float64)

    return Graph(
        {
            "a0_h0": Node(copies, ("tokens", "informed"), 1),
            "a1_h0": Node(copies_if_absent, ("a0_h0", "tokens", "informed"), 1),
            "a1_h1": Node(dead, ("tokens",), 1),
            OUTPUT: Node(difference, ("a0_h0", "a1_h0", "a1_h1", "END")),
        }
    )


POSITION, TOKEN = 2.25, 0.75


def two_signals() -> Graph:
    """A head that says where the subject stood first and who it is; the first counts 2.25 logits, the second 0.75.

    What points at the subject favours the object, and what points at the object does the opposite.
    """

    def says(tokens: Tensor, S2: Tensor, IO: Tensor, S1: Tensor) -> Tensor:
        row = torch.arange(len(tokens))
        subject = tokens[row, S2]
        first = torch.minimum(IO, S1)  # of the first two names, whether the first is the one that comes again
        where = (tokens[row, first] == subject).double()
        return torch.stack([where, subject.double()], dim=1)[:, None].expand(-1, tokens.shape[1], -1)

    def difference(a0_h0: Tensor, io: Tensor, s: Tensor, IO: Tensor, S1: Tensor, END: Tensor) -> Tensor:
        where, who = a0_h0[torch.arange(len(END)), END].unbind(1)
        own = (S1 < IO).double()
        token = (who == s).double() - (who == io).double()
        return POSITION * (2 * (where == own).double() - 1) + TOKEN * token

    return Graph(
        {
            "a0_h0": Node(says, ("tokens", "S2", "IO", "S1"), 1),
            OUTPUT: Node(difference, ("a0_h0", "io", "s", "IO", "S1", "END")),
        }
    )
