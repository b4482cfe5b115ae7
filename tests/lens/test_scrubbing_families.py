"""Hypotheses about networks of every family: a run gives the losses of two slow references, on distinct inputs too.

One has the library's nodes, and donors drawn as the paper says. The other computes each node by patching the model.
"""

import numpy as np
import pytest
import torch
from hooked_twin import Twin
from hugging_face_models import MODELS, VOCABULARY, hugging_face_model, loaded, tried
from reference_scrub import ReferenceScrub

from scrubbing import Graph, Hypothesis, reads, scrub
from scrubbing.lens import next_token_data, transformer
from scrubbing.lens.hugging_face import FAMILIES
from scrubbing.rewrite import split_qkv

ROWS, POSITIONS = 5, 8
TOKENS = torch.randint(0, VOCABULARY, (ROWS, POSITIONS + 1), generator=torch.Generator().manual_seed(2))
WEIGHTS = {
    "few": torch.eye(ROWS, POSITIONS) + torch.eye(ROWS, POSITIONS).roll(5, 1),
    "most": torch.ones(ROWS, POSITIONS),
}

NOTHING = Graph(loss=reads("labels", "weights"))


def graph(name):
    return transformer(loaded(name))


def claims(G):
    """The last MLP matters through a head before it, and a head through the first MLP alone."""
    writers = ("a1", "a0") if "a0" in G else ("a1_h2", "a0_h1")
    claimed = {
        "loss": reads("logits", "labels", "weights"),
        "logits": reads("m1", writers[0]),
        "m1": reads(writers[1], "m0"),
        "m0": reads("embed"),
    }
    if "a0" in G:
        claimed |= {"a1": reads("a1_h2"), "a0": reads("a0_h1")}
    return claimed | {"a1_h2": reads("m0"), "a0_h1": reads("embed"), "embed": reads("tokens")}


def check(G, claimed, weights, network=None):
    data = next_token_data(TOKENS, weights=weights.double())
    h = Hypothesis(G, Graph(claimed))
    score = scrub(h, data, baseline=NOTHING, seed=3)
    expected = ReferenceScrub(Hypothesis(network or G, h.I), data, seed=3).estimate(range(ROWS))
    np.testing.assert_allclose(score.by_reference.scrubbed, expected, rtol=0, atol=1e-6)
    assert min(score.by_reference.kl) > 0


@pytest.mark.parametrize("name", tried(MODELS, always=["gpt2", "gemma2", "gpt_neox"]))
def test_a_hypothesis_scores_as_the_reference_does(name, unchecked):
    G = graph(name)
    for weights in WEIGHTS.values():
        check(G, claims(G), weights)


@pytest.mark.parametrize("name", tried(MODELS, always=["gpt2", "olmo2", "gptj"]))
def test_a_hypothesis_scores_as_patching_the_model_by_hooks_does(name, unchecked):
    model, G = hugging_face_model(name, torch.float64), graph(name)
    twin = Twin(model, FAMILIES[model.config.model_type].layout, loaded(name).config).graph(G)
    check(G, claims(G), WEIGHTS["most"], twin)


@pytest.mark.parametrize("name", tried(["llama", "olmo2", "bloom", "gemma3", "gpt_neox"], always=["olmo2"]))
def test_a_head_with_shared_keys_and_norms_is_split_into_its_parts(name, unchecked):
    G = graph(name)
    split = split_qkv(G, "a1_h2", "a0_h1")
    data = next_token_data(TOKENS, weights=WEIGHTS["most"].double())
    torch.testing.assert_close(split(data), G(data), rtol=0, atol=1e-12)
    parts = {"a1_h2": reads("a1_h2_pattern"), "a1_h2_pattern": reads("a1_h2_q"), "a1_h2_q": reads("m0")}
    check(split, claims(G) | parts | {"a0_h1": reads("a0_h1_v"), "a0_h1_v": reads("embed")}, WEIGHTS["few"])
