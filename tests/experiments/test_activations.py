"""The values of a scrubbed run are those of a run by hand with the same donors; losses by position add up to losses."""

import pytest
import torch

from scrubbing import Graph, Hypothesis, HypothesisError, Node, losses_by_position, per_position, reads, scrub
from scrubbing import scrubbed_activations as activations
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import ResidualReader

G = Graph(
    a=lambda x, z: 2 * x + z,
    b=lambda a, z: a * z,
    d=lambda a, x: a - x,
    loss=lambda b, d, y: (b + d - y) ** 2,
)
X, Z, Y = torch.arange(40).double(), torch.arange(40).double() * 7 % 5, torch.arange(40).double() % 3
DATA = {"x": X, "z": Z, "y": Y}
I = Graph(a=lambda x: x % 2, b=lambda a, z: z, d=lambda a: a, loss=reads("b", "d", "y"))
H = Hypothesis(G, I)
OTHERS = ["node", "reference", "input"]


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("draws", [1, 2])
def test_values_are_those_of_a_run_by_hand_with_the_same_donors(others, draws):
    settings = {"others": others, "draws": draws, "seed": 3, "references": 21}
    found = activations(H, DATA, "loss/b/a", "b", "loss/d/a", "d", "loss", **settings)
    scored = scrub(H, DATA, baseline=Graph(loss=reads("y")), **settings)
    rows = scored.donors

    def u(path, p):
        if others == "reference":
            return rows["other"]
        return rows[f"{path}/{p}/other" if others == "input" else f"{path}/other"]

    a_of_b = 2 * X[rows["loss/b/a"]] + Z[u("loss/b/a", "z")]
    a_of_d = 2 * X[rows["loss/d/a"]] + Z[u("loss/d/a", "z")]
    b = a_of_b * Z[rows["loss/b"]]
    d = a_of_d - X[u("loss/d", "x")]
    references = torch.tensor(scored.by_reference.reference).repeat_interleave(draws)
    loss = (b + d - Y[references]) ** 2
    expected = {"loss/b/a": a_of_b, "b": b, "loss/d/a": a_of_d, "d": d, "loss": loss}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert loss.mean().item() == pytest.approx(scored.scrubbed)


def test_a_node_that_is_reached_twice_is_asked_for_by_path():
    with pytest.raises(HypothesisError, match=r"^'a' is reached by several paths: name one of loss/b/a, loss/d/a$"):
        activations(H, DATA, "a")
    by_path = activations(H, DATA, "loss/b/a", "loss/d/a")
    assert not torch.equal(by_path["loss/b/a"], by_path["loss/d/a"])


def test_the_end_of_a_path_is_enough_where_it_is_the_only_one():
    assert torch.equal(activations(H, DATA, "b/a")["b/a"], activations(H, DATA, "loss/b/a")["loss/b/a"])


def test_names_are_checked():
    with pytest.raises(HypothesisError, match=r"^the run visits no node 'bb' of I; did you mean 'b'"):
        activations(H, DATA, "bb")


def test_what_claims_everything_has_the_values_of_the_network():
    exact = Hypothesis(G, Graph({name: reads(*node.inputs) for name, node in G.items()}))
    found = activations(exact, DATA, "a", "b", "d")
    assert all(map(torch.equal, found.values(), G.activations(DATA, "a", "b", "d")))


def test_a_value_per_position_is_put_together():
    tokens = torch.tensor([[0, 1], [0, 2], [3, 1], [3, 2]])
    network = Graph(
        h=Node(lambda tokens: 10 * tokens, ("tokens",), position_axis=1), loss=lambda h, y: h.sum(dim=1).double() - y
    )
    h = Hypothesis(network, Graph(h=per_position(lambda tokens: tokens), loss=reads("h", "y")))
    data = {"tokens": tokens, "y": torch.zeros(4)}
    assert torch.equal(activations(h, data, "h")["h"], 10 * tokens)  # each donor has the position's own token


# -- losses by position

READOUT = Readout(ResidualReader(Norm(None)), torch.rand(5, 5, generator=torch.Generator().manual_seed(1)).double())
LM = Graph(
    resid=Node(lambda tokens: torch.nn.functional.one_hot(tokens * 3 % 5, 5).double(), ("tokens",), position_axis=1),
    logits=Node(READOUT, ("resid",)),
    loss=Node(WeightedCrossEntropy(), ("logits", "labels", "weights")),
)
WEIGHTS = torch.rand(12, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TEXT = {
    "tokens": torch.arange(84).reshape(12, 7) * 11 % 5,
    "labels": torch.arange(84).reshape(12, 7) * 7 % 5,
    "weights": WEIGHTS / WEIGHTS.sum(dim=1, keepdim=True),
}
HALF = Hypothesis(
    LM, Graph(logits=Node(lambda tokens: tokens[:, 0], ("tokens",)), loss=reads("logits", "labels", "weights"))
)


@pytest.mark.parametrize("draws", [1, 3])
def test_losses_by_position_add_up_to_the_losses_of_the_score(draws):
    found = losses_by_position(HALF, TEXT, draws=draws, seed=5)
    scored = scrub(HALF, TEXT, baseline=Graph(loss=reads("labels", "weights")), draws=draws, seed=5)
    assert found.shape == (12 * draws, 7)
    summed = (found * TEXT["weights"].repeat_interleave(draws, dim=0)).sum(dim=1).reshape(12, draws).mean(dim=1)
    assert summed.tolist() == pytest.approx(scored.by_reference.scrubbed)


def test_a_loss_without_positions_has_none():
    with pytest.raises(HypothesisError, match=r"^the output 'loss' of G is no weighted cross-entropy"):
        losses_by_position(H, DATA)
