"""Path patching, circuits and `kept` against plain forward hooks, and by what must be equal."""

import runpy
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hooked_passes import FAMILIES, HookedModel, losses
from hugging_face_models import VOCABULARY, hugging_face_model, tried

from scrubbing import DataError, Graph, GraphError, Hypothesis, HypothesisError, circuit, kept, paths, reads, scrub
from scrubbing.lens import load_transformer, next_token_data, transformer
from scrubbing.rewrite import split_qkv
from scrubbing.store.record import load_record, restore, save_record

ROWS = torch.randint(0, VOCABULARY, (5, 9), generator=torch.Generator().manual_seed(3))
DONORS = torch.tensor([3, 0, 4, 1, 2])
KNOWS_NOTHING = Graph(loss=reads("labels", "weights"))
HEADS = [(layer, head) for layer in range(2) for head in range(4)]


@cache
def case(name):
    """The hooked model, the graph with the second layer's heads split, and the data."""
    model = hugging_face_model(name)
    loaded = load_transformer(model)
    G = split_qkv(transformer(loaded), *(f"a1_h{head}" for head in range(4)))
    return HookedModel(model, name), G, next_token_data(ROWS, model=loaded)


def scrubbed(h, data, others=DONORS, **settings):
    """The losses of each row, of one hypothesis or of several together."""
    settings = {"baseline": KNOWS_NOTHING, "others": others, **settings}
    scores = scrub(h, data, **settings)
    losses = [
        torch.tensor(s.losses["scrubbed"].to_numpy()).float() for s in (scores if isinstance(h, list) else [scores])
    ]
    return losses if isinstance(h, list) else losses[0]


def equal(got, logits, data):
    torch.testing.assert_close(got, losses(logits, data), rtol=0, atol=1e-4)


def norms(name):
    """The nodes that stand between heads and the stream: a norm after attention."""
    return ["a0", "a1"] if name == "gemma2" else []


@pytest.mark.parametrize("name", tried(FAMILIES, always=["gpt2", "llama", "gemma2"]))
def test_senders_to_queries_and_to_logits_are_what_hooks_make_of_them(name):
    hooked, G, data = case(name)
    built, expected = [], []
    for mlps in (False, True):
        through = [*norms(name), *(["m*"] if mlps else [])]
        for senders, queries in ((["a0_h1", "a0_h3"], [0, 2]), (["a0_h1"], [0]), (["a0_h1", "a0_h3"], [])):
            built.append(paths(G, senders, [f"a1_h{q}_q" for q in queries] or "logits", through=through))
            heads, made = [(0, int(s[-1])) for s in senders], [(1, q) for q in queries]
            expected.append(losses(hooked.path_patched(data["tokens"], DONORS, heads, made, mlps=mlps), data))
    got = scrubbed(built, data, check=False)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    for one, other in pairwise([*got, G(data)]):
        assert (one - other).abs().max() > 3e-4


@pytest.mark.filterwarnings("ignore:.*claim 'a[01]' changes nothing")  # where all that a norm reads is the donor's
@pytest.mark.parametrize("name", tried(FAMILIES, always=["gpt2", "llama", "gemma2"]))
def test_all_heads_to_the_logits_with_nothing_frozen_is_activation_patching(name):
    hooked, G, data = case(name)
    chosen = HEADS, [(0, 2)], [(0, 2), (1, 1)]
    built = [paths(G, [f"a{layer}_h{head}" for layer, head in heads], "logits", through="*") for heads in chosen]
    got = scrubbed(built, data, check=False)
    expected = [losses(hooked.activation_patched(data["tokens"], DONORS, heads), data) for heads in chosen]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


ROLES = {"end": torch.tensor([7, 5, 6, 7, 4]), "first": torch.tensor([1, 0, 2, 1, 1])}


def at(*roles):
    return torch.stack([torch.arange(8) == ROLES[role][:, None] for role in roles]).any(0)


