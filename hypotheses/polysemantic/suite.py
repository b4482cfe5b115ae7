"""A head of a network and what it does: everything that `scrubbing score polysemantic` needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hypotheses.affordable import affordable, operations_of_row
from hypotheses.corpus import read_corpus
from hypotheses.heads import Head, check_head, in_words, read_head, read_roles
from hypotheses.induction import places as induction
from hypotheses.polysemantic import plots, published
from hypotheses.polysemantic.behaviours import Rule
from hypotheses.polysemantic.doing import hypotheses, in_parts, keeping
from hypotheses.polysemantic.measuring import HAS, Measured, destinations, measured
from hypotheses.polysemantic.override import Overriding, around, of_family
from hypotheses.polysemantic.places import ROLES, SHIPPED, corpus_file, named, source, tokenizer_file
from hypotheses.polysemantic.prompts import Family, Template, family, templates
from hypotheses.polysemantic.tokens import Kinds, Vocabulary, shown, written
from hypotheses.shipped import case_of, said_of
from scrubbing import Case, DataError, Graph
from scrubbing.experiments.progress import ShowProgress
from scrubbing.experiments.suites import Measurement, Rows, Suite
from scrubbing.lens import Transformer, TransformerConfig, load_transformer, next_token_data, transformer

POSITIONS = 76_800  # of the corpus whose rows are classified, by default
REFERENCES = 64
FEWEST = 8  # references; with fewer an interval says nothing
EVALUATIONS = 8  # of a reference: the network, the baseline and the hypotheses
OF_ROWS, OF_SCORES, OF_SWEEP = 0.2, 0.3, 0.1  # shares of what a default job may take; the last for each family
DESTINATIONS = "⏎[·x3]|·R|⏎[·x7]|width|dict"  # of the text


def suite(
    model: Any = None,
    data: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    head: Annotated[str | None, Field(description='the head, such as "2.5"; by default the one that does most')] = None,
    rows: Annotated[
        int | None, Field(ge=1, description=f"rows of the corpus to classify; by default about {POSITIONS} positions")
    ] = None,
    threshold: Annotated[
        float, Field(gt=0.5, le=1, description="how much of its attention a row's behaviour accounts for")
    ] = 0.95,
    window: Annotated[int, Field(ge=1, description='how many tokens are "a few previous" ones')] = 3,
    include_current: Annotated[bool, Field(description="whether the current token is one of them")] = False,
    destination_tokens: Annotated[
        str, Field(description="destination tokens with rows of their own in the tables, between bars")
    ] = DESTINATIONS,
    tokenizer: Annotated[
        Path | None, Field(description="tokenizer.json, where the model folder has none of its own")
    ] = None,
    prompts: Mapping[str, Template] | None = None,
) -> Suite:
    """What the rows of a head's attention do, what that is good for, and what prompts lose without one row of it.

    On the network that ships, or on a model folder (or name, or object) and a corpus: rows of tokens, or a text.
    `prompts` are families of one's own, by name.

    Raises `ScrubbingError` for whatever is wrong with them.
    """
    loaded = model if isinstance(model, Transformer) else load_transformer(source(model))
    loaded = loaded.to(dtype, device)
    vocabulary = Vocabulary.read(tokenizer_file(model, tokenizer))
    path = corpus_file(model, data)
    corpus = read_corpus(path, loaded.config, lambda: vocabulary.tokenizer, begin=lambda _: vocabulary.begin)
    rule = Rule(threshold, window, include_current)
    positions = corpus.tokens.shape[1] - 1
    each = operations_of_row(loaded.config, positions)
    few = affordable(each, max(1, POSITIONS // positions), share=OF_ROWS)
    number = min(len(corpus.tokens), rows or few)
    scored = affordable(EVALUATIONS * each, REFERENCES, share=OF_SCORES, fewest=FEWEST)
    tokens = corpus.tokens[_spread(len(corpus.tokens), number)]
    study = Study(
        loaded,
        vocabulary,
        tokens[:, :-1].to(device),
        rule,
        _marked(destination_tokens, vocabulary, default=destination_tokens == DESTINATIONS),
        prompts if prompts is not None else templates(vocabulary),
        _head(model, head, loaded.config),
    )
    groups = None if corpus.groups is None else corpus.groups[_spread(len(corpus.tokens), number)]
    columns: dict[str, Any] = next_token_data(tokens, groups=groups, model=loaded)
    columns = {name: torch.as_tensor(column).to(device) for name, column in columns.items()}
    G = in_parts(study.G, study.head, study.kinds, rule)
    settings: dict[str, Any] = {
        "unclaimed": "zero",
        "others": "reference",
        "references": _spread(number, min(number, scored)),
    }
    if groups is not None:
        settings["groups"] = "groups"
    nothing = keeping(G, study.head, [])
    cases = tuple(Case(name, h, columns, nothing, settings) for name, h in hypotheses(G, study.head).items())
    about = {
        **said_of(named(model), path, SHIPPED, induction.SHIPPED),
        "rows": f"{number} of {tokens.shape[1]} tokens, {min(number, scored)} evaluated",
        "head": in_words([study.head]),
        "behaviours": f"{rule}; the first destination of a row of tokens is not counted",
        "hypotheses": "the head matters at rows of this behaviour alone: at all others it attends to the first token",
        "baseline": "at every row it attends to the first token",
    }
    return Suite(
        "polysemantic",
        cases,
        about,
        notes=NOTES if model is None else (),
        vocabulary=vocabulary.texts,
        measurements=study.measurements(published.is_published(model)),
        network=transformer(loaded),
        encode=vocabulary.encode,
        examples=_examples(study) if model is None and prompts is None else {},
    )


def _examples(study: "Study") -> dict[str, str]:
    """The first prompt of each family."""
    found = {name: family(name, template, study.vocabulary) for name, template in study.prompts.items()}
    return {
        name: "".join(study.vocabulary.texts[token] for token in each.tokens[0, 1:].tolist())
        for name, each in found.items()
    }


NOTES = (
    "the network that ships was grown from the induction network on Python source: by the 95% rule none of its heads "
    "has two behaviours beyond chance, and none is the published head 1.4 of attn-only-4l",
    "templates are reconstructions: the text shows its own as pictures",
)


def case(name: str, *, dtype: torch.dtype = torch.float32) -> Case:
    """One hypothesis on the network that ships: `case("induction")`, that the head matters at such rows alone.

    Raises `HypothesisError` for an unknown name.
    """
    return case_of(suite, name, dtype)


@dataclass(frozen=True, eq=False)
class Study:
    """A network, a corpus and prompts, and what is measured of them: each table by name."""

    model: Transformer
    vocabulary: Vocabulary
    tokens: Int[Tensor, "row position"]
    rule: Rule
    marked: Mapping[str, int]  # destinations that have rows of their own
    prompts: Mapping[str, Template]
    chosen: Head | None
    counted: list[Measured] = field(default_factory=list)  # once it is

    @cached_property
    def kinds(self) -> Kinds:
        """What kinds of tokens the network has."""
        return self.vocabulary.kinds.to_size(self.model.config.d_vocab)

    @cached_property
    def G(self) -> Graph:
        """The network around the head."""
        return around(self.model, self.head)

    @cached_property
    def head(self) -> Head:
        """The head that is studied: the one named, or the one with the most behaviours."""
        return self.chosen if self.chosen is not None else self.measured(None).ranked()[0][0]

    def measured(self, progress: ShowProgress) -> Measured:
        """What all heads do on the corpus; counted once."""
        if not self.counted:
            groups = destinations(self.marked, self.kinds)
            self.counted.append(measured(self.model, self.tokens, self.kinds, self.rule, groups, progress=progress))
        return self.counted[0]

    @cached_property
    def families(self) -> list[tuple[Family, Overriding]]:
        """The prompts, with the network run on them."""
        made = [family(name, template, self.vocabulary) for name, template in self.prompts.items()]
        for each in made:
            if each.tokens.shape[1] > self.model.config.n_ctx:
                raise DataError(
                    f"the prompts of {each.name!r} have {each.tokens.shape[1]} tokens, more than the model's context "
                    f"of {self.model.config.n_ctx}; give shorter ones"
                )
        return [(each, of_family(self.G, self.head, each, self.tokens.device)) for each in made]

    def behaviours(self, progress: ShowProgress) -> Rows:
        """What the rows of the head do, by destination."""
        return list(self.measured(progress).counts.of_head(*self.head))

    def excess(self, progress: ShowProgress) -> Rows:
        """What they do, beside chance."""
        return self.measured(progress).beside_chance(self.head)

    def heads(self, progress: ShowProgress) -> Rows:
        """What each head does, those with the most behaviours first."""
        return self.measured(progress).heads()

    def override(self, _: ShowProgress) -> Rows:
        """What prompts lose where the row of their last position attends to the first token."""
        rows = []
        for each, overriding in self.families:
            clean, ablated = overriding.clean(), overriding.readings(_last(each).to(self.tokens.device))
            rows.append(
                {
                    "family": each.name,
                    "prompts": len(each.tokens),
                    "clean_top1": float(clean.top1.double().mean()),
                    "clean_probability": float(clean.probability.double().mean()),
                    "ablated_top1": float(ablated.top1.double().mean()),
                    "ablated_probability": float(ablated.probability.double().mean()),
                }
            )
        return rows

    def positions(self, _: ShowProgress) -> Rows:
        """How much of the right token's probability the row of each position is worth, with 95% intervals."""
        rows = []
        for each, overriding in self.families:
            length = each.tokens.shape[1]
            run = length * operations_of_row(self.model.config, length)
            some = affordable(run, len(each.tokens), share=OF_SWEEP, fewest=2)
            changes = (overriding.sweep(some) - overriding.clean().probability[:some, None]).double() * 100
            mean, error = changes.mean(0), changes.std(0, correction=0) / max(len(changes) - 1, 1) ** 0.5
            for position, token in enumerate(each.example):
                rows.append(
                    {
                        "family": each.name,
                        "prompts": some,
                        "position": position,
                        "token": token,
                        "role": each.role_of.get(position, ""),
                        "change": float(mean[position]),
                        "standard_error": float(error[position]),
                    }
                )
        return rows

    def measurements(self, is_published: bool) -> dict[str, Measurement]:
        """The tables by name."""
        name = f"head {in_words([self.head])}"
        of_the_text = {"published_override": Measurement(lambda _: published.OVERRIDE, published.SOURCE)}
        return {
            "behaviours": Measurement(
                self.behaviours, f"rows of {name}'s attention by destination token", plots.proportions
            ),
            "excess": Measurement(self.excess, "beside chance: sources that are alike but for what a behaviour claims"),
            "heads": Measurement(
                self.heads,
                f"share beyond chance, of bigger indents among new lines; a head has a behaviour from {100 * HAS:g}% "
                f"on; inactivity is none",
            ),
            "override": Measurement(
                self.override, f"{name}'s row at the last position attends to the first token alone"
            ),
            "positions": Measurement(
                self.positions,
                "points of the right token's probability, the row of one position overridden",
                plots.sweep,
            ),
            **(of_the_text if is_published else {}),
        }


