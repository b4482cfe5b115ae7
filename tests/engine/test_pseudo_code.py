"""Whatever the graphs, the claims, the data and the policy, `scrub` gives the losses of the paper's pseudo-code."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from reference_scrub import ReferenceScrub, forward
from strategies import datasets, examples, hypotheses, policies
from torch import Tensor

from scrubbing import Graph, Hypothesis, Node, mean, per_position, reads, scrub
from scrubbing.experiments.arguments import baseline_of

pytestmark = pytest.mark.filterwarnings("ignore::scrubbing.ScrubbingWarning")  # some claims change nothing


def check(h: Hypothesis, columns: dict[str, Tensor], *, references: Any = None, draws: int = 1, **policy: Any) -> None:
    """`scrub` and the pseudo-code give equal losses for each reference."""
    baseline = Graph(loss=reads(*(i for i in h.G["loss"].inputs if i not in h.G)))

    losses = scrub(h, columns, baseline=baseline, references=references, draws=draws, **policy).by_reference

    def pseudo_code(h: Hypothesis) -> list[float]:
        return ReferenceScrub(h, columns, **policy).estimate(losses.reference, draws=draws)

    original = [forward(h.G, "loss", {c: v[[x]] for c, v in columns.items()}).item() for x in losses.reference]
    np.testing.assert_allclose(losses.scrubbed, pseudo_code(h), rtol=0, atol=1e-12)
    np.testing.assert_allclose(losses.baseline, pseudo_code(baseline_of(h, baseline)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(losses.original, original, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # beartype looks at random items of lists
@settings(examples(120), phases=(Phase.generate, Phase.shrink))
@given(st.data())
def test_the_fast_evaluator_equals_the_pseudo_code(data):
    h, columns = data.draw(hypotheses()), data.draw(datasets())
    rows = len(columns["y"])
    references = data.draw(st.none() | st.integers(1, 5) | st.lists(st.integers(0, rows - 1), min_size=1, max_size=5))
    draws = data.draw(st.sampled_from([1, 2, 3]))
    check(h, columns, references=references, draws=draws, **data.draw(policies(h, rows)))


# -- corners that chance seldom finds

SIX = torch.arange(6)
SIX_ROWS = {
    "t": torch.arange(12.0).reshape(6, 2),
    "c": torch.arange(12.0).reshape(6, 2) * 3 % 5,
    "parity": (SIX % 2)[:, None].repeat(1, 2),
    "group": SIX // 3,
    "y": SIX.double(),
}
MIXED = Graph(
    n=Node(lambda t: t + 1, ("t",), position_axis=1),
    m=Node(lambda c: c * c, ("c",), position_axis=1),
    h=Node(lambda n, m, c: 100 * n + 10 * m + c, ("n", "m", "c"), position_axis=1),
    loss=lambda h, y: h.sum(1) - y,
)
BY_PARITY = Graph(m=reads(), h=per_position(lambda m, parity: parity), loss=reads("h", "y"))
CORNERS = {
    "one donor below a claim per position": {"donors": {"m": SIX.flip(0).numpy()}, "others": "reference"},
    "one other below a claim per position": {"others": SIX.flip(0).numpy()},
    "a mean by group below a claim per position": {"unclaimed": mean(by="group"), "others": "reference"},
    "no donor that is itself below a claim per position": {"exclude_self": True},
}


@pytest.mark.parametrize("policy", [pytest.param(policy, id=name) for name, policy in CORNERS.items()])
def test_so_do_they_where_chance_seldom_goes(policy):
    check(Hypothesis(MIXED, BY_PARITY, columns=("parity",)), SIX_ROWS, draws=3, **policy)
