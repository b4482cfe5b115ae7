"""Data that do not fit into memory are scored from a mapped file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process allocates, without mapped files")
def test_data_larger_than_memory_are_scored_from_a_mapped_file(tmp_path):
    command = [sys.executable, "-m", "tests.mapped", str(tmp_path / "tokens.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["bytes"] > 4 * found["allowed"]
    assert found["recovered"]["the first token"] == found["recovered"]["all tokens"] == 1
    assert abs(found["recovered"]["the second token"]) < 0.2
