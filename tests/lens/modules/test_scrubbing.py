"""Modules of many kinds, scrubbed from end to end: against the module itself, and against patching it by hooks."""

import contextlib
import runpy
from pathlib import Path

import pytest
import torch
from small_modules import KINDS, cross_entropy, logits_of, losses_with_other_donors, outputs_of
from torch import Tensor, nn

from scrubbing import Graph, Hypothesis, ScrubbingWarning, from_module, reads, scrub

pytestmark = pytest.mark.usefixtures("unchecked")


def graph_of(kind: str) -> tuple[Graph, nn.Module, dict[str, Tensor]]:
    """The graph of a kind of module, with the module and its rows."""
    case = KINDS[kind]
    module, rows = case.made(), case.rows()
    warned = pytest.warns(ScrubbingWarning, match="stays one node") if case.warns else contextlib.nullcontext()
    with warned:
        G = from_module(module, rows, case.nodes, loss=loss_of)
    return G, module, rows


def loss_of(logits: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(logits, y)


def claim_everything_but(G: Graph, unclaimed: str) -> Graph:
    """The claim that everything matters, but for one node's value."""
    inputs = {name: [i for i in node.inputs if i != unclaimed] for name, node in G.items()}
    claimed, waiting = set(), [G.output]
    while waiting:
        name = waiting.pop()
        if name in G and name not in claimed:
            claimed.add(name)
            waiting += inputs[name]
    return Graph({name: reads(*inputs[name]) for name in G if name in claimed})


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if KINDS[kind].heavy else []) for kind in KINDS]
)
def test_scrubbing_a_submodule_is_patching_it_by_hooks(kind):
    G, module, rows = graph_of(kind)
    expected = cross_entropy(logits_of(outputs_of(module, rows)), rows["y"])
    assert torch.allclose(G(rows), expected, rtol=0, atol=1e-6)

    patched = KINDS[kind].patched.replace(".", "_")
    node = patched if patched in G else f"layer{patched}"
    assert len(G.readers(node)) == 1
    score = scrub(Hypothesis(G, claim_everything_but(G, node)), rows, baseline=Graph(loss=reads("y")), exact=True)
    by_hooks = losses_with_other_donors(module, KINDS[kind].patched, rows).mean().item()
    assert score.scrubbed == pytest.approx(by_hooks, abs=1e-5)
    assert score.original == pytest.approx(expected.mean().item(), abs=1e-6)
    assert abs(by_hooks - score.original) > 1e-5  # the patch does something


def test_the_example_runs(capsys):
    score = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "module.py"))["score"]
    assert capsys.readouterr().out.endswith(f"{score}\n")
    assert 0.5 < score.recovered < 1