class Roles(BaseModel):
    """The head that is studied, as (layer, head): `roles.json` beside a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: Head


def _head(model: Any, given: str | None, config: TransformerConfig) -> Head | None:
    """The head that is named, by an option or beside the model, if one is."""
    path = named(model) / ROLES
    if given is None and published.is_published(model):
        given = in_words([published.HEAD])
    if given is not None:
        return read_head(given, config)
    if not path.is_file():
        return None
    head = read_roles(path, Roles, '{"head": [2, 5]}').head
    check_head(head, config)
    return head


def _marked(given: str, vocabulary: Vocabulary, *, default: bool) -> dict[str, int]:
    """The destination tokens that are named; of the text's own those that the tokenizer has."""
    found: dict[str, int] = {}
    for word in filter(None, given.split("|")):
        token = vocabulary.single(written(word))
        if token is None and not default:
            several = [shown(vocabulary.texts[t]) for t in vocabulary.encode(written(word))]
            raise DataError(f"the destination {word!r} is not one token of this tokenizer: {' '.join(several)}")
        if token is not None:
            found[shown(vocabulary.texts[token])] = token
    return found


def _last(each: Family) -> Bool[Tensor, "prompt position"]:
    where = torch.zeros(each.tokens.shape, dtype=torch.bool)
    where[:, -1] = True
    return where


def _spread(rows: int, number: int) -> np.ndarray:
    """So many row numbers, evenly over all."""
    return np.linspace(0, rows - 1, number).astype(np.int64)
