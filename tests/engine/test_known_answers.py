"""Small networks whose scrubbed losses are known exactly: the sampled mean lies within four standard errors of each."""

import numpy as np
import pytest
from known_answers import KEEP_X1, RIGHT_OR, SMALL, TRAPS, WRONG_OR, Oracle, known, table
from scipy import stats

from scrubbing import Graph, reads

REFERENCES = 20_000
SEEDS = range(8)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore:hypothesis 0. the claim .* changes nothing:scrubbing.ScrubbingWarning")  # O8b
@pytest.mark.filterwarnings("ignore:hypothesis 0. .* are alone in their class:scrubbing.ScrubbingWarning")
@pytest.mark.parametrize("oracle", [pytest.param(o, id=name) for name, o in (TRAPS | SMALL).items()])
def test_the_scrubbed_loss_is_the_known_one_for_every_seed(oracle):
    scores = [oracle.score(seed=seed, references=REFERENCES // len(SEEDS)) for seed in SEEDS]
    wrong = [score.seed for score in scores if not known(score.by_reference.scrubbed, oracle.scrubbed)]
    assert wrong == []
    assert known(np.concatenate([score.by_reference.scrubbed for score in scores]), oracle.scrubbed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_true_claim_leaves_no_loss_whatever_the_seed(seed):
    assert TRAPS["identical"].score(seed=seed, references=None).scrubbed == 0


def test_a_tiny_deviation_is_never_larger_than_its_term():
    assert max(TRAPS["tiny deviation"].score().by_reference.scrubbed) <= 0.009 + 1e-12


@pytest.mark.parametrize(
    ("oracle", "original", "baseline"),
    [pytest.param(RIGHT_OR, 0, 168 / 625, id="O1"), pytest.param(WRONG_OR, 1 / 25, 37 / 125, id="O1'")],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_labels_alone_give_the_baseline(oracle, original, baseline, seed):
    score = oracle.score(seed=seed, references=2000)
    assert known(score.by_reference.original, original)
    assert known(score.by_reference.baseline, baseline)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_claim_that_recovers_everything_still_changes_losses(seed):
    losses = WRONG_OR.score(seed=seed, references=2000).by_reference
    assert known(np.abs(np.subtract(losses.scrubbed, losses.original)), 8 / 105)


@pytest.mark.parametrize(("draws", "standard_error"), [(1, 0.4243), (4, 0.2419), (16, 0.1677)])
def test_more_draws_lower_the_standard_error_by_the_donors_part(draws, standard_error):
    losses = KEEP_X1.score(draws=draws).by_reference.scrubbed
    assert np.std(losses, ddof=1) / np.sqrt(1000) == pytest.approx(standard_error, rel=0.02)


CHAIN = Oracle(
    Graph(
        a=lambda x, z: x + z,
        b=lambda a, z: a + z,
        c=lambda b, z: b + z,
        loss=lambda c, a, y: (c + a - y).abs(),
    ),
    Graph(a=lambda x: x % 4, b=lambda a, x: x // 3, c=lambda b, x: x % 5, loss=reads("c", "a", "y")),
    table(x=range(12), z=range(12), y=range(12)),
    scrubbed=float("nan"),
)


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("others", ["node", "reference", "input"])
def test_donors_are_uniform_at_every_node(others, exclude_self):
    score = CHAIN.score(others=others, exclude_self=exclude_self)
    claimed = {"loss/a", "loss/c", "loss/c/b", "loss/c/b/a"}
    below = {"node": "/other", "reference": "", "input": "/z/other"}[others]
    assert score.donors.keys() == claimed | ({"other"} if others == "reference" else {path + below for path in claimed})
    for path, rows in score.donors.items():
        assert stats.chisquare(np.bincount(rows, minlength=12)).pvalue > 1e-4, path
