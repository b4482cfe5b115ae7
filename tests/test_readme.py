"""What the README shows is what happens."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")


def blocks(language):
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def test_the_first_example_prints_what_is_shown_below_it(capsys):
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    assert capsys.readouterr().out == blocks("text")[0]


def shown_outputs():
    """The Python blocks that are followed by what they print, in order."""
    block = r"```{}\n((?:(?!```).*\n)+)```\n"
    return re.findall("^" + block.format("python") + "\n" + block.format("text"), README, flags=re.MULTILINE)


def test_every_example_prints_what_is_shown_below_it(capsys):
    """Each in the namespace of those before it, as a reader types them."""
    namespace = {}
    examples = shown_outputs()
    assert len(examples) >= 4
    for code, shown in examples:
        exec(compile(code, "README.md", "exec"), namespace)
        assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == shown.splitlines()


def test_the_worked_example_is_the_readme_s(capsys):
    runpy.run_path(str(ROOT / "examples" / "worked_example.py"))
    assert capsys.readouterr().out == blocks("text")[0]


def test_its_commands_name_what_exists():
    commands = "\n".join(blocks("sh"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "scrubbing" in project["scripts"]
    assert set(re.findall(r"\.\[(\w+)\]", commands)) <= project["optional-dependencies"].keys()
    assert all((ROOT / name).exists() for name in re.findall(r"-c (\S+)", commands))


def test_every_linked_file_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_the_induction_example_recovers_part_of_the_loss(capsys):
    found = runpy.run_path(str(ROOT / "examples" / "naive_induction.py"))
    score = found["score"]
    assert 0 < score.recovered < 1
    assert capsys.readouterr().out == f"{score}\n"
