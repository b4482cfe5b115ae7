"""What a page of Markdown shows: its blocks of code, what they print, and what is typed into a shell."""

import re
from itertools import pairwise

import pytest

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def blocks(language: str, text: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return [block for found, block in FENCED.findall(text) if found == language]


def shown_outputs(text: str) -> list[tuple[str, str | None]]:
    """The Python blocks in order, each with the text that follows it at once; None where it shows none."""
    found = list(FENCED.finditer(text))
    texts = {m.end(): n[2] for m, n in pairwise(found) if n[1] == "text" and not text[m.end() : n.start()].strip()}
    return [(m[2], texts.get(m.end())) for m in found if m[1] == "python"]


def run_in_order(text: str, name: str, capsys: pytest.CaptureFixture[str]) -> int:
    """Run a page's Python, each block after those before it, as a reader types them; how many show what they print.

    What a block prints must be what is shown, and nothing where nothing is shown.
    """
    namespace: dict[str, object] = {}
    for code, shown in shown_outputs(text):
        exec(compile(code, name, "exec"), namespace)
        printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        assert printed == (shown or "").splitlines(), code
    return sum(shown is not None for _, shown in shown_outputs(text))


def typed(text: str) -> list[list[str]]:
    """The commands of the shell blocks, in words."""
    lines = [line.partition(" # ")[0] for block in blocks("sh", text) for line in block.splitlines()]
    return [re.sub(r"\b[A-Z_]+=\S+ ", "", command).split() for line in lines for command in line.split("&&")]
