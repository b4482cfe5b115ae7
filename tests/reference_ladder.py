"""The induction ladder as its formulas say it: one row at a time, one head at a time, nothing shared.

It imports nothing of the package, and its names are those of the formulas: e, A, O, out_h, mix_h, R, T, N, ...
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Mask = Float[Tensor, "query key"]
Stream = Float[Tensor, "position d_model"]
Heads = list[tuple[int, int]]

# Which stream feeds the queries, the keys and the values of the induction heads.
LADDER: dict[tuple[str, str], tuple[str, str, str]] = {
    ("original", ""): ("R", "R", "R"),
    ("baseline", ""): ("T", "T", "T"),
    ("naive", "Q"): ("N", "R", "R"),
    ("naive", "K"): ("R", "NK", "R"),
    ("naive", "V"): ("R", "R", "N"),
    ("naive", "All"): ("N", "NK", "N"),
    ("naive (whole head)", "K"): ("R", "NKh", "R"),
    ("refined 1", "Q"): ("C1", "R", "R"),
    ("refined 1", "K"): ("R", "K1", "R"),
    ("refined 1", "V"): ("R", "R", "C1"),
    ("refined 1", "All"): ("C1", "K1", "C1"),
    ("refined 2", "Q"): ("L3", "R", "R"),
    ("refined 2", "K"): ("R", "L3", "R"),
    ("refined 2", "V"): ("R", "R", "C1"),
    ("refined 2", "All"): ("L3", "L3", "C1"),
    ("refined 3", "Q"): ("F3", "R", "R"),
    ("refined 3", "K"): ("R", "F3", "R"),
    ("refined 3", "V"): ("R", "R", "C1"),
    ("refined 3", "All"): ("F3", "F3", "C1"),
    ("refined 4", "Q"): ("Q4", "R", "R"),
    ("refined 4", "K"): ("R", "L3", "R"),
    ("refined 4", "V"): ("R", "R", "C1"),
    ("refined 4", "All"): ("Q4", "L3", "C1"),
    ("refined 5", "Q"): ("Q4", "R", "R"),
    ("refined 5", "K"): ("R", "K5", "R"),
    ("refined 5", "V"): ("R", "R", "C1"),
    ("refined 5", "All"): ("Q4", "K5", "C1"),
}


@dataclass(frozen=True)
class Network:
    """Weights (old transformer_lens names), configuration, and the groups of heads, as (layer, head) pairs."""

    weights: Mapping[str, Tensor]
    config: Mapping[str, Any]
    IND: Heads
    PTH: Heads
    SELF: Heads
    REST0: Heads


@dataclass(frozen=True)
class Row:
    """What layer 0 computes on one row."""

    e: Stream
    A: Float[Tensor, "head query key"]
    O: Float[Tensor, "head position d_model"]


# ---------------------------------------------------------------- the network


def name_groups(weights: Mapping[str, Tensor], config: Mapping[str, Any], roles: Mapping[str, Any]) -> Network:
    """The network with its four groups of heads; the heads of layer 0 without a role are REST0."""
    groups = {role: [(int(layer), int(head)) for layer, head in roles.get(role, [])] for role in ROLES}
    IND, PTH, SELF = (groups[role] for role in ROLES)
    if config["n_layers"] != 2 or any(layer != 1 for layer, _ in IND) or any(layer != 0 for layer, _ in PTH + SELF):
        raise ValueError("the ladder is about induction heads in layer 1 of 2 that read the heads of layer 0")
    REST0 = [(0, head) for head in range(config["n_heads"]) if (0, head) not in PTH + SELF]
    return Network(weights, config, IND, PTH, SELF, REST0)


ROLES = ("induction", "previous", "self")


def norm(net: Network, x: Stream, *, at: str) -> Stream:
    """The layer norm called `at` (biased variance, scale and bias), or nothing at all where norms are off."""
    if net.config["normalization_type"] is None:
        return x
    if net.config["normalization_type"] != "LN":
        raise ValueError(f"norm {net.config['normalization_type']!r} is not in the formulas")
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + net.config["eps"]) * net.weights[f"{at}.w"] + net.weights[f"{at}.b"]


def linear(net: Network, x: Tensor, *, layer: int, head: int, which: str) -> Float[Tensor, "position d_head"]:
    """x W_Q + b_Q of one head (or K, or V); a bias that is missing is zero."""
    W, b = (f"blocks.{layer}.attn.{letter}_{which}" for letter in "Wb")
    return x @ net.weights[W][head] + (net.weights[b][head] if b in net.weights else 0.0)


def bias(net: Network, name: str) -> Tensor | float:
    return net.weights.get(name, 0.0)


def attention(net: Network, rq: Stream, rk: Stream, *, layer: int, head: int) -> Mask:
    """The pattern of one head; positions are added after the norm (shortformer)."""
    pos = net.weights["pos_embed.W_pos"][: len(rq)]
    q = linear(net, norm(net, rq, at=f"blocks.{layer}.ln1") + pos, layer=layer, head=head, which="Q")
    k = linear(net, norm(net, rk, at=f"blocks.{layer}.ln1") + pos, layer=layer, head=head, which="K")
    scores = q @ k.T / net.config["d_head"] ** 0.5
    return torch.softmax(scores.masked_fill(CAUSAL(scores) == 0, -torch.inf), dim=-1)


def moved(net: Network, rv: Stream, *, layer: int, head: int) -> Stream:
    """What one head would move from each source position: LN(rv) W_V W_O."""
    v = linear(net, norm(net, rv, at=f"blocks.{layer}.ln1"), layer=layer, head=head, which="V")
    return v @ net.weights[f"blocks.{layer}.attn.W_O"][head]


def layer_1(net: Network, heads: Heads, rq: Stream, rk: Stream, rv: Stream) -> Stream:
    """The sum of these layer-1 heads with queries, keys and values from three streams."""
    written = torch.zeros_like(rv)
    for layer, head in heads:
        written = written + attention(net, rq, rk, layer=layer, head=head) @ moved(net, rv, layer=layer, head=head)
    return written


def read_row(net: Network, row: Int[Tensor, " position"]) -> Row:
    """e(x), A_h(x) and O_h(x) for every head h of layer 0."""
    e = net.weights["embed.W_E"][row]
    heads = range(net.config["n_heads"])
    A = torch.stack([attention(net, e, e, layer=0, head=h) for h in heads])
    O = torch.stack([moved(net, e, layer=0, head=h) for h in heads])
    return Row(e, A, O)


def losses(net: Network, r1: Stream, IND: Stream, labels: Int[Tensor, " position"]) -> Float[Tensor, " position"]:
    """-ln p(label) of LNf(r1 + OTHER(r1) + IND) W_U at every position; r1 is always the real one."""
    others = [(1, head) for head in range(net.config["n_heads"]) if (1, head) not in net.IND]
    resid = r1 + layer_1(net, others, r1, r1, r1) + IND + bias(net, "blocks.1.attn.b_O")
    logits = norm(net, resid, at="ln_final") @ net.weights["unembed.W_U"] + bias(net, "unembed.b_U")
    return -torch.log_softmax(logits, dim=-1)[torch.arange(len(labels)), labels]


# ---------------------------------------------------------------- the masks


def distance(like: Mask) -> Int[Tensor, "query key"]:
    at = torch.arange(len(like))
    return at[:, None] - at[None, :]


def CAUSAL(like: Mask) -> Mask:
    return (distance(like) >= 0).to(like)


def CUR(like: Mask) -> Mask:
    return (distance(like) == 0).to(like)


def PREV(like: Mask) -> Mask:
    return (distance(like) == 1).to(like)


def LAST3(like: Mask) -> Mask:
    return ((distance(like) >= 0) & (distance(like) <= 2)).to(like)


# ---------------------------------------------------------------- the streams


def out(x: Row, h: int) -> Stream:
    return x.A[h] @ x.O[h]


def mix(x: Row, y: Row, h: int, *, mask: Mask) -> Stream:
    """mix_h(M), y the other row: its attention everywhere, real values under the mask, its own elsewhere."""
    return (y.A[h] * mask) @ x.O[h] + (y.A[h] * (CAUSAL(mask) - mask)) @ y.O[h]


def resampled(x: Row, y: Row, h: int, *, attention: Mask) -> Stream:
    """mix_h(LAST3) with another attention pattern in its LAST3 term alone (K5)."""
    last3 = LAST3(attention)
    return (attention * last3) @ x.O[h] + (y.A[h] * (CAUSAL(last3) - last3)) @ y.O[h]


def guess_and_error(x: Row, y: Row, h: int) -> Stream:
    """The residual rewrite of Q4: the real guess O_h(x), and the error of that guess on the other row."""
    return x.O[h] + (out(y, h) - y.O[h])


def total(terms: Iterable[Stream]) -> Tensor | float:
    return sum(terms, start=0.0)


def make_streams(
    net: Network, x: Row, y: Row, *, drawn: Float[Tensor, "head query key"] | None = None
) -> dict[str, Stream]:
    """The named streams for a row x and its other row y; K5 only where patterns are drawn for it."""
    every = [h for _, h in sorted(net.PTH + net.SELF + net.REST0)]
    PTH, SELF, REST0 = ([h for _, h in group] for group in (net.PTH, net.SELF, net.REST0))
    cur, prev, last3 = (mask(x.A[0]) for mask in (CUR, PREV, LAST3))
    streams = {
        "R": x.e + total(out(x, h) for h in every),
        "T": y.e + total(out(y, h) for h in every),
        "N": x.e + total(out(y, h) for h in every),
        "NKh": y.e + total(out(x, h) for h in PTH) + total(out(y, h) for h in SELF + REST0),
        "NK": y.e + total(mix(x, y, h, mask=prev) for h in PTH) + total(out(y, h) for h in SELF + REST0),
        "C1": x.e + total(mix(x, y, h, mask=cur) for h in every),
        "K1": y.e + total(mix(x, y, h, mask=prev) for h in every),
        "L3": x.e + total(mix(x, y, h, mask=last3) for h in every),
        "F3": x.e + total(out(x, h) for h in PTH + SELF) + total(mix(x, y, h, mask=last3) for h in REST0),
        "Q4": x.e
        + total(guess_and_error(x, y, h) for h in SELF)
        + total(mix(x, y, h, mask=last3) for h in PTH + REST0),
    }
    if drawn is not None:
        streams["K5"] = (
            x.e
            + total(resampled(x, y, h, attention=drawn[h]) for h in PTH)
            + total(mix(x, y, h, mask=last3) for h in SELF + REST0)
        )
    return {name: stream + bias(net, "blocks.0.attn.b_O") for name, stream in streams.items()}


def draw_patterns(rows: list[Row], donors: Int[Tensor, " query"]) -> Float[Tensor, "head query key"]:
    """Row q of each head's pattern from the donor of q."""
    return torch.stack([rows[int(donor)].A[:, q] for q, donor in enumerate(donors)], dim=1)


