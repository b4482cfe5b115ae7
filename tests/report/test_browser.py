"""The report in a real browser: no error, hover, filter, sort and fold work, no scroll sideways, accessible."""

import pytest
from browsing import WIDTHS, needs_axe, needs_chromium, sized, violations, wait
from report_cases import hostile, hostile_scores

from scrubbing.report import write_report

for needed in ("altair", "vl_convert", "PIL", "pygraphviz"):
    pytest.importorskip(needed)

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(hostile_scores(), path, suite=hostile())
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    """The page, opened afresh, with its chart drawn."""

    def opened(width=1280, fragment="", theme="light"):
        sized(browser, width, theme)
        browser.get(address + fragment)
        wait(browser, "document.querySelector('#chart svg') !== null")
        return browser

    return opened


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_opens_without_a_word_in_the_console(page, width, theme):
    browser = page(width, "#h0", theme)
    browser.execute_script("document.getElementById('open').click()")
    wait(browser, "document.querySelectorAll('canvas').length > 0")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.dataset.theme") == theme
    assert browser.title.startswith("hostile <script>")  # which no script has changed


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_scrolls_sideways(page, width):
    browser = page(width, "#h0")
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    wait(browser, "document.querySelectorAll('canvas').length > 0")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_link_opens_its_hypothesis(page):
    browser = page(fragment="#h1")
    assert browser.execute_script("return [...document.querySelectorAll('details[open]')].map(d => d.id)") == ["h1"]


def test_the_filter(page):
    from selenium.webdriver.common.by import By

    browser = page()
    browser.find_element(By.ID, "filter").send_keys("NOTH")
    shown = "return [...document.querySelectorAll('#table tbody tr, details.hypothesis')].filter(e => !e.hidden).length"
    assert browser.execute_script(shown) == 2  # a row, and its hypothesis
    assert browser.find_element(By.ID, "count").text == "1 of 2"


def test_the_table_sorts(page):
    from selenium.webdriver.common.by import By

    browser = page()
    button = browser.find_element(By.XPATH, "//button[text()='recovered']")
    values = "return [...document.querySelectorAll('#table tbody tr')].map(r => Number(r.children[1].dataset.value))"
    button.click()
    up = browser.execute_script(values)
    assert up == sorted(up)
    button.click()
    assert browser.execute_script(values) == up[::-1]
    assert len(set(up)) == 2


def test_a_word_tells_its_loss_on_hover_and_by_the_keyboard(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = page(fragment="#h0")
    wait(browser, "document.querySelector('.words') !== null")
    token = browser.find_element(By.CSS_SELECTOR, ".token")
    third = browser.find_elements(By.CSS_SELECTOR, ".words > span")[2]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", third)
    ActionChains(browser).move_to_element(third).perform()
    wait(browser, "document.querySelector('.token').textContent.startsWith('position 2')")
    assert "originally" in token.text
    assert token.text.count("%") == 6  # three predictions of each run
    browser.find_element(By.CSS_SELECTOR, ".words").send_keys(Keys.ARROW_RIGHT)
    wait(browser, "document.querySelector('.token').textContent.startsWith('position 3')")


def test_a_pattern_tells_its_number(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = page(fragment="#h0")
    wait(browser, "document.querySelector('canvas') !== null && document.querySelector('canvas').width > 1")
    browser.find_element(By.CSS_SELECTOR, "canvas").send_keys(Keys.ARROW_DOWN)
    told = browser.find_element(By.CSS_SELECTOR, ".patterns [role=status]").text
    assert told.startswith("original: query 1 ")
    assert " attends to key 0 by 0." in told or " attends to key 0 by 1." in told


def test_light_and_dark_are_the_readers_choice(page):
    from selenium.webdriver.common.by import By

    browser = page(theme="dark")
    ground = "return getComputedStyle(document.body).backgroundColor"
    dark = browser.execute_script(ground)
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script(ground) == "rgb(255, 255, 255)" != dark
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script(ground) == dark
    browser.execute_script("localStorage.clear()")


@needs_axe
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(page, theme):
    browser = page(fragment="#h0", theme=theme)
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    browser.refresh()
    wait(browser, "document.querySelector('canvas') !== null")
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = violations(browser)
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    assert found == []
