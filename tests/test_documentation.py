"""Every page of docs/ runs, block after block, and prints what it shows; every public name is on a page of the API."""

import re
from pathlib import Path

import pytest
from documented import blocks, run_in_order, shown_outputs

import scrubbing.lens as lens
import scrubbing.rewrite as rewrite
from scrubbing.experiments import public
from scrubbing.rewrite import gather

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf8") for path in sorted(DOCS.rglob("*.md"))}
RUN = [name for name, text in PAGES.items() if blocks("python", text)]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", RUN)
def test_the_python_of_a_page_runs_in_order_and_prints_what_is_shown(name, capsys):
    run_in_order(PAGES[name], f"docs/{name}", capsys)


def test_most_pages_show_code_and_what_it_prints():
    assert len(RUN) >= 10
    assert sum(shown is not None for name in RUN for _, shown in shown_outputs(PAGES[name])) >= 30


def test_a_page_that_shows_something_else_is_seen(capsys):
    page = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    with pytest.raises(AssertionError):
        run_in_order(page, "page", capsys)
    assert run_in_order(page.replace("3", "2"), "page", capsys) == 1


@pytest.mark.parametrize("module", [public, lens, rewrite], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_api(module):
    listed = {name for text in PAGES.values() for name in re.findall(r"^::: (.*)$", text, flags=re.MULTILINE)}
    places = (module.__name__, public.__name__)
    assert [name for name in module.__all__ if not {f"{place}.{name}" for place in places} & listed] == []


def test_every_picture_is_of_a_name_that_the_page_makes():
    for name, text in PAGES.items():
        for picture in re.finditer(r"^<!-- draw: (\w+) -->$", text, flags=re.MULTILINE):
            made = "".join(blocks("python", text[: picture.start()]))
            assert re.search(rf"^{picture[1]} = ", made, flags=re.MULTILINE), (name, picture[1])


def test_every_rewrite_is_on_its_page():
    rewrites = {name for name in rewrite.__all__ if name not in ("all_but", "identity_attention", "offset")}
    assert gather.__name__ in rewrites
    assert {name for name in rewrites if f"`{name}`" not in PAGES["rewrites.md"]} == set()
