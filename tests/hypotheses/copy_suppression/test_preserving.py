"""The ablation against the paper's pseudo-code: on a head that suppresses by construction, and on random ones."""

from dataclasses import replace

import pytest
import torch
from copy_suppressor import LOWERED, SUPPRESSOR, WORDS, ablated_pair_by_pair, descending, known, random_model, study_of

from hypotheses.copy_suppression.behaviours import _requeried, queries
from hypotheses.copy_suppression.circuits import ranks
from hypotheses.copy_suppression.directions import span
from hypotheses.copy_suppression.divergence import divergence
from hypotheses.copy_suppression.network import MEAN_ABLATION
from hypotheses.copy_suppression.passes import mean_output
from hypotheses.copy_suppression.preserving import Preserved
from hypotheses.copy_suppression.sources import Share
from hypotheses.copy_suppression.study import MODES
from scrubbing import scrub

pytestmark = pytest.mark.usefixtures("unchecked")


def explained(study, **settings):
    hypotheses = {mode: study.hypothesis(mode=mode) for mode in MODES}
    scores = scrub(hypotheses, study.data, baseline=MEAN_ABLATION, unclaimed="zero", **settings)
    return {mode: score.recovered for mode, score in scores.items()}


def test_a_head_that_suppresses_copies_is_explained_to_the_last_digit():
    found = explained(study_of(known(), descending(), share=Share(number=1)))
    assert found == pytest.approx({"ov": 1, "qk": 1, "both": 1}, abs=1e-12)


def test_a_head_that_copies_is_not_explained_at_all():
    found = explained(study_of(known(sign=1), descending(), share=Share(number=1)))
    assert found["ov"] == pytest.approx(0, abs=1e-12)
    assert found["both"] == pytest.approx(0, abs=1e-12)
    assert found["qk"] == pytest.approx(1, abs=1e-12)  # it attends as a suppressor does
    kept = explained(study_of(known(sign=1), descending(), share=Share(number=1), negative_only=False))
    assert kept["both"] == pytest.approx(1, abs=1e-12)


def test_what_a_mean_of_its_own_costs():
    """With a mean along another token's unembedding, that is all the ablation leaves wrong: a closed form."""
    model, tokens, other, size = known(), descending(), 5, 0.7
    mean = torch.zeros(tokens.shape[1] - 1, 2 * WORDS, dtype=torch.float64)
    mean[:, WORDS + other] = size
    study = study_of(model, tokens, mean=mean, share=Share(number=1))
    clean, lost, ablated = [], [], []
    for row in tokens:
        for query, token in enumerate(row[:-1]):
            logits = torch.zeros(WORDS, dtype=torch.float64)
            logits[(token + 1) % WORDS] += 3.0
            source = row[query - 1] if query else token
            logits[source] -= LOWERED
            # The mean is the same for the pair kept and stays; but its part along the source's unembedding, which is
            # centred over tokens, is projected away with the rest.
            moved = torch.zeros(WORDS, dtype=torch.float64)
            moved[other] = size
            gone = moved.clone()
            u = torch.zeros(WORDS, dtype=torch.float64)
            u[source] = 1
            u = (u - 1 / WORDS) / (u - 1 / WORDS).norm()
            centred = moved - moved.mean()
            written = -LOWERED * (torch.arange(WORDS) == source).double()
            along = min(0.0, float((written - centred) @ u))
            moved = moved + along * u - written
            gone[source] += LOWERED
            lost.append(divergence(logits, logits + moved))
            ablated.append(divergence(logits, logits + gone))
            clean.append(logits)
    expected = 1 - float(torch.stack(lost).mean() / torch.stack(ablated).mean())
    assert 0.5 < expected < 1
    assert explained(study)["both"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "settings", [{}, {"parallel_attn_mlp": True}, {"normalization_type": None}, {"attn_only": True}]
)
@pytest.mark.parametrize("rules", [{}, {"negative_only": False, "centred": False, "share": Share(number=2)}])
def test_the_ablation_is_that_of_the_paper_pair_by_pair(settings, rules):
    model = random_model(**settings)
    tokens = torch.randint(model.config.d_vocab, (3, 7), generator=torch.Generator().manual_seed(1))
    study = study_of(model, tokens, **{"share": Share("0.3"), **rules})
    study = replace(study, mean=mean_output(study.parts, SUPPRESSOR, study.data["tokens"], 2))
    (at,) = study.passes()
    resid = study.parts.attention(1, [0]).q.reader.stream(*at.inputs(1))
    for mode in MODES:
        found = study.left(at, mode)
        for row in range(3):
            slow = ablated_pair_by_pair(study, mode, resid[row], at.size[row, :, 0], row)
            torch.testing.assert_close(found[row], slow, atol=1e-10, rtol=0)
    nothing_lost = study.moved(at, at.written(study.head))
    torch.testing.assert_close(nothing_lost, torch.zeros_like(nothing_lost), atol=1e-12, rtol=0)


def test_scores_are_the_ratio_of_the_divergences_of_tokens():
    model = random_model()
    tokens = torch.randint(model.config.d_vocab, (5, 7), generator=torch.Generator().manual_seed(2))
    study = study_of(model, tokens, share=Share("0.3"))
    study = replace(study, mean=mean_output(study.parts, SUPPRESSOR, study.data["tokens"], 5))
    by = study.by_token
    expected = {mode: 1 - by[mode].mean() / by["mean"].mean() for mode in MODES}
    assert explained(study) == pytest.approx(expected, abs=1e-10)
    assert len(set(expected.values())) == 3


