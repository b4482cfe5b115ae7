"""A network on a GPU has the scores that it has on the processor: every family, modules, effects, studies."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from accelerators import FOUND, NONE
from command_line import command
from hugging_face_models import MODELS, VOCABULARY, hugging_face_model
from small_modules import KINDS, cross_entropy

from scrubbing import (
    Graph,
    Hypothesis,
    add,
    at,
    donor,
    from_module,
    mean,
    measure,
    paths,
    per_position,
    reads,
    scrub,
    values,
)
from scrubbing.lens import load_transformer, next_token_data, transformer
from scrubbing.rewrite import split_qkv

if not FOUND:
    pytest.skip(NONE, allow_module_level=True)

pytestmark = pytest.mark.usefixtures("unchecked")

ROWS, POSITIONS = 6, 8
TOKENS = torch.randint(0, VOCABULARY, (ROWS, POSITIONS + 1), generator=torch.Generator().manual_seed(2))
NOTHING = Graph(loss=reads("labels", "weights"))
READINGS = ("original", "baseline", "scrubbed", "kl", "agreement")


@pytest.fixture(params=FOUND)
def device(request):
    return request.param


@pytest.fixture
def run(capsys, monkeypatch):
    return command(capsys, monkeypatch, width=80)


def rows(device, **more):
    data = next_token_data(TOKENS) | more
    return {name: column.to(device) for name, column in data.items()}


def network(name, device, dtype=torch.float32):
    return transformer(load_transformer(deepcopy(hugging_face_model(name, dtype)).to(device), check=False))


def claims(G):
    """The last MLP matters through a head before it, and that head through its queries."""
    G = split_qkv(G, "a1_h2")
    last = "a1" if "a1" in G else "a1_h2"
    claimed = {"loss": reads("logits", "labels", "weights"), "logits": reads("m1", last), "m1": reads("m0")}
    if last == "a1":
        claimed["a1"] = reads("a1_h2")
    claimed |= {"m0": reads("embed"), "a1_h2": reads("a1_h2_pattern"), "a1_h2_pattern": reads("a1_h2_q")}
    return Hypothesis(G, Graph(claimed, a1_h2_q=reads("embed"), embed=reads("tokens")))


def readings(score):
    return np.array([score.by_reference.of(column) for column in READINGS])


def check(here, there, tolerance=1e-5):
    assert np.isfinite(here).all()
    np.testing.assert_allclose(there, here, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("others", ["node", "reference", "input"])
@pytest.mark.parametrize("name", MODELS)
def test_a_family(name, device, others):
    def scored(device):
        return readings(
            scrub(claims(network(name, device)), rows(device), baseline=NOTHING, others=others, draws=2, seed=3)
        )

    check(scored("cpu"), scored(device))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_half_precision(name, device, dtype):
    def scored(device, dtype):
        return readings(scrub(claims(network(name, device, dtype)), rows(device), baseline=NOTHING, seed=3))[:3]

    half = scored(device, dtype)
    check(scored("cpu", torch.float32), half, tolerance=0.1)
    check(scored("cpu", dtype), half, tolerance=0.05)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].warns])
def test_a_module(kind, device):
    def scored(device):
        case = KINDS[kind]
        given = {name: column.to(device) for name, column in case.rows().items()}
        G = from_module(case.made().to(device), given, case.nodes, loss=lambda logits, y: cross_entropy(logits, y))
        left_out = case.patched.replace(".", "_")
        left_out = left_out if left_out in G else f"layer{left_out}"
        return measure(G, {"out": {left_out: "mean"}, "other": {left_out: donor(np.arange(5)[::-1].copy())}}, given)

    for here, there in zip(scored("cpu").values(), scored(device).values(), strict=True):
        check(here.by_reference.scrubbed, there.by_reference.scrubbed)


def test_interventions(device):
    order = np.roll(np.arange(ROWS), 1)
    instead = {
        "donor": {"a0_h1": donor(order)},
        "mean": {"a0_h1": mean(by="half")},
        "zero": {"m0": "zero"},
        "frozen": {"a0_h1": "zero", "m1": "clean"},
        "added": {"a1_h2": add("a0_h1", 2.0)},
        "at": {"a1_h2": at("here", donor(order)), "m0": at([0, 3], "mean")},
        "function": {"m1": lambda value, a0_h1: value - a0_h1},
    }

    def scored(device):
        more = {"half": torch.arange(ROWS) % 2, "here": torch.arange(ROWS) % POSITIONS}
        found = measure(network("gpt2", device), instead, rows(device, **more))
        return np.array([score.by_reference.scrubbed for score in found.values()])

    check(scored("cpu"), scored(device))


def test_paths_and_values(device):
    def found(device):
        G = network("gpt2", device)
        h = {head: paths(G, head, "logits", through="m*") for head in ("a0_h0", "a0_h1", "a1_h2", "m0")}
        scores = scrub(h, rows(device), baseline=NOTHING, others=np.roll(np.arange(ROWS), 1))
        seen = values(G, rows(device), ["m1", "logits"], {"a0_h1": "zero"})
        return np.array([readings(score) for score in scores.values()]), [
            {name: value.cpu().numpy() for name, value in chunk.items()} for _, chunk in seen
        ]

    (scored, seen), (scored_there, seen_there) = found("cpu"), found(device)
    check(scored, scored_there)
    for name in ("m1", "logits"):
        check(*(np.concatenate([chunk[name] for chunk in chunks]) for chunks in (seen, seen_there)))


def test_a_donor_for_each_position(device):
    def scored(device):
        G = network("gpt2", device)
        kind = per_position(lambda tokens, kind: kind)
        I = Graph(loss=reads("logits", "labels", "weights"), logits=reads("a1_h2"), a1_h2=kind)
        data = rows(device, kind=TOKENS[:, :-1] % 3)
        return readings(scrub(Hypothesis(G, I, columns=("kind",)), data, baseline=NOTHING, draws=2, seed=3))

    check(scored("cpu"), scored(device))


@pytest.mark.slow
@pytest.mark.parametrize("study", ["toy", "brackets", "induction", "self-repair", "copy-suppression", "ioi"])
def test_a_study(study, device, run, tmp_path):
    def scored(device):
        file = tmp_path / f"{device}.json"
        finished = run("score", study, "--device", device, "--json", file, "--no-store")
        assert finished.status == 0, finished.err
        return json.loads(file.read_text())["hypotheses"]

    for here, there in zip(scored("cpu"), scored(device), strict=True):
        assert here["name"] == there["name"]
        check(here["recovered"], there["recovered"], tolerance=1e-4)
