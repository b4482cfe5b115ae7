"""Whatever is typed, the answer is at most one line, a status and no traceback, and it comes at once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Finished, command

from hypotheses import toy
from scrubbing.store import Store

LONG = "x" * 300
HUGE = ("1" + "0" * 12, str(2**63 - 1), str(2**63), str(2**64), str(2**80), "1" + "0" * 400, "9" * 5000)
NO_NUMBERS = (
    "",
    " ",
    "1.5",
    "1e3",
    "10**6",
    "0x10",
    "one",
    "\u0661x",
    "--",
    "-",
    "1_",
    "nan",
    "∞",
    "\udcff",
    "\x1b[2J",
    "\uff113,",
)
COMMANDS = ("score", "explain", "list", "history", "compare", "export", "merge", "app", "draw", "report")
HOSTILE = (
    "\x1b[2J\x1b[31m",
    "\x9b2J",
    "\u202eevil",
    "a\nb\r\n",
    "\udcff\udcfe",
    "\u2066\u200b",
    "x" * 10_000,
    "[red]x[/red]",
    "\x00x",
)


def lines() -> dict[str, list[str]]:
    """Command lines that nobody means, by what is wrong with them."""
    found: dict[str, list[str]] = {}

    def add(what: str, *line: str) -> None:
        found[f"{what} {len(found)}"] = list(line)

    for number in HUGE:
        add("too many references", "score", "toy", "--references", number)
        add("too many references", "explain", "toy", "--references", number)
        add("too many to list", "history", "--last", number)
        add("too many to export", "export", "{tmp}/x.csv", "--last", number)
        add("too many tried", "compare", "1", "2", "--tried", number)
        add("no such score", "compare", "1", number)
    for number in HUGE[5:]:
        add("no seed", "score", "toy", "--seed", number)
        add("no seed", "score", "toy", "--seed", f"-{number}")
    for number in HUGE[2:]:
        add("no memory", "score", "toy", "--memory", f"-{number}")
    for number in NO_NUMBERS:
        add("no number", "score", "toy", "--references", number)
        add("no number", "history", f"--last={number}")
        add("no number", "score", "toy", f"--seed={number}")
        add("no score", "compare", "1", f"./{number}" if number.startswith("-") else number)
    for number in ("0", "-1"):
        add("too few", "score", "toy", "--references", number)
        add("too few", "history", "--last", number)
        add("too few", "compare", "1", "2", "--tried", number)
    for device in (
        "",
        "abacus",
        "cuda:-1",
        "cuda:99999999999999999999",
        "cuda:x",
        "meta",
        "xla",
        "mps",
        "hpu",
        "vulkan",
        "privateuseone",
        "cpu:x",
        ":",
        "cuda:99",
        "ipu",
        "\udcff",
        "cpu,cuda",
        "lazy",
        "mtia",
        "maia",
    ):
        add("no device", "explain", "toy", "--device", device)
    for memory in (
        "",
        "much",
        "0",
        "-1",
        "2GiB junk",
        "2,5GiB",
        "10**6",
        "1e400",
        "nan",
        "inf",
        "GiB",
        "2 GiB GiB",
        "0x10",
        "1" * 400,
        "\udcff",
        "½GiB",
        "2GiB;rm",
        "--",
        "1/2GiB",
    ):
        add("no memory", "explain", "toy", "--memory", memory)
    for text in HOSTILE:
        add("no suite", "score", text)
        add("no suite", "list", text)
        add("no experiment", "explain", "toy", "--only", text)
        add("no model", "explain", "induction", "--model", text)
        add("no data", "explain", "induction", "--data", text)
        add("no device", "explain", "toy", "--device", text)
        add("no type", "explain", "toy", "--dtype", text)
        add("no option", "explain", "toy", "--set", text)
        add("no option", "explain", "toy", "--set", f"{text}=1")
        add("no value", "explain", "induction", "--set", f"per={text}")
        add("no file", "compare", text, "2")
        add("no ending", "export", f"{{tmp}}/{text}")
        add("no folder", "score", "toy", "--json", f"{{tmp}}/{text}/x.json")
        add("no folder", "history", "--store", f"{{tmp}}/{text}/x.db")
        add("no command", text)
        add("no flag", "history", f"--{text}")
    for path in (LONG, "é" * 200, "~nosuch/x.db", ".", "/dev/null/x", "/", "/proc/self/mem/x"):
        add("no store", "history", "--store", path)
        add("no store", "compare", "1", "2", "--store", path)
        add("no store", "export", "{tmp}/x.csv", "--store", path)
    for path in (LONG, "é" * 200, "/dev/null/x", "/proc/nothing/x"):
        add("no file", "score", "toy", "--json", path)
        add("no model", "score", "induction", "--model", path)
        add("no data", "score", "induction", "--data", path)
        add("no store", "score", "toy", "--store", path)
        add("no export", "export", path)
        add("no export", "export", f"{path}/x.csv")
        add("no record", "compare", path, "1")
    for name in COMMANDS:
        add("an option that is none", name, "--nothing")
        add("an option without a value", name, "--store")
        add("too much", name, "toy", "one", "too", "many") if name != "compare" else add("one of none", name)
    for given in (
        "=",
        "=1",
        "per=",
        "per",
        "per=pos",
        "per=example=",
        "perr=example",
        "rh1_k_direct=2",
        "rh1_k_direct=",
        "whitelist_beta=0",
        "whitelist_beta=-1",
        "whitelist_beta=inf",
        "whitelist_beta=1e999",
        "whitelist_threshold=nan",
        "whitelist_form=cubic",
        "dtype=float16",
        "model=x",
    ):
        add("no option of the suite", "explain", "induction", "--set", given)
    add("an option given twice", "explain", "induction", "--set", "per=example", "--set", "per=position")
    add("options of a suite without any", "score", "toy", "--set", "per=example")
    add("heads of a suite without any", "score", "toy", "--heads")
    add("a toy with a model", "score", "toy", "--model", "x")
    add("a store and none", "score", "toy", "--no-store", "--store", "{tmp}/x.db")
    for shown in ("draw", "report"):
        add("no suite", shown, "zzz")
        add("no such hypothesis", shown, "toy", "--only", "zzz")
        add("a page of no room", shown, "toy", "-o", "{tmp}/no/such/place.svg")
        add("a model that is not there", shown, "induction", "--model", "{tmp}/nowhere")
    add("a row that is not there", "draw", "toy", "--walk", "-1")
    add("no references", "report", "toy", "--references", "0")
    add("one score", "compare", "1")
    add("a score twice", "compare", "1", "1")
    add("no records", "compare", "{tmp}/a.json", "{tmp}/b.json")
    return found


LINES = lines()


@pytest.fixture
def scrubbing(capsys, monkeypatch) -> Callable[..., Finished]:
    """The command, in this process."""
    return command(capsys, monkeypatch, width=80)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store with five scores."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    toy.suite().score(store=Store(path), references=20)
    return path


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_nobody_means_is_answered_in_one(line, scrubbing, store, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRUBBING_STORE", str(store))
    monkeypatch.chdir(tmp_path)
    arguments = [argument.replace("{tmp}", str(tmp_path)) for argument in LINES[line]]
    before = set(tmp_path.rglob("*"))
    finished = scrubbing(*arguments)
    assert (finished.status, finished.out) == (2, ""), finished.err[:300]
    (said,) = finished.err.splitlines()
    assert said.startswith("scrubbing: ")
    assert said.isprintable()
    assert len(said) < 2100
    assert "Traceback" not in said
    assert "internal error" not in said
    assert set(tmp_path.rglob("*")) == before


def test_they_are_many_and_different():
    assert len({tuple(line) for line in LINES.values()}) == len(LINES) > 400
