"""Everything that is measured on one network and its prompts. What several tables need is computed once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from hypotheses.heads import Head, all_heads, in_words
from hypotheses.ioi import criteria, measuring, patching, signals
from hypotheses.ioi.backup import Backup, effects_of_heads, without_head
from hypotheses.ioi.data import Rows, grouped, stacked
from hypotheses.ioi.finding import DEFAULT, Measured, Thresholds, find_roles, movers
from hypotheses.ioi.measuring import HeadScores, PerHead
from hypotheses.ioi.network import Means, mlps, of_logit_difference, template_means
from hypotheses.ioi.patching import Patch
from hypotheses.ioi.prompts import ABC, SIGNALS
from hypotheses.ioi.roles import Roles
from scrubbing import Criteria, Graph, Hypothesis, circuit
from scrubbing.lens import Transformer, transformer

Row = dict[str, Any]

INDUCTION = 1 / 3  # attention on repeated tokens, above which a head does induction everywhere


@dataclass(frozen=True, eq=False)
class Study:
    """A network, prompts, and what the sources leave open; `known` are the roles of its heads, if they are known."""

    model: Transformer
    words: Tokenizer
    rows: Rows
    names: Sequence[str]
    known: Roles | None = None
    seed: int = 0
    device: str = "cpu"
    freeze_mlps: bool = False
    union_of_positions: bool = False
    signal_positions: signals.Where = "all"
    thresholds: Thresholds = DEFAULT  # by which heads are measured, where their parts are not known

    # -- the data

    @cached_property
    def abc(self) -> Rows:
        """The same prompts with three different names: the donors, and what means are taken over."""
        return self.rows.flipped(ABC, self.words, self.seed, self.names)

    @cached_property
    def data(self) -> dict[str, Tensor]:
        """The prompts' columns, and below them those of their donors."""
        return self._placed(stacked([self.rows, self.abc]))

    @cached_property
    def columns(self) -> dict[str, Tensor]:
        """The prompts' columns."""
        return self._placed(self.rows.columns)

    @property
    def donors(self) -> Int[Tensor, " row"]:
        """Who stands in for each row of `data`."""
        return patching.partners(len(self.rows), 2)

    def _placed(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: column.to(self.device) for name, column in columns.items()}

    # -- the network

    @cached_property
    def own(self) -> Graph:
        """The network with its own loss."""
        return transformer(self.model)

    @cached_property
    def G(self) -> Graph:
        """The network whose output is the logit difference."""
        return of_logit_difference(self.own)

    @property
    def heads(self) -> list[Head]:
        """All heads."""
        return all_heads(self.model.config)

    @cached_property
    def means(self) -> Means:
        """What each head writes on average, by template, on the donors."""
        columns = self._placed(self.abc.columns)
        return template_means(self.own, columns, self.heads, template=columns["template"])

    # -- what is measured

    @cached_property
    def effects(self) -> Float[np.ndarray, "layer head"]:
        """The direct effect of each head on the logit difference."""
        return effects_of_heads(self.own, self.columns, self.model.config).mean(-1)

    @cached_property
    def top(self) -> Head:
        """The name mover that adds most to the logit difference."""
        known = self.known and self.known.name_mover
        chosen = known or movers(self.effects, self.looks, self.model.config, self.thresholds)
        return max(chosen, key=lambda head: self.effects[head])

    @cached_property
    def backup(self) -> Backup:
        """The network without that head at the end."""
        return without_head(self.own, self.columns, self.model.config, self.top, self.means)

    @cached_property
    def looks(self) -> Mapping[str, PerHead]:
        """Where heads attend, between the names of the prompts."""
        return measuring.looks(self.model, self.rows)

    @cached_property
    def head_scores(self) -> HeadScores:
        """Where heads attend on repeated tokens."""
        return measuring.head_scores(self.model, seed=self.seed)

    @cached_property
    def roles(self) -> Roles:
        """The parts that heads play: as known, or as measured."""
        if self.known is not None:
            return self.known
        measured = Measured(
            self.G,
            self.model.config,
            self.data,
            self.donors,
            len(self.rows),
            self.looks,
            self.effects,
        )
        return find_roles(measured, self.backup, self.thresholds)

    # -- hypotheses

    @cached_property
    def hypotheses(self) -> dict[str, Hypothesis]:
        """Circuits, and the paths between the classes of the circuit, with all else the prompt's own or the donor's."""
        G, circuits = of_logit_difference(self.own, as_loss=True), {"full circuit": self.roles.full}
        if set(self.roles.naive_places) != set(self.roles.full):
            circuits = {"naive circuit": self.roles.naive_places, **circuits}
        made = {name: circuit_hypothesis(G, places) for name, places in circuits.items()}
        apart = patching.split(G, list(self.between.values()))
        return made | {name: p.hypothesis(apart, freeze_mlps=self.freeze_mlps) for name, p in self.between.items()}

    @property
    def between(self) -> dict[str, Patch]:
        """A patch for each arrow of the circuit's diagram, of whole classes."""
        roles = self.roles
        arrows: list[tuple[str, str, patching.Input]] = [
            ("name_mover", "logits", "logits"),
            ("negative", "logits", "logits"),
            ("backup", "logits", "logits"),
            ("s_inhibition", "name_mover", "q"),
            ("duplicate", "s_inhibition", "v"),
            ("duplicate", "s_inhibition", "k"),
            ("induction", "s_inhibition", "v"),
            ("induction", "s_inhibition", "k"),
            ("previous", "induction", "k"),
        ]
        found = {}
        for sends, receives, input in arrows:
            senders, receivers = getattr(roles, sends), getattr(roles, receives, ())
            patch = Patch(senders, receivers, input)
            if senders and (receivers or receives == "logits") and patch.joined:
                to = "" if receives == "logits" else f" {input}"
                found[f"{sends} to {receives}{to}".replace("_", " ")] = patch
        return found

    # -- tables

    def logit_difference(self, *_: Any) -> list[Row]:
        """Before and after the top name mover is knocked out at the end, and what was to be expected."""
        return self.backup.logit_difference

    def direct_effects(self, *_: Any) -> list[Row]:
        """Of every head, before and after."""
        return self.backup.direct_effects

    def norm_sizes(self, *_: Any) -> list[Row]:
        """The final norm's size at the end of each prompt, before and after."""
        return self.backup.norm_sizes

    def path_patching(self, *_: Any) -> list[Row]:
        """Every head to each input that the circuit speaks of; then previous-token heads one by one and together."""
        patches = self.patches
        settings = {"freeze_mlps": self.freeze_mlps, "progress": _shown(_), **grouped(self.rows.template)}
        found = patching.changes(self.G, patches, self.data, self.donors, len(self.rows), **settings)
        return patching.table(patches, found)

    @property
    def patches(self) -> list[Patch]:
        """The maps of the text, and the patches with several senders."""
        roles, found = self.roles, list[Patch]()
        inputs: list[tuple[tuple[Head, ...], patching.Input]] = [
            ((), "logits"),
            (roles.name_mover, "q"),
            (roles.s_inhibition, "v"),
            (roles.s_inhibition, "k"),
            (roles.induction, "k"),
        ]
        for receivers, input in inputs:
            if receivers or input == "logits":
                found += [Patch((head,), receivers, input) for head in self.heads]
        if roles.induction and len(roles.previous) > 1:
            found.append(Patch(roles.previous, roles.induction, "k"))
            # Those that look back on prompts alone, and hardly where random tokens repeat.
            weak = tuple(head for head in roles.induction if self.head_scores.induction[head] < INDUCTION)
            senders = [(head,) for head in roles.previous] + [roles.previous]
            found += [Patch(some, weak, "k") for some in senders if weak and weak != roles.induction]
        found += [patch for patch in self.between.values() if len(patch.senders) > 1 and patch not in found]
        return found

    def signals(self, *_: Any) -> list[Row]:
        """The 3 x 2 table, of all S-inhibition heads and of each alone; nothing where there is none."""
        if not self.roles.s_inhibition:
            return []
        flips = [self.rows.flipped(rule, self.words, self.seed, self.names) for rule in SIGNALS.values()]
        data, where = self._placed(stacked(flips)), self.signal_positions
        return signals.table(self.G, self.roles.s_inhibition, data, len(self.rows), where=where, progress=_shown(_))

    @cached_property
    def circuits(self) -> Mapping[str, Criteria]:
        """How good the circuits are."""
        settings = {"union": self.union_of_positions, "seed": self.seed}
        return criteria.judged(self.G, self.heads, self.data, len(self.rows), self.roles, **settings)

    def circuit(self, *_: Any) -> list[Row]:
        """Faithfulness, completeness and minimality."""
        return criteria.table(self.circuits, self.roles)

    def completeness(self, *_: Any) -> list[Row]:
        """F of the circuit and of the network without the same places: the points of the text's plot."""
        return criteria.points(self.circuits)

    def scores(self, *_: Any) -> list[Row]:
        """The attention of every head on repeated tokens."""
        return self.head_scores.rows

    def attention(self, *_: Any) -> list[Row]:
        """The attention of every head between the names of the prompts."""
        return [
            {"layer": layer, "head": head, **{name: float(of[layer, head]) for name, of in self.looks.items()}}
            for layer, head in self.heads
        ]

    def repeated(self, *_: Any) -> list[Row]:
        """The attention of induction heads on fifteen random tokens and the same again, place by place."""
        length = min(15, self.model.config.n_ctx // 2)
        tokens = measuring.repeated_tokens(self.model.config, length=length, rows=1, seed=self.seed)
        (_rows, pattern), *_rest = measuring.patterns(self.model, tokens.to(self.device))
        chosen = self.roles.induction or self.roles.duplicate
        return [
            {
                "head": in_words([head]),
                "query": query,
                "key": key,
                "attention": float(pattern[head[0], 0, head[1], query, key]),
            }
            for head in chosen
            for query in range(2 * length)
            for key in range(query + 1)
        ]


def _shown(given: Sequence[Any]) -> Callable[..., Any] | bool | None:
    """How progress is shown, if whoever asks for a table says so."""
    return given[0] if given else False


def circuit_hypothesis(G: Graph, places: Sequence[tuple[Head, str]]) -> Hypothesis:
    """The claim that of the heads only these places matter, with the embedding and the MLPs."""
    return circuit(G, ["embed", *mlps(G), *criteria.in_roles(places)])
