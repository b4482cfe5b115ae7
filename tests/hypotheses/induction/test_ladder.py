"""The 26 experiments give the losses that the ladder's formulas give, row by row."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Int
from reference_ladder import LADDER, ladder_losses, layer_1, make_streams, name_groups, read_row, row_losses
from reference_ladder import losses as losses_of_row
from reference_transformer import random_data, random_transformer
from sampled import by_default
from torch import Tensor

from hypotheses.handmade import MAY_BE_ANYTHING, MUST_FAIL, RECIPES, build
from hypotheses.induction.ladder import HEADS_DO_NOTHING, PUBLISHED, experiments, hypothesis, is_typical, network
from hypotheses.induction.roles import Roles
from scrubbing import Hypothesis, ModelError, Score, scrub
from scrubbing.lens import Transformer, TransformerConfig

TYPICAL = "prev_pattern_prev_at_k"  # what refined 5 draws by position
TYPICAL_PATH = f"loss/logits/ind/ind_pattern/ind_k/prev_at_k/{TYPICAL}"
REDWOOD = {"induction": [[1, 5], [1, 6]], "previous": [[0, 0]], "self": [[0, 1], [0, 2], [0, 5]]}
GROUPS = {
    "the published roles": REDWOOD,
    "two previous-token heads, no self-attending one": {"induction": [[1, 0]], "previous": [[0, 3], [0, 4]]},
    "every head of layer 0 has a role": REDWOOD | {"self": [[0, head] for head in range(1, 8)]},
    "every head of layer 1 is an induction head": REDWOOD | {"induction": [[1, head] for head in range(8)]},
}

Scores = dict[str, Score]
Losses = Mapping[tuple[str, str], Tensor]


def random_model(**settings) -> Transformer:
    size = {"n_heads": 8, "d_model": 10, "d_head": 3, "d_vocab": 9, "n_ctx": 6}
    return random_transformer(**size, positional_embedding_type="shortformer", **settings)


def random_rows(model: Transformer) -> dict[str, Tensor]:
    """Rows of unequal weight, the last of them a donor only, each with another as its other."""
    data = random_data(model.config, rows=5)
    data["weights"][4] = 0
    tokens = torch.cat([data["tokens"], data["labels"][:, -1:]], dim=1)
    atypical = torch.rand(5, 6, generator=torch.Generator().manual_seed(5)) < 0.4
    return {"tokens": tokens, "weights": data["weights"], "other": torch.tensor([1, 2, 4, 0, 3]), "atypical": atypical}


def draw_donors(atypical: Bool[Tensor, "row position"]) -> Int[Tensor, "row position"]:
    """For each row and position, uniformly, a row of the same type there."""
    same_type = (atypical[:, None] == atypical[None, :]).permute(2, 0, 1).double()  # position, row, donor
    drawn = [torch.multinomial(each, 1, generator=torch.Generator().manual_seed(p)) for p, each in enumerate(same_type)]
    return torch.cat(drawn, dim=1)


def scores(
    model: Transformer, roles: Mapping, data: Mapping[str, Tensor], *, rh1_k_direct: bool = False, **settings
) -> Scores:
    weights = data["weights"]
    columns = {
        "tokens": data["tokens"][:, :-1],
        "labels": data["tokens"][:, 1:],
        "weights": weights / weights.sum(1).mean(),
        "atypical": data["atypical"],
    }
    G = network(model, Roles.model_validate(roles))
    claims = {name: hypothesis(G, streams) for name, streams in experiments(rh1_k_direct=rh1_k_direct).items()}
    settings = {"others": data["other"]} | settings
    return scrub(claims, columns, baseline=Hypothesis(G, HEADS_DO_NOTHING), **settings)


def losses(found: Scores) -> Losses:
    """By (name, inputs), as the reference names them; every experiment has the same original and baseline."""
    each = {tuple(name.split("/")): score.by_reference.scrubbed for name, score in found.items()}
    assert len({(score.by_reference.original, score.by_reference.baseline) for score in found.values()}) == 1
    first = next(iter(found.values())).by_reference
    each |= {("original", ""): first.original, ("baseline", ""): first.baseline}
    return {claim: torch.tensor(loss, dtype=torch.float64) for claim, loss in each.items()}


def slow_losses(model: Transformer, roles: Mapping, data: Mapping[str, Tensor], donors: Tensor) -> Losses:
    return ladder_losses(
        model.weights,
        model.config.model_dump(),
        roles,
        data["tokens"],
        data["other"],
        data["weights"],
        atypical=data["atypical"],
        pattern_donors=donors,
    )


def assert_equal(got: Losses, expected: Losses, *, atol: float = 1e-10) -> None:
    assert got.keys() == expected.keys()
    for claim in expected:
        torch.testing.assert_close(got[claim], expected[claim], rtol=0, atol=atol, msg=str(claim))


@pytest.mark.parametrize(
    ("roles", "norm"), [*((roles, "LN") for roles in GROUPS.values()), (REDWOOD, None)], ids=[*GROUPS, "norms off"]
)
@pytest.mark.usefixtures("unchecked")
def test_every_experiment_on_a_random_network_equals_the_formulas(roles, norm):
    model = random_model(normalization_type=norm)
    data = random_rows(model)
    donors = draw_donors(data["atypical"])
    found = losses(scores(model, roles, data, donors={TYPICAL: donors}))
    assert len(found) == len(LADDER) == 27
    assert_equal(found, slow_losses(model, roles, data, donors))


@pytest.mark.parametrize(("name", "norm"), by_default(product(RECIPES, [True, False]), 2))
@pytest.mark.usefixtures("unchecked")
def test_hand_made_models_are_exact_or_fail_as_they_must(name, norm):
    made = build(name, norm=norm, rows=6)
    model = Transformer(TransformerConfig(**made.config), made.weights)
    donors = draw_donors(made.data["atypical"])
    found = scores(model, made.roles, made.data, donors={TYPICAL: donors})
    assert_equal(losses(found), slow_losses(model, made.roles, made.data, donors))
    recovered = {tuple(experiment.split("/")): score.recovered for experiment, score in found.items()}
    assert {claim for claim, share in recovered.items() if share < 0.5} - MAY_BE_ANYTHING[name] == MUST_FAIL[name]
    exact = recovered.keys() - MUST_FAIL[name] - MAY_BE_ANYTHING[name]
    assert {claim: recovered[claim] for claim in exact if abs(recovered[claim] - 1) > 1e-9} == {}


@pytest.mark.parametrize(("name", "norm"), by_default(product(RECIPES, [True, False]), 2))
@pytest.mark.usefixtures("unchecked")
def test_so_are_they_where_every_node_has_a_donor_of_its_own(name, norm):
    """A true claim leaves nothing to donors, one or many; a false one fails for whatever stands in."""
    made = build(name, norm=norm, rows=16)
    model = Transformer(TransformerConfig(**made.config), made.weights)
    found = scores(model, made.roles, made.data, others="node")
    recovered = {tuple(experiment.split("/")): score.recovered for experiment, score in found.items()}
    assert {claim for claim, share in recovered.items() if share < 0.5} - MAY_BE_ANYTHING[name] == MUST_FAIL[name]
    exact = recovered.keys() - MUST_FAIL[name] - MAY_BE_ANYTHING[name]
    assert {claim: recovered[claim] for claim in exact if abs(recovered[claim] - 1) > 1e-9} == {}
    assert all(len(score.donors) > 1 and "other" not in score.donors for score in found.values())


@pytest.mark.parametrize("norm", by_default(["LN", None]))
@pytest.mark.usefixtures("unchecked")
def test_a_row_that_is_its_own_other_and_donor_loses_nothing(norm):
    model = random_model(normalization_type=norm)
    data = random_rows(model)
    itself = torch.arange(5)
    donors = {TYPICAL: itself[:, None].expand(5, 6)}
    found = losses(scores(model, REDWOOD, data | {"other": itself}, donors=donors))
    assert_equal(found, dict.fromkeys(LADDER, found["original", ""]), atol=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_what_refined_5_draws_are_patterns_of_the_same_type():
    model = random_model()
    data = random_rows(model)
    found = scores(model, REDWOOD, data)
    drawn = {name: score.donors[TYPICAL_PATH] for name, score in found.items() if TYPICAL_PATH in score.donors}
    assert drawn.keys() == {"refined 5/K", "refined 5/All"} == {n for n, s in experiments().items() if is_typical(s)}
    donors, again = drawn.values()
    assert np.array_equal(donors, again)
    assert len(np.unique(donors[0])) > 1
    assert_equal(losses(found), slow_losses(model, REDWOOD, data, torch.from_numpy(donors)))


@pytest.mark.usefixtures("unchecked")
def test_refined_1_may_read_the_embedding_directly():
    """K1 with e(x) in place of e(x~)."""
    model = random_model()
    data = random_rows(model)
    found = losses(scores(model, REDWOOD, data, rh1_k_direct=True))
    plain = losses(scores(model, REDWOOD, data))
    assert {c for c in plain if not torch.equal(found[c], plain[c])} == {("refined 1", "K"), ("refined 1", "All")}
    net = name_groups(model.weights, model.config.model_dump(), REDWOOD)
    rows = [read_row(net, row[:-1]) for row in data["tokens"]]
    each = []
    for row, x, y in zip(data["tokens"], rows, (rows[i] for i in data["other"]), strict=True):
        streams = make_streams(net, x, y)
        IND = layer_1(net, net.IND, streams["R"], streams["K1"] - y.e + x.e, streams["R"])
        each.append(losses_of_row(net, streams["R"], IND, row[1:]))
    expected = row_losses(torch.stack(each), data["weights"])
    torch.testing.assert_close(found["refined 1", "K"], expected, rtol=0, atol=1e-10)


def test_there_are_25_experiments_besides_the_baseline_each_with_a_published_figure():
    names = {f"{name}/{inputs}" for name, inputs in LADDER} - {"original/", "baseline/"}
    assert experiments().keys() == PUBLISHED.keys() == names
    assert len(names) == 25


@pytest.mark.parametrize(
    ("layers", "roles", "message"),
    [
        (3, REDWOOD, "the model has 3 layers; the induction experiments are about two-layer models"),
        (2, REDWOOD | {"previous": [[0, 8]]}, "'previous' names head 0.8, which the model does not have"),
    ],
)
def test_a_model_that_does_not_fit_is_named(layers, roles, message):
    with pytest.raises(ModelError, match=message):
        network(random_model(n_layers=layers), Roles.model_validate(roles))
