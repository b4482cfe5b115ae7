"""How freely donors could differ from what they stood in for: the numbers of small cases, worked out by hand."""

from math import log2

import numpy as np
import pytest
import torch

from scrubbing import Graph, Hypothesis, Node, Score, per_position, reads, scrub
from scrubbing.score.vacuity import NodeVacuity, Vacuity

NETWORK = Graph(
    a=lambda x: 1 * x,
    b=lambda a: 2 * a,
    other=lambda x: 3 * x,
    out=lambda b, other: b + other,
    loss=lambda out, y: (out - y) ** 2,
)
SIX = {"x": torch.arange(6.0), "y": 5 * torch.arange(6.0)}  # the network is right
KINDS = torch.tensor([0, 0, 0, 1, 1, 2])  # three rows of a kind, two, and one alone
ALL_CLAIMED = Graph(a=reads("x"), b=reads("a"), other=reads("x"), out=reads("b", "other"), loss=reads("out", "y"))


def kind(x):
    return KINDS[x.long()]


def score(I, data=SIX, *, G=NETWORK, **settings):
    return scrub(Hypothesis(G, I), data, baseline=Graph(loss=reads("y")), **settings)


def node(scored, path):
    return next(n for n in scored.vacuity.nodes if n.path == path)


def numbers(scored, path):
    n = node(scored, path)
    return pytest.approx((n.classes, n.singletons, n.swapped, n.bits))


OF_KINDS = ALL_CLAIMED | {"other": kind}  # one claim by a feature, and all the rest exactly


def test_a_claim_by_its_classes():
    assert numbers(score(OF_KINDS), "loss/out/other") == (3, 1 / 6, 3 / 6, (3 * log2(3) + 2 * log2(2)) / 6)


def test_numbers_are_means_over_the_references_asked_for():
    assert numbers(score(OF_KINDS, references=[0, 5, 5, 3]), "loss/out/other") == (
        3,
        2 / 4,
        (2 / 3 + 1 / 2) / 4,
        (log2(3) + log2(2)) / 4,
    )


def test_draws_of_one_reference_count_alike():
    assert score(OF_KINDS, draws=3).vacuity == score(OF_KINDS).vacuity


def test_whoever_has_company_is_swapped_where_its_own_datum_is_excluded():
    assert node(score(OF_KINDS, exclude_self=True), "loss/out/other").swapped == pytest.approx(5 / 6)


def test_below_a_donor_the_classes_are_those_of_the_donor():
    chain = ALL_CLAIMED | {"b": lambda a: 0 * a, "a": kind}
    scored = score(chain, donors={"b": [5, 5, 5, 3, 3, 0]})
    # what the donor of b passes on is the kind, in which rows 3 and 4 are given their own
    assert numbers(scored, "loss/out/b") == (1, 0, 4 / 6, 3 / 6 * log2(6 / 3) + 2 / 6 * log2(6 / 2) + 1 / 6 * log2(6))
    assert numbers(scored, "loss/out/b/a") == (3, 3 / 6, (2 * 1 / 2 + 2 / 3) / 6, (2 * log2(2) + log2(3)) / 6)


def test_bits_scrubbed_are_the_sum_over_nodes():
    vacuity = score(OF_KINDS | {"b": lambda a: 0 * a}).vacuity
    of_kinds = (3 * log2(3) + 2 * log2(2)) / 6  # of `other`; what `out` passes on is the kind, which never changes
    assert vacuity.bits == pytest.approx(of_kinds + log2(6))
    assert [n.path for n in vacuity.nodes] == ["loss/out", "loss/out/b", "loss/out/b/a", "loss/out/other"]


@pytest.mark.parametrize("others", ["node", "reference", "input"])
def test_what_is_unclaimed_adds_the_bits_of_the_dataset_once(others):
    claims = Graph(other=kind, out=reads("other"), loss=reads("out", "y"))
    nothing = Graph(loss=reads("y"))
    of_kinds = (3 * log2(3) + 2) / 6
    assert score(claims, others=others).vacuity.bits == pytest.approx(of_kinds + log2(6))
    assert score(nothing, others=others).vacuity == Vacuity(nodes=(), bits=log2(6))


# x in pairs: rows 0 and 1 agree, and so do 2 and 3
PAIRED = {"x": torch.tensor([0.0, 0, 1, 1, 2, 3]), "y": torch.zeros(6)}


def test_a_claim_of_columns_has_the_classes_of_the_data_though_each_datum_stands_for_itself():
    scored = score(ALL_CLAIMED, PAIRED)
    for path in ("loss/out", "loss/out/b", "loss/out/b/a", "loss/out/other"):
        assert scored.donors[path].tolist() == [0, 1, 2, 3, 4, 5]
        assert numbers(scored, path) == (4, 2 / 6, 0, 0)
    assert scored.vacuity.bits == 0


