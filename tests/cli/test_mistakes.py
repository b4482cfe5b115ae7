"""A mistake on the command line is one line and exit status 2, and nothing is written."""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from model_folder import columns, with_data

ROWS = 12
FAST = ("--dtype", "float64", "--only", "naive/Q")


pytestmark = pytest.mark.usefixtures("unchecked")


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


INSTALLED = ", ".join(sorted(entry.name for entry in entry_points(group="scrubbing.hypotheses")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "inducton"], "there are no hypotheses called 'inducton'; did you mean 'induction'?"),
        (["score", "zzz"], f"there are no hypotheses called 'zzz'; there are {INSTALLED}"),
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
