"""What the app finds, without the app: losses against plain formulas, and text that is no markup."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference_transformer import config, random_data, random_transformer, random_weights
from report_cases import BIDI, ESCAPE, SCRIPT, VOCABULARY, hostile

from hypotheses import toy
from scrubbing import Case, DataError, Graph, HypothesisError, reads
from scrubbing.experiments.suites import Suite
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens import Transformer, transformer
from scrubbing.report.app.circuits import circuits
from scrubbing.report.app.claims import pictured, scored, scrubbed_row
from scrubbing.report.app.looking import looked, written_at
from scrubbing.report.app.replacing import WAYS, changed, of_every_node
from scrubbing.report.app.rows import SAMPLE, SAMPLED, beside, row_of_data, row_of_text, why_no_text
from scrubbing.report.app.subject import Head, Subject
from scrubbing.report.app.words import coloured, of_change

pytestmark = pytest.mark.usefixtures("unchecked_throughout")


@pytest.fixture(scope="module")
def model():
    return random_transformer(d_vocab=len(VOCABULARY), n_ctx=8)  # that of the hostile suite


@pytest.fixture(scope="module")
def subject():
    return Subject.of(hostile())


@pytest.fixture(scope="module")
def classifier():
    """A network that says one thing of a whole row, which sees itself from both sides."""
    sizes = dict(d_vocab=10, n_ctx=8, attention_dir="bidirectional")
    weights = random_weights(config(**sizes))
    weights |= {name: weights[name][..., :2] for name in ("unembed.W_U", "unembed.b_U")}
    model = Transformer(config(**sizes, d_vocab_out=2), weights)
    data = random_data(model.config, rows=4)
    data["labels"] = data["labels"] % 2
    data["weights"] = torch.zeros_like(data["weights"])
    data["weights"][:, 2] = 1.0
    G = transformer(model)
    I = Graph(loss=reads("logits", "labels", "weights"), logits=reads("tokens"))
    suite = Suite("classifier", (Case("all", Hypothesis(G, I), data, Graph(loss=reads("labels", "weights"))),))
    return replace(suite, encode=lambda text: [1, 2])


def losses(G: Graph, data, instead=None):
    """The plain run with one node's value put in, by hand: mean loss over positions of each row."""
    values = dict(data)
    for name in G.order[:-1]:
        node = G[name]
        values[name] = instead[name] if instead and name in instead else node.fn(*(values[i] for i in node.inputs))
    return values["logits"].all().log_softmax(-1).gather(-1, data["labels"][..., None])[..., 0].neg()


def test_the_nodes_and_heads_are_those_of_the_network(subject):
    assert {str(head) for head in subject.heads} == {name for name in subject.G if "_h" in name}
    assert "logits" not in subject.nodes
    assert "loss" not in subject.nodes
    grouped = replace(hostile(), network=transformer(random_transformer(d_vocab=10, n_ctx=8), first="a0.*"))
    heads = [head for head in Subject.of(grouped).heads if head.node == "first"]
    assert [str(head) for head in heads] == [f"first, head {i}" for i in range(len(heads))]


def test_every_position_counts_where_the_next_token_is_predicted(subject, classifier):
    row = row_of_data(subject, 3)
    assert row.columns["weights"].tolist() == [[pytest.approx(1 / row.length)] * row.length]
    other = Subject.of(classifier)
    assert not other.predicts_the_next
    assert row_of_data(other, 3).columns["weights"].count_nonzero() == 1
    with pytest.raises(DataError, match="there is no row 12; the data have rows 0 to 11"):
        row_of_data(subject, 12)


