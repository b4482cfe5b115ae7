"""One row overridden: what the text's ablation must and must not change, against formulas and the core's own runs."""

import pytest
import torch
from hugging_face_models import hugging_face_model
from reference_transformer import head_parts, norm, random_transformer

from hypotheses.heads import head_name
from hypotheses.polysemantic import handmade
from hypotheses.polysemantic.behaviours import Rule
from hypotheses.polysemantic.doing import BEHAVIOURS, in_parts, part
from hypotheses.polysemantic.override import ROWS, Overriding, ToFirst, around, overridden
from scrubbing import measure, values
from scrubbing.lens import Transformer, load_transformer, next_token_data
from scrubbing.rewrite import split_qkv

pytestmark = pytest.mark.usefixtures("unchecked")

HEAD = (1, 2)


def run(model, rows=4, head=HEAD):
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(model.config.d_vocab, (rows, 5), generator=generator)
    answers = torch.randint(model.config.d_vocab, (rows,), generator=generator)
    return Overriding.of(around(model, head), head, tokens, answers), tokens, answers


def by_formula(model, tokens, where):
    """The final logits with the pattern of HEAD overridden at the marked rows, as the formulas say it."""
    c, w = model.config, model.weights
    resid = w["embed.W_E"][tokens]
    if c.positional_embedding_type == "standard":
        resid = resid + w["pos_embed.W_pos"][: tokens.shape[1]]
    for layer in range(c.n_layers):
        written = w[f"blocks.{layer}.attn.b_O"]
        for head in range(c.n_heads):
            parts = head_parts(c, w, resid, layer=layer, head=head)
            out = parts["out"]
            if (layer, head) == HEAD:
                to_first = (parts["v"] @ w[f"blocks.{layer}.attn.W_O"][head])[:, :1]
                out = torch.where(where[:, :, None], to_first, out)
            written = written + out
        resid = resid + written
    return (norm(c, w, resid, at="ln_final") @ w["unembed.W_U"] + w["unembed.b_U"])[:, -1]


@pytest.mark.parametrize("normalization", ["LN", None, "RMS"])
@pytest.mark.parametrize("positions", ["standard", "shortformer", "rotary"])
def test_any_rows_as_the_formulas_say(normalization, positions):
    model = random_transformer(n_layers=3, normalization_type=normalization, positional_embedding_type=positions)
    if normalization is None:  # nothing keeps the stream small, and probabilities would all be 0 or 1
        model = Transformer(model.config, {**model.weights, "unembed.W_U": 0.01 * model.weights["unembed.W_U"]})
    overriding, tokens, answers = run(model)
    where = torch.rand(4, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    expected = by_formula(model, tokens, where).softmax(-1).gather(1, answers[:, None])[:, 0]
    found = overriding.readings(where)
    torch.testing.assert_close(found.probability, expected, atol=1e-12, rtol=0)
    assert torch.equal(found.top1, by_formula(model, tokens, where).argmax(-1) == answers)
    clean = by_formula(model, tokens, where & False).softmax(-1).gather(1, answers[:, None])[:, 0]
    torch.testing.assert_close(overriding.clean().probability, clean, atol=1e-12, rtol=0)
    assert (clean - expected).abs().max() > 1e-4


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])  # MLPs after attention, and beside it
def test_what_is_recomputed_below_is_what_the_core_recomputes(family):
    model = load_transformer(hugging_face_model(family), check=False).to(torch.float64)
    head = (0, 1)
    overriding, tokens, answers = run(model, head=head)
    G, name = split_qkv(around(model, head), head_name(head)), head_name(head)
    sweep = overriding.sweep()
    data = next_token_data(torch.cat([tokens, answers[:, None]], 1), model=model)
    for position in range(5):
        where = torch.zeros(4, 5, dtype=torch.bool)
        where[:, position] = True
        found = values(
            G,
            {**data, ROWS: where},
            "logits",
            {f"{name}_pattern": lambda value, overridden_rows: ToFirst()(value, overridden_rows)},
        )
        logits = torch.cat([chunk["logits"][:, -1] for _, chunk in found])
        expected = logits.softmax(-1).gather(1, answers[:, None])[:, 0]
        torch.testing.assert_close(sweep[:, position], expected, atol=2e-6, rtol=0)
    assert (sweep - overriding.clean().probability[:, None]).abs().max() > 1e-6


def test_a_row_that_attends_to_the_first_token_alone_changes_nothing():
    overriding, *_ = run(random_transformer())
    assert torch.equal(overriding.sweep()[:, 0], overriding.clean().probability)  # it sees no other


