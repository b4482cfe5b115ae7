"""The server of the app: for this machine alone, with nothing told to anybody."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scrubbing.errors import DataError, MissingPackageError
from scrubbing.experiments.suites import Suite
from scrubbing.report.app.served import Served, hand_over
from scrubbing.report.page import check_packages as check_packages_of_report
from scrubbing.report.palette import DARK, LIGHT

ADDRESS = "localhost"
PORT = 8501
SCRIPT = Path(__file__).with_name("script.py")

SETTINGS: dict[str, Any] = {
    "server.address": ADDRESS,
    "server.allowedHosts": [ADDRESS, "127.0.0.1"],  # nor by another name that leads here
    "server.headless": True,
    "server.showEmailPrompt": False,
    "server.fileWatcherType": "none",
    "server.enableStaticServing": False,
    "server.maxUploadSize": 1,  # there is nothing to upload
    "browser.gatherUsageStats": False,
    "browser.serverAddress": ADDRESS,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "runner.magicEnabled": False,
    "logger.level": "error",
    "theme.light.primaryColor": LIGHT.accent,
    "theme.dark.primaryColor": DARK.accent,
}


def check_packages() -> None:
    """Raise `MissingPackageError` before the work if the app could not be shown after it."""
    if find_spec("streamlit") is None:
        raise MissingPackageError("the app needs streamlit, which is not installed here: pip install 'scrubbing[app]'")
    check_packages_of_report()


def serve(suite: Suite, *, port: int = PORT, ready: Callable[[str], None] = print) -> None:
    """Show a suite at http://localhost:PORT until the process is interrupted; `ready` gets the address.

    Raises `MissingPackageError` without streamlit, `HypothesisError` for a suite without hypotheses, and `DataError`
    for a port that is taken.
    """
    check_packages()
    hand_over(Served.of(suite))
    _check_free(port)
    from streamlit.web import bootstrap

    # As if they stood on Streamlit's own command line: they win over files and variables of the user's, then and later.
    settings = {**SETTINGS, "server.port": port, "browser.serverPort": port}
    flags = {name.replace(".", "_"): value for name, value in settings.items()}
    bootstrap.load_config_options(flags)
    ready(f"http://{ADDRESS}:{port}")
    bootstrap._print_url = lambda is_running_hello: None  # `ready` says it, in a line
    bootstrap.run(str(SCRIPT), False, [], flags)


def _check_free(port: int) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise DataError(f"port {port} cannot be used ({error.strerror}); name another with --port") from None
