"""`scrubbing app` before anything is served: each mistake is one line."""

import importlib.util
import socket

import pytest

from scrubbing.report.app import serving


@pytest.fixture
def free():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield found.getsockname()[1]  # taken, as long as this lasts


def test_without_the_extra_a_line_says_what_to_install(scrubbing, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "streamlit" else found(name))
    finished = scrubbing("app", "toy")
    assert finished.status == 2
    assert finished.err == (
        "scrubbing: the app needs streamlit, which is not installed here: pip install 'scrubbing[app]'\n"
    )


def test_a_port_that_is_taken_is_said(scrubbing, free):
    pytest.importorskip("streamlit")
    finished = scrubbing("app", "toy", "--port", free)
    assert (finished.status, finished.out) == (2, "")
    assert finished.err.startswith(f"scrubbing: port {free} cannot be used (Address already in use); name another")
    assert finished.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["no-such-suite"], ["toy", "--only", "nothing"], ["toy", "--port", "70000"]])
def test_a_mistake_is_one_line(arguments, scrubbing):
    pytest.importorskip("streamlit")
    finished = scrubbing("app", *arguments)
    assert (finished.status, finished.out) == (2, "")
    assert finished.err.count("\n") == 1


def test_what_is_served_stays_on_this_machine_and_is_told_to_nobody(monkeypatch):
    pytest.importorskip("streamlit")
    from streamlit import config
    from streamlit.web import bootstrap

    from hypotheses import toy

    began, told = [], []
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "0.0.0.0")
    monkeypatch.setenv("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "true")
    monkeypatch.setattr(bootstrap, "run", lambda *arguments: began.append(arguments))
    monkeypatch.setattr(bootstrap, "_print_url", bootstrap._print_url)
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port = tried.getsockname()[1]
    serving.serve(toy.suite(), port=port, ready=told.append)
    assert config.get_option("server.address") == "localhost"
    assert config.get_option("browser.gatherUsageStats") is False
    assert config.get_option("server.allowedHosts") == ["localhost", "127.0.0.1"]
    assert config.get_option("server.port") == port
    assert told == [f"http://localhost:{port}"]
    ((script, _, _, flags),) = began
    assert script.endswith("script.py")
    assert flags["browser_gatherUsageStats"] is False  # so that it stays so when a file of settings changes
    config.get_config_options(force_reparse=True)
