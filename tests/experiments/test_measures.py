"""Interventions against plain forward hooks on six families, and by what must be equal."""

from functools import cache

import pytest
import torch
from hooked_passes import FAMILIES, HookedModel, losses
from hugging_face_models import VOCABULARY, hugging_face_model, tried

from scrubbing import DataError, Graph, GraphError, HypothesisError, Node, add, at, compare, donor, mean, measure
from scrubbing.lens import load_transformer, next_token_data, transformer

ROWS = torch.randint(0, VOCABULARY, (6, 9), generator=torch.Generator().manual_seed(3))
DONORS = torch.tensor([3, 0, 4, 1, 5, 2])
GROUPS = torch.tensor([0, 1, 0, 1, 1, 2])


@cache
def case(name):
    model = hugging_face_model(name)
    loaded = load_transformer(model, check=False)
    data = dict(next_token_data(ROWS, model=loaded)) | {"groups": GROUPS}
    return HookedModel(model, name), transformer(loaded), data


def scrubbed(score):
    return torch.tensor(score.losses["scrubbed"].to_numpy()).float()


def in_groups(value):
    """Each row's mean over the rows of its group."""
    return torch.stack([value[group == GROUPS].mean(0) for group in GROUPS])


@pytest.mark.parametrize("name", tried(FAMILIES, always=["gpt2", "llama", "gemma2"]))
def test_replaced_heads_are_what_hooks_make_of_them(name):
    hooked, G, data = case(name)
    tokens = data["tokens"]
    z, _ = hooked.record(tokens)

    def replaced(layer, head, make):
        def edit(value):
            value, at = value.clone(), hooked.of_head(value, head)
            value[..., at] = make(value[..., at], z[layer][..., at])
            return value

        return hooked.writer(layer), edit

    edits = {
        "donor": [replaced(0, 1, lambda _, clean: clean[DONORS])],
        "zero": [replaced(0, 2, lambda _, clean: torch.zeros_like(clean))],
        "mean": [replaced(0, 1, lambda _, clean: clean.mean(0, keepdim=True).expand_as(clean))],
        "by group": [replaced(0, 1, lambda _, clean: in_groups(clean))],
        "twice": [replaced(0, 1, lambda value, _: 2 * value)],
        "frozen": [
            replaced(0, 1, lambda _, clean: clean[DONORS]),
            replaced(1, 3, lambda _, clean: clean),
        ],
        "after another": [
            replaced(0, 1, lambda _, clean: clean[DONORS]),
            replaced(1, 3, lambda value, clean: value + clean),
        ],
    }
    interventions = {
        "donor": {"a0_h1": donor(DONORS)},
        "zero": {"a0_h2": "zero"},
        "mean": {"a0_h1": "mean"},
        "by group": {"a0_h1": mean(by="groups")},
        "twice": {"a0_h1": add("a0_h1")},
        "frozen": {"a0_h1": donor(DONORS), "a1_h3": "clean"},
        "after another": {"a1_h3": add("a1_h3", 1.0), "a0_h1": donor(DONORS)},
    }
    scores = measure(G, interventions, data)
    own = losses(hooked.run(tokens), data)
    for kind, of in edits.items():
        expected = losses(hooked.run(tokens, dict(of)), data)
        torch.testing.assert_close(scrubbed(scores[kind]), expected, rtol=0, atol=1e-4)
        assert (expected - own).abs().max() > 1e-3, kind
    assert list(scores) == list(interventions)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("name", tried(FAMILIES, always=["gpt2", "llama", "gemma2"]))
