"""Distributions that hold for every network, hypothesis, dataset and seed: each is tested on random ones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from known_answers import is_uniform
from reference_scrub import ReferenceScrub, at_position
from strategies import POSITIONS, ancestors, datasets, examples, hypotheses, mixes, plus_one, policies, some_of

from scrubbing import Graph, Hypothesis, HypothesisError, Node, Score, bins, mean, reads, scrub, within
from scrubbing.engine.evaluate import Evaluator
from scrubbing.lens.components.residual import Sum
from scrubbing.rewrite import copy, gather, split_residual

pytestmark = [
    pytest.mark.usefixtures("unchecked_throughout"),  # test_pseudo_code.py has them checked on random hypotheses
    pytest.mark.filterwarnings("ignore::scrubbing.ScrubbingWarning"),
    pytest.mark.filterwarnings("ignore:Do not use the `random` module"),  # beartype looks at random items of lists
]

Donors = Mapping[str, np.ndarray]
ROWS_DRAWN = ["node", "reference", "input"]
WHOLE_NODES = ["node", "reference"]  # policies that do not depend on how many inputs a layer is drawn with
FREE = {"donors": {}, "together": []}  # nothing fixed by the name of a node


def crowds() -> st.SearchStrategy[dict[str, Any]]:
    """Datasets in which every row stands three times, so that each has others to agree with."""
    return datasets().map(lambda columns: {name: column.repeat(3, 1) for name, column in columns.items()})


def score(h: Hypothesis, data: Any, **policy: Any) -> Score:
    baseline = Graph(loss=reads(*(i for i in h.G["loss"].inputs if i not in h.G)))
    return scrub(h, data, baseline=baseline, **policy)


def settings_for(draw: st.DataObject, h: Hypothesis, columns: Any, **fixed: Any) -> dict[str, Any]:
    return draw.draw(policies(h, len(columns["y"]))) | fixed


def same_donors(one: Donors, other: Donors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[path], other[path]) for path in one)


def same(one: Score, other: Score) -> bool:
    """Whether nothing changed, draw for draw; notes may name other nodes of G."""
    plain, as_plain = (score.model_copy(update={"notes": ()}) for score in (one, other))
    return plain == as_plain and same_donors(one.donors, other.donors)


# -- changes that change nothing


@dataclass(frozen=True)
class Relabelled:
    """A feature under other values; what it reads of relabelled features it first translates back."""

    fn: Any
    translate: tuple[Any, ...]
    coarse: bool

    def __call__(self, *values: Any) -> Any:
        value = self.fn(*(back(v) for back, v in zip(self.translate, values, strict=True)))
        return value if self.coarse else 50 - 7 * value


def relabelled(I: Graph) -> Graph:
    """Every function of I with other values for its classes; claims of whole inputs pass the new values on."""

    def translation(name: str) -> Any:
        if name not in I:
            return lambda value: value
        if I[name].is_reads:
            parts = [translation(i) for i in I[name].inputs]
            if len(parts) == 1:
                return parts[0]
            return lambda values: tuple(part(v) for part, v in zip(parts, values, strict=True))
        return (lambda value: value) if I[name].binning else lambda value: (50 - value) // 7

    def node(name: str) -> Node:
        old = I[name]
        fn = Relabelled(old.fn, tuple(map(translation, old.inputs)), old.binning is not None)
        return old if old.is_reads else replace(old, fn=fn)

    return Graph({name: node(name) for name in I})


@examples(16)
@given(st.data())
def test_relabelling_features_changes_nothing_draw_for_draw(data):
    h, columns = data.draw(hypotheses()), data.draw(crowds())
    for name in data.draw(some_of(n for n in h.I if h.I[n].is_reads and h.I[n].inputs and not h.I[n].per_position)):
        h = replace(h, I=h.I | {name: Node(data.draw(mixes(st.integers(2, 3))), h.I[name].inputs)})
    policy = settings_for(data, h, columns)
    assert same(score(replace(h, I=relabelled(h.I)), columns, **policy), score(h, columns, **policy))


def whole(*values: Any) -> Any:
    return values


@examples(14)
@given(st.data())
def test_everything_claimed_is_bit_identical(data):
    G, columns = data.draw(hypotheses()).G, data.draw(crowds())
    columns = {name: column / 3 for name, column in columns.items()}
    by_function = data.draw(some_of(set(G) - {"loss"}))  # these draw a donor among rows that agree
    claims = {name: Node(whole, n.inputs) if name in by_function else reads(*n.inputs) for name, n in G.items()}
    h = Hypothesis(G, Graph(claims))
    losses = score(h, columns, draws=2, **settings_for(data, h, columns, **FREE)).by_reference
    assert losses.scrubbed == losses.original


@examples(14)
@given(st.data())
def test_the_size_of_a_chunk_changes_nothing(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    policy = settings_for(data, h, columns, unclaimed="resample")
    whole = score(h, columns, draws=3, **policy)
    with patch.object(Evaluator, "fitting", return_value=data.draw(st.integers(1, 7))):
        assert same(whole, score(h, columns, draws=3, **policy))


@dataclass(frozen=True)
class Permuted:
    """A function with its parameters in another order."""

    fn: Any
    order: tuple[int, ...]

    def __call__(self, *values: Any) -> Any:
        return self.fn(*(values[i] for i in np.argsort(self.order)))


@examples(14)
@given(st.data())
def test_the_order_in_which_nodes_and_columns_are_written_changes_nothing(data):
    h, columns = data.draw(hypotheses()), data.draw(crowds())
    policy = settings_for(data, h, columns)

    def turned(mapping: Mapping[str, Any]) -> dict[str, Any]:
        return {name: mapping[name] for name in data.draw(st.permutations(sorted(mapping)))}

    rewritten = replace(h, G=Graph(turned(h.G)), I=Graph(turned(h.I)), c=turned(h.c))
    assert same(score(rewritten, turned(columns), **policy), score(h, columns, **policy))


@examples(14)
@given(st.data())
def test_the_order_of_a_nodes_inputs_changes_nothing(data):
    h, columns = data.draw(hypotheses()), data.draw(crowds())
    policy = settings_for(data, h, columns)

    def turned(node: Node) -> Node:
        order = data.draw(st.permutations(range(len(node.inputs))))
        return replace(node, fn=Permuted(node.fn, tuple(order)), inputs=tuple(node.inputs[i] for i in order))

    G = Graph({name: turned(node) for name, node in h.G.items()})
    I = Graph({name: node if node.is_reads else turned(node) for name, node in h.I.items()})
    before, after = score(h, columns, **policy), score(replace(h, G=G, I=I), columns, **policy)
    assert after.by_reference == before.by_reference
    common = before.donors.keys() & after.donors.keys()  # what several paths share goes by the path met first
    assert all(np.array_equal(before.donors[path], after.donors[path]) for path in common)


# -- rewrites of G


def unclaimed_inputs(h: Hypothesis, reader: str) -> list[str]:
    """What a node of G reads and no claim about it names."""
    nodes = [n for n in h.I if h.image(n) == reader]
    claimed = {name for n in nodes for name in (*h.claimed_inputs(n), *h.read_columns(n))}
    return [i for i in h.G[reader].inputs if i not in claimed and i not in h.scramble]


@dataclass(frozen=True)
class FirstTwoAdded:
    """A function whose first parameter comes as two terms."""

    fn: Any
    place: int

    def __call__(self, one: Any, two: Any, *rest: Any) -> Any:
        return self.fn(*rest[: self.place], one + two, *rest[self.place :])


@dataclass(frozen=True)
class Remainder:
    """What a function has over another one of the same inputs."""

    fn: Any
    other: Any

    def __call__(self, *values: Any) -> Any:
        return self.fn(*values) - self.other(*values)


@examples(20)
@given(st.data())
def test_splitting_an_unclaimed_input_into_two_terms_changes_nothing(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    choices = [(reader, p) for reader in h.G for p in unclaimed_inputs(h, reader)]
    assume(choices)
    reader, p = data.draw(st.sampled_from(choices))
    node = h.G[reader]
    term = h.G.get(p, reads(p))
    place, part = node.inputs.index(p), data.draw(mixes(st.integers(2, 7)))
    rest = tuple(i for i in node.inputs if i != p)
    split = h.G | {
        "p1": replace(term, fn=Remainder(term.fn, part)),
        "p2": replace(term, fn=part),
        reader: replace(node, fn=FirstTwoAdded(node.fn, place), inputs=("p1", "p2", *rest)),
    }
    others = data.draw(st.sampled_from(WHOLE_NODES))
    policy = settings_for(data, h, columns, others=others, unclaimed="resample")
    assert same(score(replace(h, G=split), columns, **policy), score(h, columns, **policy))


@examples(16)
@given(st.data())
def test_copying_a_node_changes_no_score(data):
    h, columns = data.draw(hypotheses()), data.draw(crowds())
    name = data.draw(st.sampled_from(sorted(set(h.G) - {"loss"})))
    reader = data.draw(st.sampled_from([None, *h.G.readers(name)]))
    copied = copy(h.G, name, reader=reader)
    c = dict(h.c)
    for m in h.I:
        if h.image(m) == name:
            images = {own if (own := f"{name}_{h.image(n)}") in copied else name for n in h.I.readers(m)}
            assume(len(images) == 1)  # else the claim no longer has one image
            c[m] = images.pop()
    policy = settings_for(data, h, columns, others=data.draw(st.sampled_from(WHOLE_NODES)))
    assert same(score(replace(h, G=copied, c=c), columns, **policy), score(h, columns, **policy))


@st.composite
def hypotheses_of_sums(draw: st.DrawFn) -> Hypothesis:
    """Hypotheses about networks of which some nodes sum what they read."""
    h = draw(hypotheses())
    sums = [name for name in h.G if name != "loss" and draw(st.booleans())]
    return replace(h, G=Graph({n: replace(node, fn=Sum()) if n in sums else node for n, node in h.G.items()}))


def summing(h: Hypothesis) -> list[str]:
    return [name for name in h.G if isinstance(h.G[name].fn, Sum)]


@examples(16)
@given(st.data())
def test_gathering_unclaimed_terms_changes_no_score(data):
    h, columns = data.draw(hypotheses_of_sums()), data.draw(datasets())
    choices = [name for name in summing(h) if unclaimed_inputs(h, name)]
    assume(choices)
    reader = data.draw(st.sampled_from(choices))
    terms = data.draw(st.lists(st.sampled_from(unclaimed_inputs(h, reader)), min_size=1, unique=True))
    others = data.draw(st.sampled_from(WHOLE_NODES))
    policy = settings_for(data, h, columns, others=others, unclaimed="resample")
    gathered = replace(h, G=gather(h.G, reader, rest=terms))
    assert same(score(gathered, columns, **policy), score(h, columns, **policy))


@examples(16)
@given(st.data())
def test_splitting_an_unclaimed_term_into_a_guess_and_its_error_changes_no_score(data):
    h, columns = data.draw(hypotheses_of_sums()), data.draw(datasets())
    images = {h.image(n) for n in h.I}
    choices = sorted({p for reader in summing(h) for p in h.G[reader].inputs if p in h.G and p not in images})
    assume(choices)
    name = data.draw(st.sampled_from(choices))
    guess = replace(h.G[name], fn=data.draw(mixes(st.integers(2, 7))))
    others = data.draw(st.sampled_from(WHOLE_NODES))
    policy = settings_for(data, h, columns, others=others, unclaimed="resample")
    split = replace(h, G=split_residual(h.G, name, guess=guess))
    assert same(score(split, columns, **policy), score(h, columns, **policy))


# -- edits of one claim


@dataclass(frozen=True)
class OfColumns:
    """A feature that looks only at some of its inputs."""

    fn: Any
    seen: tuple[int, ...]

    def __call__(self, *values: Any) -> Any:
        return self.fn(*(values[i] for i in self.seen)) if self.seen else ()


def unaffected_by(I: Graph, name: str) -> Graph:
    """I with features above `name` that depend on columns alone, so that an edit of that claim is no edit of others."""

    def node(n: str) -> Node:
        inputs = I[n].inputs
        if name not in ancestors(n, {m: node.inputs for m, node in I.items()}):
            return I[n]
        return Node(OfColumns(whole, tuple(i for i, m in enumerate(inputs) if m not in I)), inputs)

    return Graph({n: node(n) for n in I})


def claiming(h: Hypothesis, I: Graph) -> Hypothesis:
    """The hypothesis with another explanation, in which the same names go by the same images."""
    return replace(h, I=I, c={name: image for name, image in h.c.items() if name in I})


@examples(20)
@given(st.data())
def test_editing_one_claim_leaves_donors_outside_its_subtree(data):
    h, columns = data.draw(hypotheses()), data.draw(crowds())
    assume(len(h.I) > 1)
    name = data.draw(st.sampled_from(sorted(set(h.I) - {h.I.output})))
    h = replace(h, I=unaffected_by(h.I, name))
    policy = settings_for(data, h, columns, others=data.draw(st.sampled_from(ROWS_DRAWN)), **FREE)
    children = data.draw(some_of(set(h.I[name].inputs) & set(h.I)))
    read = data.draw(some_of(h.G.upstream_columns[h.image(name)]))
    claim = reads(*children, *read)
    if claim.inputs and data.draw(st.booleans()):
        claim = replace(claim, fn=data.draw(mixes(st.integers(1, 3))))

    def outside(h: Hypothesis) -> Donors:
        donors = score(h, columns, **policy).donors
        return {path: rows for path, rows in donors.items() if name not in path.split("/")}

    before, after = outside(h), outside(claiming(h, h.I | {name: claim}))
    common = before.keys() & after.keys()  # what several paths share goes by the path met first
    assert all(np.array_equal(before[path], after[path]) for path in common)


@dataclass(frozen=True)
class Both:
    """Two features in one."""

    one: Any
    other: Any

    def __call__(self, *values: Any) -> Any:
        return self.one(*values), self.other(*values)


@st.composite
def refinements(draw: st.DrawFn, inputs: tuple[str, ...]) -> list[Node]:
    """Claims about the same inputs, each finer than the one before."""
    mix, other = draw(mixes(st.integers(1, 3))), draw(mixes(st.integers(1, 3)))
    claim = Node(mix, inputs)
    return draw(
        st.sampled_from(
            [
                [replace(claim, fn=OfColumns(whole, ())), claim, replace(claim, fn=Both(mix, other)), reads(*inputs)],
                [within(claim, 4.0), within(claim, 2.0), claim],
                [bins(claim, 2), bins(claim, 4), claim],
                [within(reads(*inputs), 1.5), reads(*inputs)],
            ]
        )
    )


@examples(16)
@given(st.data())
def test_refining_a_feature_never_raises_its_bits(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    names = [name for name in h.I if name != h.I.output and h.I[name].inputs]
    assume(names)
    name = data.draw(st.sampled_from(sorted(names)))
    I = unaffected_by(h.I, name)
    policy = settings_for(data, h, columns, **FREE)
    chain = [claiming(h, I | {name: claim}) for claim in data.draw(refinements(I[name].inputs))]
    found = [{n.path: n for n in score(h, columns, **policy).vacuity.nodes} for h in chain]
    for coarse, fine in pairwise(found):
        paths = [path for path in coarse.keys() & fine.keys() if path.endswith(f"/{name}")]
        assert paths
        for path in paths:
            assert fine[path].bits <= coarse[path].bits + 1e-12
            assert fine[path].swapped <= coarse[path].swapped + 1e-12
            assert fine[path].classes >= coarse[path].classes
            assert fine[path].singletons >= coarse[path].singletons


# -- donors


def own_rows(scored: Score, path: str) -> np.ndarray:
    """The datum that a donor stands in for: that of the visited node, or of the claim's parent."""
    steps = path.split("/")
    if steps[-1] == "other":
        steps = steps[:-2] if scored.settings["others"] == "input" else steps[:-1]
        above = "/".join(steps)
    else:
        above = "/".join(steps[:-1])
    if "/" in above:
        return scored.donors[above]
    return np.repeat(scored.by_reference.reference, scored.draws)


