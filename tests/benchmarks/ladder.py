"""(a, b) The 26 induction experiments scored together, against one plain forward pass over the same rows.

A quarter of the positions is evaluated; the plain pass computes logits and cross-entropy at all of them.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hypotheses.induction.ladder import HEADS_DO_NOTHING, experiments, hypothesis, network
from hypotheses.induction.roles import load_roles
from hypotheses.induction.suite import SHIPPED, suite
from scrubbing import Hypothesis, Score, explain, scrub
from scrubbing.engine.cost import counting_flops
from scrubbing.lens import Transformer, load_transformer

from .figures import Figure, in_turns, quotient
from .plain import Plain

EVALUATED = 0.25
TARGETS = {4096: 2.5, 50257: 2.2}
TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Ladder:
    """The experiments on one model, and the rows that they are scored on."""

    model: Transformer
    hypotheses: dict[str, Hypothesis]
    baseline: Hypothesis
    data: dict[str, Tensor]

    def score(self, **settings) -> dict[str, Score]:
        """All experiments, in one call."""
        return scrub(self.hypotheses, self.data, baseline=self.baseline, others="reference", **settings)


def ladder(
    *,
    rows: int,
    vocabulary: int | None = None,
    heads: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Ladder:
    """The 25 experiments and their baseline on the first rows of the shipped data.

    With a vocabulary the model's embedding and unembedding are extended by random rows: the rows' tokens stay what they
    are, and every logit is computed. With `heads` only so many of the induction heads are taken for such. A random
    quarter of each row's positions is evaluated.
    """
    shipped = suite()
    model = load_transformer(SHIPPED).to(dtype, device)
    model = model if vocabulary is None else extended(model, vocabulary, seed=seed)
    roles = load_roles(SHIPPED / "roles.json", n_layers=2, n_heads=model.config.n_heads)
    G = network(model, roles.model_copy(update={"induction": roles.induction[:heads]}))
    hypotheses = {name: hypothesis(G, streams) for name, streams in experiments().items()}
    data = {name: torch.as_tensor(column)[:rows] for name, column in shipped.cases[0].data.items()}
    data["weights"] = quarter(data["weights"], seed=seed)
    data = {name: column.to(device) for name, column in data.items()}
    return Ladder(model, hypotheses, Hypothesis(G, HEADS_DO_NOTHING), data)


def extended(model: Transformer, vocabulary: int, *, seed: int) -> Transformer:
    """The model with random embeddings and unembeddings for tokens that it does not know, as large as its own."""
    generator = torch.Generator().manual_seed(seed)
    more = vocabulary - model.config.d_vocab

    def grown(known: Tensor, *shape: int, dim: int) -> Tensor:
        new = torch.randn(shape, generator=generator, dtype=known.dtype) * known.std()
        return torch.cat([known, new], dim=dim)

    weights, width = dict(model.weights), model.config.d_model
    weights["embed.W_E"] = grown(weights["embed.W_E"], more, width, dim=0)
    weights["unembed.W_U"] = grown(weights["unembed.W_U"], width, more, dim=1)
    if "unembed.b_U" in weights:
        weights["unembed.b_U"] = grown(weights["unembed.b_U"], more, dim=0)
    config = model.config.model_copy(update={"d_vocab": vocabulary, "d_vocab_out": vocabulary})
    return replace(model, config=config, weights=weights)


def quarter(weights: Tensor, *, seed: int) -> Tensor:
    """Weights of a random quarter of each row's positions, scaled so that the mean over rows is one over positions."""
    generator = torch.Generator().manual_seed(seed)
    rows, positions = weights.shape
    evaluated = round(EVALUATED * positions)
    chosen = torch.rand(rows, positions, generator=generator).argsort(1)[:, :evaluated]
    return torch.zeros_like(weights).scatter_(1, chosen, 1 / evaluated)


def measure(
    *,
    rows: int = 256,
    repeats: int = 3,
    vocabulary: int | None = None,
    heads: int | None = None,
    tune: bool = True,
    **settings,
) -> list[Figure]:
    """The time of all experiments together, divided by that of a plain pass, by two denominators, and the floor.

    The floor is the same quotient of counted floating-point operations.
    """
    L = ladder(rows=rows, vocabulary=vocabulary, heads=heads)
    size = L.model.config.out_vocab
    tokens, labels = L.data["tokens"], L.data["labels"]
    plain = Plain(L.model)
    with torch.no_grad():
        chunk, tile = plain.tuned(tokens, labels) if tune else (2, (128, 1024))
        passes = {
            "simple": lambda: plain.simple(tokens, labels, rows=chunk),
            "best": lambda: plain.best(tokens, labels, tile=tile),
        }
        scores = L.score(**settings)
        original = next(iter(scores.values())).original
        for name, losses in passes.items():
            check_equal(f"the plain pass ({name})", (losses() * L.data["weights"]).sum(1).mean().item(), original)
        seconds = in_turns(repeats, scrub=lambda: L.score(**settings), **passes)
    with counting_flops() as so_far, torch.no_grad():
        passes["simple"]()
        plain_flops = so_far()
    planned = explain(L.hypotheses, L.data, baseline=L.baseline, others="reference")
    name = f"ladder, vocabulary {size:,}" + (f", {heads} induction heads" if heads else "")
    about = f"{rows} rows of {tokens.shape[1]}, {len(L.hypotheses) + 1} experiments"
    sizes = {"simple": f"{chunk} rows at a time", "best": f"tiles of {tile[0]} x {tile[1]}"}
    floor = Figure(
        name,
        "the same in floating-point operations",
        planned.flops / plain_flops,
        detail=f"{planned.flops / 1e9:.4g} G / {plain_flops / 1e9:.4g} G",
    )
    times = [
        quotient(
            name,
            f"all experiments / one plain forward pass ({kind})",
            seconds["scrub"],
            seconds[kind],
            at_most=TARGETS.get(size) if kind == "simple" else None,
            detail=f"{about}; {sizes[kind]}",
        )
        for kind in passes
    ]
    return [*times, floor]


def check_equal(what: str, value: float, expected: float, *, tolerance: float = TOLERANCE) -> None:
    """Raise unless two losses are equal: a benchmark of different things would measure nothing."""
    if not abs(value - expected) <= tolerance:
        raise AssertionError(
            f"{what} has the loss {value:.7g}, and scrub {expected:.7g}: they compute different things"
        )
