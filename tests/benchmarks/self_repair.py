"""How fast heads are ablated, on one core: `python -m tests.benchmarks.self_repair`.

Token-ablations a second of processor time: tokens times heads times three ablations. The target is 40,000 on the
network that ships.
"""

import json
import resource
import time
from typing import Annotated, Any

import torch
import typer

from hypotheses.corpus import ROWS_FILE
from hypotheses.induction.places import SHIPPED
from hypotheses.self_repair.data import Rows, read_tokens
from hypotheses.self_repair.measuring import Design, measure
from hypotheses.self_repair.network import Network
from scrubbing.lens import Transformer, load_transformer


def measured(model: Transformer, rows: Rows, design: Design) -> dict[str, Any]:
    """What a run takes."""
    network = Network.of(model)
    wall, cpu = time.monotonic(), time.process_time()
    found = measure(network, rows, design.fitted(len(rows)), progress=False)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    ablations = found.tokens * len(found.heads) * 3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "tokens": found.tokens,
        "token_ablations": ablations,
        "processor_seconds": round(cpu, 1),
        "seconds": round(wall, 1),
        "token_ablations_a_second": round(ablations / cpu),
        "peak_GiB": round(peak, 2),
    }


def main(
    rows: Annotated[int, typer.Option(help="Rows of 300 tokens, of the network that ships.")] = 256,
) -> None:
    """Print what runs take, as JSON."""
    torch.set_num_threads(1)
    shipped = load_transformer(SHIPPED)
    text = read_tokens(SHIPPED / ROWS_FILE, shipped.config, SHIPPED)
    text = text.repeat(-(-rows // len(text)), 1)[:rows]
    print(json.dumps({"shipped": measured(shipped, text, Design(rows))}), flush=True)


if __name__ == "__main__":
    typer.run(main)