def test_no_row_after_the_one_that_is_read_matters():
    model = random_transformer()
    G = overridden(around(model, HEAD), HEAD)
    tokens = torch.randint(7, (4, 5), generator=torch.Generator().manual_seed(0))
    where = torch.zeros(2, 4, 5, dtype=torch.bool)
    where[1, :, 3:] = True
    clean, ablated = (G.activations({"tokens": tokens, ROWS: rows}, "logits")[0].all() for rows in where)
    assert torch.equal(clean[:, :3], ablated[:, :3])
    assert not torch.equal(clean[:, 3], ablated[:, 3])


def test_rows_that_are_not_marked_keep_their_pattern():
    G = overridden(around(random_transformer(), HEAD), HEAD)
    tokens, where = torch.randint(7, (4, 5)), torch.zeros(4, 5, dtype=torch.bool)
    where[:, 2] = True
    plain, changed = G.activations({"tokens": tokens, ROWS: where}, "a1_h2_pattern", "a1_h2_overridden")
    rest = [0, 1, 3, 4]
    assert torch.equal(plain[:, :, rest], changed[:, :, rest])
    assert changed[:, 0, 2].tolist() == [[1, 0, 0, 0, 0]] * 4


def test_all_rows_at_once_is_the_head_zeroed_but_for_what_it_writes_of_the_first_token():
    model = random_transformer()
    overriding, tokens, answers = run(model)
    G = split_qkv(around(model, HEAD), "a1_h2")
    data = next_token_data(torch.cat([tokens, answers[:, None]], 1), model=model)
    W_O = model.weights["blocks.1.attn.W_O"][2]
    found = values(G, data, "logits", {"a1_h2": lambda value, a1_h2_v: (0 * value) + (a1_h2_v[:, :1, 0] @ W_O)})
    logits = torch.cat([chunk["logits"][:, -1] for _, chunk in found])
    expected = logits.softmax(-1).gather(1, answers[:, None])[:, 0]
    everywhere = overriding.readings(torch.ones(4, 5, dtype=torch.bool)).probability
    torch.testing.assert_close(everywhere, expected, atol=1e-12, rtol=0)


def test_a_head_that_writes_nothing_is_worth_nothing():
    model = random_transformer()
    W_O = model.weights["blocks.1.attn.W_O"].clone()
    W_O[HEAD[1]] = 0
    silent = Transformer(model.config, {**model.weights, "blocks.1.attn.W_O": W_O})
    overriding, *_ = run(silent)
    assert torch.equal(overriding.sweep(), overriding.clean().probability[:, None].expand(4, 5))


@pytest.mark.parametrize("last", [handmade.X, handmade.Y], ids=["previous", "induction"])
def test_the_hand_built_head_is_needed_at_the_last_position_alone(last):
    tokens, answers = handmade.rows(50, last)
    overriding = Overriding.of(around(handmade.build(), handmade.HEAD), handmade.HEAD, tokens, answers)
    clean, sweep = overriding.clean(), overriding.sweep()
    sure, none = torch.tensor([handmade.CONFIDENCE, 0.0]).exp().double()
    assert clean.top1.all()
    torch.testing.assert_close(clean.probability, (sure / (sure + 12)).expand(50))
    assert torch.equal(sweep[:, :-1], clean.probability[:, None].expand(50, handmade.N_CTX - 1))  # exactly
    torch.testing.assert_close(sweep[:, -1], (none / (sure + 12)).expand(50))  # it says BEGIN


def test_overriding_is_an_intervention_on_the_terms_of_the_head():
    """Without the part of its rows' behaviour, the head writes what it does with that row overridden."""
    model, kinds, rule = handmade.build(), handmade.kinds(), Rule()
    tokens, answers = handmade.rows(30, handmade.Y)
    G = in_parts(around(model, handmade.HEAD), handmade.HEAD, kinds, rule)
    data = next_token_data(torch.cat([tokens, answers[:, None]], 1), model=model)
    data["weights"] = torch.zeros(30, handmade.N_CTX, dtype=torch.float64)
    data["weights"][:, -1] = 1.0
    nodes = {name: {part(handmade.HEAD, name): "zero"} for name in BEHAVIOURS}
    scores = measure(G, nodes, data)
    overriding = Overriding.of(around(model, handmade.HEAD), handmade.HEAD, tokens, answers)
    lost = -overriding.sweep()[:, -1].log()
    kept = -overriding.clean().probability.log()
    losses = {name: torch.as_tensor(score.losses["scrubbed"]) for name, score in scores.items()}
    induction = losses["induction"]
    previous = (induction - kept).abs() < 1e-9  # a follower one back is a previous token
    torch.testing.assert_close(induction[~previous], lost[~previous])
    torch.testing.assert_close(losses["previous"][previous], lost[previous])
    assert int(previous.sum()) < 10
    torch.testing.assert_close(losses["unknown"], kept)
