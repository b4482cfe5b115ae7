"""The command line scores a model folder as Python does."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from model_folder import columns, with_data
from sampled import by_default

from hypotheses import toy
from hypotheses.handmade import MAY_BE_ANYTHING, MUST_FAIL, RECIPES, build, save
from hypotheses.induction.suite import suite
from scrubbing import Hypothesis, Node
from scrubbing.cli import suites

ROWS = 12
FAST = ("--dtype", "float64", "--only", "naive/Q")


def numbers(found: dict) -> dict[tuple[str, str], dict]:
    return {(h["name"], h["inputs"]): h for h in found["hypotheses"]}


# -- scores


@pytest.mark.parametrize(("name", "norm"), [*by_default(product(RECIPES, [True, False]))])
def test_a_model_folder_scores_as_in_python(name, norm, results, tmp_path):
    made = save(build(name, norm=norm, rows=ROWS), tmp_path / "model")
    found = results("--model", made, "--dtype", "float64")
    scores = suite(made, dtype=torch.float64).score()
    assert (found["original"], found["baseline"]) == next((s.original, s.baseline) for s in scores.values())
    expected = [
        {
            "name": rung,
            "inputs": inputs,
            "loss": score.scrubbed,
            "recovered": score.recovered,
            "interval": None if score.interval is None else list(score.interval),
            "references": ROWS,
        }
        for (rung, inputs), score in ((experiment.split("/"), score) for experiment, score in scores.items())
    ]
    assert found["hypotheses"] == expected
    shares = {claim: h["recovered"] for claim, h in numbers(found).items()}
    assert len(shares) == 25
    assert {claim for claim, share in shares.items() if share < 0.5} - MAY_BE_ANYTHING[name] == MUST_FAIL[name]
    exact = shares.keys() - MUST_FAIL[name] - MAY_BE_ANYTHING[name]
    assert {claim: shares[claim] for claim in exact if abs(shares[claim] - 1) > 1e-9} == {}


def test_the_json_says_what_was_measured(results, folder):
    found = results("--model", folder, *FAST, "--seed", 7)
    assert found.keys() == {"schema", "original", "baseline", "settings", "hypotheses"}
    assert found["schema"] == "scrubbing.scores/1"
    (only,) = found["hypotheses"]
    assert only.keys() == {"name", "inputs", "loss", "recovered", "interval", "references"}
    settings = found["settings"]
    assert {"model", "data", "hashes", "seed", "pairing", "normalisation", "level"} <= settings.keys()
    assert (settings["seed"], settings["level"], settings["dtype"]) == (7, 0.95, "float64")
    assert settings["pairing"] == "the file's"
    assert settings["heads"] == "induction 1.5 1.6, previous 0.0, self 0.1 0.2 0.5"
    assert str(folder / "model.safetensors") in settings["model"]
    assert settings["hashes"].keys() == {"model", "data"}


def test_the_table_shows_every_hypothesis_and_how_it_was_measured(scrubbing, folder):
    finished = scrubbing("score", "induction", "--model", folder, "--dtype", "float64")
    assert finished.status == 0
    for shown in ("naive (whole head)", "refined 5", "100.0", "published 35", "original loss", "12 references", "seed"):
        assert shown in finished.out


def test_only_leaves_the_other_hypotheses_out(results, folder):
    every = numbers(results("--model", folder, "--dtype", "float64"))
    for only, expected in (
        (["naive"], [("naive", inputs) for inputs in ("Q", "K", "V", "All")]),
        (["naive/V"], [("naive", "V")]),
        (["refined 2/K", "naive (whole head)"], [("naive (whole head)", "K"), ("refined 2", "K")]),
    ):
        chosen = (argument for name in only for argument in ("--only", name))
        some = numbers(results("--model", folder, "--dtype", "float64", *chosen))
        assert list(some) == expected
        assert some == {claim: every[claim] for claim in expected}


def test_references_are_drawn_from_the_rows_that_are_evaluated(results, folder):
    weights = columns(folder)["weights"]
    weights[1:] = 0  # one row is evaluated, the others are donors only
    data = with_data(folder, weights=weights)
    (one,) = results("--model", folder, "--data", data, *FAST)["hypotheses"]
    found = results("--model", folder, "--data", data, *FAST, "--references", 5)
    (five,) = found["hypotheses"]
    assert (one["references"], five["references"]) == (1, 5)
    assert five["loss"] == pytest.approx(one["loss"], rel=1e-12)
    assert one["interval"] is None


def test_one_seed_gives_one_result(results, folder):
    data = with_data(folder, "other")
    run = ("--model", folder, "--data", data, "--dtype", "float64", "--only", "naive/V")
    first, again, second = (results(*run, "--seed", seed) for seed in (1, 1, 2))
    assert first["hypotheses"] == again["hypotheses"]
    assert first["baseline"] != second["baseline"]
    assert "drawn uniformly" in first["settings"]["pairing"]


def test_what_is_evaluated_is_what_the_file_says(results, folder):
    whitelist = np.arange(20) % 3 == 0
    tokens, weights = (columns(folder)[name] for name in ("tokens", "weights"))
    listed, all_but_first = whitelist[tokens[:, :-1]], np.arange(16) > 0

    def losses(*left_out: str, **changes: np.ndarray) -> list[dict]:
        data = with_data(folder, *left_out, **changes)
        found = results("--model", folder, "--data", data, "--dtype", "float64", "--only", "naive/All")
        return [found["original"], found["baseline"], *(h["loss"] for h in found["hypotheses"])]

    plain = losses()
    for one, same in (
        (plain, losses(weights=10 * weights)),
        (losses("weights", whitelist=whitelist), losses(weights=listed)),
        (losses(whitelist=whitelist), losses(weights=weights * listed)),
        (losses("weights"), losses(weights=np.broadcast_to(all_but_first, weights.shape))),
    ):
        assert one == pytest.approx(same, rel=1e-12)
    assert plain != pytest.approx(losses(whitelist=whitelist), rel=1e-3)


def test_dividing_by_all_positions_changes_losses_and_no_percentage(folder):
    evaluated, positions = (suite(folder, dtype=torch.float64, per=per) for per in ("example", "position"))
    share = columns(folder)["weights"].mean()
    for one, other in zip(*(s.only(["naive"]).score().values() for s in (evaluated, positions)), strict=True):
        assert other.original == pytest.approx(one.original * share, rel=1e-12)
        assert other.scrubbed == pytest.approx(one.scrubbed * share, rel=1e-12)
        assert other.recovered == pytest.approx(one.recovered, abs=1e-12)
    assert "mean over all positions" in positions.about["normalisation"]


def test_without_types_of_positions_refined_5_is_left_out_and_a_line_says_so(scrubbing, folder):
    data = with_data(folder, "atypical")
    finished = scrubbing("score", "induction", "--model", folder, "--data", data, "--only", "refined 5")
    assert finished.status == 0
    assert "refined 5's K and All are left out: the data file has no 'atypical'" in finished.out
    (rung,) = (line for line in finished.out.splitlines() if line.startswith("│ refined 5"))
    assert rung.count("100.0") == 2


def test_without_roles_the_heads_are_measured(results, folder):
    (folder / "roles.json").unlink()
    found = results("--model", folder, *FAST)
    assert found["settings"]["heads"] == "induction 1.5 1.6, previous 0.0, self 0.3"
    assert "its heads were measured on 12 rows" in " ".join(found["settings"]["notes"])


def test_a_baseline_equal_to_the_original_is_no_mistake(scrubbing, folder, tmp_path):
    data, path = with_data(folder, other=np.arange(ROWS)), tmp_path / "results.json"
    finished = scrubbing("score", "induction", "--model", folder, "--data", data, "--dtype", "float64", "--json", path)
    assert (finished.status, finished.err) == (0, "")
    assert "the baseline's loss equals the original's, so there is nothing to recover" in finished.out
    found = json.loads(path.read_text())
    assert len(found["hypotheses"]) == 25
    for h in found["hypotheses"]:
        assert (h["recovered"], h["interval"]) == (None, None)
        if (h["name"], h["inputs"]) not in {("refined 5", "K"), ("refined 5", "All")}:  # which draw donors of their own
            assert h["loss"] == pytest.approx(found["original"], abs=1e-12)


# -- the installed command


@pytest.fixture
def installed() -> Callable[..., subprocess.CompletedProcess]:
    command = shutil.which("scrubbing", path=str(Path(sys.executable).parent))
    assert command, "the package is not installed beside this Python"

    def run(*arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, check=False)

    return run


def test_the_installed_command_scores_as_it_does_here(installed, results, folder, tmp_path):
    expected = results("--model", folder, *FAST)
    path = tmp_path / "installed.json"
    finished = installed("score", "induction", "--model", folder, *FAST, "--json", path)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert json.loads(path.read_text()) == expected


def test_a_mistake_ends_the_installed_command_with_status_2(installed):
    finished = installed("scores", "induction")
    assert (finished.returncode, finished.stdout) == (2, "")
    (line,) = finished.stderr.splitlines()
    assert line.startswith("scrubbing: ")


# -- options of the suite


OF_THE_SUITE = {  # and what the result says differently
    "per=position": {"normalisation"},
    "per=example": set(),  # as it is without it
    "rh1_k_direct=true": {"refined 1's keys"},
    "rh1-k-direct=no": set(),
    "whitelist_form=linear": {"whitelist", "evaluated"},
    "whitelist_beta=2.5": {"whitelist", "evaluated"},
    "whitelist_threshold=-1e3": {"whitelist", "evaluated"},
}


@pytest.mark.parametrize("option", by_default(OF_THE_SUITE, 3))
def test_an_option_of_the_suite_is_that_of_its_function(option, results, folder):
    few = ("--model", folder, *FAST, "--only", "refined 1/Q")
    plain, found = results(*few), results(*few, "--set", option)
    name, _, value = option.partition("=")
    given = {"true": True, "no": False}.get(value, value)
    made = suite(folder, dtype=torch.float64, **{name.replace("-", "_"): _number(given)})
    scores = made.only(["naive/Q", "refined 1/Q"]).score()
    assert [h["loss"] for h in found["hypotheses"]] == [score.scrubbed for score in scores.values()]
    said = {key for key in found["settings"] if found["settings"][key] != plain["settings"].get(key)}
    assert said == OF_THE_SUITE[option]


def _number(given):
    try:
        return float(given) if isinstance(given, str) else given
    except ValueError:
        return given


def test_losses_of_all_positions_recover_as_much(results, folder):
    example, position = (results("--model", folder, *FAST, "--set", f"per={per}") for per in ("example", "position"))
    assert example["original"] != position["original"]
    assert numbers(example)["naive", "Q"]["recovered"] == pytest.approx(numbers(position)["naive", "Q"]["recovered"])


def test_heads_are_printed_by_what_they_attend_to_and_nothing_is_scored(scrubbing, folder, tmp_path):
    finished = scrubbing("score", "induction", "--model", folder, "--heads", "--json", tmp_path / "none.json")
    assert (finished.status, finished.err) == (0, "")
    assert {"previous", "induction"} <= set(finished.out.split())
    assert "recovered" not in finished.out
    assert not (tmp_path / "none.json").exists()


def test_json_can_be_printed_in_place_of_the_table(scrubbing, folder, results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished = scrubbing("score", "induction", "--model", folder, *FAST, "--json", "-", "--no-store")
    assert (finished.status, finished.err) == (0, "")
    assert json.loads(finished.out) == results("--model", folder, *FAST, "--no-store")
    assert not Path("-").exists()


# -- going on


@pytest.mark.filterwarnings("always::scrubbing.ScrubbingWarning")
def test_what_cannot_be_scored_is_left_out_with_status_2(scrubbing, monkeypatch):
    whole = toy.suite()
    case = whole.cases[0]
    broken = case.hypothesis.G | {"D": Node(_raises, case.hypothesis.G["D"].inputs)}
    bad = replace(case, name="bad", hypothesis=Hypothesis(broken, case.hypothesis.I))
    monkeypatch.setattr(suites, "experiments", lambda *_, **__: replace(whole, cases=(bad, *whole.cases)))
    arguments = ("score", "toy", "--references", 50, "--no-store")
    finished = scrubbing(*arguments)
    assert (finished.status, finished.out) == (2, "")
    finished = scrubbing(*arguments, "--keep-going")
    assert finished.status == 2
    assert [name for name in whole.hypotheses if name not in finished.out] == []
    assert finished.err.startswith("scrubbing: 'bad' is left out: the function of 'D' raised ValueError: not today")


def _raises(*inputs):
    raise ValueError("not today")
