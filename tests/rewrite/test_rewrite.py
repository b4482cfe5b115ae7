"""No rewrite changes a value that was there before: with equal inputs, and with other rows on every path."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from zlib import crc32

import numpy as np
import pytest
import torch
from reference_transformer import head_parts, norm, random_data, random_transformer
from torch import Tensor

from scrubbing import Graph, GraphError, Hypothesis, Node, reads, scrub
from scrubbing.lens import transformer
from scrubbing.lens.components.attention import Offsets
from scrubbing.lens.components.readout import Logits
from scrubbing.rewrite import (
    all_but,
    copy,
    gather,
    group_heads,
    identity_attention,
    offset,
    split_mask,
    split_qkv,
    split_residual,
)

MODEL = random_transformer(positional_embedding_type="shortformer")
DATA = random_data(MODEL.config, rows=8)
NETWORK = transformer(MODEL)
SPLIT = split_qkv(NETWORK, "a0_h0", "a1_h0")
PARTS = {f"a0_h0_{part}" for part in ("q", "k", "v", "pattern")}
COUNT = Node(lambda tokens: (tokens[..., None] == torch.arange(6)).double(), ("tokens",))  # a formula of the tokens


def three_forms(G: Graph) -> Graph:
    """One head as a guess and its error for queries, under one mask for keys, and under another for values."""
    G = split_residual(G, "a0_h0", guess=identity_attention(G, "a0_h0"), reader="a1_h0_q")
    G = split_mask(G, "a0_h0", at_k=offset(1), reader="a1_h0_k")
    return split_mask(G, "a0_h0", at_v=offset(0), reader="a1_h0_v")


@dataclass(frozen=True)
class Rewrite:
    """A rewrite of a graph, the nodes that it adds and drops, and the nodes that its new nodes stand for.

    A new node stands for the old one that its name begins with; `owner` says so for other names ("" is none).
    """

    of: Graph
    to: Callable[[Graph], Graph]
    adds: set[str]
    drops: set[str] = field(default_factory=set)
    owner: dict[str, str] = field(default_factory=dict)

    def stands_for(self, name: str) -> str:
        if name in self.of or name in self.owner:
            return self.owner.get(name, name)
        return max((old for old in self.of if name.startswith(f"{old}_")), key=len, default=name)


REWRITES = {
    "gather by name": Rewrite(
        NETWORK, lambda G: gather(G, "logits", rest="embed a0_h0 a1_h1"), {"rest"}, owner={"rest": ""}
    ),
    "gather all but": Rewrite(
        NETWORK, lambda G: gather(G, "a1_h0", rest=all_but("a0_h0", "a0_h2")), {"rest"}, owner={"rest": ""}
    ),
    "gather twice": Rewrite(
        NETWORK,
        lambda G: gather(G, "logits", first=["embed", "a0_h1"], rest=all_but("a1_h0")),
        {"first", "rest"},
        owner={"first": "", "rest": ""},
    ),
    "group_heads": Rewrite(
        NETWORK,
        lambda G: group_heads(G, both="a0_h0 a0_h2", last=["a1_h2"]),
        {"both", "last"},
        {"a0_h0", "a0_h2", "a1_h2"},
        {"a0_h0": "both", "a0_h2": "both", "a1_h2": "last"},
    ),
    "group_heads for a reader": Rewrite(
        NETWORK,
        lambda G: group_heads(G, both="a0_h0 a0_h2", reader="a1_h1"),
        {"both"},
        owner={"a0_h0": "both", "a0_h2": "both"},
    ),
    "split_qkv": Rewrite(NETWORK, lambda G: split_qkv(G, "a0_h0"), PARTS),
    "split_qkv of two": Rewrite(
        NETWORK,
        lambda G: split_qkv(G, "a0_h0", "a1_h0"),
        PARTS | {f"a1_h0_{part}" for part in ("q", "k", "v", "pattern")},
    ),
    "split_qkv for a reader": Rewrite(
        NETWORK,
        lambda G: split_qkv(G, "a0_h0", reader="a1_h0"),
        {"a0_h0_a1_h0", *(part.replace("h0", "h0_a1_h0") for part in PARTS)},
    ),
    "split_mask": Rewrite(
        SPLIT, lambda G: split_mask(G, "a0_h0", at=offset(1)), {"at", "a0_h0_off"}, {"a0_h0"}, {"at": "a0_h0"}
    ),
    "split_mask into three": Rewrite(
        SPLIT,
        lambda G: split_mask(G, "a0_h0", now=offset(0), near=offset(1, 2, 99)),
        {"now", "near", "a0_h0_off"},
        {"a0_h0"},
        {"now": "a0_h0", "near": "a0_h0"},
    ),
    "split_mask for a reader": Rewrite(
        SPLIT,
        lambda G: split_mask(G, "a0_h0", at=offset(0, 2), reader="a1_h0_k"),
        {"at", "a0_h0_a1_h0_k_off"},
        owner={"at": "a0_h0"},
    ),
    "split_residual by identity": Rewrite(
        SPLIT,
        lambda G: split_residual(G, "a0_h0", guess=identity_attention(G, "a0_h0")),
        {"a0_h0_whole", "a0_h0_guess", "a0_h0_error"},
        {"a0_h0"},
    ),
    "split_residual for a reader": Rewrite(
        SPLIT,
        lambda G: split_residual(G, "a0_h0", guess=identity_attention(G, "a0_h0"), reader="a1_h1"),
        {"a0_h0_a1_h1_whole", "a0_h0_a1_h1_guess", "a0_h0_a1_h1_error"},
    ),
    "split_residual by a formula": Rewrite(
        NETWORK,
        lambda G: split_residual(G, "embed", guess=COUNT),
        {"embed_whole", "embed_guess", "embed_error"},
        {"embed"},
    ),
    "split_residual where nothing is summed": Rewrite(
        SPLIT,
        lambda G: split_residual(G, "a0_h0_pattern", guess=Node(torch.zeros_like, ("a0_h0_pattern_whole",))),
        {"a0_h0_pattern_whole", "a0_h0_pattern_guess", "a0_h0_pattern_error"},
    ),
    "split_residual of the output": Rewrite(
        NETWORK,
        lambda G: split_residual(G, "loss", guess=Node(lambda labels: labels.double().mean(1), ("labels",))),
        {"loss_whole", "loss_guess", "loss_error"},
    ),
    "copy": Rewrite(NETWORK, lambda G: copy(G, "a1_h0"), {"a1_h0_logits"}, {"a1_h0"}),
    "copy for every reader": Rewrite(
        NETWORK,
        lambda G: copy(G, "a0_h0"),
        {"a0_h0_a1_h0", "a0_h0_a1_h1", "a0_h0_a1_h2", "a0_h0_logits"},
        {"a0_h0"},
    ),
    "copy for a reader": Rewrite(SPLIT, lambda G: copy(G, "embed", reader="a0_h0_q"), {"embed_a0_h0_q"}),
    "one head in three forms": Rewrite(
        SPLIT,
        three_forms,
        {f"a0_h0_a1_h0_q_{part}" for part in ("whole", "guess", "error")}
        | {"at_k", "a0_h0_a1_h0_k_off", "at_v", "a0_h0_a1_h0_v_off"},
        owner={"at_k": "a0_h0", "at_v": "a0_h0"},
    ),
}
every_rewrite = pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)


def close(got: Tensor | Logits, expected: Tensor | Logits) -> None:
    got, expected = (value.all() if isinstance(value, Logits) else value for value in (got, expected))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


def treeified(G: Graph, stands_for: Callable[[str], str]) -> Tensor:
    """The output where each path through the old graph brings rows of its own to the columns that it ends in."""

    def value(name: str, path: tuple[str, ...]):
        if name not in G:
            return DATA[name][np.random.default_rng(crc32("/".join([*path, name]).encode())).permutation(8)]
        owner = stands_for(name)
        path = path if owner in ("", *path[-1:]) else (*path, owner)
        return G[name].fn(*(value(i, path) for i in G[name].inputs))

    return value(G.output, ())


@every_rewrite
def test_every_node_keeps_its_value(rewrite):
    new, common = rewrite.to(rewrite.of), rewrite.of.keys() - rewrite.drops
    for got, expected in zip(new.activations(DATA, *common), rewrite.of.activations(DATA, *common), strict=True):
        close(got, expected)


@every_rewrite
@pytest.mark.usefixtures("unchecked")
def test_the_output_is_the_same_where_each_path_brings_other_rows(rewrite):
    before = treeified(rewrite.of, rewrite.stands_for)
    assert (before - rewrite.of(DATA)).abs().min() > 1e-3
    close(treeified(rewrite.to(rewrite.of), rewrite.stands_for), before)


@every_rewrite
def test_a_rewrite_adds_and_drops_the_nodes_that_it_says(rewrite):
    new = rewrite.to(rewrite.of)
    assert new.keys() == rewrite.of.keys() - rewrite.drops | rewrite.adds
    assert new.output == "loss"


@every_rewrite
def test_a_rewritten_graph_knows_the_graph_that_it_came_from(rewrite):
    assert NETWORK.origin is NETWORK
    assert rewrite.to(rewrite.of).origin is NETWORK
    changed = rewrite.of | {"loss": lambda labels: labels}
    assert changed.origin is changed


def test_position_axes_are_declared():
    G = three_forms(split_qkv(gather(NETWORK, "logits", rest=all_but("a1_h0")), "a0_h0", "a1_h0"))
    axes = {name: node.position_axis for name, node in G.items() if name not in ("logits", "loss")}
    assert axes == {name: 2 if name.endswith("_pattern") else 1 for name in axes}
    assert {"rest", "at_k", "a0_h0_a1_h0_q_guess", "a0_h0_a1_h0_q_error", "a1_h0_pattern"} <= axes.keys()


# -- the same hypothesis, before and after

LAST_TOKEN = {
    "loss": reads("logits", "labels", "weights"),
    "logits": reads("a1_h0"),
    "a1_h0": reads("a0_h0"),
    "a0_h0": lambda tokens: tokens[:, -1],
}


@cache
def last_token(others):
    """The score before any rewrite."""
    return scrub(Hypothesis(NETWORK, Graph(LAST_TOKEN)), DATA, **settings_of(others))


def settings_of(others):
    return {"baseline": Graph(loss=reads("labels", "weights")), "others": others, "draws": 3}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("others", ["node", pytest.param("reference", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("rewrite", "c"),
    [
        (lambda G: gather(G, "logits", rest=all_but("a1_h0")), {}),
        (lambda G: gather(G, "a1_h0", rest=all_but("a0_h0")), {}),
        (lambda G: group_heads(G, both="a0_h1 a0_h2"), {}),
        (lambda G: group_heads(G, one="a0_h0", reader="a1_h0"), {"a0_h0": "one"}),
        (lambda G: split_qkv(G, "a0_h0"), {}),
        (lambda G: split_qkv(G, "a0_h0", "a0_h1", reader="a1_h0"), {"a0_h0": "a0_h0_a1_h0"}),
        (lambda G: split_mask(split_qkv(G, "a0_h1"), "a0_h1", at=offset(1)), {}),
        (lambda G: split_residual(G, "embed", guess=COUNT), {}),
        (lambda G: copy(copy(G, "a0_h0"), "embed"), {"a0_h0": "a0_h0_a1_h0"}),
    ],
)
def test_a_hypothesis_scores_the_same_after_a_rewrite(rewrite, c, others):
    before = last_token(others)
    after = scrub(Hypothesis(rewrite(NETWORK), Graph(LAST_TOKEN), c), DATA, **settings_of(others))
    assert not np.allclose(before.by_reference.scrubbed, before.by_reference.original)
    for losses in ("original", "baseline", "scrubbed"):
        got, expected = (getattr(score.by_reference, losses) for score in (after, before))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


def test_one_head_in_three_forms_mixes_rows_as_the_formulas_say():
    claims = Graph(
        loss=reads("logits", "labels", "weights"),
        logits=reads("a1_h0"),
        a1_h0=reads("a1_h0_pattern", "a1_h0_v"),
        a1_h0_pattern=reads("a1_h0_q", "a1_h0_k"),
        a1_h0_q=reads("a0_h0_a1_h0_q_guess"),
        a1_h0_k=reads("at_k"),
        a1_h0_v=reads("at_v"),
        **{term: reads("a0_h0_v") for term in ("a0_h0_a1_h0_q_guess", "at_k", "at_v")},
        a0_h0_v=reads("tokens"),
    )
    other = np.roll(np.arange(8), 3)
    score = scrub(Hypothesis(three_forms(SPLIT), claims), DATA, baseline=Graph(claims), others=other)
    np.testing.assert_allclose(score.by_reference.scrubbed, mixed_by_hand(other), rtol=0, atol=1e-11)


def mixed_by_hand(other: np.ndarray) -> Tensor:
    """Everything is the other row's, but for what head 0.0 moves: O(x) for q, under masks for k and v."""
    c, weights = MODEL.config, MODEL.weights
    b0, b1 = (weights[f"blocks.{layer}.attn.b_O"] for layer in range(2))
    e = weights["embed.W_E"][DATA["tokens"]]
    x, y = (head_parts(c, weights, stream, layer=0, head=0) for stream in (e, e[other]))
    O_x, O_y = (part["v"] @ weights["blocks.0.attn.W_O"][0] for part in (x, y))
    outs = [head_parts(c, weights, e[other], layer=0, head=head)["out"] for head in range(3)]
    without = e[other] + b0 + outs[1] + outs[2]
    at = torch.arange(5)
    now, previous = ((at[:, None] - at == distance).double() for distance in (0, 1))
    A = y["pattern"]
    streams = {
        "q": without + O_x + (outs[0] - O_y),
        "k": without + (A * previous) @ O_x + (A * (1 - previous)) @ O_y,
        "v": without + (A * now) @ O_x + (A * (1 - now)) @ O_y,
    }
    q, k, v = (head_parts(c, weights, stream, layer=1, head=0)[name] for name, stream in streams.items())
    scores = (q @ k.mT / c.d_head**0.5).masked_fill(at > at[:, None], -torch.inf)
    written = scores.softmax(-1) @ v @ weights["blocks.1.attn.W_O"][0]
    real = without + outs[0]
    resid = real + b1 + written + sum(head_parts(c, weights, real, layer=1, head=head)["out"] for head in (1, 2))
    logits = norm(c, weights, resid, at="ln_final") @ weights["unembed.W_U"] + weights["unembed.b_U"]
    each = torch.nn.functional.cross_entropy(logits.mT, DATA["labels"], reduction="none")
    return (each * DATA["weights"]).sum(1)


