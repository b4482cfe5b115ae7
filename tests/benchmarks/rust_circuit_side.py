"""The naive experiments by the published reference implementation, in a process (and an environment) of its own.

`PYTHON rust_circuit_side.py problem.npz losses.npz` reads weights, rows, pairing and roles, then answers each line of
its standard input: a number of rows per chunk and "optimised" or "plain" scores all experiments that way, writes their
losses and prints the seconds that each took, as JSON. Only this file imports rust_circuit, and only when run.

Sources: https://pypi.org/project/rust-circuit/0.4.12 (causal_scrubbing/experiment.py, hypothesis.py: its API), and the
experiments of "Causal scrubbing on induction heads" (Redwood Research 2022).
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

EXPERIMENTS = ("original", "baseline", "naive/Q", "naive (whole head)/K", "naive/V", "naive/All")
GROUPS = ("prev", "misc")  # of the first layer; the second layer's are "ind" and "other"


def main(problem: Path, losses: Path) -> None:
    """Answer requests until the standard input ends."""
    warnings.filterwarnings("ignore")
    with np.load(problem, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    torch.set_num_threads(int(arrays["threads"]))
    circuit = network(arrays)
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for request in sys.stdin:
        rows, how = request.split()
        found, seconds = {}, {}
        for name in EXPERIMENTS:
            start = time.perf_counter()
            found[name] = scrubbed(name, circuit, arrays, rows=int(rows), optimised=how == "optimised").numpy()
            seconds[name] = time.perf_counter() - start
        np.savez(losses, **found)
        print(json.dumps(seconds), flush=True)


def network(arrays: dict[str, torch.Tensor]) -> Any:
    """Logits of one row, as a circuit in which what the experiments speak of has a name.

    The induction heads read a stream of their own for each of queries, keys and values; for the masked experiment the
    keys read what the previous-token heads move from the position before, and the rest of it, as two terms.
    """
    import rust_circuit as rc

    weights = {name: rc.Array(value, name=name) for name, value in arrays.items() if "." in name}
    positions = arrays["tokens"].shape[1]
    causal = torch.ones(positions, positions).tril()
    barrier = rc.Array((1 - causal) * -1e9, name="barrier")
    position = rc.Array(arrays["pos_embed.W_pos"][:positions], name="position")
    previous = torch.eye(positions).roll(1, 0) * causal
    masks = {"at": rc.Array(previous, name="previous"), "off": rc.Array(causal - previous, name="not_previous")}
    einsum = rc.Einsum.from_einsum_string

    def norm(x: Any, name: str) -> Any:
        width = x.shape[-1]
        centred = rc.Add(x, einsum("sh,z->sz", x, rc.Scalar(-1 / width, shape=(1,))))
        variance = einsum("sh,sh,->s", centred, centred, rc.Scalar(1 / width))
        scale = rc.rsqrt(rc.Add(variance, rc.Scalar(1e-5)))
        return rc.Add(einsum("sh,s,h->sh", centred, scale, weights[f"{name}.w"]), weights[f"{name}.b"])

    def heads(group: str, layer: int) -> dict[str, Any]:
        chosen = arrays[group].tolist()
        block = f"blocks.{layer}.attn.W_"
        return {m: rc.Array(arrays[block + m][chosen].contiguous(), name=f"{group}_W_{m}") for m in "QKVO"}

    def pattern(W: dict[str, Any], q_in: Any, k_in: Any, group: str) -> Any:
        q, k = (einsum("sd,hde->hse", rc.Add(x, position), W[m]) for m, x in (("Q", q_in), ("K", k_in)))
        scores = einsum("hqe,hke,->hqk", q, k, rc.Scalar(W["Q"].shape[-1] ** -0.5))
        return rc.softmax(rc.Add(scores, barrier), name=f"{group}_pattern")

    def write(W: dict[str, Any], A: Any, v_in: Any, group: str, mask: str | None = None) -> Any:
        v = einsum("sd,hde->hse", v_in, W["V"], name=f"{group}_v")
        z = einsum("hqk,hke->hqe", A, v) if mask is None else einsum("hqk,qk,hke->hqe", A, masks[mask], v)
        return einsum("hqe,hed->qd", z, W["O"], name=group if mask is None else f"{group}_{mask}")

    tokens = rc.Array(torch.zeros(positions, dtype=torch.int64), name="tokens")
    embed = rc.GeneralFunction.gen_index(weights["embed.W_E"], tokens, index_dim=0, name="embed")
    x = norm(embed, "blocks.0.ln1")
    first = {group: heads(group, 0) for group in GROUPS}
    patterns = {group: pattern(W, x, x, group) for group, W in first.items()}
    outputs = [write(W, patterns[group], x, group) for group, W in first.items()]
    by_mask = [write(first["prev"], patterns["prev"], x, "prev", mask) for mask in masks]

    def reads(letter: str, *, masked: bool = False) -> Any:
        terms = (embed, *by_mask, *outputs[1:]) if masked else (embed, *outputs)
        return rc.Add(*terms, name=f"ind_{letter}_stream")

    resid = rc.Add(embed, *outputs, name="resid")

    def logits(*, masked: bool) -> Any:
        q, k, v = (norm(reads(letter, masked=masked and letter == "k"), "blocks.1.ln1") for letter in "qkv")
        W = heads("ind", 1)
        ind = write(W, pattern(W, q, k, "ind"), v, "ind")
        parts = [resid, ind]
        if len(arrays["other_heads"]):
            W, y = heads("other_heads", 1), norm(resid, "blocks.1.ln1")
            parts.append(write(W, pattern(W, y, y, "other_heads"), y, "other_heads"))
        return einsum("sd,dv->sv", norm(rc.Add(*parts), "ln_final"), weights["unembed.W_U"], name="logits")

    return {masked: logits(masked=masked) for masked in (False, True)}


def correspondence(name: str, others: Any) -> Any:
    """An experiment: what is not matched stays the reference's, except below the induction heads' scrubbed inputs."""
    import rust_circuit as rc
    from rust_circuit.causal_scrubbing import hypothesis as cs

    exact, other = cs.ExactSampler(), cs.FixedOtherSampler(other=others)
    root = cs.InterpNode(exact, name="logits", other_inputs_sampler=exact)
    corr = cs.Correspondence()
    corr.add(root, cs.corr_root_matcher)
    below = {"prev", "misc", "prev_at", "prev_off"}

    def scrub_stream(letter: str, *claimed: str) -> None:
        stream = rc.IterativeMatcher(f"ind_{letter}_stream")
        if not claimed:
            corr.add(root.make_descendant(other, name=letter), stream)
            return
        node = root.make_descendant(exact, name=letter, other_inputs_sampler=other)
        corr.add(node, stream)
        for term in claimed:
            matcher = cs.chain_excluding(stream, rc.Matcher(term), rc.Matcher(below - {term}))
            if term == "prev_at":  # what is moved is the reference's; the pattern that moves it is the other's
                inner = node.make_descendant(exact, name=f"{letter}_{term}", other_inputs_sampler=other)
                corr.add(inner, matcher)
                corr.add(inner.make_descendant(exact, name=f"{letter}_prev_v"), matcher.chain(rc.Matcher("prev_v")))
            else:
                corr.add(node.make_descendant(exact, name=f"{letter}_{term}"), matcher)

    match name:
        case "baseline":
            for letter in "qkv":
                scrub_stream(letter)
        case "naive/Q":
            scrub_stream("q", "embed")
        case "naive (whole head)/K":
            scrub_stream("k", "prev")
        case "naive/V":
            scrub_stream("v", "embed")
        case "naive/All":
            scrub_stream("q", "embed")
            scrub_stream("k", "prev_at")
            scrub_stream("v", "embed")
    return corr


def scrubbed(name: str, circuits: dict[bool, Any], arrays: dict[str, Any], *, rows: int, optimised: bool) -> Any:
    """The loss of each row: the weighted sum of cross-entropies at its evaluated positions."""
    import rust_circuit as rc
    from rust_circuit.causal_scrubbing.dataset import Dataset
    from rust_circuit.causal_scrubbing.experiment import Experiment, ExperimentEvalSettings

    dataset = Dataset([rc.Array(arrays["tokens"], name="tokens")])
    settings = ExperimentEvalSettings(optimize=optimised, device_dtype="cpu")
    losses = []
    for chosen in torch.arange(len(arrays["tokens"])).split(rows):
        corr = correspondence(name, dataset[arrays["pairing"][chosen]])
        experiment = Experiment(circuits[name == "naive/All"], dataset, corr)
        logits = experiment.scrub(dataset[chosen]).evaluate(settings)
        labels, weights = arrays["labels"][chosen], arrays["weights"][chosen]
        where = weights != 0
        each = torch.nn.functional.cross_entropy(logits[where], labels[where], reduction="none") * weights[where]
        losses.append(torch.zeros(len(chosen)).index_add_(0, where.nonzero()[:, 0], each))
    return torch.cat(losses)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
