"""Every hypothesis, against a forward pass written by hand on the donors that were drawn."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from bracket_checker import Plain, random_checker
from torch import Tensor

from hypotheses.brackets.claims import CLAIMS, LABELS_ALONE, Claim, hypotheses
from hypotheses.brackets.data import columns
from hypotheses.brackets.network import network, share_direction
from hypotheses.brackets.roles import Roles
from hypotheses.brackets.strings import random_strings
from scrubbing import scrub

pytestmark = pytest.mark.usefixtures("unchecked")

MODEL = random_checker()
DATA = columns([s for s in random_strings(300, seed=1) if len(s) <= 10], torch.float64)
TOKENS = DATA["tokens"]
NET = Plain(MODEL)
OF = NET.parts(TOKENS)
REFERENCES = 25


def scored(claims: dict, **settings):
    return scrub(claims, DATA, baseline=LABELS_ALONE, references=REFERENCES, **settings)


def by_hand(claim: Claim, donors: Mapping[str, Tensor], references: Tensor, *, through_mlps: bool) -> Tensor:
    """The losses, given who stood in for whom."""
    u = donors["loss/logits/other"]
    total = OF["r3"][u, 0].clone()
    for head in ("a1_h0", "a2_h0", "a2_h1"):
        value = judged if head == "a2_h1" else counted
        total += value(claim, donors, head, through_mlps) - OF[head][u, 0]
    return NET.losses(total, DATA["labels"][references, 0])


def counted(claim: Claim, donors: Mapping[str, Tensor], head: str, through_mlps: bool) -> Tensor:
    path, layer = f"loss/logits/{head}", int(head[1])
    own = donors[path]
    if claim.inside is None:
        return OF[head][own, 0]
    first, u = f"{path}/{head}_first", donors[f"{path}/other"]
    resid = OF[f"r{layer}"][u].clone()
    resid[:, 1] = first_bracket(claim, donors, first, own, layer, through_mlps)
    return NET.head(layer, 0, resid, TOKENS[u])[:, 0]


def first_bracket(
    claim: Claim, donors: Mapping[str, Tensor], path: str, own: Tensor, layer: int, through_mlps: bool, until: str = "r"
) -> Tensor:
    """The stream at the first bracket before a layer (or before an MLP), of a claimed part and a donor's rest."""
    u, copied = donors[f"{path}/other"], "" if claim.inside == "whole" else "_of_share"
    total = OF["embed"][own, 1] + written(claim, own, u)
    for earlier in range(layer + (until == "m")):
        heads = (h for h in ("h0", "h1") if (earlier, h) != (0, "h0"))
        total = total + sum(OF[f"a{earlier}_{h}"][u, 1] for h in heads) + NET.attention_bias(earlier)
        if earlier == layer:
            return total
        if through_mlps:
            below = f"{path}/m{earlier}{copied}"
            stream = first_bracket(claim, donors, below, own, earlier, through_mlps, until="m")
            total = total + NET.mlp(earlier, stream)
        else:
            total = total + OF[f"m{earlier}"][u, 1]
        total = total + NET.mlp_bias(earlier)
    return total


def written(claim: Claim, own: Tensor, u: Tensor) -> Tensor:
    """What head 0.0 writes at the first bracket."""
    if claim.inside == "whole":
        return OF["a0_h0"][own, 1]
    v = share_direction(network(MODEL), (0, 0), MODEL.config.n_ctx)
    opens, brackets = (TOKENS == 3).sum(1).double(), (TOKENS >= 3).sum(1)
    guess = (2 * opens / brackets - 1)[:, None] * v
    return guess[own] + OF["a0_h0"][u, 1] - guess[u]


def judged(claim: Claim, donors: Mapping[str, Tensor], head: str, _: bool) -> Tensor:
    own = donors[f"loss/logits/{head}"]
    if claim.judging is None:
        return OF[head][own, 0]
    each = donors[f"loss/logits/{head}/{head}_stream"]
    resid = torch.stack([OF["r2"][each[:, p], p] for p in range(each.shape[1])], dim=1)
    return NET.head(2, 1, resid, TOKENS[own])[:, 0]