def test_at_some_positions_and_at_all_others_are_what_hooks_make_of_them(name, elsewhere):
    hooked, G, data = case(name)
    tokens = data["tokens"]
    z, _ = hooked.record(tokens)
    role = torch.tensor([2, 0, 5, 3, 1, 4])
    several = torch.tensor([[0, 2], [1, -1], [-1, -1], [4, 5], [3, -1], [6, 1]])

    def by_hooks(*makes):
        """The losses where heads are given values at some positions of each row: (layer, head, value, positions)."""
        edits = {}
        for layer, head, make, chosen in makes:

            def edit(value, layer=layer, head=head, make=make, chosen=chosen):
                value, of = value.clone(), hooked.of_head(value, head)
                for row, positions in enumerate(chosen):
                    for position in range(value.shape[1]):
                        if (position in positions) != elsewhere:
                            value[row, position, of] = make(value[..., of], z[layer][..., of])[row, position]
                return value

            edits[hooked.writer(layer)] = edit
        return losses(hooked.run(tokens, edits), data)

    def donated(_, clean):
        return clean[DONORS]

    def averaged(_, clean):
        return clean.mean(0, keepdim=True).expand_as(clean)

    by_role, by_several, fixed = [[p] for p in role.tolist()], several.tolist(), [[1, 4]] * len(tokens)
    expected = {
        "donor": by_hooks((0, 1, donated, by_role)),
        "zero": by_hooks((0, 2, lambda value, _: torch.zeros_like(value), fixed)),
        "mean": by_hooks((0, 1, averaged, by_several)),
        "twice": by_hooks((1, 3, lambda value, _: 2 * value, by_several)),
        "frozen": by_hooks((0, 1, donated, fixed), (1, 3, lambda _, clean: clean, by_role)),
        "after another": by_hooks((0, 1, donated, by_several), (1, 3, lambda value, clean: value + clean, by_role)),
    }

    def here(positions, instead):
        return at(positions, instead, elsewhere=elsewhere)

    interventions = {
        "donor": {"a0_h1": here("role", donor(DONORS))},
        "zero": {"a0_h2": here([1, 4], "zero")},
        "mean": {"a0_h1": here("several", "mean")},
        "twice": {"a1_h3": here("several", lambda value: 2 * value)},
        "frozen": {"a0_h1": here([1, 4], donor(DONORS)), "a1_h3": here("role", "clean")},
        "after another": {"a0_h1": here("several", donor(DONORS)), "a1_h3": here("role", add("a1_h3"))},
    }
    scores = measure(G, interventions, data | {"role": role, "several": several})
    own = losses(hooked.run(tokens), data)
    for kind, of in expected.items():
        torch.testing.assert_close(scrubbed(scores[kind]), of, rtol=0, atol=1e-4)
        assert (of - own).abs().max() > 1e-3, kind


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "gemma2"])  # where no norm follows an MLP
def test_replaced_mlps_are_what_hooks_make_of_them(name):
    hooked, G, data = case(name)
    tokens = data["tokens"]
    _, mlp = hooked.record(tokens)

    def mean_over_rows(value):  # some modules see rows and positions as one axis
        by_row = mlp[1].reshape(*tokens.shape, -1)
        return by_row.mean(0, keepdim=True).expand_as(by_row).reshape(value.shape)

    biases = [b if (b := getattr(hooked.mlp(n), "bias", None)) is not None else torch.tensor(0.0) for n in range(2)]
    edits = {
        "zero": {hooked.mlp(0): lambda value: torch.zeros_like(value) + biases[0]},
        "mean": {hooked.mlp(1): mean_over_rows},
        "add": {hooked.mlp(1): lambda value: value - 1.5 * (mlp[0] - biases[0])},
    }
    scores = measure(G, {"zero": {"m0": "zero"}, "mean": {"m1": "mean"}, "add": {"m1": add("m0", -1.5)}}, data)
    for kind, of in edits.items():
        expected = losses(hooked.run(tokens, outputs=of), data)
        torch.testing.assert_close(scrubbed(scores[kind]), expected, rtol=0, atol=1e-4)


def test_what_must_change_nothing_changes_nothing():
    _, G, data = case("llama")
    same = {
        "nothing": {},
        "clean": {"a0_h1": "clean", "m1": "clean"},
        "equal rows": {"m0": donor(range(6))},
        "nothing added": {"m0": add("m1", 0.0)},
        "alone in its group": {"m0": mean(by="row")},
        "all after it is frozen": {"a1_h0": donor(DONORS), "m1": "clean", "logits": "clean"},
    }
    scores = measure(G, same, data | {"row": torch.arange(6)})
    for name, score in scores.items():
        torch.testing.assert_close(scrubbed(score), G(data), msg=name)
        assert score.recovered == pytest.approx(1, abs=1e-5)
    assert scores["nothing"].vacuity.nothing_was_tested
    assert scores["clean"].vacuity.nothing_was_tested


def test_scores_are_those_of_scrub():
    _, G, data = case("llama")
    scores = measure(G, {"m0": {"m0": "zero"}, "m1": {"m1": "zero"}}, data)
    assert "m0" in str(compare(scores))
    assert scores["m0"].readings["loss"].interval is not None
    assert "kl" in scores["m0"].readings
    assert not scores["m0"].vacuity.nothing_was_tested
    some = measure(G, {"m0": {"m0": donor(DONORS)}}, data, references=[4, 2])["m0"]
    assert some.donors["m0"].tolist() == [5, 4]
    assert len(some.losses) == 2


