"""Scored suites to make reports of: a language model whose tokens are as hostile as text can be."""

from functools import cache

import torch
from reference_transformer import random_data, random_transformer

from scrubbing import Case, Graph, Score, reads
from scrubbing.experiments.suites import Suite
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens import transformer
from scrubbing.rewrite import split_qkv

BIDI, ESCAPE, SCRIPT = "\u202e", "\x1b[2J", "<script>document.title = 'taken'</script>"
VOCABULARY = (SCRIPT, f"{BIDI}evil", f"{ESCAPE}gone", " a", "\n", "</script>", "&lt;", "'\"", "${x}", "{{ 7 * 7 }}")

SOURCE = f"a source {SCRIPT}"
TABLES = {f"a table {BIDI}": lambda scores: [{"name": name, SCRIPT: score.scrubbed} for name, score in scores.items()]}

NOTHING = Graph(loss=reads("logits", "labels", "weights"), logits=reads("embed"), embed=reads("tokens"))


@cache
def hostile() -> Suite:
    """A two-layer transformer with random weights, two hypotheses of it, and names that would like to be markup."""
    model = random_transformer(d_vocab=len(VOCABULARY), n_ctx=8)
    data = random_data(model.config, rows=12)
    data["weights"] = torch.ones_like(data["weights"])
    G = split_qkv(transformer(model), "a1_h0")
    one = Graph(
        loss=reads("logits", "labels", "weights"),
        logits=reads("embed", "a1_h0"),
        a1_h0=reads("a1_h0_pattern", "a1_h0_v"),
        a1_h0_pattern=reads("a1_h0_q", "a1_h0_k"),
        a1_h0_q=reads("embed"),
        a1_h0_k=reads("embed"),
        a1_h0_v=lambda tokens: (tokens[:, 0] > 4) & ("</script>" != "<b>"),
        embed=reads("tokens"),
    )
    named = {f"{SCRIPT}/Q{BIDI}": one, "nothing": NOTHING}
    cases = tuple(Case(name, Hypothesis(G, I), data, NOTHING) for name, I in named.items())
    about = {"path": f"/tmp/{SCRIPT}{ESCAPE}", "hashes": {"model": "ab" * 32}}
    return Suite(
        f"hostile {SCRIPT}",
        cases,
        about,
        {cases[0].name: 50},
        (f"a note {SCRIPT}{BIDI}",),
        SOURCE,
        TABLES,
        VOCABULARY,
        network=transformer(model),
        encode=lambda text: [ord(c) % len(VOCABULARY) for c in text],
        examples={f"an example {SCRIPT}{BIDI}": f"ab{SCRIPT}"[:5], "another": "abcd"},
    )


@cache
def hostile_scores() -> dict[str, Score]:
    """Its scores."""
    return hostile().score()
