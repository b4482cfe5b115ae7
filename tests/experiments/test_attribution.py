"""Which claim loses how much: known answers of small graphs, and every combination of switches against brute force."""

from itertools import chain, combinations, product

import numpy as np
import pytest
import torch
from known_answers import (
    CHAIN,
    CHAIN_CLAIMS,
    CHAIN_ROWS,
    INDEPENDENT,
    NOTHING,
    OF_THE_LABEL,
    SUM,
    TWO_AND_THREE,
    TWO_TERMS,
    known,
)

from scrubbing import (
    Graph,
    Hypothesis,
    HypothesisError,
    attribute_loss,
    load_record,
    mean,
    per_position,
    reads,
    restore,
    save_record,
    scrub,
)
from scrubbing.engine.policy import Policy
from scrubbing.experiments.attribution import Part, scrubbed_parts, with_only
from scrubbing.graph import Node
from scrubbing.score.statistics import mean_interval

KEEP_X1 = Graph(loss=reads("a", "y"), a=reads("x1"))
THROUGH_A_FEATURE = Graph(loss=reads("a", "b", "y"), a=reads("x1"), b=lambda x2: x2 > 0)
BOTH_THROUGH_FEATURES = Graph(loss=reads("a", "b", "y"), a=lambda x1: x1 > 1, b=lambda x2: x2 > 0)


def attributed(I, *, G=TWO_TERMS, data=INDEPENDENT, **settings):
    return attribute_loss(Hypothesis(G, I), data, baseline=NOTHING, **{"exact": True, **settings})


def means(losses):
    return {part.path: pytest.approx(float(loss.mean()), abs=1e-12) for part, loss in losses.items()}


# -- known answers


@pytest.mark.parametrize(
    ("I", "expected", "total"),
    [
        (NOTHING, {"loss/a/other": 10, "loss/b/other": 12}, 22),
        (KEEP_X1, {"loss/b/other": 12}, 12),
        (Graph(loss=reads("b", "y"), b=reads("x2")), {"loss/a/other": 10}, 10),
        (THROUGH_A_FEATURE, {"b": 3}, 3),
        (BOTH_THROUGH_FEATURES, {"a": 2, "b": 3}, 5),
    ],
)
def test_terms_of_a_sum_lose_what_each_of_them_loses_by_itself(I, expected, total):
    found = attributed(I, by_input=True, shapley=10)
    assert found.shapley is not None
    for losses in (means(found.alone), means(found.last), {p.path: r.value for p, r in found.shapley.items()}):
        assert losses == expected
    assert found.total.mean() == pytest.approx(total)
    assert found.interaction.mean() == pytest.approx(0, abs=1e-12)


def test_inputs_that_share_a_donor_are_one_part_unless_they_are_told_apart():
    assert means(attributed(NOTHING).alone) == {"loss/other": 22}


def test_a_loss_that_is_linear_in_its_terms_has_no_interaction_on_any_reference():
    linear = Graph(a=lambda x1: 2 * x1, b=lambda x2: 3 * x2, loss=lambda a, b, y: a + b - y)
    found = attributed(BOTH_THROUGH_FEATURES, G=linear, exact=False, seed=3)
    assert np.abs(found.alone[Part("a")]).max() > 0
    assert (found.interaction == 0).all()


def test_a_hypothesis_that_is_exact_loses_nothing_anywhere():
    found = attribute_loss(Hypothesis(SUM, OF_THE_LABEL), TWO_AND_THREE, baseline=Graph(loss=reads("label")))
    assert [part.path for part in found.parts] == ["out"]
    assert (found.alone[Part("out")] == 0).all()
    assert (found.last[Part("out")] == 0).all()
    assert (found.total == 0).all()


XOR = Graph(
    P=lambda x: 1 * x, Q=lambda x: 1 * x, N1=lambda P: 1 * P, N2=lambda Q: 1 * Q, loss=lambda N1, N2: (N1 - N2).abs()
)
BIT = {"x": torch.tensor([0.0, 1.0])}


@pytest.mark.filterwarnings(
    "ignore:hypothesis .the hypothesis.. the claim .* changes nothing:scrubbing.ScrubbingWarning"
)
@pytest.mark.parametrize(("others", "total"), [("node", 1 / 2), ("reference", 0)])
def test_parts_that_undo_each_other_interact(others, total):
    """O8b: alone, each of two unclaimed inputs is wrong half of the time."""
    I = Graph(N1=reads(), N2=reads(), loss=reads("N1", "N2"))
    found = attribute_loss(
        Hypothesis(XOR, I), BIT, baseline=Graph(loss=reads()), exact=True, others=others, shapley=2, check=False
    )
    assert means(found.alone) == {"N1/other": 1 / 2, "N2/other": 1 / 2}
    assert means(found.last) == {"N1/other": total - 1 / 2, "N2/other": total - 1 / 2}
    assert found.interaction.mean() == pytest.approx(total - 1)
    assert found.shapley is not None
    assert [reading.value for reading in found.shapley.values()] == pytest.approx([total / 2, total / 2])


