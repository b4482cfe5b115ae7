"""What the site is made of besides its Markdown: pictures, the pages of studies, and the file on contributing.

A comment `<!-- draw: NAME -->` becomes the picture of what the page's Python, down to there, calls NAME. A link to a
file of the repository that is no page becomes its name.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK_OR_PICTURE = re.compile(
    r"^```python\n(?P<code>.*?)^```$|^<!-- draw: (?P<name>\w+) -->$", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<to>(?!https?:|#)[^)#]+)\)")


def on_config(config: Any) -> Any:
    """Every page of a study is in the navigation, and the page of model families."""
    for section in config["nav"]:
        if "Studies" in section:
            section["Studies"] += [f"studies/{path.name}" for path in _studies()]
        if "How to" in section and (DOCS / "families.md").exists():
            section["How to"].append({"Model families": "families.md"})
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its pictures, and with what other files hold."""
    if page.file.src_uri == "contributing.md":
        return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    if page.file.src_uri == "studies/index.md":
        markdown += "\n".join(f"- [{_title(path)}]({path.name})" for path in _studies())
    markdown = with_pictures(markdown) if "<!-- draw:" in markdown else markdown
    return LINK.sub(lambda link: _inside(link, (DOCS / page.file.src_uri).parent), markdown)


def on_post_page(output: str, **_: Any) -> str:
    """The page with a name for its search, which the theme leaves out."""
    return output.replace('<div class="md-search"', '<div class="md-search" aria-label="Search"')


def with_pictures(markdown: str) -> str:
    """The page with an SVG for each comment that asks for one."""
    from scrubbing.report import draw

    namespace: dict[str, Any] = {}
    pictures: dict[int, str] = {}
    for found in BLOCK_OR_PICTURE.finditer(
        markdown, 0, markdown.rindex(" -->") + 4
    ):  # what follows the last needs no run
        if found["code"] is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(found["code"], namespace)
        else:
            pictures[found.start()] = draw(namespace[found["name"]]).svg
    return BLOCK_OR_PICTURE.sub(lambda m: _figure(pictures[m.start()]) if m["name"] else m[0], markdown)


def _figure(svg: str) -> str:
    """An SVG as a block of Markdown, without the empty lines that would end it."""
    lines = [line for line in svg.splitlines() if line.strip()]
    return '<figure style="overflow-x: auto">\n' + "\n".join(lines) + "\n</figure>"


def _inside(link: re.Match[str], folder: Path) -> str:
    """A link between pages as it is; to another file, what it says."""
    to = (folder / link["to"]).resolve()
    return link[0] if to.is_relative_to(DOCS.resolve()) or not to.exists() else link["text"]


def _studies() -> list[Path]:
    return sorted(path for path in (DOCS / "studies").glob("*.md") if path.stem != "index")


def _title(path: Path) -> str:
    return path.read_text(encoding="utf8").partition("\n")[0].lstrip("# ")
