"""Rewrites of MLPs, norms, positions and subspaces: the same values in every family, on distinct paths too."""

import numpy as np
import pytest
import torch
from hugging_face_models import VOCABULARY, loaded, tried
from reference_scrub import ReferenceScrub

from scrubbing import Graph, GraphError, Hypothesis, reads, scrub
from scrubbing.lens import next_token_data, transformer
from scrubbing.rewrite import project, split_neurons, split_norm, split_positions, split_qkv

ROWS, POSITIONS = 4, 7
TOKENS = torch.randint(0, VOCABULARY, (ROWS, POSITIONS + 1), generator=torch.Generator().manual_seed(2))
DATA = next_token_data(TOKENS, weights=torch.eye(ROWS, POSITIONS).double() + torch.eye(ROWS, POSITIONS).roll(3, 1))
DATA |= {"end": torch.tensor([6, 3, 4, 6]), "others": torch.tensor([[0, 1], [1, -1], [2, 5], [-1, -1]])}
DIRECTIONS = torch.randn(3, 32, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
NOTHING = Graph(loss=reads("labels", "weights"))
NAMES = ["gpt2", "llama", "gemma2", "olmo2", "gpt_neox", "gpt2 scaled by layer", "bloom"]


def parts(G):
    heads = ("a1_h2",) if "a1" not in G else ("a1",)
    return {
        "neurons": split_neurons(G, "m0", few=[3, 1], more=range(10, 20)),
        "all neurons": split_neurons(G, "m1", low=range(20), high=range(20, len(G["m1"].fn.W_out))),
        "norm": split_norm(G, "logits", "m1", *heads) if G["m1"].fn.reader.norm.kind else split_norm(G, "logits", "a1"),
        "positions": split_positions(split_positions(G, "m0", last="end", first=[0]), "embed", some="others"),
        "subspace": project(project(G, "embed", DIRECTIONS), "m0", DIRECTIONS[:1]),
    }


@pytest.mark.parametrize("name", tried(NAMES, always=["gemma2", "olmo2", "bloom"]))
def test_no_value_changes(name, unchecked):
    G = transformer(loaded(name))
    for rewrite, split in parts(G).items():
        torch.testing.assert_close(split(DATA), G(DATA), rtol=0, atol=1e-10, msg=f"{name}, {rewrite}")


CLAIMS = {
    "neurons": {"logits": reads("few"), "few": reads("embed")},
    "norm": {
        "logits": reads("logits_scale", "m0"),
        "logits_scale": reads("a0_h1"),
        "a0_h1": reads("embed"),
        "m0": reads("embed"),
    },
    "positions": {
        "logits": reads("last", "some"),
        "last": reads("m0_whole"),
        "m0_whole": reads("some"),
        "some": reads("embed_whole"),
    },
    "subspace": {"logits": reads("m0_inside"), "m0_inside": reads("m0_whole"), "m0_whole": reads("embed_outside")},
}


@pytest.mark.parametrize("rewrite", CLAIMS)
@pytest.mark.parametrize("name", tried(["gpt2", "gpt_neox"], always=["gpt2"]))
def test_a_claim_about_a_part_scores_as_the_reference_does(name, rewrite, unchecked):
    split = parts(transformer(loaded(name)))[rewrite]
    h = Hypothesis(split, Graph(loss=reads("logits", "labels", "weights"), **_claimed(CLAIMS[rewrite])))
    scores = scrub(h, DATA, baseline=NOTHING, seed=5)
    expected = ReferenceScrub(h, DATA, seed=5).estimate(range(ROWS))
    np.testing.assert_allclose(scores.by_reference.scrubbed, expected, rtol=0, atol=1e-9)


def _claimed(claims):
    """With what these read, down to the columns."""
    read = {i for node in claims.values() for i in node.inputs} - claims.keys()
    return claims | {i: reads("tokens") for i in read if i not in DATA}


def test_a_norm_whose_scale_is_claimed_exactly_is_frozen():
    G = transformer(loaded("gpt2"))
    split = split_norm(G, "logits")
    values = {"tokens": DATA["tokens"]}
    for node in [*G["logits"].inputs, "logits_scale"]:
        values[node] = split[node].fn(*(values[i] for i in split[node].inputs))
    stream = [values[i] for i in G["logits"].inputs]
    shifted = [stream[0] + 1.5 * stream[3], *stream[1:]]
    one, two = (split["logits"].fn(*s, values["logits_scale"]).all() for s in (stream, shifted))
    norm, W_U = G["logits"].fn.reader.norm, G["logits"].fn.W_U
    added = 1.5 * norm.centred(stream[3]) * values["logits_scale"] * norm.w @ W_U
    torch.testing.assert_close(two - one, added, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("rewrite", "message"),
    [
        (lambda G: split_neurons(G, "a0_h0", x=[1]), "'a0_h0' is Attention, and this rewrite needs an MLP"),
        (lambda G: split_neurons(G, "m0", x=[1], y=[1]), "'y' names neuron 1; 'm0' has neurons 0 to 127"),
        (lambda G: split_neurons(G, "m0", x=[128]), "'x' names neuron 128; 'm0' has neurons 0 to 127"),
        (lambda G: split_neurons(G, "m0", x=[]), "'x' names no neuron, or one twice"),
        (lambda G: split_norm(G, "embed"), "'embed' is Embedding, and this rewrite needs a node that reads"),
        (lambda G: split_norm(split_norm(G, "m0"), "m0"), "there is a node or column 'm0_scale' already"),
        (lambda G: split_positions(G, "logits", x=[1]), "'logits' has no positions on its second axis"),
        (lambda G: split_positions(G, "m0", x=[1], y=[1, 2]), r"'y' names positions \[1, 2\]; each is 0 or more"),
        (lambda G: split_positions(G, "m0", x="end", y="end"), "two parts are the same column"),
        (lambda G: project(G, "m0", torch.zeros(2, 32)), r"directions have the shape \[2, 32\]"),
        (lambda G: split_qkv(G, "m0"), "'m0' is MLP, and this rewrite needs an attention head"),
    ],
)
def test_what_cannot_be_split_is_said(rewrite, message):
    G = transformer(loaded("gpt2"))
    with pytest.raises(GraphError, match=message):
        rewrite(G)
