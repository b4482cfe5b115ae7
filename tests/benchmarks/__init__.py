"""Benchmarks: how long and how much memory scoring takes, as ratios of things measured in one run.

Not timed tests: `python -m tests.benchmarks` prints a table and writes JSON. Each benchmark is a module with a function
that returns `Figure`s.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # for the reference models; pytest has it there already