# ---------------------------------------------------------------- the scores


def row_losses(
    per_position: Float[Tensor, "row position"], weights_per_position: Float[Tensor, "row position"]
) -> Float[Tensor, " row"]:
    """sum_p w_ip l_ip / mean_j sum_p w_jp, whose mean over rows is the mean over weighted positions."""
    return (weights_per_position * per_position).sum(1) / weights_per_position.sum(1).mean()


def check_donors(atypical: Bool[Tensor, "row position"], donors: Int[Tensor, "row position"]) -> None:
    position = torch.arange(donors.shape[1]).expand_as(donors)
    if not torch.equal(atypical[donors, position], atypical):
        raise ValueError("a pattern donor's type differs from the type that it stands in for")


def ladder_losses(
    weights: Mapping[str, Tensor],
    config: Mapping[str, Any],
    roles: Mapping[str, Any],
    tokens: Int[Tensor, "row token"],
    other: Int[Tensor, " row"],
    weights_per_position: Float[Tensor, "row position"],
    *,
    atypical: Bool[Tensor, "row position"] | None = None,
    pattern_donors: Int[Tensor, "row position"] | None = None,
) -> dict[tuple[str, str], Float[Tensor, " row"]]:
    """The row losses of every experiment, by (name, inputs); K5's only where `pattern_donors` is given.

    `tokens` holds inputs `[:, :-1]` and labels `[:, 1:]`; `other` is each row's other row x~; `pattern_donors[i, q]` is
    the row whose previous-token attention from q stands in for row i's (its type there is checked against `atypical`).
    """
    net = name_groups(weights, config, roles)
    if atypical is not None and pattern_donors is not None:
        check_donors(atypical, pattern_donors)
    rows = [read_row(net, row[:-1]) for row in tokens]
    per_position: dict[tuple[str, str], list[Tensor]] = {}
    for i, x in enumerate(rows):
        drawn = None if pattern_donors is None else draw_patterns(rows, pattern_donors[i])
        streams = make_streams(net, x, rows[int(other[i])], drawn=drawn)
        for claim, (rq, rk, rv) in LADDER.items():
            if "K5" in (rq, rk, rv) and drawn is None:
                continue
            IND = layer_1(net, net.IND, streams[rq], streams[rk], streams[rv])
            per_position.setdefault(claim, []).append(losses(net, streams["R"], IND, tokens[i, 1:]))
    return {claim: row_losses(torch.stack(each), weights_per_position) for claim, each in per_position.items()}
