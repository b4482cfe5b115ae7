"""Nothing that was kept is lost: by kill -9 at random moments, by two processes at once, or by a full disk.

Each test starts one process that has everything imported, and forks the runs (see killing.py).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def seen(*arguments: object) -> dict:
    """What killing.py reports."""
    command = [sys.executable, "-m", "tests.killing", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> dict:
    """What one process saw of everything: importing torch is what takes time."""
    return seen("everything", tmp_path_factory.mktemp("stores"))


LOST_NOTHING = {"lost": 0, "unequal": 0, "failed": 0}


def test_a_run_that_is_killed_at_random_goes_on_from_what_it_kept(everything):
    found = everything["kill"]
    assert found["kills"] >= 6
    assert found["resumed"] > 1
    assert found | LOST_NOTHING == found


def test_a_run_may_be_killed_before_one_statement_in_five_to_its_store(everything):
    found = everything["everywhere"]
    assert found["kills"] > 4
    assert found | LOST_NOTHING == found


@pytest.mark.slow
def test_a_run_may_be_killed_before_any_statement_to_its_store(tmp_path):
    found = seen("everywhere", tmp_path / "store.db")
    assert found["kills"] > 20
    assert found | LOST_NOTHING == found


@pytest.mark.slow
def test_200_kills_lose_nothing_and_change_no_result(tmp_path):
    found = seen("kill", tmp_path / "store.db", 200, 1)
    assert found["kills"] >= 200
    assert found["resumed"] > 70
    assert found | LOST_NOTHING == found


def test_processes_that_write_at_once_all_complete(everything):
    assert everything["together"] == {"failed": 0, "unequal": 0}


@pytest.mark.parametrize("disk", ["full", "fuller"])
def test_a_full_disk_costs_the_record_and_not_the_result(everything, disk):
    found = everything[disk]
    assert (found["status"], found["equal"], found["kept"]) == (0, True, True)
    warnings = " ".join(found["warned"])
    assert "the run goes on, but it cannot be resumed: the store" in warnings
    assert "the scores were not recorded: the store" in warnings
    assert "make room on the disk, or give another file; what was recorded before is still there" in warnings
