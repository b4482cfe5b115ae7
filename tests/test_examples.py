"""The examples of interventions against plain passes with hooks, on the model that they are about."""

import runpy
from itertools import product
from pathlib import Path

import pytest
import torch
from hooked_passes import HookedModel, losses
from torch.nn.functional import normalize

EXAMPLES = Path(__file__).parent.parent / "examples"
HEADS = list(product(range(2), range(4)))

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def example(request, monkeypatch):
    """What an example's script leaves behind, with the same model for passes with hooks."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    found = runpy.run_path(str(EXAMPLES / f"{request.param}.py"))
    return found, HookedModel(runpy.run_path(str(EXAMPLES / "random_transformer.py"))["model"], "gpt2")


def named(name):
    return pytest.mark.parametrize("example", [name], indirect=True)


def scrubbed(score):
    return torch.tensor(score.losses["scrubbed"].to_numpy()).float()


def equal(score, logits, data, rows=None):
    """The losses are those of the logits, and not those of the network as it came."""
    columns = {name: data[name] if rows is None else data[name][rows] for name in ("labels", "weights")}
    expected = losses(logits, columns)
    torch.testing.assert_close(scrubbed(score), expected, rtol=0, atol=1e-4)
    own = torch.tensor(score.losses["original"].to_numpy()).float()
    return (expected - own).abs().max() > 5e-4


def replaced(hooked, values):
    """Edits that give heads other values: {(layer, head): z of the head}."""

    def edit(layer):
        def at_layer(z):
            z = z.clone()
            for (n, head), value in values.items():
                if n == layer:
                    z[..., hooked.of_head(z, head)] = value
            return z

        return at_layer

    return {hooked.writer(layer): edit(layer) for layer in {n for n, _ in values}}


def of(hooked, z, layer, head):
    return z[layer][..., hooked.of_head(z[layer], head)]


@named("paired_donors")
def test_path_patching_with_paired_donors(example):
    found, hooked = example
    tokens = found["data"]["tokens"]
    logits = hooked.path_patched(tokens, found["donors"], [(0, 1), (0, 3)], [(1, 0)], mlps=True)
    assert equal(found["score"], logits, found["data"])


@named("several_datasets")
def test_signals_of_several_datasets(example):
    found, hooked = example
    tokens, half = found["data"]["tokens"], found["half"]
    z, _ = hooked.record(tokens)
    for first, second in product(("one", "other"), repeat=2):
        rows = [slice(half, None) if which == "other" else slice(half) for which in (first, second)]
        values = {(0, 1 + i): of(hooked, z, 0, 1 + i)[rows[i]] for i in range(2)}
        changed = equal(
            found["found"][first, second],
            hooked.run(tokens[:half], replaced(hooked, values)),
            found["data"],
            slice(half),
        )
        assert changed == ((first, second) != ("one", "one"))


@named("by_role")
def test_every_head_at_every_role(example):
    found, hooked = example
    tokens, donors = found["data"]["tokens"], found["donors"].rows
    z, _ = hooked.record(tokens)
    changed = []
    for layer, head in HEADS:
        for role, places in found["roles"].items():
            own, other = of(hooked, z, layer, head), of(hooked, z, layer, head)[donors]
            here = (torch.arange(tokens.shape[1]) == places[:, None])[..., None]
            logits = hooked.run(tokens, replaced(hooked, {(layer, head): other.where(here, own)}))
            changed.append(equal(found["found"][layer, head, role], logits, found["data"]))
    assert all(changed)


@named("frozen_norm")
def test_a_frozen_norm(example):
    found, hooked = example
    data, norm, seen = found["data"], hooked.model.transformer.ln_f, []

    def keep(x):
        seen.append(x)
        return x

    hooked.run(data["tokens"], {norm: keep})
    (clean,) = seen
    scale = (clean.var(-1, unbiased=False, keepdim=True) + norm.eps).rsqrt()

    def frozen(_):
        x = seen[-1]
        return (x - x.mean(-1, keepdim=True)) * scale * norm.weight + norm.bias

    ablation = replaced(hooked, {(1, 2): torch.tensor(0.0)})
    assert equal(found["scores"]["free"], hooked.run(data["tokens"], ablation), data)
    logits = hooked.run(data["tokens"], {**ablation, norm: keep}, {norm: frozen})
    assert equal(found["scores"]["frozen"], logits, data)
    assert not torch.allclose(scrubbed(found["scores"]["free"]), scrubbed(found["scores"]["frozen"]), atol=1e-3)


@named("one_mechanism")
def test_an_ablation_that_keeps_one_mechanism(example):
    found, hooked = example
    data, tokens, made = found["data"], found["data"]["tokens"], []
    z, _ = hooked.record(tokens)
    hooked.run(tokens, outputs={hooked.queries(1): lambda x: (made.append(x), x)[1]})
    q, k, v = (part.unflatten(-1, (4, 8))[:, :, 1] for part in made[0].split(32, dim=-1))
    scores = torch.einsum("bqd,bkd->bqk", q, k) / 8**0.5
    future = torch.ones(scores.shape[1:]).triu(1).bool()
    pattern = scores.masked_fill(future, -torch.inf).softmax(-1)
    W_O = hooked.writer(1).weight[8:16]
    along = normalize(hooked.model.lm_head.weight[tokens], dim=-1)
    kept = torch.zeros_like(hooked.written(z[1], 1, 1))
    for source in range(tokens.shape[1]):  # one source at a time
        much = torch.einsum("bd,bd->b", v[:, source] @ W_O, along[:, source]).clamp(max=0)
        kept += pattern[:, :, source, None] * (much[:, None] * along[:, source])[:, None]
    kept, own = kept.detach(), hooked.written(z[1], 1, 1)
    rest = own - kept
    for name, stands in {"kept": kept + rest.mean(0), "ablated": kept.mean(0) + rest.mean(0)}.items():
        logits = hooked.run(tokens, outputs={hooked.writer(1): lambda x, new=stands: x - own + new})
        assert equal(found["scores"][name], logits, data)


@named("every_head")
def test_a_sweep_over_heads(example):
    found, hooked = example
    tokens = found["data"]["tokens"]
    z, _ = hooked.record(tokens)
    for layer, head in HEADS:
        mean = of(hooked, z, layer, head).mean(0, keepdim=True)
        assert equal(
            found["found"][layer, head], hooked.run(tokens, replaced(hooked, {(layer, head): mean})), found["data"]
        )


def test_every_script_has_less_than_40_lines():
    assert all(len(path.read_text(encoding="utf8").splitlines()) < 40 for path in EXAMPLES.glob("*.py"))
