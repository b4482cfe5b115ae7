"""Path patches against plain forward hooks, and by what must be equal; direct effects likewise."""

from functools import cache

import pytest
import torch
from hooked_passes import HookedModel
from hugging_face_models import VOCABULARY, hugging_face_model
from ioi_cases import KINDS, WORDS, doubled, random_network, rows

from hypotheses.heads import all_heads, head_name
from hypotheses.ioi.backup import effects_of_heads
from hypotheses.ioi.data import stacked
from hypotheses.ioi.network import OUTPUT, mlps, of_logit_difference
from hypotheses.ioi.patching import DONORS_OUTPUT, Patch, changes, partners, split, table
from hypotheses.ioi.prompts import ABC
from scrubbing import DataError, Graph, direct_effects, donor, measure, paths, reads, scrub
from scrubbing.lens import load_transformer, transformer

pytestmark = pytest.mark.usefixtures("unchecked")

TOKENS = torch.randint(0, VOCABULARY, (12, 9), generator=torch.Generator().manual_seed(3))
END = torch.tensor([6, 7, 8, 5, 6, 4] * 2)
COLUMNS = {
    "tokens": TOKENS,
    "io": torch.arange(6).repeat(2),
    "s": torch.arange(10, 16).repeat(2),
    "END": END,
}
DONORS = partners(6, 2)


@cache
def hooked(family):
    model = hugging_face_model(family, torch.float64)
    G = of_logit_difference(transformer(load_transformer(model, check=False)))
    return HookedModel(model, family), G


def difference(logits):
    """The logit difference at the end of the first six rows."""
    row = torch.arange(6)
    at = logits[row, END[:6]]
    return at[row, COLUMNS["io"][:6]] - at[row, COLUMNS["s"][:6]]


def expected(plain, logits):
    """The metric of the papers: the change from the clean run, as a share of what the donors' run would change."""
    clean, donors = difference(plain.run(TOKENS)).mean(), difference(plain.run(TOKENS[DONORS])).mean()
    return float((difference(logits).mean() - clean) / (clean - donors))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("family", "freeze_mlps"),
    [
        ("gpt2", False),
        pytest.param("gpt2", True, marks=SLOW),
        pytest.param("gpt_neox", False, marks=SLOW),  # attention and MLPs in parallel
        pytest.param("gpt_neox", True, marks=SLOW),
    ],
)
def test_patches_are_what_hooks_make_of_them(family, freeze_mlps):
    plain, G = hooked(family)
    cases = {
        Patch(((0, 1),), ((1, 2),), "q"): [(1, 2)],
        Patch(((0, 0), (0, 3)), ((1, 0), (1, 1)), "q"): [(1, 0), (1, 1)],
        Patch(((0, 2),)): [],
        Patch(((0, 2), (1, 3))): [],
    }
    found = changes(G, list(cases), COLUMNS, DONORS, 6, freeze_mlps=freeze_mlps)
    for (patch, queries), change in zip(cases.items(), found, strict=True):
        logits = plain.path_patched(TOKENS, DONORS, patch.senders, queries, mlps=not freeze_mlps)
        assert change == pytest.approx(expected(plain, logits), abs=1e-6)
        assert abs(change) > 1e-4


@cache
def case(kind):
    model = random_network(**KINDS[kind])
    data = doubled(stacked([rows(), rows().flipped(ABC, WORDS, 0)]))
    return model, of_logit_difference(transformer(model)), data


