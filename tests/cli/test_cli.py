"""The command line scores a model folder as Python does, and a mistake is one line and exit status 2."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Finished, command
from jaxtyping import config

from hypotheses.handmade import MAY_BE_ANYTHING, MUST_FAIL, RECIPES, build, save
from hypotheses.induction.suite import suite

ROWS = 12
FAST = ("--dtype", "float64", "--only", "naive/Q")


@pytest.fixture(autouse=True)
def unchecked():
    """As on a user's machine, where annotations are not checked."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def scrubbing(capsys, monkeypatch) -> Callable[..., Finished]:
    """The command, in this process."""
    return command(capsys, monkeypatch, width=200)


@pytest.fixture
def folder(tmp_path) -> Path:
    """M1 with norms: naive Q is exact and naive V is not."""
    return save(build("M1", norm=True, rows=ROWS), tmp_path / "M1")


def columns(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "data.npz") as file:
        return dict(file)


def with_data(folder: Path, *left_out: str, **changes: np.ndarray) -> Path:
    """A data file with other columns than the folder's own."""
    path = folder.parent / "changed.npz"
    np.savez(path, **{k: v for k, v in (columns(folder) | changes).items() if k not in left_out})
    return path


@pytest.fixture
def results(scrubbing, tmp_path) -> Callable[..., dict]:
    """What a run writes as JSON, which must succeed."""

    def run(*arguments: object) -> dict:
        path = tmp_path / "results.json"
        finished = scrubbing("score", "induction", *arguments, "--json", path)
        assert (finished.status, finished.err) == (0, "")
        return json.loads(path.read_text())

    return run


def numbers(found: dict) -> dict[tuple[str, str], dict]:
    return {(h["name"], h["inputs"]): h for h in found["hypotheses"]}


# -- scores


@pytest.mark.parametrize("norm", [False, True], ids=["norms off", "norms on"])
@pytest.mark.parametrize("name", RECIPES)
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


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["naive"], [("naive", inputs) for inputs in ("Q", "K", "V", "All")]),
        (["naive/V"], [("naive", "V")]),
        (["refined 2/K", "naive (whole head)"], [("naive (whole head)", "K"), ("refined 2", "K")]),
    ],
)
def test_only_leaves_the_other_hypotheses_out(only, expected, results, folder):
    every = numbers(results("--model", folder, "--dtype", "float64"))
    some = numbers(results("--model", folder, "--dtype", "float64", *(a for name in only for a in ("--only", name))))
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
        found = results("--model", folder, "--data", data, "--dtype", "float64", "--only", "naive")
        return [found["original"], found["baseline"], *(h["loss"] for h in found["hypotheses"])]

    for one, same in (
        (losses(), losses(weights=10 * weights)),
        (losses("weights", whitelist=whitelist), losses(weights=listed)),
        (losses(whitelist=whitelist), losses(weights=weights * listed)),
        (losses("weights"), losses(weights=np.broadcast_to(all_but_first, weights.shape))),
    ):
        assert one == pytest.approx(same, rel=1e-12)
    assert losses() != pytest.approx(losses(whitelist=whitelist), rel=1e-3)


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


def test_a_baseline_equal_to_the_original_is_no_mistake(scrubbing, results, folder):
    run = ("--model", folder, "--data", with_data(folder, other=np.arange(ROWS)), "--dtype", "float64")
    finished = scrubbing("score", "induction", *run)
    assert (finished.status, finished.err) == (0, "")
    assert "the baseline's loss equals the original's, so there is nothing to recover" in finished.out
    found = results(*run)
    for h in found["hypotheses"]:
        assert (h["recovered"], h["interval"]) == (None, None)
        if (h["name"], h["inputs"]) not in {("refined 5", "K"), ("refined 5", "All")}:  # which draw donors of their own
            assert h["loss"] == pytest.approx(found["original"], abs=1e-12)


# -- mistakes


class Unpickled:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def changed(**changes: Callable[[dict[str, np.ndarray]], np.ndarray]):
    """A data file in which columns are made from those that were there."""

    def write(folder: Path) -> list[object]:
        was = columns(folder)
        return ["--model", folder, "--data", with_data(folder, **{name: make(was) for name, make in changes.items()})]

    return write


def spoiled(spoil: Callable[[Path], object]):
    """A model folder after something was done to it."""

    def write(folder: Path) -> list[object]:
        spoil(folder)
        return ["--model", folder]

    return write


def given(*arguments: str):
    """Arguments beside a model that is in order."""
    return lambda folder: ["--model", folder, *(a.format(folder=folder) for a in arguments)]


def truncated(name: str):
    return spoiled(lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-60]))


def overwritten(name: str, content: str):
    return spoiled(lambda folder: (folder / name).write_text(content))


def compressed_and_damaged(folder: Path) -> None:
    np.savez_compressed(folder / "data.npz", **columns(folder))
    content = bytearray((folder / "data.npz").read_bytes())
    content[60:70] = b"\xff" * 10
    (folder / "data.npz").write_bytes(content)


