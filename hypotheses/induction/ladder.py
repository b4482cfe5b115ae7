"""The 26 experiments on induction heads, as a table of claims.

Source: "Causal scrubbing on induction heads" (Redwood Research 2022). The induction heads read the stream through their
queries, keys and values. An experiment says for each of the three which parts of the stream it claims; everything else
that they read comes from one other row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from jaxtyping import Bool, Int
from torch import Tensor

from hypotheses.induction.roles import Roles, check_roles
from scrubbing import Graph, Hypothesis, Node, per_position, reads
from scrubbing.errors import ModelError
from scrubbing.lens import Transformer, transformer
from scrubbing.lens.components.attention import Offsets
from scrubbing.rewrite import all_but, copy, gather, identity_attention, offset, split_mask, split_qkv, split_residual

CURRENT, PREVIOUS, LAST_THREE = offset(0), offset(1), offset(0, 1, 2)

# How much of a group of layer-0 heads is claimed: all of it; what it moves under a mask while its pattern is anyone's;
# its output as if it attended to the current token; or what it moves by a pattern of the right typicality.
Part = Offsets | Literal["whole", "identity", "typical"]


@dataclass(frozen=True)
class Stream:
    """What is claimed of the stream that queries, keys or values are made from; None is nothing."""

    embed: bool = False
    prev: Part | None = None
    same: Part | None = None
    misc: Part | None = None

    def groups(self) -> dict[str, Part]:
        """The groups of heads that are claimed, and how much of each."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "embed"}
        return {name: part for name, part in parts.items() if part is not None}


def _every_head(part: Part, *, embed: bool) -> Stream:
    return Stream(embed=embed, prev=part, same=part, misc=part)


EMBEDDING = Stream(embed=True)
PREVIOUS_HEAD = Stream(prev="whole")
PREVIOUS_HEAD_AT_PREVIOUS = Stream(prev=PREVIOUS)
CURRENT_TOKEN = _every_head(CURRENT, embed=True)
PREVIOUS_TOKEN = _every_head(PREVIOUS, embed=False)
PREVIOUS_TOKEN_DIRECT = _every_head(PREVIOUS, embed=True)
LAST_THREE_TOKENS = _every_head(LAST_THREE, embed=True)
FREE_ATTENTION = Stream(embed=True, prev="whole", same="whole", misc=LAST_THREE)
SELF_AS_IDENTITY = Stream(embed=True, prev=LAST_THREE, same="identity", misc=LAST_THREE)
TYPICAL_PREVIOUS = Stream(embed=True, prev="typical", same=LAST_THREE, misc=LAST_THREE)

INPUTS = ("Q", "K", "V")

# What is claimed of the streams for queries, keys and values; None where there is no claim of its own.
Streams = tuple[Stream | None, Stream | None, Stream | None]

RUNGS: dict[str, Streams] = {
    "naive": (EMBEDDING, PREVIOUS_HEAD_AT_PREVIOUS, EMBEDDING),
    "naive (whole head)": (None, PREVIOUS_HEAD, None),
    "refined 1": (CURRENT_TOKEN, PREVIOUS_TOKEN, CURRENT_TOKEN),
    "refined 2": (LAST_THREE_TOKENS, LAST_THREE_TOKENS, CURRENT_TOKEN),
    "refined 3": (FREE_ATTENTION, FREE_ATTENTION, CURRENT_TOKEN),
    "refined 4": (SELF_AS_IDENTITY, LAST_THREE_TOKENS, CURRENT_TOKEN),
    "refined 5": (SELF_AS_IDENTITY, TYPICAL_PREVIOUS, CURRENT_TOKEN),
}

SOURCE = "Redwood Research 2022, on another model and other text"

# Percent of loss recovered in the source, on another model and text (the whole-head row: the authors' exercise).
PUBLISHED: dict[str, int] = {
    **dict(zip(("naive/Q", "naive/K", "naive/V", "naive/All"), (51, 79, 90, 35), strict=True)),
    "naive (whole head)/K": 83,
    **dict(zip((f"refined 1/{i}" for i in (*INPUTS, "All")), (76, 86, 97, 62), strict=True)),
    **dict(zip((f"refined 2/{i}" for i in (*INPUTS, "All")), (87, 91, 97, 76), strict=True)),
    **dict(zip((f"refined 3/{i}" for i in (*INPUTS, "All")), (98, 97, 97, 91), strict=True)),
    **dict(zip((f"refined 4/{i}" for i in (*INPUTS, "All")), (97, 91, 97, 86), strict=True)),
    **dict(zip((f"refined 5/{i}" for i in (*INPUTS, "All")), (97, 94, 97, 89), strict=True)),
}


