"""Groups by pattern, made at birth or by a rewrite: the same values, and one datum for all that is in a group."""

import numpy as np
import pytest
import torch
from hugging_face_models import VOCABULARY, loaded, tried
from reference_scrub import ReferenceScrub

from scrubbing import Graph, GraphError, Hypothesis, Node, reads, scrub
from scrubbing.lens import next_token_data, transformer
from scrubbing.lens.components.residual import Sum
from scrubbing.lens.grouping import Composite
from scrubbing.rewrite import all_but, gather, group, group_heads, scatter, split_norm, split_qkv

pytestmark = pytest.mark.usefixtures("unchecked")

ROWS, POSITIONS = 4, 6
TOKENS = torch.randint(0, VOCABULARY, (ROWS, POSITIONS + 1), generator=torch.Generator().manual_seed(2))
DATA = next_token_data(TOKENS, weights=torch.ones(ROWS, POSITIONS).double())
NOTHING = Graph(loss=reads("labels", "weights"))
NAMES = ["gpt2", "gemma2", "gpt_neox", "olmo2", "granite", "bloom"]


def layer(G, number):
    """All that a layer writes."""
    return f"a{number}.* m{number}" + (f" a{number}" if f"a{number}" in G else "")


@pytest.mark.parametrize("name", tried(NAMES, always=["gpt2", "gemma2"]))
def test_a_layer_is_one_node_with_the_values_of_its_parts(name):
    model = loaded(name)
    G = transformer(model)
    first, both = layer(G, 0), f"{layer(G, 0)} {layer(G, 1)}"
    made = transformer(model, first=first)
    assert made == group(G, first=first)
    assert group(G, first=first).origin is G
    assert made["logits"].inputs[:2] == ("embed", "first")
    assert isinstance(made["first"].fn, Composite)
    for one in (made, transformer(model, all=both), transformer(model, heads="a0.*", last=layer(G, 1))):
        torch.testing.assert_close(one(DATA), G(DATA), rtol=0, atol=1e-10)
    two = {"last": layer(G, 1), "first": first}  # named in any order
    assert transformer(model, **two) == group(G, **two) == transformer(model, first=first, last=layer(G, 1))
    parts = [part for part in G["m1"].inputs if part not in ("embed", *(f"a1_h{head}" for head in range(4)), "a1")]
    expected = sum(G.activations(DATA, *parts))
    torch.testing.assert_close(made.activations(DATA, "first")[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", tried(["gpt2", "gpt_neox", "gemma2"], always=["gpt2"]))
def test_a_claim_about_a_group_runs_all_of_it_on_one_datum(name):
    model = loaded(name)
    G = transformer(model)
    G = transformer(model, first=layer(G, 0), last=layer(G, 1))
    claims = Graph(
        loss=reads("logits", "labels", "weights"),
        logits=reads("last"),
        last=reads("first"),
        first=reads("embed"),
        embed=reads("tokens"),
    )
    h = Hypothesis(G, claims)
    score = scrub(h, DATA, baseline=NOTHING, seed=4)
    expected = ReferenceScrub(h, DATA, seed=4).estimate(range(ROWS))
    np.testing.assert_allclose(score.by_reference.scrubbed, expected, rtol=0, atol=1e-6)
    assert abs(np.array(expected) - np.array(score.by_reference.original)).min() > 1e-4


def test_patterns_stand_for_the_names_that_they_match():
    G = transformer(loaded("gpt2"))
    heads = [f"a0_h{head}" for head in range(4)]
    assert transformer(loaded("gpt2"), first="a0.*") == transformer(loaded("gpt2"), first=" ".join(heads))
    assert group_heads(G, first="a0.*") == transformer(loaded("gpt2"), first="a0.*")
    assert gather(G, "logits", late="a1.* m1") == gather(G, "logits", late="a1_h0 a1_h1 a1_h2 a1_h3 m1")
    assert gather(G, "logits", late=all_but("a0.* embed"))["late"].inputs[0] == "m0"
    assert split_qkv(G, "a1.*") == split_qkv(G, *(name.replace("a0", "a1") for name in heads))
    assert {f"a1_h{head}_scale" for head in range(4)} <= split_norm(G, "a1.*").keys()


def test_scatter_undoes_gather_and_groups_of_heads():
    G = transformer(loaded("gpt2"))
    gathered = gather(G, "logits", late="a1.* m1")
    back = scatter(gathered, "late")
    assert "late" not in back
    assert sorted(back["logits"].inputs) == sorted(G["logits"].inputs)
    grouped = transformer(loaded("gpt2"), two="a0_h1 a0_h3")
    single = scatter(grouped, "two")
    assert "two" not in single
    for ours, theirs in (("two_h0", "a0_h1"), ("two_h1", "a0_h3")):
        assert single[ours] == G[theirs]
    for_one = scatter(grouped, "two", reader="logits")
    assert "two" in for_one["m0"].inputs
    assert "two_h0" in for_one["logits"].inputs
    for one in (back, single, for_one):
        torch.testing.assert_close(one(DATA), G(DATA), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda G: group(G, x="a0.* m0 a1_h0"), "'x' groups a0_h0, a0_h1, a0_h2, a0_h3, m0, a1_h0; group heads of one"),
        (lambda G: group(G, x="a0_h0 a1_h0"), "summed by all that reads one of them: 'm0' does not sum a1_h0"),
        (lambda G: group(G, x="a7.*"), "'x' groups 'a7.*', which is no node"),
        (lambda G: group(G, x=""), "'x' groups nothing; name at least one node"),
        (lambda G: group(G, embed="m0"), "there is a node or column 'embed' already"),
        (
            lambda G: transformer(loaded("gpt2"), x="m2"),
            "'x' groups 'm2', which is no head or MLP of this model",
        ),
        (lambda G: transformer(loaded("gpt2"), x="m0", y="m*"), "'m0' is named twice, in 'x' and in 'y'"),
        (lambda G: transformer(loaded("gemma2"), x="a0.* m0"), "'a0' does not sum m0"),
        (lambda G: scatter(G, "m0"), "'m0' is MLP, and this rewrite needs a sum or a group of heads"),
        (lambda G: scatter(G, "a0_h0"), "'a0_h0' is Attention, and this rewrite needs a sum or a group of heads"),
        (
            lambda G: scatter(summed_twice(G), "x"),
            "'logits' sums 'm0' already, which is a term of 'x'",
        ),
        (lambda G: gather(G, "logits", x="a7.*"), "'logits' does not sum 'a7.*'"),
        (lambda G: split_qkv(G, "a0.* a0_h1"), "'a0_h1' is to be split twice"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(GraphError) as error:
        make(transformer(loaded("gpt2")))
    assert message in str(error.value)


def summed_twice(G):
    """The logits read a sum, and a term of it beside it."""
    inputs = (*G["logits"].inputs, "x")
    return G | {"x": Node(Sum(), ("m0", "embed"), 1), "logits": Node(G["logits"].fn, inputs)}
