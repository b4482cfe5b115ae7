"""`python -m tests.simulations [NAME ...]`: all situations, or those whose name has one of these words, as a table.

`--write` puts what was found into the table of docs/statistics.md.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))  # as under pytest

from simulations.documented import table, written
from simulations.table import SITUATIONS, lines


def main() -> None:
    """Simulate, print as results come, and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulations", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, situation in SITUATIONS.items():
        if not asked.names or any(word in name for word in asked.names):
            found[name] = lines(name, situation.measured(situation.runs))
            print("\n".join(found[name]), flush=True)
    if asked.write:
        written(table() | found)


main()