EARLY, LATE = ((0, 0), (0, 1), (1, 0)), ((1, 1), (2, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_donor_of_oneself_changes_nothing(kind):
    _, G, data = case(kind)
    patches = [*(Patch(EARLY, LATE, input) for input in ("q", "k", "v")), Patch((EARLY[1],), LATE, "k"), Patch(EARLY)]
    apart = split(G, patches)
    h = {str(patch): patch.hypothesis(apart, freeze_mlps=False) for patch in patches}
    settings = {"baseline": DONORS_OUTPUT, "references": range(8), "check": False}
    for score in scrub(h, data, others=torch.arange(16), **settings).values():
        assert score.losses["scrubbed"].to_numpy() == pytest.approx(score.losses["original"].to_numpy(), abs=1e-9)
    assert min(map(abs, changes(G, patches, data, partners(8, 2), 8))) > 1e-4
    with pytest.raises(DataError, match="so that no change can be a share of it"):
        changes(G, patches, data, torch.arange(16), 8)


@pytest.mark.parametrize("kind", KINDS)
def test_senders_after_their_receivers_do_exactly_nothing(kind):
    _, G, data = case(kind)
    patches = [Patch(((2, 0),), LATE, "k"), Patch(((1, 0),), ((1, 1),), "v"), Patch(((2, 1), (1, 0)), ((0, 0),), "q")]
    assert changes(G, patches, data, partners(8, 2), 8) == [0.0, 0.0, 0.0]
    both = [Patch(((0, 0), (2, 0)), ((1, 1),), "k"), Patch(((0, 0),), ((1, 1),), "k")]
    first, second = changes(G, both, data, partners(8, 2), 8)
    assert first == second != 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_all_heads_to_the_logits_is_activation_patching(kind):
    model, G, data = case(kind)
    heads = all_heads(model.config)
    (found,) = changes(G, [Patch(tuple(heads))], data, partners(8, 2), 8)
    patched = measure(
        G, {"all": {head_name(head): donor(partners(8, 2)) for head in heads}}, data, references=range(8)
    )["all"]
    donors = G({name: column[8:] for name, column in data.items()}).mean()
    assert found == pytest.approx(float((patched.scrubbed - patched.original) / (patched.original - donors)), abs=1e-9)


@pytest.mark.parametrize("kind", ["without norms", "attention alone"])
def test_a_last_head_to_the_logits_changes_them_by_its_direct_effect(kind):
    """By the norm that is held fixed; without a norm, exactly."""
    settings = KINDS[kind] | {"normalization_type": None}
    model = random_network(seed=1, **settings)
    own = transformer(model)
    G, data = of_logit_difference(own), case("sequential")[2]
    h = paths(G, "a2_h1", "logits")
    score = scrub(
        h, data, baseline=Graph({OUTPUT: reads("io", "s", "END")}), others=partners(8, 2), references=range(8)
    )
    effects = direct_effects(own, data, terms="a2_h1", on=("io", "s")).values["a2_h1"]
    change = score.losses["scrubbed"].to_numpy() - score.losses["original"].to_numpy()
    assert change == pytest.approx(effects[8:] - effects[:8], abs=1e-9)
    assert abs(change).max() > 1e-3


def test_where_receivers_are_linear_several_senders_do_what_each_does():
    """Values, under patterns that stay, without norms and MLPs."""
    model = random_network(**KINDS["attention alone"] | {"normalization_type": None})
    G, data = of_logit_difference(transformer(model)), case("sequential")[2]
    senders = [(0, 0), (0, 1), (1, 0)]
    patches = [Patch((head,), ((2, 0), (2, 1)), "v") for head in senders]
    *singles, together = changes(G, [*patches, Patch(tuple(senders), ((2, 0), (2, 1)), "v")], data, partners(8, 2), 8)
    assert together == pytest.approx(sum(singles), abs=1e-9)
    assert abs(together) > 1e-3


def test_where_a_softmax_lies_between_two_senders_do_more_than_each_alone():
    """The example of the text: logits 0 and -8, to the second of which each head adds 4."""
    G = Graph(
        a0_h0=lambda x: 4.0 * x,
        a0_h1=lambda x: 4.0 * x,
        embed=lambda x: 0.0 * x,
        a1_h0_k=lambda embed, a0_h0, a0_h1: embed + a0_h0 + a0_h1,
        a1_h0=lambda a1_h0_k: torch.sigmoid(a1_h0_k - 8.0),
        logit_difference=lambda a0_h0, a0_h1, a1_h0, y: a1_h0 + 0 * (a0_h0 + a0_h1 + y),
    )
    data = {"x": torch.tensor([0.0, 1.0], dtype=torch.float64), "y": torch.zeros(2, dtype=torch.float64)}
    hypotheses = {name: paths(G, name, "a1_h0_k") for name in ("a0_h0", "a0_h1", "a0_h0 a0_h1")}
    scores = scrub(hypotheses, data, baseline=Graph(logit_difference=reads("y")), others=[1, 0], references=[0])
    found = {name: score.scrubbed for name, score in scores.items()}
    assert next(iter(scores.values())).original == pytest.approx(3.35e-4, rel=1e-2)
    assert found["a0_h0"] == found["a0_h1"] == pytest.approx(0.018, rel=1e-2)
    assert found["a0_h0 a0_h1"] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_the_difference_of_two_logits_and_direct_effects_are_parts_of_it(kind):
    model, G, data = case(kind)
    own = transformer(model)
    (logits,) = own.activations(data, "logits")
    row = torch.arange(16)
    every = logits.all()[row, data["END"]]
    whole = every[row, data["io"]] - every[row, data["s"]]
    torch.testing.assert_close(G(data), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(of_logit_difference(own, as_loss=True)(data), -whole, rtol=0, atol=1e-12)
    effects = direct_effects(own, data, on=("io", "s"))
    b_U = model.weights["unembed.b_U"]
    total = torch.from_numpy(effects.total) + b_U[data["io"]] - b_U[data["s"]]
    torch.testing.assert_close(total, whole, rtol=0, atol=1e-9)
    of_heads = effects_of_heads(own, data, model.config)
    assert of_heads[2, 1] == pytest.approx(effects.values["a2_h1"], abs=1e-12)
    assert len(mlps(own)) == (0 if model.config.attn_only else 3)


def test_a_table_names_who_sends_what_to_whom():
    patches = [Patch(((0, 1), (2, 0)), ((3, 1),), "k"), Patch(((0, 1),))]
    assert table(patches, [-0.5, 0.25]) == [
        {"senders": "0.1 2.0", "receivers": "3.1", "input": "k", "change": -0.5},
        {"senders": "0.1", "receivers": "logits", "input": "logits", "change": 0.25},
    ]
    assert [str(patch) for patch in patches] == ["0.1 2.0 to 3.1 k", "0.1 to logits"]