def with_objects(folder: Path) -> None:
    objects = np.array([Unpickled(folder / "unpickled")], dtype=object)
    np.savez(folder / "data.npz", **columns(folder) | {"tokens": objects})


def with_damaged_tokenizer(folder: Path) -> None:
    np.savez(folder / "data.npz", tokens=columns(folder)["tokens"])
    (folder / "tokenizer.json").write_text("{")


def as_npy(folder: Path) -> None:
    tokens = columns(folder)["tokens"]
    with (folder / "data.npz").open("wb") as file:
        np.save(file, tokens)


NOT_NPZ = "data.npz is damaged or no .npz file of plain arrays ("
MISTAKES = {
    # the model
    "no model": (lambda folder: ["--model", folder / "nowhere"], "nowhere; it must hold config.json and model.safeten"),
    "no weights": (spoiled(lambda f: (f / "model.safetensors").unlink()), "model.safetensors is missing; it holds"),
    "damaged weights": (truncated("model.safetensors"), "model.safetensors is damaged or no safetensors file ("),
    "no config": (spoiled(lambda f: (f / "config.json").unlink()), "config.json is missing; it holds the model's"),
    "damaged config": (truncated("config.json"), "config.json cannot be read as JSON: "),
    "wrong shapes": (
        lambda folder: overwritten("config.json", (folder / "config.json").read_text().replace("41", "40"))(folder),
        " has the shape [8, 96, 41], but by config.json it must be [8, 96, 40]: the weights and the configuration",
    ),
    "damaged roles": (overwritten("roles.json", "{"), "roles.json does not hold roles: Invalid JSON: "),
    "roles of another model": (
        overwritten("roles.json", '{"induction": [[1, 8]], "previous": [[0, 0]]}'),
        "'induction' names head 1.8, which the model does not have: its layers are 0 to 1 and its heads 0 to 7",
    ),
    "damaged tokenizer": (spoiled(with_damaged_tokenizer), "tokenizer.json is damaged or no tokenizer ("),
    # the data
    "no data": (
        spoiled(lambda f: (f / "data.npz").unlink()),
        "holds no data.npz; name a data file with --data FILE.npz",
    ),
    "data that are not there": (given("--data", "{folder}/no.npz"), "there is no data file "),
    "data of a folder": (given("--data", "{folder}"), " is damaged or no .npz file of plain arrays ("),
    "truncated data": (truncated("data.npz"), NOT_NPZ),
    "data of text": (overwritten("data.npz", "tokens"), NOT_NPZ),
    "empty data": (overwritten("data.npz", ""), NOT_NPZ),
    "one array": (spoiled(as_npy), NOT_NPZ),
    "damaged compressed data": (spoiled(compressed_and_damaged), NOT_NPZ),
    "arrays of objects": (spoiled(with_objects), f"{NOT_NPZ}tokens.npy holds Python objects, which are not unpickled"),
    "no tokens": (
        lambda folder: ["--model", folder, "--data", with_data(folder, "tokens")],
        "has no array 'tokens'; it holds 'other', 'weights', 'atypical'",
    ),
    "no rows": (
        changed(tokens=lambda was: was["tokens"][:0]),
        "'tokens' has the shape [0, 17]; it must be [rows, context + 1]",
    ),
    "one row of tokens": (
        changed(tokens=lambda was: was["tokens"][0]),
        "'tokens' has the shape [17]; it must be [rows, context + 1]",
    ),
    "tokens with a point": (
        changed(tokens=lambda was: was["tokens"] + 0.5),
        "'tokens' is of type float64; it must hold token numbers (integers)",
    ),
    "a token outside the vocabulary": (
        changed(tokens=lambda was: was["tokens"] + (np.arange(17) == 3) * (np.arange(ROWS) == 2)[:, None] * 100),
        " in row 2, position 3, but tokens go from 0 to 19",
    ),
    "a token below zero": (
        changed(tokens=lambda was: was["tokens"] - 1),
        "'tokens' holds token -1 in row 0, position 0, but tokens go from 0 to 19",
    ),
    "rows longer than the context": (
        changed(tokens=lambda was: np.tile(was["tokens"], 2)),
        "rows of 34 tokens give 33 inputs, but the model's context is 16; cut the rows to 17 tokens",
    ),
    "an other row outside the data": (
        changed(other=lambda was: np.arange(ROWS) + 1),
        "'other' holds row 12 in row 11, but rows go from 0 to 11",
    ),
    "an other row below zero": (
        changed(other=lambda was: np.arange(ROWS) - 1),
        "'other' holds row -1 in row 0, but rows go from 0 to 11",
    ),
    "too few other rows": (
        changed(other=lambda was: was["other"][1:]),
        "'other' has the shape [11]; for these tokens it must be [12]",
    ),
    "an empty whitelist": (
        changed(whitelist=lambda was: np.zeros(20, dtype=bool)),
        "the whitelist is empty; mark at least one token whose positions are evaluated",
    ),
    "a whitelist of another vocabulary": (
        changed(whitelist=lambda was: np.ones(21, dtype=bool)),
        "'whitelist' has the shape [21]; for these tokens it must be [20]",
    ),
    "a whitelist of token numbers": (
        changed(whitelist=lambda was: np.arange(20)),
        "'whitelist' is of type int64; it must hold True or False for each",
    ),
    "a whitelist of tokens that never occur": (
        changed(whitelist=lambda was: np.arange(20) == 0),
        "no position has a weight above 0, so there is nothing to evaluate",
    ),
    "weights below zero": (
        changed(weights=lambda was: -was["weights"]),
        "they must be finite numbers, none below 0",
    ),
    "weights that are not finite": (
        changed(weights=lambda was: was["weights"] / 0),
        "'weights' holds nan in row 0, position 0; they must be finite numbers, none below 0",
    ),
    "weights of the labels too": (
        changed(weights=lambda was: np.ones((ROWS, 17))),
        "'weights' has the shape [12, 17]; for these tokens it must be [12, 16]",
    ),
    "types in words": (
        changed(atypical=lambda was: was["atypical"].astype(str)),
        "'atypical' is of type <U5; it must hold True or False for each",
    ),
    # the settings
    "an unknown hypothesis": (
        given("--only", "naiv"),
        "there is no experiment 'naiv' in induction; did you mean 'naive'",
    ),
    "an unknown input": (
        given("--only", "naive/W"),
        "there is no experiment 'naive/W' in induction; did you mean 'naive/",
    ),
    "nothing like a hypothesis": (
        given("--only", "zzz"),
        "there is no experiment 'zzz' in induction; there are naive, naive (whole head), refined 1, refined 2,",
    ),
    "an unknown type": (given("--dtype", "float16"), "'--dtype': "),
    "no references": (given("--references", "0"), "'--references': "),
    "an unknown device": (given("--device", "abacus"), "the device 'abacus' cannot be used here ("),
    "a device without values": (given("--device", "meta"), "the device 'meta' cannot be used here ("),
    "an unknown option": (given("--sed", "1"), "No such option: --sed"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_mistake_is_one_line_and_nothing_is_written(mistake, scrubbing, folder, tmp_path):
    arguments, message = MISTAKES[mistake]
    arguments = arguments(folder)
    before = set(tmp_path.rglob("*"))
    finished = scrubbing("score", "induction", *FAST[:2], *arguments, "--json", tmp_path / "results.json")
    assert (finished.status, finished.out) == (2, "")
    (line,) = finished.err.splitlines()
    assert line.startswith("scrubbing: ")
    assert message in line
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/results.json", "results.json cannot be written: there is no folder "),
        ("M1/config.json/results.json", "results.json cannot be written: there is no folder "),
        ("M1", "M1 cannot be written: it is a folder"),
    ],
)
def test_results_that_cannot_be_written_are_a_mistake_before_the_work(path, message, scrubbing, folder, tmp_path):
    finished = scrubbing("score", "induction", "--model", folder, *FAST, "--json", tmp_path / path)
    assert (finished.status, finished.out) == (2, "")
    (line,) = finished.err.splitlines()
    assert message in line