def test_rows_that_are_equal_are_no_test():
    scored = score(ALL_CLAIMED, PAIRED)
    assert scored.vacuity.nothing_was_tested
    assert str(scored).endswith("(nothing was tested: no donor could differ from its reference)")
    drawn = score(ALL_CLAIMED | {"other": lambda x: x}, PAIRED)  # the same classes, but donors are drawn
    assert numbers(drawn, "loss/out/other") == (4, 2 / 6, 0, 0)
    assert drawn.vacuity.nothing_was_tested


@pytest.mark.filterwarnings("ignore::scrubbing.ScrubbingWarning")
def test_what_is_given_is_no_test_where_it_is_the_reference_itself():
    itself, another = torch.arange(6), torch.arange(6).roll(1)
    for I in (Graph(loss=reads("y")), Graph(other=reads("x"), out=reads("other"), loss=reads("out", "y"))):
        assert score(I, others=itself).vacuity.nothing_was_tested
        assert not score(I, others=another).vacuity.nothing_was_tested
    assert score(OF_KINDS, donors={"other": itself}).vacuity.nothing_was_tested
    assert not score(OF_KINDS, donors={"other": another}).vacuity.nothing_was_tested


def test_a_claim_of_nothing_has_one_class():
    claims = Graph(a=reads(), b=reads("a"), other=reads("x"), out=reads("b", "other"), loss=reads("out", "y"))
    assert numbers(score(claims), "loss/out/b/a") == (1, 0, 0, 0)  # it passes nothing on: its u is drawn
    assert score(claims).vacuity.bits == pytest.approx(log2(6))


def test_a_claim_per_position_sums_the_bits_of_its_positions():
    G = Graph(
        h=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1), loss=lambda h, y: h.sum(dim=1).double() - y
    )
    I = Graph(h=per_position(lambda tokens: tokens), loss=reads("h", "y"))
    tokens = torch.tensor([[0, 1], [0, 2], [0, 1], [3, 4]])  # two classes of 3 and 1, three classes of 2, 1 and 1
    scored = score(I, {"tokens": tokens, "y": torch.zeros(4)}, G=G)
    # rows 0 and 2 are equal, so that of the three that agree at the first position two pass on the same
    entropy = 2 / 3 * log2(3 / 2) + 1 / 3 * log2(3)
    assert numbers(scored, "loss/h") == (2.5, 3 / 8, (2 * 1 / 3 + 2 / 3) / 8, 3 / 4 * entropy)


def test_what_is_below_a_claim_per_position_is_drawn_for_each():
    G = Graph(
        a=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1),
        h=Node(lambda a: 2 * a, ("a",), position_axis=1),
        loss=lambda h, y: h.sum(dim=1).double() - y,
    )
    I = Graph(a=lambda tokens: 0 * tokens[:, 0], h=per_position(lambda a, tokens: tokens), loss=reads("h", "y"))
    scored = score(I, {"tokens": torch.tensor([[0, 1], [0, 2], [3, 1], [3, 2]]), "y": torch.zeros(4)}, G=G)
    assert numbers(scored, "loss/h") == (2, 0, 0, 0)  # it passes on a class of `a`, of which there is one
    assert numbers(scored, "loss/h/a") == (1, 0, 3 / 4, 2 * log2(4))


def test_a_node_that_passes_its_datum_on_is_visited_once_for_all_its_paths():
    G = Graph(
        a=lambda x: 1 * x, m=lambda a: 1 * a, p=lambda m: 1 * m, q=lambda m: 2 * m, loss=lambda p, q, y: p + q - y
    )
    I = Graph(a=reads("x"), m=reads("a"), p=reads("m"), q=reads("m"), loss=reads("p", "q", "y"))
    assert [n.path for n in score(I, G=G).vacuity.nodes] == ["loss/p", "loss/p/m", "loss/p/m/a", "loss/q", "loss/q/m"]
    drawn = score(I | {"a": lambda x: x > 2}, G=G)  # here each path draws a donor of its own
    assert [n.path for n in drawn.vacuity.nodes if n.path.endswith("a")] == ["loss/p/m/a", "loss/q/m/a"]


# -- nothing was tested

NOTHING_TESTED = "(nothing was tested: no donor could differ from its reference, so 100% is recovered by construction)"