@pytest.mark.parametrize(
    ("nodes", "settings", "error", "message"),
    [
        ({"a0_h7": "zero"}, {}, GraphError, "there is no node 'a0_h7'; did you mean 'a0_h"),
        ({"loss": "zero"}, {}, HypothesisError, "'it' replaces the output 'loss', which is the loss itself"),
        ({"m0": "zeros"}, {}, GraphError, "'it': 'm0'='zeros', but it must be donor(rows), mean(by=column"),
        ({"m0": donor([1, 2])}, {}, DataError, "donor of 'm0' holds 2 rows, but must name one for each of the 6 rows"),
        ({"m0": donor([9] * 6)}, {}, DataError, "donor of 'm0' names row 9, but the data have the rows 0 to 5"),
        (
            {"m0": mean(by="group")},
            {},
            DataError,
            "the data have no column 'group'; did you mean 'groups'?",
        ),
        ({"logits": "mean"}, {}, DataError, "'logits' computes no floating-point numbers, so that it has no mean"),
        ({"m0": add("m9")}, {}, DataError, "reads 'm9', which is neither a node nor a column"),
        (
            {"m0": lambda value, m9: m9},
            {},
            DataError,
            "what stands in for 'm0' reads 'm9', which is neither a node nor",
        ),
        ({"m0": lambda: 0}, {}, HypothesisError, "what stands in for 'm0' takes nothing"),
        ({"m0": mean(over="first")}, {}, DataError, "mean(by=None, over='first'): the data have no column 'first'"),
        ({"m0": mean("groups", "ends")}, {}, DataError, "no row over which it is taken is in the group of row 5"),
        ({"m0": at("places", "zero")}, {}, DataError, "a role is at position 9; rows have 8 positions"),
        ({"m0": "zero"}, {"exact": True}, HypothesisError, "exact= is no setting of measure"),
    ],
)
def test_mistakes_are_named(nodes, settings, error, message):
    _, G, data = case("llama")
    data = data | {"ends": torch.tensor([1, 1, 0, 0, 0, 0]), "places": torch.full((6,), 9)}
    with pytest.raises(error) as mistake:
        measure(G, {"it": nodes}, data, **settings)
    assert message in str(mistake.value)


def test_a_plain_graph_is_intervened_on_too():
    G = Graph(a=lambda x: 2 * x, b=lambda a: a + 1, loss=lambda a, b, y: (a + b - y) ** 2)
    data = {"x": torch.tensor([0.0, 1.0, 2.0]), "y": torch.tensor([1.0, 5.0, 9.0])}
    score = measure(G, {"it": {"b": add("a", 3.0)}}, data)["it"]
    assert score.losses["scrubbed"].tolist() == [0.0, 36.0, 144.0]


SMALL = Graph(
    a=lambda x: 2 * x,
    b=Node(lambda a, x: a + x, ("a", "x"), 1),
    loss=lambda a, b, y: (a + b).sum(1) - y,
)
TABLE = {
    "x": torch.arange(12.0).view(4, 3),
    "y": torch.zeros(4),
    "end": torch.tensor([2, 0, 1, 2]),
    "some": torch.tensor([[0, 2], [1, -1], [-1, -1], [0, 1]]),
    "group": torch.tensor([0, 0, 1, 1]),
    "inside": torch.tensor([1, 0, 0, 1]),
}


def role(column):
    """Where a column says, as a mask."""
    places = TABLE[column].view(4, -1, 1)
    return (places == torch.arange(3)).any(1)


B = 3 * TABLE["x"]
REPLACED = {
    "a function": (lambda value: value**2, B**2),
    "of another node": (lambda value, a: value - a, TABLE["x"]),
    "of a column": (Node(lambda own, x: own * x, ("b", "x")), B * TABLE["x"]),
    "at a role": (at("end", "zero"), B.where(~role("end"), 0)),
    "at several": (at("some", lambda value: -value), B.where(~role("some"), -B)),
    "at places": (at([0, 2], donor([1, 0, 3, 2])), torch.where(torch.tensor([1, 0, 1]) > 0, B[[1, 0, 3, 2]], B)),
    "over some rows": (mean(over="inside"), B[[0, 3]].mean(0).expand(4, 3)),
    "over some of each group": (mean("group", "inside"), B[[0, 0, 3, 3]]),
    "within": (at("end", at([2], "mean")), B.where(~(role("end") & (torch.arange(3) == 2)), B.mean(0))),
}


@pytest.mark.parametrize("kind", REPLACED)
def test_each_kind_of_replacement(kind):
    instead, expected = REPLACED[kind]
    score = measure(SMALL, {"it": {"b": instead}}, TABLE)["it"]
    assert score.losses["scrubbed"].tolist() == pytest.approx((2 * TABLE["x"] + expected).sum(1).tolist())


def test_its_own_value_follows_what_is_upstream_and_others_do_not():
    nodes = {"a": "zero", "b": lambda value, a: value + 10 * a}
    score = measure(SMALL, {"it": nodes}, TABLE)["it"]
    assert score.losses["scrubbed"].tolist() == (21 * TABLE["x"]).sum(1).tolist()


def test_all_means_take_one_pass_over_the_data():
    seen = []

    def counted(x):
        seen.append(len(x))
        return 2 * x

    G = Graph(a=counted, b=lambda a: a + 1, c=lambda a: a - 1, loss=lambda b, c, y: (b + c).sum(1) - y)
    measure(G, {"b": {"b": "mean"}, "c": {"c": "mean"}, "both": {"b": "mean", "c": "mean"}}, TABLE, check=False)
    one = sum(seen)
    seen.clear()
    measure(G, {"b": {"b": "mean"}}, TABLE, check=False)
    assert one - sum(seen) < 2 * len(TABLE["x"])  # what is new are runs, and no further pass for each mean