def test_sampled_and_exact_agree():
    sampled = attributed(BOTH_THROUGH_FEATURES, exact=False, references=20_000)
    for part, expected in {"a": 2, "b": 3}.items():
        assert known(sampled.alone[Part(part)], expected)
        assert known(sampled.last[Part(part)], expected)
    assert abs(sampled.interaction.mean()) <= 4 * sampled.interaction.std() / np.sqrt(20_000)


# -- every combination of switches, against an enumeration of all donors

H = Hypothesis(CHAIN, CHAIN_CLAIMS)
PARTS = scrubbed_parts(H)


def expected_loss(on: frozenset[str]) -> float:
    """The mean over references of the expected loss of CHAIN under CHAIN_CLAIMS, with parts switched on by path.

    Every donor is written out: b's, u of b, that of b's a and its u, that of the output's a and its u.
    """
    n, x, z, y = 6, *(CHAIN_ROWS[name].tolist() for name in "xzy")

    def agreeing(part, feature, own):
        return [d for d in range(n) if feature(d) == feature(own)] if part in on else [own]

    def other(part, own):
        return range(n) if part in on else [own]

    def a_values(own):
        for d in agreeing("a", lambda d: x[d] % 2, own):
            us = other("a/other", d)
            for u in us:
                yield x[d] + 2 * z[u], 1 / len(agreeing("a", lambda d: x[d] % 2, own)) / len(us)

    def b_values(own):
        donors = agreeing("b", lambda d: x[d] // 2, own)
        for d in donors:
            us = other("b/other", d)
            for u in us:
                for a, p in a_values(d):
                    yield a * (1 + z[u]), p / len(donors) / len(us)

    return sum(
        p * q * abs(b - 3 * a + y[r]) / n for r in range(n) for (b, p), (a, q) in product(b_values(r), a_values(r))
    )


@pytest.mark.parametrize(
    "on", list(chain.from_iterable(combinations(PARTS, k) for k in range(len(PARTS) + 1))), ids=str
)
def test_every_combination_of_switches_is_what_an_enumeration_of_donors_gives(on):
    h = with_only(H, on, PARTS)
    exact = scrub(h, CHAIN_ROWS, baseline=h, exact=True)
    assert exact.scrubbed == pytest.approx(expected_loss(frozenset(part.path for part in on)))
    sampled = scrub(h, CHAIN_ROWS, baseline=h, references=4000)
    assert known(sampled.by_reference.scrubbed, exact.scrubbed) or exact.scrubbed == pytest.approx(sampled.scrubbed)


def test_the_parts_are_the_donors_that_are_drawn():
    assert [part.path for part in PARTS] == ["b", "b/other", "a", "a/other"]
    assert [part.path for part in scrubbed_parts(Hypothesis(TWO_TERMS, KEEP_X1))] == ["loss/other"]
    excluded = scrubbed_parts(Hypothesis(TWO_TERMS, KEEP_X1), Policy(exclude_self=True))
    assert [part.path for part in excluded] == ["loss/other", "a"]


@pytest.mark.parametrize("settings", [{}, {"others": "reference"}, {"others": "input"}, {"exclude_self": True}])
def test_a_part_that_is_on_takes_the_donor_that_it_takes_in_the_whole(settings):
    whole = scrub(H, CHAIN_ROWS, baseline=H, **settings)
    only_b = scrub(with_only(H, [Part("b")], PARTS), CHAIN_ROWS, baseline=H, **settings)
    assert (only_b.donors["loss/b"] == whole.donors["loss/b"]).all()
    assert (only_b.donors["loss/b/a"] == whole.donors["loss/b"]).all()  # off: on its reader's datum
    assert (only_b.donors["loss/a"] == np.arange(6)).all()
    assert not any(path.endswith("other") for path in only_b.donors)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("unclaimed", ["resample", "mean", "zero", mean(by="x"), lambda value: 5 * value])
def test_with_everything_off_the_network_runs_on_the_reference(unclaimed, exact):
    floats = {name: column.double() for name, column in CHAIN_ROWS.items()}
    off = scrub(with_only(H, [], PARTS), floats, baseline=H, unclaimed=unclaimed, exact=exact, exclude_self=True)
    assert off.by_reference.scrubbed == off.by_reference.original
    assert off.vacuity.nothing_was_tested


def test_given_donors_are_a_part_too():
    donors = {"a": np.array([1, 0, 3, 2, 5, 4])}
    found = attribute_loss(
        Hypothesis(TWO_TERMS, KEEP_X1), {k: v[:6] for k, v in INDEPENDENT.items()}, baseline=NOTHING, donors=donors
    )
    assert {part.path for part in found.parts} == {"a", "loss/other"}
    x1 = INDEPENDENT["x1"][:6].numpy()
    assert found.alone[Part("a")] == pytest.approx((2 * (x1[donors["a"]] - x1)) ** 2)


def test_claims_per_position_are_switched_whole():
    G = Graph(h=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1), loss=lambda h: (h[:, 0] - h[:, 1]) ** 2)
    data = {"tokens": torch.tensor([[0.0, 0.0], [1.0, 1.0]])}
    I = Graph(h=per_position(lambda tokens: 0 * tokens), loss=reads("h"))
    found = attribute_loss(Hypothesis(G, I), data, baseline=Graph(loss=reads()), exact=True)
    assert means(found.alone) == {"h": 1 / 2}
    assert (found.unscrubbed == 0).all()