def test_keeping_everything_leaves_the_head_and_keeping_nothing_its_mean():
    model = random_model()
    tokens = torch.randint(1, model.config.d_vocab, (3, 7), generator=torch.Generator().manual_seed(3))
    study = study_of(model, tokens, share=Share(number=6))
    (at,) = study.passes()
    torch.testing.assert_close(study.left(at, "qk"), at.written(study.head), atol=1e-12, rtol=0)
    none = replace(study, function_words=torch.ones_like(study.function_words))
    torch.testing.assert_close(none.left(at, "both"), none.averaged(at), atol=1e-12, rtol=0)


def test_the_mean_is_the_plain_mean_of_the_first_rows():
    model = random_model()
    tokens = torch.randint(model.config.d_vocab, (20, 7), generator=torch.Generator().manual_seed(4))
    study = study_of(model, tokens)
    (written,) = study.parts.G.activations(study.data, "a1_h0")
    torch.testing.assert_close(mean_output(study.parts, SUPPRESSOR, tokens[:, :-1], 11), written[:11].mean(0))


def test_the_mean_ablation_of_the_logits_is_linear_in_what_the_head_writes():
    model = random_model()
    tokens = torch.randint(model.config.d_vocab, (2, 7), generator=torch.Generator().manual_seed(5))
    study = study_of(model, tokens)
    (at,) = study.passes()
    a, b = (torch.randn(at.final.shape, dtype=torch.float64) for _ in range(2))
    clean = at.logits(at.final)
    both = at.logits(at.final + a + b) - clean
    apart = (at.logits(at.final + a) - clean) + (at.logits(at.final + b) - clean)
    torch.testing.assert_close(both, apart)


def test_projections():
    vectors = torch.randn(3, 4, dtype=torch.float64)
    basis = span(torch.cat([vectors, vectors[:1] + vectors[1:2]]))
    assert not basis[3].any()  # what adds nothing
    projector = basis.T @ basis
    torch.testing.assert_close(projector @ projector, projector)
    x = torch.randn(4, dtype=torch.float64)
    torch.testing.assert_close(basis @ (x - projector @ x), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    whole = span(torch.randn(4, 4, dtype=torch.float64))
    torch.testing.assert_close(whole.T @ whole, torch.eye(4, dtype=torch.float64), atol=1e-10, rtol=0)


def test_a_word_and_its_forms_are_projected_onto_together():
    study = study_of(known(), descending(), share=Share(number=1), negative_only=False)
    related = torch.full((WORDS, 2), -1)
    related[:, 0] = torch.arange(WORDS)
    (at,) = study.passes()
    same = replace(study, related=related)
    torch.testing.assert_close(same.left(at, "both"), study.left(at, "both"))
    written = -LOWERED * torch.eye(2 * WORDS, dtype=torch.float64)[WORDS + 3]
    preserved = study.hypothesis(mode="both").G["kept"].fn
    assert isinstance(preserved, Preserved)
    related[:, 1] = 3
    both = replace(preserved, related=related)._basis(torch.tensor([[4]]))[0, 0]  # of token 4, and of token 3
    left = (both @ written) @ both
    centred = written - (written[WORDS:].mean() * (torch.arange(2 * WORDS) >= WORDS))
    torch.testing.assert_close(left, centred)


def test_divergences():
    p, q = torch.randn(2, 50, 9, dtype=torch.float64)
    slow = (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1)
    torch.testing.assert_close(divergence(p, q), slow)
    torch.testing.assert_close(
        divergence(p, 40 * q), (p.softmax(-1) * (p.log_softmax(-1) - (40 * q).log_softmax(-1))).sum(-1)
    )
    assert not divergence(p, p).any()
    assert (divergence(p.float(), p.float() + 1e-4 * q.float()) >= 0).all()


def test_circuits_of_the_known_head():
    """Each token lowers itself most, and is attended to most where it is predicted."""
    study = study_of(known(), descending())
    found = {(row["circuit"], row["tokens"]): row for row in ranks(study.parts, SUPPRESSOR, study.function_words)}
    for tokens in ("all", "content"):
        assert found["ov", tokens]["first"] == 1
        assert found["qk", tokens]["first"] == 1
        assert found["qk, embedded queries", tokens]["first"] < 0.5
    assert found["ov", "content"]["among"] == WORDS - 1
    copies = ranks(study_of(known(sign=1), descending()).parts, SUPPRESSOR, study.function_words)
    assert copies[0]["median_rank"] == WORDS - 1


def test_queries_of_predictions_alone_attend_as_before_and_without_them_to_all_alike():
    """Queries of the known network lie along unembeddings: what is projected onto them loses a constant alone."""
    study = study_of(known(), descending())
    for row in queries(study):
        if row["query"] == "onto":
            assert row["explained"] == pytest.approx(1, abs=1e-10)
    for at in study.passes():
        pattern, _ = at.pairs(SUPPRESSOR)
        away = _requeried(study, at, pattern, onto=False)
        keys = torch.arange(1, pattern.shape[-1] + 1)
        shared = (1 - pattern[:, :, 0]) / (keys - 1).clamp(min=1)
        for query in range(1, pattern.shape[-1]):
            expected = shared[:, query, None].expand(-1, query)
            torch.testing.assert_close(away[:, query, 1 : query + 1], expected, atol=1e-10, rtol=0)
