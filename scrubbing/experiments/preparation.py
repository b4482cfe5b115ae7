"""Check the user's arguments, and turn them into a run: rows, policy and expressions."""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from jaxtyping import Float

from scrubbing.engine.contract import check_features, check_network, refuse_training_mode
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.exact import refuse_too_many_rows
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.memory import Memory, memory_in_bytes, uncollected
from scrubbing.engine.outcomes import Job, Outcome, Outputs
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy, Unclaimed
from scrubbing.engine.sampling.streams import Sample
from scrubbing.engine.sequential import most_references, stopping_rule
from scrubbing.errors import DataError, HypothesisError, nearest
from scrubbing.errors.arguments import check_fields
from scrubbing.experiments.arguments import (
    Baseline,
    Count,
    Donors,
    Hypotheses,
    Rows,
    Together,
    baseline_of,
    by_name,
    check_names,
    choose_references,
    fixed_rows,
    given_donors,
    groups_of,
    number_drawn,
)
from scrubbing.experiments.engines import ChosenEngine, Engine, engine_of
from scrubbing.experiments.populations import population_of, settings_of
from scrubbing.experiments.progress import ShowProgress
from scrubbing.graph.data import Columns, Data, as_columns, at_least_one, seed_number, whole_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.narrowing import narrowed
from scrubbing.lens.components.stacking import stacked
from scrubbing.lens.language_data import check_language_columns
from scrubbing.score import Estimand, Population, Score, Stopping, make_score
from scrubbing.store import Store


class Settings(TypedDict, total=False):
    """The options of `scrub`, for the type checker."""

    references: Rows | None
    draws: Count
    others: str | Rows
    donors: Donors | None
    exclude_self: bool
    unclaimed: Unclaimed
    together: Together
    seed: Count
    exact: bool
    until: float | None
    memory: Memory | None
    check: bool
    progress: ShowProgress
    cap: Count
    store: Store | Path | str | None
    groups: Any
    estimand: Estimand | None
    engine: ChosenEngine
    keep_going: bool


@dataclass(frozen=True)
class Options:
    """The options of `scrub`, which documents them."""

    references: Rows | None = None
    draws: Count = 1
    others: str | Rows = "node"
    donors: Donors | None = None
    exclude_self: bool = False
    unclaimed: Unclaimed = "resample"
    together: Together = ()
    seed: Count = 0
    exact: bool = False
    until: float | None = None
    memory: Memory | None = None
    check: bool = True
    progress: ShowProgress = None
    cap: Count = 100_000
    store: Store | Path | str | None = None
    groups: Any = None
    estimand: Estimand | None = None
    engine: ChosenEngine = None
    keep_going: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Options":
        """The options given by name. Raises `HypothesisError` for a name that is none."""
        known = [f.name for f in fields(cls)]
        for name in settings:
            if name not in known:
                raise HypothesisError(f"there is no setting {name!r}{nearest(name, known)}")
        return cls(**settings)

    @property
    def elsewhere(self) -> "Options":
        """The same in another process, which computes, and neither records nor shows anything."""
        return replace(self, engine=None, store=None, progress=None)


@dataclass(frozen=True)
class Prepared:
    """A run that is planned and checked. `plan` does so again, in another process."""

    plan: Callable[[Options], "Prepared"] = field(repr=False)
    named: Mapping[Any, Hypothesis]
    data: Columns  # without made donors
    options: Options
    jobs: Sequence[Job]
    planner: Planner
    evaluator: Evaluator
    settings: Mapping[str, Any]
    rule: Stopping | None
    population: Population

    @property
    def sample(self) -> Sample:
        """The references and their donors."""
        return self.evaluator.sample

    @cached_property
    def outputs(self) -> Outputs:
        """What is computed for the hypotheses."""
        return Outputs.of(self.jobs, self.planner, len(self.sample))

    @property
    def exact(self) -> bool:
        """Whether expectations are computed in place of draws."""
        return self.options.exact

    @property
    def engine(self) -> Engine | None:
        """Who computes; None for this process."""
        return engine_of(self.options.engine)