# -- the interval


def test_intervals_cover_the_known_effect():
    """Of 400 samples of 60 references each, out of one run."""
    found = attributed(BOTH_THROUGH_FEATURES, exact=False, references=400 * 60)
    samples = found.alone[Part("b")].reshape(400, 60)
    intervals = [mean_interval(sample) for sample in samples]
    covered = np.mean([low <= 3 <= high for low, high in filter(None, intervals)])
    assert 0.92 <= covered <= 0.98  # 0.95 within three standard errors
    row = found.effects.set_index("part").loc["b"]
    assert (row["alone_low"], row["alone_high"]) == mean_interval(found.alone[Part("b")])


# -- what comes back


def test_effects_are_a_table_with_a_row_for_each_part():
    table = attributed(BOTH_THROUGH_FEATURES, shapley=2).effects.set_index("part")
    assert list(table.index) == ["b", "a", "interaction", "all"] or list(table.index) == [
        "a",
        "b",
        "interaction",
        "all",
    ]
    assert table["percent"].to_dict() == pytest.approx(
        {"a": 100 * 2 / 22, "b": 300 / 22, "interaction": 0, "all": 500 / 22}
    )
    assert table["shapley"].dropna().to_dict() == pytest.approx({"a": 2, "b": 3})
    assert (table["alone_low"] <= table["alone"]).all()


def test_it_prints_as_a_table_of_80_columns_and_reads_no_markup():
    I = Graph(loss=reads("a", "b", "y"), a=lambda x1: x1 > 1, b=lambda x2: x2 > 0)
    lines = str(attributed(I, shapley=2)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "loss added by scrubbing, by what is scrubbed"
    assert any("b: agreeing donor" in line and "3.000 (13.6%)" in line for line in lines)
    assert any("interaction" in line and "0.000" in line for line in lines)


def test_without_anything_to_recover_there_are_no_percentages():
    I = Graph(loss=reads("a", "y"), a=lambda x1: x1 > 1)
    found = attribute_loss(
        Hypothesis(TWO_TERMS, I), INDEPENDENT, baseline=Graph(loss=reads("a", "b", "y"), a=reads("x1"), b=reads("x2"))
    )
    assert "no percentages: the baseline's loss equals the original's" in " ".join(str(found).split())
    assert found.effects["percent"].isna().all()


# -- mistakes


def test_a_hypothesis_that_scrubs_nothing_has_nothing_to_attribute():
    with pytest.raises(HypothesisError, match="this hypothesis scrubs nothing"):
        attributed(Graph(loss=reads("a", "b", "y"), a=reads("x1"), b=reads("x2")))


def test_too_many_combinations_are_refused_before_the_work():
    names = [f"n{i}" for i in range(20)]
    G = Graph({n: Node(lambda x: 1 * x, ("x",)) for n in names}, loss=Node(lambda *v: sum(v), tuple(names)))
    I = Graph({n: Node(lambda x: x > 0, ("x",)) for n in names}, loss=reads(*names))
    with pytest.raises(HypothesisError, match=r"1000 permutations of 20 parts need [\d,]+ combinations.*fewer"):
        attribute_loss(Hypothesis(G, I), {"x": torch.arange(4.0)}, baseline=Graph(loss=reads()), shapley=1000)


def test_a_hypothesis_with_parts_switched_off_can_be_recorded(tmp_path):
    h = with_only(H, [PARTS[0]], PARTS)
    save_record(tmp_path / "h.json", h, CHAIN_ROWS)
    assert restore(load_record(tmp_path / "h.json"), H).I == h.I