# -- mistakes

BAD = [
    (lambda: gather(NETWORK, "lgits", rest="embed"), "there is no node 'lgits'; did you mean 'logits'?"),
    (
        lambda: gather(NETWORK, "logits", rest="embed a1_h9"),
        "'logits' does not sum 'a1_h9'; it sums embed, a0_h0, a0_h1, a0_h2, a1_h0, a1_h1, a1_h2; did you mean 'a1_h",
    ),
    (lambda: gather(NETWORK, "a0_h0", rest=all_but("a0_h1")), "'a0_h0' does not sum 'a0_h1'; it sums embed"),
    (lambda: gather(NETWORK, "a0_h0", rest=all_but("embed")), "a group of the inputs of 'a0_h0' would be empty"),
    (lambda: gather(NETWORK, "logits", rest=""), "a group of the inputs of 'logits' would be empty"),
    (
        lambda: gather(NETWORK, "loss", rest="logits"),
        "'loss' does not sum its inputs (logits, labels, weights), so they are no terms",
    ),
    (
        lambda: gather(NETWORK, "logits", a0_h0="embed"),
        "there is a node or column 'a0_h0' already; choose another name",
    ),
    (lambda: gather(NETWORK, "logits", tokens="embed"), "there is a node or column 'tokens' already"),
    (lambda: group_heads(NETWORK, both="a0_h0 a0_h5"), "there is no node 'a0_h5'; did you mean 'a0_h"),
    (
        lambda: group_heads(NETWORK, both="a0_h0 a1_h0"),
        "'both' groups a0_h0, a1_h0, which read different inputs; group heads of one layer",
    ),
    (
        lambda: group_heads(NETWORK, both="a0_h0 a0_h0"),
        "'both' groups 'a0_h0 a0_h0'; a group names at least one head, and each of them once",
    ),
    (lambda: group_heads(NETWORK, both=()), "'both' groups (); a group names at least one head"),
    (
        lambda: group_heads(NETWORK, both="embed"),
        "'embed' is Embedding, and this rewrite needs attention heads, not yet split",
    ),
    (
        lambda: group_heads(group_heads(NETWORK, both="a0_h0 a0_h1", reader="a1_h0"), again="a0_h0 a0_h2"),
        "'a0_h0' and 'a0_h2' have different readers; group them for one with reader=",
    ),
    (
        lambda: group_heads(NETWORK, both="a0_h0 a0_h1", reader="a1_h9"),
        "'a1_h9' does not read 'a0_h0'; its readers are a1_h0, a1_h1, a1_h2, logits; did you mean 'a1_h",
    ),
    (
        lambda: split_qkv(SPLIT, "a0_h0"),
        "'a0_h0' is HeadOutput, and this rewrite needs an attention head, not yet split",
    ),
    (lambda: split_qkv(NETWORK, "a0_h0", reader="a0_h1"), "'a0_h1' does not read 'a0_h0'; its readers are a1_h0,"),
    (
        lambda: split_mask(NETWORK, "a0_h0", at=offset(1)),
        "'a0_h0' is Attention, and this rewrite needs a head that was split into pattern and values (split_qkv)",
    ),
    (
        lambda: split_mask(SPLIT, "a0_h0", at=offset(0, 1), near=offset(1, 2)),
        "the masks of at, near overlap; each offset may stand in one of them",
    ),
    (
        lambda: split_mask(SPLIT, "a0_h0", at=~offset(1)),
        "'at' is a complement; name the offsets that it keeps: the others are 'a0_h0_off'",
    ),
    (
        lambda: split_mask(split_mask(SPLIT, "a0_h0", at=offset(1)), "a0_h0_off", now=offset(0)),
        "'a0_h0_off' is already one part of a mask; split the whole head into all its parts at once",
    ),
    (lambda: split_mask(SPLIT, "a0_h0", a0_h1=offset(1)), "there is a node or column 'a0_h1' already"),
    (
        lambda: split_mask(SPLIT, "a0_h0", a0_h0_off=offset(1)),
        "'a0_h0_off' is the name of what none of the parts holds; choose another name",
    ),
    (
        lambda: split_mask(gather(SPLIT, "logits", a0_h0_off="embed"), "a0_h0", at=offset(1)),
        "there is a node or column 'a0_h0_off' already; choose another name",
    ),
    (lambda: split_residual(NETWORK, "a0_h9", guess=COUNT), "there is no node 'a0_h9'; did you mean 'a0_h"),
    (
        lambda: split_residual(gather(NETWORK, "logits", embed_guess="a0_h0"), "embed", guess=COUNT),
        "there is a node or column 'embed_guess' already; choose another name",
    ),
    (
        lambda: split_residual(NETWORK, "a0_h0", guess=Node(lambda a1_h0: a1_h0, ("a1_h0",))),
        "these nodes read each other in a circle: ",
    ),
    (lambda: identity_attention(NETWORK, "a0_h0"), "'a0_h0' is Attention, and this rewrite needs a head that was"),
    (lambda: copy(NETWORK, "a0_h0", reader="a0_h1"), "'a0_h1' does not read 'a0_h0'; its readers are a1_h0, a1_h1,"),
    (lambda: copy(NETWORK, "tokens"), "there is no node 'tokens'"),
    (
        lambda: copy(gather(NETWORK, "logits", embed_a0_h1="a0_h0"), "embed", reader="a0_h1"),
        "there is a node or column 'embed_a0_h1' already; choose another name",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message for _, message in BAD])
def test_a_mistake_is_named(call, message):
    with pytest.raises(GraphError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_rewrite_is_noticed_when_it_is_scored():
    """What `check` is for: a rewrite that loses what a head moves within two positions."""
    wrong = SPLIT["a0_h0"].fn
    wrong = Node(type(wrong)(wrong.W_O, ~Offsets(frozenset({0, 1}))), SPLIT["a0_h0"].inputs, 1)
    h = Hypothesis(SPLIT.rewritten({"a0_h0": wrong}), Graph(loss=reads("logits", "labels", "weights"), logits=reads()))
    with pytest.raises(GraphError, match="a rewrite must change no value"):
        scrub(h, DATA, baseline=Graph(h.I))


def test_heads_split_together_are_those_split_one_by_one():
    names = [name for name in NETWORK if name.startswith("a")]
    one_by_one = NETWORK
    for name in names:
        one_by_one = split_qkv(one_by_one, name)
    together = split_qkv(NETWORK, *names)
    assert together == one_by_one
    assert together.order == one_by_one.order
    assert together.origin is NETWORK


def test_a_head_is_split_once():
    with pytest.raises(GraphError, match="'a0_h0' is to be split twice"):
        split_qkv(NETWORK, "a0_h0", "a0_h1", "a0_h0")