def spread(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Rows for each position, where `like` has them."""
    return np.broadcast_to(rows[:, None], like.shape) if rows.ndim < like.ndim else rows


def agreeing_rows(h: Hypothesis, columns: Any, name: str) -> np.ndarray:
    """Whether two rows agree on a node of I: `[row, row]`, or `[row, row, position]` of a claim per position."""
    judge = ReferenceScrub(h, columns)
    values = [judge.feature(name, d) for d in judge.dataset]
    if h.I[name].per_position:
        at = [[at_position(value, p) for p in range(POSITIONS)] for value in values]
        return np.array([[[a == b for a, b in zip(one, other, strict=True)] for other in at] for one in at])
    return np.array([[one == other for other in values] for one in values])


@examples(20)
@given(st.data())
def test_donors_agree_with_their_parents_own_datum(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    scored = score(h, columns, draws=4, **settings_for(data, h, columns, donors={}))
    for path, rows in scored.donors.items():
        name = path.rpartition("/")[2]
        if name == "other":
            continue
        own, agree = spread(own_rows(scored, path), rows), agreeing_rows(h, columns, name)
        at = (np.arange(POSITIONS),) if agree.ndim == 3 else ()
        assert agree[rows, own, *at].all()


@examples(20)
@given(st.data())
def test_nobody_stands_in_for_itself_unless_it_is_alone_in_its_class(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    others = data.draw(st.sampled_from(ROWS_DRAWN))
    policy = settings_for(data, h, columns, others=others, donors={}, exclude_self=True)
    scored = score(h, columns, draws=4, **policy)
    for path, rows in scored.donors.items():
        name, own = path.rpartition("/")[2], spread(own_rows(scored, path), rows)
        if name == "other":
            alone = np.full(rows.shape, len(columns["y"]) == 1)
        else:
            group = next((group for group in policy["together"] if name in group), [name])
            agree = np.all([agreeing_rows(h, columns, member) for member in group], axis=0)
            at = (np.arange(POSITIONS),) if agree.ndim == 3 else ()
            alone = (agree.sum(axis=1) == 1)[own, *at]
        assert ((rows == own) == alone).all()


@examples(16)
@given(st.data())
def test_donors_are_uniform_at_every_node_if_references_are(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    others = data.draw(st.sampled_from(ROWS_DRAWN))
    policy = settings_for(data, h, columns, others=others, donors={})
    for rows in score(h, columns, references=1500, **policy).donors.values():
        for here in rows.reshape(len(rows), -1).T:
            assert is_uniform(here, of=len(columns["y"]))


# -- exact


@examples(14)
@given(st.data())
def test_sampled_and_exact_agree_within_four_standard_errors(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    policy = settings_for(data, h, columns)
    exact, sampled = score(h, columns, exact=True, **policy), score(h, columns, draws=150, **policy)
    error = np.sqrt((exact.variance_within or 0) / (sampled.references * sampled.draws))
    assert abs(sampled.scrubbed - exact.scrubbed) <= 4 * error + 1e-9


@examples(14)
@given(st.data())
def test_the_order_of_the_rows_changes_nothing_in_exact_mode(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    order = np.array(data.draw(st.permutations(range(len(columns["y"])))))
    others, unclaimed = data.draw(st.sampled_from(ROWS_DRAWN)), data.draw(st.sampled_from(["resample", "zero"]))
    policy = settings_for(data, h, columns, others=others, unclaimed=unclaimed, donors={})
    before = score(h, columns, exact=True, **policy)
    after = score(h, {name: column[order] for name, column in columns.items()}, exact=True, **policy)
    for losses in ("original", "baseline", "scrubbed"):
        one, other = (np.array(getattr(s.by_reference, losses)) for s in (before, after))
        np.testing.assert_allclose(other, one[order], rtol=1e-12, atol=1e-12)
    for reading in before.readings:
        assert after.readings[reading].value == pytest.approx(before.readings[reading].value, rel=1e-12, abs=1e-12)


# -- claims of inputs and the same written as functions


@examples(30)
@given(st.data())
def test_reads_is_the_function_that_gives_what_it_reads(data):
    """The exact score is one of agreement alone, whatever the policy looks at beside it."""
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    plain = [n for n in h.I if n != h.I.output and h.I[n].claims_inputs_alone and h.I[n].inputs]
    assume(plain)
    chosen = data.draw(st.sampled_from([plain, *([n] for n in plain)]))
    as_functions = replace(h, I=h.I | {n: Node(whole, h.I[n].inputs) for n in chosen})
    unclaimed = data.draw(st.sampled_from(["resample", "mean", mean(by="x0"), mean(by="x1"), "zero", plus_one]))
    policy = settings_for(data, h, columns, unclaimed=unclaimed)
    one, other = exact_losses(h, columns, policy), exact_losses(as_functions, columns, policy)
    assert other == pytest.approx(one, abs=1e-9)


def exact_losses(h: Hypothesis, columns: Any, policy: Mapping[str, Any]) -> tuple[float, ...]:
    try:
        return score(h, columns, exact=True, **policy).by_reference.scrubbed
    except HypothesisError as error:  # of what exact mode cannot follow
        assume("exact" not in str(error))
        raise


@examples(10)
@given(st.data())
def test_made_donors_are_followed_by_reads_as_by_a_function(data):
    """What a maker makes depends on the datum that its own was drawn as."""
    G = Graph(a=lambda x, z: 3 * x + z, b=lambda a, z: a * z, loss=lambda b, y: (b - y).double())
    columns = {"x": [0, 0, 0, 1], "z": data.draw(st.permutations([1, 2, 3, 4])), "y": [0, 0, 0, 0]}

    def same_x(own: Any, rng: np.random.Generator) -> Any:
        return {"z": 10 * own["z"]}

    def mean_of(b: Node) -> np.ndarray:
        h = Hypothesis(G, Graph(a=lambda x: x, b=b, loss=reads("b", "y")))
        scored = score(h, columns, donors={"a": same_x}, draws=3000)
        return np.array(scored.by_reference.scrubbed)

    assert mean_of(reads("a")) == pytest.approx(mean_of(Node(whole, ("a",))), rel=0.1, abs=1)


TWO_GROUPS = {"x": [0, 0], "g": [0, 1], "a": [0.0, 10.0], "y": [0, 0]}
WITH_A_PART = Graph(P=lambda a: a * 1, A=lambda x, P: x + P, loss=lambda A, y: A + y)


@pytest.mark.parametrize("A", [reads("x"), lambda x: x], ids=["reads", "a function"])
def test_the_group_of_a_mean_is_that_of_the_datum_drawn(A):
    h = Hypothesis(WITH_A_PART, Graph(A=A, loss=reads("A", "y")), columns=("g",))
    found = scrub(h, TWO_GROUPS, baseline=Graph(loss=reads("y")), unclaimed=mean(by="g"), exact=True)
    assert found.by_reference.scrubbed == (5, 5)
