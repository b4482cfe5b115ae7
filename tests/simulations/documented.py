"""The table in docs/statistics.md."""

from pathlib import Path

from simulations.table import HEADINGS, SITUATIONS

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
HEAD = f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}\n"


def table() -> dict[str, list[str]]:
    """The lines of each situation, as they stand."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in PAGE.read_text(encoding="utf8").partition(HEAD)[2].partition("\n\n")[0].splitlines():
        name = line.split("|")[1].strip() or name
        found.setdefault(name, []).append(line)
    return found


def written(lines: dict[str, list[str]]) -> None:
    """Put lines in the place of those that stand there, in the order of the situations."""
    before, head, after = PAGE.read_text(encoding="utf8").partition(HEAD)
    rest = after.partition("\n\n")[2]
    body = "\n".join(line for name in SITUATIONS for line in lines.get(name, []))
    PAGE.write_text(f"{before}{head}{body}\n\n{rest}", encoding="utf8")