@pytest.mark.parametrize("name", tried(FAMILIES, always=["gpt2", "llama", "gemma2"]))
def test_senders_and_receivers_at_roles_are_what_hooks_make_of_them(name):
    hooked, G, data = case(name)
    cases = [
        (["a0_h1@first"], [], at("first"), None),
        (["a0_h1@first a0_h3@first"], [0], at("first"), None),
        (["a0_h1@first", "a0_h1@end"], [0, 2], at("first", "end"), at("end")),
        (["a0_h1 a0_h3"], [0], None, at("end")),
    ]
    built, expected = [], []
    for senders, queries, sent, received in cases:
        role = "" if received is None else "@end"
        receivers = [f"a1_h{q}_q{role}" for q in queries] or "logits"
        built.append(paths(G, senders, receivers, through=[*norms(name), "m*"]))
        heads = [(0, head) for head in (1, 3) if any(f"h{head}" in word for word in senders)]
        where = {"mlps": True, "sent_at": sent, "received_at": received}
        logits = hooked.path_patched(data["tokens"], DONORS, heads, [(1, q) for q in queries], **where)
        expected.append(losses(logits, data))
    got = scrubbed(built, dict(data) | ROLES, check=False)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    for one, other in pairwise([*got, G(data)]):
        assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_circuit_has_heads_at_roles_and_the_rest_is_open_position_by_position(name):
    hooked, _, data = case(name)
    G = transformer(load_transformer(hugging_face_model(name), check=False))
    inside = {(0, 1): at("first"), (1, 2): at("first", "end"), (1, 3): torch.ones(5, 8).bool()}
    h = circuit(G, "embed m* a0_h1@first a1_h2@first a1_h2@end a1_h3")
    z, _ = hooked.record(data["tokens"])

    def edit(layer, stands):
        def with_others(own):
            mixed = stands(z[layer]).expand_as(own).clone()
            for head in range(4):
                of = hooked.of_head(own, head)
                here = inside.get((layer, head), torch.zeros(5, 8).bool())[..., None]
                mixed[..., of] = own[..., of].where(here, mixed[..., of])
            return mixed

        return hooked.writer(layer), with_others

    kinds = {"resample": lambda z: z[DONORS], "mean": lambda z: z.mean(0, keepdim=True), "zero": torch.zeros_like}
    for unclaimed, stands in kinds.items():
        logits = hooked.run(data["tokens"], dict(edit(layer, stands) for layer in range(2)))
        equal(scrubbed(h, dict(data) | ROLES, unclaimed=unclaimed, check=False), logits, data)


def test_edges_of_a_circuit_may_be_at_roles():
    _, _, data = case("gpt2")
    G, given = transformer(load_transformer(hugging_face_model("gpt2"))), dict(data) | ROLES
    edges = {"logits": "embed a0_h1@first m1", "m1": "a0_h1", "a0_h1": "embed"}
    h = circuit(G, edges)
    (embed, a, m1) = G.activations(data, "embed", "a0_h1", "m1")
    names = G["m1"].inputs
    values = dict(zip(names, G.activations(data, *names), strict=True))
    m1 = G["m1"].fn(*(values[n] if n == "a0_h1" else values[n][DONORS] for n in names))
    others = dict(zip(G["logits"].inputs, (v[DONORS] for v in G.activations(data, *G["logits"].inputs)), strict=True))
    others |= {"embed": embed, "m1": m1, "a0_h1": a.where(at("first")[..., None], a[DONORS])}
    equal(scrubbed(h, given), G["logits"].fn(*others.values()).all(), data)


def test_a_role_that_some_rows_do_not_have_is_refused_with_the_rows():
    _, G, data = case("gpt2")
    given = dict(data) | ROLES | {"end": torch.tensor([7, -1, 6, -1, 4])}
    said = "the role 'end' is missing in rows 1, 3: the position there is -1; leave those rows out"
    for h in (paths(G, "a0_h1@end", "logits"), circuit(G, "embed m* a0_h1@end")):
        with pytest.raises(DataError, match=said):
            scrubbed(h, given, references=[0, 2])
    with pytest.raises(DataError, match="'end' is no role: it must hold a whole number for each row"):
        scrubbed(paths(G, "a0_h1@end", "logits"), given | {"end": torch.rand(5)})


def test_patching_with_equal_rows_changes_nothing():
    hooked, G, data = case("gpt2")
    same = torch.arange(len(DONORS))
    built = [paths(G, "a0_*", "a1_h*_q", through="m*"), paths(G, "a?_h? m*", "logits", through="*")]
    for got in scrubbed(built, data, others=same):
        equal(got, hooked.run(data["tokens"]), data)


def test_frozen_nodes_are_claimed_once_and_recomputed_ones_twice_where_they_follow_a_receiver():
    _, G, _ = case("gpt2")
    assert not paths(G, "a0_h1", "a1_h0_q").c
    assert not paths(G, "a0_h1", "logits", through="m*").c  # none follows the logits
    assert set(paths(G, "a0_h1", "logits", through="m*").I) == {"m0", "m1", "logits", "loss"}
    a, b, m, c = (lambda x: x), (lambda a, x: a + x), (lambda a, b: 2 * a + 3 * b), (lambda a, m: 5 * a + 7 * m)
    G = Graph(a=a, b=b, m=m, c=c, loss=lambda a, b, m, c: a + 10 * b + 100 * m + 1000 * c)
    h = paths(G, "a", "b c", through="m")
    assert h.c == {"m_through": "m"}
    assert h.I["c"].inputs == ("m_through",)
    assert h.I["m"].inputs == ("b",)
    data = {"x": torch.tensor([1.0, 7.0])}
    loss = scrubbed(h, data, others=[1, 0], baseline=Graph(loss=reads()))[0].item()
    assert loss == 1 + 10 * 8 + 100 * (2 + 3 * 8) + 1000 * (5 * 7 + 7 * (2 * 7 + 3 * 2))