def test_a_hypothesis_that_leaves_no_freedom_says_that_nothing_was_tested():
    scored = score(ALL_CLAIMED)
    assert (scored.recovered, scored.vacuity.bits, scored.vacuity.nothing_was_tested) == (1, 0, True)
    assert str(scored).endswith(NOTHING_TESTED)
    assert str(scored.vacuity) == "nothing was tested: no donor could differ from its reference"


@pytest.mark.parametrize("I", [OF_KINDS, Graph(loss=reads("y"))], ids=["a feature", "nothing claimed"])
def test_a_hypothesis_with_freedom_does_not_say_so(I):
    scored = score(I)
    assert not scored.vacuity.nothing_was_tested
    assert "nothing was tested" not in str(scored)


def test_a_single_row_tests_nothing():
    alone = score(Graph(loss=reads("y")), {"x": [2.0], "y": [0.0]})
    assert str(alone).endswith("(nothing was tested: no donor could differ from its reference)")


def test_the_freedom_of_each_node_is_printed():
    nodes = (NodeVacuity(path="loss/out", classes=1234, singletons=0.25, swapped=0.5, bits=1.26),)
    assert str(Vacuity(nodes=nodes, bits=4.0)) == (
        "4.0 bits scrubbed\n  loss/out: 1.3 bits, 1,234 classes, 25% singletons, 50% swapped"
    )


@pytest.mark.parametrize("I", [OF_KINDS, ALL_CLAIMED, Graph(loss=reads("y"))], ids=["kinds", "all", "nothing"])
def test_vacuity_survives_the_journey_through_json(I):
    scored = score(I)
    back = Score.model_validate_json(scored.model_dump_json())
    assert back == scored
    assert back.vacuity == scored.vacuity
    assert str(back) == str(scored)


def test_exact_and_sampled_scores_report_the_same_freedom():
    assert score(OF_KINDS, exact=True).vacuity == score(OF_KINDS).vacuity


def test_donors_are_swapped_as_often_as_vacuity_says():
    scored = score(OF_KINDS, draws=2000)
    swapped = scored.donors["loss/out/other"] != np.repeat(np.arange(6), 2000)
    assert swapped.mean() == pytest.approx(node(scored, "loss/out/other").swapped, abs=0.02)


# -- exact freedom is a property of the hypothesis and the data

CHAIN = ALL_CLAIMED | {"b": lambda a: a % 2, "a": kind}  # below b's donor the reference's kind is forgotten


@pytest.mark.parametrize("settings", [{}, {"exclude_self": True}, {"others": "reference"}], ids=str)
def test_exact_freedom_does_not_depend_on_the_seed_and_is_what_samples_come_to(settings):
    exact, other = (score(CHAIN, exact=True, seed=seed, **settings).vacuity for seed in (0, 1))
    assert exact == other
    sampled = score(CHAIN, draws=4000, **settings).vacuity
    for one, many in zip(exact.nodes, sampled.nodes, strict=True):
        assert (many.path, many.classes) == (one.path, one.classes)
        assert (many.singletons, many.swapped, many.bits) == pytest.approx(
            (one.singletons, one.swapped, one.bits), abs=0.03
        )


def test_exact_freedom_does_not_depend_on_the_order_of_rows():
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    data = {name: column[order] for name, column in SIX.items()}
    one, other = (score(CHAIN, d, exact=True).vacuity for d in (SIX, data))
    for a, b in zip(one.nodes, other.nodes, strict=True):
        assert (a.path, a.singletons, a.swapped, a.bits) == (
            b.path,
            *map(pytest.approx, (b.singletons, b.swapped, b.bits)),
        )


def test_exact_freedom_per_position_is_what_samples_come_to():
    G = Graph(
        h=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1), loss=lambda h, y: h.sum(dim=1).double() - y
    )
    I = Graph(h=per_position(lambda tokens: tokens), loss=reads("h", "y"))
    data = {"tokens": torch.tensor([[0, 1], [0, 2], [0, 1], [3, 4]]), "y": torch.zeros(4)}
    assert score(I, data, G=G, exact=True).vacuity == score(I, data, G=G, draws=2).vacuity


def test_donors_that_are_drawn_together_have_the_freedom_of_what_they_agree_on():
    I = ALL_CLAIMED | {"b": lambda a: a % 2, "other": kind}
    together = {"together": [["b", "other"]]}
    exact, sampled = score(I, exact=True, **together), score(I, **together)
    assert exact.vacuity == sampled.vacuity
    assert node(sampled, "loss/out/b").singletons == pytest.approx(4 / 6)  # 0 and 2 agree on both, and no others


def test_what_never_changes_has_no_bits():
    scored = score(ALL_CLAIMED, exact=True)
    assert [n.bits for n in scored.vacuity.nodes] == [0, 0, 0, 0]
    assert scored.vacuity.bits == 0
