"""A component says which of its inputs are terms of a sum; rewrites replace these and leave the others alone."""

from dataclasses import dataclass
from functools import reduce

import pytest
import torch
from reference_transformer import random_data, random_transformer

from scrubbing import Graph, GraphError, Hypothesis, Node, reads, scrub
from scrubbing.engine.component import Component
from scrubbing.lens import transformer
from scrubbing.rewrite import all_but, copy, gather, group_heads, identity_attention, offset, split_mask, split_qkv
from scrubbing.rewrite import split_residual as split


@dataclass(frozen=True, eq=False)
class ScaledSum(Component):
    """The sum of its inputs but the first and the last, times these: a norm's scale, and a role of each position."""

    def terms(self, inputs: int) -> slice:
        return slice(1, inputs - 1)

    def __call__(self, scale, *terms_and_roles):
        *terms, roles = terms_and_roles
        return scale[..., None, None] * reduce(torch.add, terms) * roles[..., None]


MODEL = random_transformer(n_heads=3)
DATA = random_data(MODEL.config, rows=6)
DATA |= {"scale": torch.arange(1.0, 7.0).double(), "roles": torch.arange(30.0).double().reshape(6, 5) / 20}
WHOLE = transformer(MODEL)
STREAM = WHOLE["logits"].inputs
NETWORK = WHOLE | {
    "scaled": Node(ScaledSum(), ("scale", *STREAM, "roles"), 1),
    "logits": Node(WHOLE["logits"].fn, (*STREAM, "scaled")),
}


def same(G: Graph, *, of: Graph = NETWORK) -> None:
    torch.testing.assert_close(G(DATA), of(DATA), rtol=0, atol=1e-10)


def test_gather_gathers_terms_and_keeps_the_other_inputs_in_place():
    G = gather(NETWORK, "scaled", one="a0_h0 a0_h1", two="a1_h0")
    assert G["scaled"].inputs == ("scale", "embed", "a0_h2", "a1_h1", "a1_h2", "one", "two", "roles")
    same(G)
    G = gather(NETWORK, "scaled", rest=all_but("a1_h0"))
    assert G["scaled"].inputs == ("scale", "a1_h0", "rest", "roles")
    same(G)


def test_terms_are_split_and_grouped_where_they_are_summed():
    G = split_mask(split_qkv(NETWORK, "a0_h0"), "a0_h0", at=offset(0, 1))
    assert G["scaled"].inputs[:4] == ("scale", "embed", "at", "a0_h0_off")
    assert G["scaled"].inputs[-1] == "roles"
    same(G)
    same(split(split_qkv(NETWORK, "a0_h0"), "a0_h0", guess=identity_attention(split_qkv(NETWORK, "a0_h0"), "a0_h0")))
    G = group_heads(NETWORK, ind="a0_h0 a0_h2")
    assert G["scaled"].inputs == ("scale", "embed", "ind", "a0_h1", "a1_h0", "a1_h1", "a1_h2", "roles")
    same(G)
    G = group_heads(NETWORK, reader="scaled", ind="a0_h0 a0_h2")
    assert "a0_h0" in G["logits"].inputs
    same(G)


def test_what_is_read_beside_the_terms_is_not_replaced_by_terms():
    """`a0_h0` is a term of the stream's readers, and the roles of another: there it stays one value."""
    G = WHOLE | {
        "scaled": Node(ScaledSum(), ("scale", "embed", "a0_h0_mean"), 1),
        "a0_h0_mean": Node(lambda a0_h0: a0_h0.mean(-1), ("a0_h0",), 1),
        "logits": Node(WHOLE["logits"].fn, (*STREAM, "scaled")),
    }
    split_up = split_mask(split_qkv(G, "a0_h0"), "a0_h0", at=offset(1))
    assert split_up["a0_h0_mean"].inputs == ("a0_h0",)
    assert {"at", "a0_h0_off"} < set(split_up["logits"].inputs)
    same(split_up, of=G)
    G = WHOLE | {
        "scaled": Node(OnlyFirst(), ("embed", "a0_h0"), 1),
        "logits": Node(WHOLE["logits"].fn, (*STREAM, "scaled")),
    }
    split_up = split_mask(split_qkv(G, "a0_h0"), "a0_h0", at=offset(1))
    assert split_up["scaled"].inputs == ("embed", "a0_h0")
    same(split_up, of=G)


@dataclass(frozen=True, eq=False)
class OnlyFirst(Component):
    """Its first inputs added up, and gated by the last."""

    def terms(self, inputs: int) -> slice:
        return slice(0, inputs - 1)

    def __call__(self, *inputs):
        *terms, gate = inputs
        return reduce(torch.add, terms) * gate.sigmoid()


WRONG = [
    (lambda G: gather(G, "scaled", rest="roles"), "'scaled' does not sum 'roles'; it sums embed, a0_h0"),
    (lambda G: gather(G, "scaled", rest=all_but("scale")), "'scaled' does not sum 'scale'; it sums embed, a0_h0"),
    (lambda G: gather(G, "loss", rest="labels"), "'loss' does not sum its inputs (logits, labels, weights)"),
    (
        lambda G: group_heads(
            G | {"gated": Node(OnlyFirst(), ("a0_h0", "a0_h1"), 1), "logits": Node(G["logits"].fn, (*STREAM, "gated"))},
            reader="gated",
            ind="a0_h0 a0_h1",
        ),
        "'gated' does not sum 'a0_h1'; it sums a0_h0",
    ),
]


@pytest.mark.parametrize(("rewrite", "message"), WRONG)
def test_what_is_no_term_is_refused(rewrite, message):
    with pytest.raises(GraphError) as error:
        rewrite(NETWORK)
    assert message in str(error.value)


def test_a_gathered_network_scores_as_the_same_network():
    I = Graph(
        loss=reads("logits", "labels", "weights"), logits=reads("scaled"), scaled=reads("a1_h0", "scale", "roles")
    )
    I |= {"a1_h0": reads("tokens")}
    baseline = Graph(loss=reads("labels", "weights"))
    one, other = (
        scrub(Hypothesis(G, I), DATA, baseline=baseline, check=False)
        for G in (copy(NETWORK, "embed", reader="logits"), gather(NETWORK, "scaled", rest=all_but("a1_h0")))
    )
    assert one.scrubbed == pytest.approx(other.scrubbed, abs=1e-10)