@pytest.mark.parametrize("through_mlps", [True, False], ids=["through MLPs", "direct"])
@pytest.mark.parametrize("name", CLAIMS)
def test_a_hypothesis_is_what_its_claims_say(name, through_mlps):
    h = hypotheses(network(MODEL), Roles(), MODEL.config.n_ctx, through_mlps=through_mlps)[name]
    score = scored({name: h})[name]
    donors = {path: torch.from_numpy(np.asarray(rows)) for path, rows in score.donors.items()}
    references = torch.tensor(score.by_reference.reference)
    expected = by_hand(CLAIMS[name], donors, references, through_mlps=through_mlps)
    assert np.allclose(score.by_reference.scrubbed, expected.numpy(), rtol=1e-9, atol=1e-9)


Feature = Callable[[str], object]


def share(string: str, position: int) -> float:
    return string[position - 1 :].count("(") / max(1, len(string) - position + 1)


def horizon_holds(string: str) -> bool:
    return all(string[i:].count("(") <= string[i:].count(")") for i in range(len(string)))


def equal_counts(string: str) -> bool:
    return string.count("(") == string.count(")")


def strings() -> list[str]:
    return ["".join("()"[t - 3] for t in row if t >= 3) for row in TOKENS.tolist()]


@pytest.mark.parametrize(
    ("name", "node", "feature"),
    [
        ("1a", "a1_h0", equal_counts),
        ("1b", "a2_h0", lambda s: equal_counts(s) and s[0] == "("),
        ("2a", "a1_h0", lambda s: equal_counts(s) and s[0] == "("),
        ("1b", "a2_h1", horizon_holds),
        ("3a", "a2_h1", horizon_holds),
    ],
)
def test_donors_agree_on_the_feature_and_on_nothing_else(name, node, feature: Feature):
    h = hypotheses(network(MODEL), Roles(), MODEL.config.n_ctx)[name]
    score = scored({name: h}, draws=20)[name]
    every = strings()
    references = np.asarray(score.by_reference.reference)
    donors = np.asarray(score.donors[f"loss/logits/{node}"]).reshape(len(references), -1)
    for reference, drawn in zip(references, donors, strict=True):
        assert {feature(every[d]) for d in drawn} == {feature(every[reference])}
    assert len({every[d] for d in donors.ravel()}) > 20


def test_each_position_has_a_donor_with_such_a_position():
    h = hypotheses(network(MODEL), Roles(), MODEL.config.n_ctx)["3a"]
    score = scored({"3a": h})["3a"]
    every = strings()

    def kind(string: str, position: int) -> object:
        if position == 0 or position > len(string) + 1:
            return position == 0
        return ("end", string[-1]) if position == len(string) + 1 else share(string, position) > 0.5

    own, each = (np.asarray(score.donors[f"loss/logits/a2_h1{rest}"]) for rest in ("", "/a2_h1_stream"))
    for row, positions in zip(own, each, strict=True):
        for position, donor in enumerate(positions):
            assert kind(every[donor], position) == kind(every[row], position)
    assert len({tuple(set(row)) for row in each.tolist()}) > 1
    assert all(len(set(row)) > 3 for row in each.tolist())


@pytest.mark.parametrize("name", ["1a", "1b", "2a", "2b", "3a"])
def test_the_explanation_predicts_every_label(name):
    I = hypotheses(network(MODEL), Roles(), MODEL.config.n_ctx)[name].I
    assert I(DATA).all()
    wrong = DATA | {"labels": 1 - DATA["labels"]}
    assert not I(wrong).any()


def test_a_claim_of_everything_is_exact_and_of_labels_alone_the_baseline():
    every = hypotheses(network(MODEL), Roles(), MODEL.config.n_ctx)
    scores = scored({name: every[name] for name in ("0a", "0b")})
    assert scores["0a"].scrubbed == scores["0a"].original
    assert scores["0b"].scrubbed == scores["0b"].baseline
