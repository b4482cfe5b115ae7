"""The site of the documentation in a real browser: no error, no scroll sideways, search, navigation and theme work."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from browsing import WIDTHS, needs_axe, needs_chromium, sized, violations, wait

for needed in ("mkdocs", "material", "mkdocstrings"):
    pytest.importorskip(needed)
pytestmark = [needs_chromium, pytest.mark.slow]

ROOT = Path(__file__).parents[1]
SOME = ("", "tour/", "pictures/", "app/", "studies/induction/", "api/hypotheses/", "contributing/")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    subprocess.run(line, check=True, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser, address):
    def opened(path="", width=1280, theme="light"):
        sized(browser, width, theme)
        browser.get(address + path)
        scheme = {"light": "default", "dark": "slate"}[theme]
        wait(browser, "document.readyState === 'complete' && document.querySelector('h1') !== null")
        wait(browser, "document.body.getAttribute('data-md-color-scheme') === arguments[0]", scheme)
        return browser

    return opened


@pytest.mark.parametrize("path", SOME)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_in_the_console_and_nothing_scrolls_sideways(path, width, page, address):
    browser = page(path, width)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in asked if not name.startswith((address, "data:", "blob:"))] == []


def test_the_search_finds(page):
    from selenium.webdriver.common.by import By

    browser = page()
    browser.find_element(By.CSS_SELECTOR, ".md-search__input").click()
    browser.find_element(By.CSS_SELECTOR, ".md-search__input").send_keys("baseline")
    wait(browser, "document.querySelectorAll('.md-search-result__item').length > 0")


def test_the_theme_is_that_of_the_reader(page):
    ground = "return getComputedStyle(document.body).backgroundColor"
    light, dark = (page(theme=theme).execute_script(ground) for theme in ("light", "dark"))
    assert light == "rgb(255, 255, 255)"
    assert dark != light


def test_every_page_of_the_navigation_is_there(page, address):
    browser = page()
    links = browser.execute_script("return [...new Set([...document.querySelectorAll('.md-nav a')].map(a => a.href))]")
    own = sorted({link.partition("#")[0] for link in links if link.startswith(address)})
    assert len(own) > 25
    found = browser.execute_async_script(
        "Promise.all(arguments[0].map(a => fetch(a).then(r => r.status))).then(arguments[1])", own
    )
    assert dict(zip(own, found, strict=True)) == dict.fromkeys(own, 200)


@needs_axe
@pytest.mark.parametrize("path", SOME)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(path, theme, page):
    buttons_that_copy = "landmark-unique"  # the theme makes each a landmark without a name
    assert violations(page(path, theme=theme), without=(buttons_that_copy,)) == []
