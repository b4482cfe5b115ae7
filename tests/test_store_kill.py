"""Nothing that was kept is lost: by kill -9 at random moments, by two processes at once, or by a full disk.

Each test starts one process that has everything imported, and forks the runs (see killing.py).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def seen(*arguments: object) -> dict:
    """What killing.py reports."""
    command = [sys.executable, "-m", "tests.killing", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def check_kills(found: dict, kills: int) -> None:
    assert found["kills"] >= kills
    assert found["runs"] >= 1
    assert found["resumed"] > kills / 3
    assert {name: found[name] for name in ("lost chunks", "lost scores", "unequal", "failed")} == {
        "lost chunks": 0,
        "lost scores": 0,
        "unequal": 0,
        "failed": 0,
    }


def test_a_run_that_is_killed_goes_on_from_what_it_kept(tmp_path):
    check_kills(seen("kill", tmp_path / "store.db", 10), 10)


@pytest.mark.slow
def test_200_kills_lose_nothing_and_change_no_result(tmp_path):
    check_kills(seen("kill", tmp_path / "store.db", 200, 1), 200)


def test_processes_that_write_at_once_all_complete(tmp_path):
    assert seen("together", tmp_path / "store.db", 2, 3) == {"failed": 0, "unequal": 0}


@pytest.mark.parametrize("room", [0, 30_000])
def test_a_full_disk_costs_the_record_and_not_the_result(tmp_path, room):
    found = seen("full", tmp_path / "store.db", room)
    assert (found["status"], found["equal"], found["kept"]) == (0, True, True)
    warnings = " ".join(found["warned"])
    assert "the run goes on, but it cannot be resumed: the store" in warnings
    assert "the scores were not recorded: the store" in warnings
    assert "make room on the disk, or give another file; what was recorded before is still there" in warnings