def test_a_write_that_fails_leaves_the_old_results(scrubbing, folder, tmp_path, monkeypatch):
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "results.json"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", full)
    finished = scrubbing("score", "induction", "--model", folder, *FAST, "--json", path)
    assert finished.status == 2
    assert finished.err.splitlines() == [f"scrubbing: {path} cannot be written: No space left on device"]
    assert path.read_text() == "old"
    assert list(tmp_path.glob("results*")) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "inducton"], "there are no hypotheses called 'inducton'; did you mean 'induction'?"),
        (["score", "zzz"], "there are no hypotheses called 'zzz'; there are induction, toy"),
        (["score"], "Missing argument 'suite'."),
        (["scor"], "No such command 'scor'. Did you mean 'score'?"),
    ],
)
def test_a_wrong_command_is_one_line(arguments, message, scrubbing):
    finished = scrubbing(*arguments)
    assert finished.status == 2
    assert finished.err.splitlines() == [f"scrubbing: {message}"]


def test_help_is_no_mistake(scrubbing):
    for arguments in (["--help"], ["score", "--help"]):
        finished = scrubbing(*arguments)
        assert (finished.status, finished.err) == (0, "")
        assert "Usage: " in finished.out
    alone = scrubbing()
    assert (alone.status, alone.err) == (2, "")
    assert "Usage: " in alone.out


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


def test_a_mistake_ends_the_installed_command_with_status_2(installed, folder):
    (folder / "model.safetensors").write_bytes(b"")
    finished = installed("score", "induction", "--model", folder)
    assert (finished.returncode, finished.stdout) == (2, "")
    (line,) = finished.stderr.splitlines()
    assert "model.safetensors is damaged or no safetensors file (" in line
