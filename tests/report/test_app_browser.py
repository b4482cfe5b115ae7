"""The app in a real browser: it answers on this machine alone, asks nobody else, and its pages work."""

import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from browsing import WIDTHS, needs_axe, needs_chromium, sized, violations, wait

from scrubbing.report.app.views.navigation import PAGES

pytest.importorskip("streamlit")
pytestmark = [needs_chromium, pytest.mark.slow]

# Where Streamlit looks for its server's root, under each page's address; of its own markup: sliders that are named by
# a label beside them, and buttons of the sidebar that show an icon.
PROBES = re.compile(r"/_stcore/(health|host-config) ")
STREAMLITS_OWN: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "scrubbing", "app", "copy-suppression", "--port", str(port)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(1200):
                if process.poll() is not None or _answers("127.0.0.1", port):
                    break
                time.sleep(0.1)
            assert process.poll() is None, process.communicate()
            yield f"http://localhost:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert out.startswith(f"copy-suppression at http://localhost:{port}")
    assert err == ""
    assert process.returncode in (0, 130)


def _answers(host: str, port: int) -> bool:
    with socket.socket() as asked:
        asked.settimeout(1)
        return asked.connect_ex((host, port)) == 0


@pytest.fixture
def page(browser, address):
    """A page, once it has computed what it shows."""

    def opened(name="replace", width=1280, theme="light"):
        sized(browser, width, theme)
        browser.get(address if name == "replace" else f"{address}/{name}")
        return settled(browser, PAGES[name][0])

    return opened


def settled(browser, title):
    wait(browser, "[...document.querySelectorAll('h2')].some(h => h.textContent === arguments[0])", title)
    busy = "[data-testid=stSpinner], [data-testid=stSkeleton], [data-stale=true]"
    quiet = f"document.querySelector('[data-test-script-state=notRunning]') && !document.querySelector('{busy}')"
    for _ in range(3):  # what is quiet may begin anew once more
        wait(browser, quiet)
        time.sleep(0.5)
    return browser


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_in_the_console_and_nothing_scrolls_sideways(name, width, page):
    browser = page(name, width)
    assert [entry["message"] for entry in browser.get_log("browser") if not PROBES.search(entry["message"])] == []
    scrolling = "[document.documentElement, ...document.querySelectorAll('section')]"
    assert browser.execute_script(f"return Math.max(...{scrolling}.map(e => e.scrollWidth))") <= width


def test_nobody_else_is_asked(page, address):
    browser = page()
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in asked if not name.startswith((address, "data:", "blob:"))] == []


def test_other_machines_get_no_answer(address):
    port = int(address.rpartition(":")[2])
    assert _answers("127.0.0.1", port)
    outside = [each[4][0] for each in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    for host in {"127.0.0.2", *outside} - {"127.0.0.1"}:  # what is bound to all addresses answers on each
        assert not _answers(host, port)


def test_one_goes_from_page_to_page_and_keeps_the_row(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = page()
    row = browser.find_element(By.CSS_SELECTOR, "input[type=number]")
    row.send_keys(Keys.CONTROL, "a")
    row.send_keys("7", Keys.ENTER)
    settled(browser, PAGES["replace"][0])
    for name in ("attention", "hypotheses"):
        browser.find_element(By.XPATH, f"//a[contains(., '{PAGES[name][0]}')]").click()
        settled(browser, PAGES[name][0])
        assert browser.find_element(By.CSS_SELECTOR, "input[type=number]").get_attribute("value") == "7"


def test_a_word_is_told_of_on_hover(page):
    from selenium.webdriver.common.by import By

    browser = page()
    words = browser.find_elements(By.CSS_SELECTOR, ".scrubbing-words .t")
    assert len(words) == 64
    assert re.fullmatch(r"position 3: loss \d+\.\d{3}, then \d+\.\d{3}", words[3].get_attribute("title"))


@needs_axe
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(name, theme, page):
    assert violations(page(name, theme=theme), without=STREAMLITS_OWN) == []