def test_a_receiver_after_another_receiver_has_the_value_that_it_was_given():
    a, b, c = (lambda x: x), (lambda a, x: a + x), (lambda a, b: 3 * a + b)
    G = Graph(a=a, b=b, c=c, loss=lambda a, b, c: a + 10 * b + 100 * c)
    data = {"x": torch.tensor([1.0, 7.0])}

    def loss(**given):
        return scrubbed(paths(G, **given), data, others=[1, 0], baseline=Graph(loss=reads()))[0].item()

    assert loss(senders="a", receivers="b c") == 1 + 10 * 8 + 100 * (3 * 7 + 2)
    assert loss(senders="a", receivers="b") == 1 + 10 * 8 + 100 * (3 + 8)
    assert loss(senders="a", receivers="c", through="b") == 1 + 10 * 2 + 100 * (3 * 7 + 8)
    assert loss(senders="b", receivers="loss") == 1 + 10 * 14 + 100 * 5


def test_two_senders_whose_scores_add_under_a_softmax_do_more_together_than_alone():
    def attention(a, b):
        return torch.stack([torch.zeros_like(a), -8 + 4 * a + 4 * b], dim=1).softmax(1)[:, 1]

    G = Graph(a=lambda x: 1.0 * x, b=lambda x: 1.0 * x, loss=attention)
    settings = {"others": [1, 0], "references": [0], "baseline": Graph(loss=reads())}
    found = [scrubbed(paths(G, senders, "loss"), {"x": torch.tensor([0, 1])}, **settings) for senders in ("a", "a b")]
    assert G({"x": torch.tensor([0])}).item() == pytest.approx(0.000335, abs=1e-6)
    assert [values.item() for values in found] == pytest.approx([0.018, 0.5], abs=1e-4)


def test_edges_can_be_ablated():
    _, G, data = case("llama")
    h = paths(G, "a0_h1", "logits")
    zero = scrubbed(h, data, unclaimed="zero")
    frozen, *_ = G.activations(data, "logits")
    inputs = dict(zip(G["logits"].inputs, G.activations(data, *G["logits"].inputs), strict=True))
    inputs["a0_h1"] = torch.zeros_like(inputs["a0_h1"])
    equal(zero, G["logits"].fn(*inputs.values()).all(), data)
    assert (zero - losses(frozen.all(), data)).abs().max() > 1e-3
    assert (scrubbed(h, data, unclaimed="mean") - zero).abs().max() > 1e-3


@pytest.mark.parametrize("padded", [False, True])
def test_what_is_kept_is_exact_whatever_columns_it_reads(padded):
    loaded = load_transformer(hugging_face_model("gpt2"))
    G = transformer(loaded, padded=padded)
    data = dict(next_token_data(ROWS, model=loaded))
    if padded:
        real = torch.ones_like(data["tokens"])
        real[1, :3] = real[3, :5] = 0
        data |= {"attention_mask": real, "weights": data["weights"] * real}
    own = G(data)
    torch.testing.assert_close(scrubbed(Hypothesis(G, Graph(kept(G, "loss"))), data), own)
    claims = Graph(loss=reads("logits", "labels", "weights"), logits=reads("m1", "a1_h0")) | kept(G, "m1", "a1_h0")
    got = scrubbed(Hypothesis(G, claims), data)
    names = G["logits"].inputs
    values = dict(zip(names, G.activations(data, *names), strict=True))
    mixed = [values[n] if n in ("m1", "a1_h0") else values[n][DONORS] for n in names]
    torch.testing.assert_close(got, losses(G["logits"].fn(*mixed).all(), data))
    other = DONORS.roll(1)
    given = scrubbed(Hypothesis(G, claims), data, donors={"m1": other})
    rows = {"a1_h0": torch.arange(len(DONORS)), "m1": other}
    mixed = [values[n][rows.get(n, DONORS)] for n in names]
    torch.testing.assert_close(given, losses(G["logits"].fn(*mixed).all(), data))