@uncollected()
def prepare(
    hypotheses: Hypotheses,
    data: Data,
    baseline: Baseline,
    options: Options,
) -> Prepared:
    """Check the arguments and plan the run. Raises what `scrub` raises."""
    if options.keep_going:
        raise HypothesisError("keep_going= is a setting of scrub and measure, which can leave one out; give it to them")
    named = by_name(hypotheses)
    columns = as_columns(data)
    draws = at_least_one("draws", options.draws)
    dataset_rows = len(next(iter(columns.values())))
    references = options.references
    if options.exact:  # before anything of that size is made
        asked = dataset_rows if references is None else number_drawn(references) or len(cast(Sized, references))
        refuse_too_many_rows(dataset_rows, asked)
    policy = policy_of(options, dataset_rows)
    rule = _stopping_rule(options, policy, dataset_rows)
    seed = seed_number(options.seed)
    chosen = choose_references(rule.most if rule else references, dataset_rows, seed)
    sample = Sample(chosen, dataset_rows, seed=seed, draws=draws, exclude_self=options.exclude_self)
    interpreter = Interpreter(dict(columns), sample, memory_in_bytes(options.memory))
    evaluator, planner = Evaluator(interpreter, narrowed, stacked), Planner(policy, Features(interpreter))
    check_names(named, policy, columns, baseline)
    everything = [*named.values(), *(baseline_of(h, baseline) for h in named.values())]
    for network in dict.fromkeys(graph for h in everything for graph in (h.G.origin, h.G)):
        refuse_training_mode(network)
        check_language_columns(network, columns)
        check_network(network, columns)
    for explanation in dict.fromkeys(h.I for h in everything):
        check_features(explanation, columns)
    drawn = bool(rule or number_drawn(references))
    population = population_of(options.estimand, options.groups, columns, chosen, drawn=drawn)
    settings = {
        "others": options.others if isinstance(options.others, str) else "pairing",
        "exclude_self": options.exclude_self,
        "unclaimed": options.unclaimed if isinstance(options.unclaimed, str) else repr(options.unclaimed),
        "together": [sorted(group) for group in policy.together],
        "donors": sorted(policy.donors),
        "exact": options.exact,
        "references": "drawn" if drawn else "all" if references is None else "given",
        "until": options.until,
        **settings_of(population),
    }
    jobs = [Job.of(planner, h, baseline_of(h, baseline)) for h in named.values()]
    plan = partial(prepare, hypotheses, columns, baseline)
    return Prepared(plan, named, columns, options, jobs, planner, evaluator, settings, rule, population)


def refuse_engine(options: Options, of: str) -> None:
    """Raise `HypothesisError` for an engine where this process computes."""
    if options.engine is not None:
        raise HypothesisError(f"engine= is no setting of {of}, which computes in this process; leave it out")


def policy_of(options: Options, dataset_rows: int) -> Policy:
    """The policy that the options describe.

    Raises `HypothesisError` for donors that exact mode cannot follow.
    """
    others = options.others
    policy = Policy(
        others=others if isinstance(others, str) else fixed_rows("others", others, dataset_rows),
        donors={name: given_donors(name, donor, dataset_rows) for name, donor in (options.donors or {}).items()},
        exclude_self=options.exclude_self,
        unclaimed=options.unclaimed,
        together=groups_of(options.together),
        cap=whole_number("cap", options.cap),
    )
    if options.exact and policy.makes_donors:
        raise HypothesisError("exact mode cannot follow donors that are made; sample them (exact=False)")
    return policy


def _stopping_rule(options: Options, policy: Policy, dataset_rows: int) -> Stopping | None:
    if options.until is None:
        return None
    if options.exact or policy.makes_donors:
        what = "exact=True has no draws to add"
        what = what if options.exact else "donors that are made are made for all references at once"
        raise HypothesisError(f"until= draws references a few at a time, and {what}; leave out one of them")
    return stopping_rule(options.until, most_references(options.references, dataset_rows))


def check_finite(what: str, losses: Float[np.ndarray, " reference"], sample: Sample) -> None:
    """Raise `DataError` with the row of the first reference whose loss is not finite."""
    wrong = np.flatnonzero(~np.isfinite(losses))
    if len(wrong):
        row = sample.references[wrong[0]]
        raise DataError(f"{what} of row {row} is {losses[wrong[0]]}; losses must be finite")


def scored(name: str | None, outcome: Outcome, sample: Sample, prepared: Prepared, **own: Any) -> Score:
    """The score of an outcome on a run's sample; `own` are what else `make_score` takes."""
    return make_score(
        name=name,
        rows=sample.references,
        original=outcome.original,
        baseline=outcome.baseline,
        scrubbed=outcome.scrubbed,
        precision=outcome.precision,
        draws=sample.draws,
        seed=sample.seed,
        settings=dict(prepared.settings),
        population=prepared.population,
        **own,
    )