def experiments(*, rh1_k_direct: bool = False) -> dict[str, Streams]:
    """Every experiment but the baseline, by name ("naive/Q", ..., "refined 5/All"): inputs alone, and all at once.

    With `rh1_k_direct` the keys of refined 1 read the embedding as well.
    """
    rungs = dict(RUNGS)
    if rh1_k_direct:
        q, _, v = rungs["refined 1"]
        rungs["refined 1"] = (q, PREVIOUS_TOKEN_DIRECT, v)
    table: dict[str, Streams] = {}
    for rung, streams in rungs.items():
        for i, letter in enumerate(INPUTS):
            if streams[i] is not None:
                alone = [stream if i == j else None for j, stream in enumerate(streams)]
                table[f"{rung}/{letter}"] = (alone[0], alone[1], alone[2])
        if None not in streams:
            table[f"{rung}/All"] = streams
    return table


def is_typical(streams: Streams) -> bool:
    """Whether an experiment needs to know which positions are atypical."""
    return any("typical" in stream.groups().values() for stream in streams if stream is not None)


def network(model: Transformer, roles: Roles) -> Graph:
    """The model with its heads in the groups that the experiments speak of, and the groups taken apart.

    Groups: `ind` and `other` in the second layer; `prev`, `same` and `misc` (neither) in the first. What reaches
    the logits without passing the induction heads is `rest`.

    Raises `ModelError` unless the model has two layers and the roles fit it.
    """
    config = model.config
    if config.n_layers != 2:
        raise ModelError(
            f"the model has {config.n_layers} layers; the induction experiments are about two-layer models"
        )
    check_roles(roles, n_layers=config.n_layers, n_heads=config.n_heads)
    named: dict[str, Sequence[tuple[int, int]]] = {"prev": roles.previous, "same": roles.self_, "ind": roles.induction}
    taken = {tuple(head) for heads in named.values() for head in heads}
    every = [(layer, head) for layer in range(2) for head in range(config.n_heads)]
    named["misc"] = [h for h in every if h[0] == 0 and h not in taken]
    named["other"] = [h for h in every if h[0] == 1 and h not in taken]
    groups: dict[str, Any] = {
        name: " ".join(f"a{layer}_h{head}" for layer, head in heads) for name, heads in named.items() if heads
    }
    G = gather(transformer(model, **groups), "logits", rest=all_but("ind"))
    return split_qkv(G, *(name for name in ("ind", "prev", "same", "misc") if name in groups))


HEADS_DO_NOTHING = Graph(loss=reads("logits", "labels", "weights"), logits=reads("rest"), rest=reads("tokens"))


def hypothesis(G: Graph, streams: Streams) -> Hypothesis:
    """An experiment on `network(...)`: rewrites that bring out the parts it speaks of, and the claims about them."""
    claims = {
        "logits": reads("rest", "ind"),
        "ind": reads("ind_pattern", "ind_v"),
        "ind_pattern": reads("ind_q", "ind_k"),
    }
    for letter, stream in zip("qkv", streams, strict=True):
        if stream is None:
            claims[f"ind_{letter}"] = reads("tokens")
        else:
            G, claims = _claim_stream(G, claims, letter, stream)
    return Hypothesis(G, HEADS_DO_NOTHING | claims, columns=("atypical",))


def _claim_stream(G: Graph, claims: dict[str, Node], letter: str, stream: Stream) -> tuple[Graph, dict[str, Node]]:
    terms = ["embed"] if stream.embed else []
    claims = claims | ({"embed": reads("tokens")} if stream.embed else {})
    for group, part in stream.groups().items():
        if group in G:
            G, term, claimed = _claim_part(G, group, part, letter)
            terms.append(term)
            claims = claims | claimed
    return G, claims | {f"ind_{letter}": reads(*terms)}


def _claim_part(G: Graph, group: str, part: Part, letter: str) -> tuple[Graph, str, dict[str, Node]]:
    """The graph with the part as a node that `ind_{letter}` reads, the node's name, and the claims about it."""
    reader, pattern, v = f"ind_{letter}", f"{group}_pattern", f"{group}_v"
    values = {v: reads("tokens")}
    if part == "whole":
        return G, group, {group: reads("tokens")}
    if part == "identity":
        G = split_residual(G, group, guess=identity_attention(G, group), reader=reader)
        guess = f"{group}_{reader}_guess"
        return G, guess, {guess: reads(v), **values}
    term = f"{group}_at_{letter}"
    mask = LAST_THREE if part == "typical" else part
    G = split_mask(G, group, reader=reader, **{term: mask})
    if part != "typical":
        return G, term, {term: reads(v), **values}
    G = copy(G, pattern, reader=term)
    own_pattern = f"{pattern}_{term}"
    return G, term, {term: reads(own_pattern, v), own_pattern: TYPICALITY, **values}


def _typicality(
    tokens: Int[Tensor, "row position"], atypical: Bool[Tensor, "row position"]
) -> Bool[Tensor, "row position"]:
    """Of a position's attention it matters only whether the position is typical; the donor's tokens are passed on."""
    return atypical


TYPICALITY = per_position(_typicality)
