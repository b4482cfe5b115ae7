"""What the README shows is what happens, and what it and CONTRIBUTING tell you to type exists."""

import re
import runpy
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

import scrubbing
from scrubbing.cli.commands import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of a language, in order."""
    return [block for found, block in FENCED.findall(text) if found == language]


def shown_outputs() -> list[tuple[str, str | None]]:
    """The Python blocks in order, each with the text that follows it at once; None where it shows none."""
    found = list(FENCED.finditer(README))
    texts = {m.end(): n[2] for m, n in pairwise(found) if n[1] == "text" and not README[m.end() : n.start()].strip()}
    return [(m[2], texts.get(m.end())) for m in found if m[1] == "python"]


@pytest.mark.usefixtures("unchecked")
def test_the_python_snippets_run_in_order_and_print_what_is_shown(capsys):
    """Each in the namespace of those before it, as a reader types them."""
    namespace: dict[str, object] = {}
    for code, shown in shown_outputs():
        exec(compile(code, "README.md", "exec"), namespace)
        printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        assert printed == (shown or "").splitlines(), code
    assert sum(shown is not None for _, shown in shown_outputs()) >= 6


def test_the_worked_example_is_the_readme_s(capsys):
    runpy.run_path(str(ROOT / "examples" / "worked_example.py"))
    assert capsys.readouterr().out == blocks("text")[0]


def test_the_tests_that_are_shown_are_those_of_the_examples():
    (shown,) = [block for block in blocks("python") if "def test_" in block]
    without_comments = re.sub(r"  # .*", "", shown)
    assert without_comments in (ROOT / "examples" / "test_induction.py").read_text(encoding="utf8")


# -- what is typed into a shell


def typed(text: str) -> list[list[str]]:
    """The commands of the shell blocks, in words."""
    lines = [line.partition(" # ")[0] for block in blocks("sh", text) for line in block.splitlines()]
    return [re.sub(r"\b[A-Z_]+=\S+ ", "", command).split() for line in lines for command in line.split("&&")]


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_shell_snippets_parse(text):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    for block in blocks("sh", text):
        done = subprocess.run([bash, "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", typed(README) + typed(CONTRIBUTING), ids=" ".join)
def test_shell_snippets_name_what_exists(command):
    program, *arguments = command
    installed = PROJECT["scripts"].keys() | {"pip", "python", "pytest", "ruff", "pyright", "lint-imports"}
    assert program == "python3" or program.removeprefix(".venv/bin/") in installed
    if program == ".venv/bin/scrubbing":
        group = get_command(app)
        commands = getattr(group, "commands")  # noqa: B009  # of whatever click typer has
        options = {name for parameter in commands.get(arguments[0], group).params for name in parameter.opts}
        assert arguments[0] in commands or arguments[0] in options
        assert {word for word in arguments if word.startswith("--")} <= options
    if "-m" in arguments and program.endswith(("python", "python3")):
        assert find_spec(arguments[arguments.index("-m") + 1])
    assert set(re.findall(r"\.\[(\w+)\]", " ".join(arguments))) <= PROJECT["optional-dependencies"].keys()
    files = [word for word in arguments if "/" in word or word.endswith(("constraints.txt", ".py"))]
    assert [word for word in files if not (ROOT / word).exists()] == []


# -- words and links


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_linked_file_exists(text):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_room_is_named():
    rooms = {path.parent.name for path in (ROOT / "scrubbing").glob("*/__init__.py")}
    for text in (README, CONTRIBUTING):
        assert {room for room in rooms if f"{room}/`" not in text} == set()


def test_the_glossary_of_the_readme_is_that_of_help():
    words = "datum reference donor claimed feature class stream baseline".split()
    rows = dict(re.findall(r"^\| (\w+)(?:, unclaimed)? \| (.*) \|$", README, flags=re.MULTILINE))
    helped = dict(re.findall(r"^(\w+) {2,}(.*)$", scrubbing.__doc__ or "", flags=re.MULTILINE))
    assert set(words) <= rows.keys()
    assert list(helped) == words
    assert all(rows[word] == helped[word] for word in words if word != "claimed")


@pytest.mark.slow
def test_the_induction_example_recovers_part_of_the_loss(capsys):
    found = runpy.run_path(str(ROOT / "examples" / "naive_induction.py"))
    score = found["score"]
    assert 0 < score.recovered < 1
    assert capsys.readouterr().out == f"{score}\n"