def test_a_circuit_is_claims_of_its_edges_alone():
    _, _, data = case("gpt2")
    G = transformer(load_transformer(hugging_face_model("gpt2")))
    h = circuit(G, "embed a0.* m1")
    by_hand = {
        "loss": reads("logits", "labels", "weights"),
        "logits": reads("embed", *(f"a0_h{n}" for n in range(4)), "m1"),
        "m1": reads("embed", *(f"a0_h{n}" for n in range(4))),
        "embed": reads("tokens"),
        **{f"a0_h{n}": reads("embed") for n in range(4)},
    }
    assert not h.diff(Hypothesis(G, Graph(by_hand)))
    torch.testing.assert_close(scrubbed(circuit(G, "*"), data), G(data))
    fewer = circuit(G, {"logits": "m1", "m1": "a0_h2", "a0_h2": "embed"})
    assert fewer.I["m1"].inputs == ("a0_h2",)
    assert scrubbed(fewer, data).ne(scrubbed(h, data)).all()


def test_what_is_built_prints_and_is_saved(tmp_path):
    _, G, data = case("gpt2")
    h = paths(G, "a0_h1", "a1_h0_q a1_h1_q", through="m0")
    assert "a1_h0_q(m0)" in repr(h.I)
    save_record(tmp_path / "h.json", h, data)
    again = restore(load_record(tmp_path / "h.json"), G)
    assert not h.diff(again)
    assert h.diff(paths(G, "a0_h1", "a1_h0_q", through="m0"))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda G: paths(G, "a1_h0", "a0_h1"),
            HypothesisError,
            "no path leads from 'a1_h0' to 'a0_h1': 'a0_h1' reads embed; 'a1_h0' is read by m1, logits",
        ),
        (
            lambda G: paths(G, "a0_h1", "a1_h0"),
            HypothesisError,
            "no path leads from 'a0_h1' to 'a1_h0': name nodes between them in through=: m0, a1_h0_k, a1_h0_q",
        ),
        (lambda G: paths(G, "a7.*", "logits"), GraphError, "there is no node 'a7.*'; there are embed, a0_h0, a0_h1"),
        (
            lambda G: paths(G, "embed", "m0 logits", through="a0_h1"),
            HypothesisError,
            "what 'm0' receives changes nothing: it reaches the output only through logits, whose values are made",
        ),
        (lambda G: paths(G, "", "logits"), HypothesisError, "senders names no node"),
        (lambda G: paths(G, 3, "logits"), Exception, "senders=3, but it must be"),
        (
            lambda G: circuit(G, "a1_h0_q embed"),
            HypothesisError,
            "no path within the circuit leads from 'a1_h0_q' to the output 'loss'; name some of what reads it: a1_h0_p",
        ),
        (
            lambda G: circuit(G, "m1"),
            HypothesisError,
            "no path within the circuit leads from the data to 'm1'; name some of what it reads: embed, a0_h0",
        ),
        (
            lambda G: circuit(G, {"logits": "a0_h1@end a0_h1@x", "a0_h1@end": "embed", "a0_h1@x": "a0_h2"}),
            HypothesisError,
            "'a0_h1' reads different nodes at different roles, and computes one value for all of them; say once",
        ),
        (lambda G: paths(G, "a0_h1@", "logits"), GraphError, "'a0_h1@' names no role; write a column of positions"),
        (lambda G: paths(G, "a0_h1@4", "logits"), GraphError, "'a0_h1@4' names no role; write a column of positions"),
        (lambda G: paths(G, "a0_h1", "logits@end"), GraphError, "'logits' has no positions on its second axis"),
        (
            lambda G: circuit(G, "embed a0.* a1_h0@end"),
            HypothesisError,
            "no path within the circuit leads from the data to 'a1_h0_whole'; name some of what it reads",
        ),
        (lambda G: kept(G, "a0_h9"), GraphError, "there is no node 'a0_h9'; did you mean 'a0_h"),
    ],
)
def test_mistakes_are_named(build, error, message):
    _, G, _ = case("gpt2")
    with pytest.raises(error) as mistake:
        build(G)
    assert message in str(mistake.value)


@pytest.mark.slow
def test_the_example_finds_the_previous_token_head():
    found = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "path_patching.py"))
    scores = scrub(
        found["patched"], found["data"], baseline=found["together"], others=found["donors"], references=range(4)
    )
    shares = {head: 1 - score.recovered for head, score in scores.items()}
    assert max(shares, key=shares.__getitem__) == "a0_h0"
    assert shares["a0_h0"] > 0.8


def test_a_column_that_a_kept_node_reads_itself_reaches_it_by_all_its_other_inputs_too():
    G = Graph(a=lambda x: 2 * x, b=lambda a, x: a + x, c=lambda a: a, loss=lambda b, c: b + 10 * c)
    h = Hypothesis(G, Graph(loss=reads("b")) | kept(G, "b"))
    got = scrubbed(h, {"x": torch.tensor([1.0, 5.0])}, others=[1, 0], baseline=Graph(loss=reads()))
    assert got.tolist() == [3 + 10 * 10, 15 + 10 * 2]