def test_what_fills_a_row_up_is_not_shown():
    data = {
        "tokens": torch.tensor([[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]),
        "labels": torch.tensor([[2, 3, 0, 0, 0], [2, 3, 4, 5, 6]]),
        "weights": torch.tensor([[0.0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]),
    }
    G = transformer(random_transformer(d_vocab=10, n_ctx=8))
    I = Graph(loss=reads("logits", "labels", "weights"), logits=reads("tokens"))
    padded = Subject.of(Suite("padded", (Case("all", Hypothesis(G, I), data, Graph(loss=reads())),)))
    assert [row_of_data(padded, row).length for row in (0, 1)] == [2, 5]


@pytest.mark.parametrize("way", WAYS)
def test_a_replaced_node_is_replaced_as_by_hand(way, subject):
    row = row_of_data(subject, 3)
    change = changed(subject, row, "a0_h1", way, stand_in=5)
    (every,) = subject.G.activations(subject.columns, "a0_h1")
    instead = {"mean": every.mean(0), "zero": 0 * every[0], "resample": every[5]}[way]
    before = losses(subject.G, row.columns)[0]
    after = losses(subject.G, row.columns, {"a0_h1": instead[None]})[0]
    assert change.before == pytest.approx(float(before.mean()))
    assert change.after == pytest.approx(float(after.mean()))
    shown = np.array([word[1] for word in change.words])
    np.testing.assert_allclose(shown, torch.stack([before, after], 1).numpy(), atol=1e-3)
    assert change.most == int((after - before).abs().argmax())
    assert [word[0] for word in change.words] == [subject.names(t) for t in row.columns["labels"][0].tolist()]


def test_every_node_is_replaced_alone_and_says_how_far_it_is(subject):
    row, told = row_of_data(subject, 0), []
    found = of_every_node(subject, row, "zero", progress=lambda done, total: told.append((done, total)))
    assert found.keys() == set(subject.nodes)
    assert found["a0_h1"] == pytest.approx(changed(subject, row, "a0_h1", "zero").added)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert told == [(i + 1, len(subject.nodes)) for i in range(len(subject.nodes))]


def test_the_mean_is_that_of_a_sample_spread_over_the_rows(subject):
    data, place = beside(subject, row_of_data(subject, 2), donor=7)
    assert place == subject.rows + 1  # there are fewer than a sample
    assert data[SAMPLED].tolist() == [True] * subject.rows + [False, False]
    assert torch.equal(data["tokens"][-2:], subject.columns["tokens"][[7, 2]])
    many = Subject.of(toy.suite())
    assert beside(many, row_of_data(many, 2))[1] == SAMPLE + 1


def test_a_text_is_a_row_whose_loss_is_that_of_its_tokens(subject):
    text = "scrub"
    row = row_of_text(subject, text)
    tokens = torch.tensor([[ord(c) % len(VOCABULARY) for c in text]])
    alone = losses(subject.G, {"tokens": tokens[:, :-1], "labels": tokens[:, 1:], "weights": None})[0]
    change = changed(subject, row, "a0_h1", "mean")
    assert [word[1][0] for word in change.words] == pytest.approx(alone.tolist(), abs=1e-3)
    assert change.before == pytest.approx(float(alone.mean()))
    assert looked(subject, row, subject.heads[0]).pattern.shape == (len(text) - 1, len(text) - 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no two tokens"),
        ("a", "no two tokens"),
        ("a" * 10, "your text has 10 tokens, and rows have 9; cut it"),
        ("a" * 10**6, "1,000,000 characters"),
    ],
)
def test_a_text_that_cannot_be_a_row_is_said(text, said, subject):
    with pytest.raises(DataError, match=said):
        row_of_text(subject, text)


def test_tokens_that_the_network_does_not_know_are_said():
    strange = Subject.of(replace(hostile(), encode=lambda text: [0, 10]))
    with pytest.raises(DataError, match="your text has token 10, but the network knows 0 to 9"):
        row_of_text(strange, "a")


def test_without_a_tokenizer_there_is_no_text(classifier):
    assert "without a tokenizer" in why_no_text(Subject.of(replace(hostile(), encode=None)))
    assert "does not predict the next token" in why_no_text(Subject.of(classifier))
    with pytest.raises(DataError, match="without a tokenizer"):
        row_of_text(Subject.of(replace(hostile(), encode=None)), "a text")


def test_a_head_writes_what_the_logits_lose_without_it(model):
    """With the final norm's scale held, which a network without norms has anyway."""
    plain = random_transformer(d_vocab=10, n_ctx=8, normalization_type=None)
    data = random_data(plain.config, rows=3)
    G = transformer(plain)
    I = Graph(loss=reads("logits", "labels", "weights"), logits=reads("tokens"))
    subject = Subject.of(Suite("plain", (Case("all", Hypothesis(G, I), data, Graph(loss=reads())),)))
    row, head = row_of_data(subject, 1), Head("a1_h0", 0, alone=True)
    found = looked(subject, row, head)
    whole = G.activations(row.columns, "logits")[0].all()[0]
    parts = {name: G.activations(row.columns, name)[0] for name in G["logits"].inputs}
    without = G["logits"].fn(*(0 * v if n == "a1_h0" else v for n, v in parts.items())).all()[0]
    difference = whole - without
    assert found.logits is not None
    np.testing.assert_allclose(found.logits, difference - difference.mean(-1, keepdim=True), atol=1e-5)
    raised, lowered = written_at(subject, found, 2)
    assert [value for _, value in raised] == sorted(found.logits[2].tolist(), reverse=True)[:8]
    assert lowered[0][1] == pytest.approx(float(found.logits[2].min()))
    first = subject.names(int(row.columns["tokens"][0, 0]))
    assert found.sources(0)[0] == (f"{first}  at 0", 1.0)


def test_circuits_are_the_products_of_the_weights(subject, model):
    W, head = model.weights, Head("a1_h0", 0, alone=True)
    found = circuits(subject, head)
    x = W["embed.W_E"].double()
    norm = subject.attention(head).q.reader
    read = norm.norm(x if norm.bias is None else x + norm.bias)
    q, k, v = (
        read @ W[f"blocks.1.attn.W_{m}"][0].double() + W.get(f"blocks.1.attn.b_{m}", torch.zeros(9, 1))[0].double()
        for m in "QKV"
    )
    scores = (q @ k.T) * subject.attention(head).scores.scale
    np.testing.assert_allclose((found.q @ found.k.T * found.scale).numpy(), scores.numpy(), rtol=1e-4, atol=1e-5)
    keys, _ = found.looked_for(3, subject)
    assert keys[0][0] == subject.names(int(scores[3].argmax()))
    final = subject.readout.reader.norm
    written = final.centred(v @ W["blocks.1.attn.W_O"][0].double())
    written = written if final.w is None else written * final.w
    logits = written @ W["unembed.W_U"].double()
    raised, lowered = found.moved(3, subject)
    assert raised[0] == (
        subject.names(int(logits[3].argmax())),
        pytest.approx(float(logits[3].max() - logits[3].mean()), rel=1e-4),
    )
    assert lowered[0][0] == subject.names(int(logits[3].argmin()))
    assert all(0 <= share <= 1 for share in found.of_own_token().values())


def test_circuits_need_a_language_model(classifier):
    with pytest.raises(HypothesisError, match="circuits are those of a language model"):
        circuits(Subject.of(classifier), Subject.of(classifier).heads[0])


def test_a_scrubbed_row_is_that_of_the_score(subject):
    case = hostile().cases[0]
    found = scrubbed_row(subject, case, 4, seed=7)
    score = case.score(references=[4], seed=7)
    weights = torch.as_tensor(case.data["weights"])[4]
    losses = [word[1][1] for word in found.change.words]
    assert float((torch.tensor(losses) * weights).sum()) == pytest.approx(score.scrubbed, abs=2e-3)
    assert found.walk.startswith("row 4  loss")
    assert scored(case, 3, progress=lambda done, total: None).references == 3


def test_a_hypothesis_that_claims_no_logits_has_no_words(subject):
    I = Graph(loss=reads("labels", "weights"))
    case = replace(hostile().cases[0], hypothesis=Hypothesis(hostile().cases[0].hypothesis.G, I))
    assert "does not claim the logits" in scrubbed_row(subject, case, 0).why_no_words


def test_networks_of_other_kinds_have_a_loss_and_no_words():
    subject = Subject.of(toy.suite())
    assert subject.heads == ()
    change = changed(subject, row_of_data(subject, 5), "A", "resample", 900)
    assert change.words == ()
    assert not subject.is_language_model
    assert scrubbed_row(subject, toy.suite().cases[0], 5).change is None


def test_a_suite_without_hypotheses_is_refused():
    with pytest.raises(HypothesisError, match="no hypothesis of none is chosen"):
        Subject.of(Suite("none", ()))


def test_no_token_is_markup_or_turns_a_line():
    tokens = [*map(Subject.of(hostile()).names, range(len(VOCABULARY)))]
    shown = coloured(tokens, [1.0] * len(tokens), [f'" onmouseover="{SCRIPT}' for _ in tokens])
    assert "<script" not in shown
    assert 'onmouseover="' not in shown
    assert BIDI not in shown
    assert "\x1b" not in shown
    assert "&lt;script&gt;" in shown
    drawn, tree = pictured(hostile().cases[0])
    assert "<script" not in drawn
    assert not {BIDI, "\x1b"} & set(drawn + tree)
    assert ESCAPE not in scrubbed_row(Subject.of(hostile()), hostile().cases[0], 0).walk


def test_colours_say_which_way_a_loss_moves():
    words = [["a", [1.0, 3.0]], ["b", [3.0, 1.0]], ["c"]]
    from scrubbing.report.app.replacing import Change

    added = of_change(Change(2.0, 2.0, words), "added", at=0)
    assert added.count("217, 48, 37, 0.28") == added.count("31, 95, 191, 0.28") == 1
    assert added.count("not evaluated") == 1
    assert 'class="t a"' in added
    assert "31, 95, 191, 0." not in of_change(Change(2.0, 2.0, words), "before")
