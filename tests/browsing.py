"""A real browser for tests: Debian's Chromium without a window, and the accessibility library axe-core.

`apt-get install chromium-driver` and `npm install axe-core` bring both; AXE names the file of the library elsewhere.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
AXE = Path(os.environ.get("AXE", Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"))
WIDTHS = (1280, 400)
PATIENCE = 120  # seconds

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver here: apt-get install chromium-driver"
)
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="there is no axe-core here: npm install axe-core")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, and its end."""
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    # A mouse: without it pages are those of a touch screen, where code needs no focus by the keyboard.
    options.add_argument("--blink-settings=primaryHoverType=2,availableHoverTypes=2")
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def sized(browser: Any, width: int = 1280, theme: str = "light") -> Any:
    """The browser with a window of this width and a reader who wants this theme; nothing moves."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wishes = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wishes.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get("about:blank")
    browser.get_log("browser")
    return browser


def wait(browser: Any, condition: str, *arguments: Any) -> Any:
    """Until a condition holds on the page."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, PATIENCE).until(lambda b: b.execute_script(f"return {condition}", *arguments))


def violations(browser: Any, *, without: tuple[str, ...] = ()) -> list[str]:
    """What axe-core finds wrong with the page, but for some of its rules."""
    browser.execute_script(AXE.read_text(encoding="utf8"))
    rules = {"rules": {name: {"enabled": False} for name in without}}
    found = browser.execute_async_script(
        "axe.run(document, arguments[0]).then(r => "
        "arguments[1](r.violations.flatMap(v => v.nodes.map(n => [v.id, n.html.slice(0, 200)]))))",
        rules,
    )
    return [json.dumps(each) for each in found]
