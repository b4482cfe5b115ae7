"""Check the user's arguments, and turn them into a run: rows, policy and expressions."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from scrubbing.engine.contract import check_features, check_network, refuse_training_mode
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.exact import refuse_too_many_rows
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.memory import Memory, memory_in_bytes
from scrubbing.engine.outcomes import Job
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy, Unclaimed
from scrubbing.engine.sampling.streams import Sample
from scrubbing.engine.sequential import most_references, stopping_rule
from scrubbing.errors import HypothesisError
from scrubbing.experiments.arguments import (
    Baseline,
    Count,
    Rows,
    baseline_of,
    by_name,
    check_names,
    choose_references,
    fixed_rows,
    given_donors,
    groups_of,
    number_drawn,
)
from scrubbing.graph.data import Columns, Data, as_columns, at_least_one, whole_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.stacking import stacked
from scrubbing.lens.language_data import check_language_columns
from scrubbing.score import Stopping


class Settings(TypedDict, total=False):
    """The options of `scrub`, for the type checker."""

    references: Rows | None
    draws: Count
    others: str | Rows
    donors: Mapping[str, Any] | None
    exclude_self: bool
    unclaimed: Unclaimed
    together: Sequence[Iterable[str]]
    seed: Count
    exact: bool
    until: float | None
    memory: Memory | None
    check: bool
    progress: bool | Callable[[int, int], None] | None
    cap: Count
    store: Any


@dataclass(frozen=True)
class Options:
    """The options of `scrub`, which documents them."""

    references: Rows | None = None
    draws: Count = 1
    others: str | Rows = "node"
    donors: Mapping[str, Any] | None = None
    exclude_self: bool = False
    unclaimed: Unclaimed = "resample"
    together: Sequence[Iterable[str]] = ()
    seed: Count = 0
    exact: bool = False
    until: float | None = None
    memory: Memory | None = None
    check: bool = True
    progress: bool | Callable[[int, int], None] | None = None
    cap: Count = 100_000
    store: Any = None


@dataclass(frozen=True)
class Prepared:
    """A run that is planned and checked."""

    named: Mapping[Any, Hypothesis]
    data: Columns  # without made donors
    jobs: Sequence[Job]
    planner: Planner
    evaluator: Evaluator
    settings: Mapping[str, Any]
    exact: bool
    rule: Stopping | None

    @property
    def sample(self) -> Sample:
        """The references and their donors."""
        return self.evaluator.sample


def prepare(
    hypotheses: Hypothesis | Sequence[Hypothesis] | Mapping[str, Hypothesis],
    data: Data,
    baseline: Baseline,
    options: Options,
) -> Prepared:
    """Check the arguments and plan the run. Raises what `scrub` raises."""
    named = by_name(hypotheses)
    if not isinstance(options.exact, bool):
        raise HypothesisError(f"exact={options.exact!r} is no mode; choose False or True")
    columns = as_columns(data)
    draws = at_least_one("draws", options.draws)
    dataset_rows = len(next(iter(columns.values())))
    references = options.references
    if options.exact:  # before anything of that size is made
        asked = dataset_rows if references is None else number_drawn(references) or len(cast(Sized, references))
        refuse_too_many_rows(dataset_rows, asked)
    policy = policy_of(options, dataset_rows)
    rule = _stopping_rule(options, policy, dataset_rows)
    seed = whole_number("seed", options.seed)
    chosen = choose_references(rule.most if rule else references, dataset_rows, seed)
    sample = Sample(chosen, dataset_rows, seed=seed, draws=draws, exclude_self=options.exclude_self)
    interpreter = Interpreter(dict(columns), sample, memory_in_bytes(options.memory))
    evaluator, planner = Evaluator(interpreter, stacked), Planner(policy, Features(interpreter))
    check_names(named, policy, columns, baseline)
    everything = [*named.values(), *(baseline_of(h, baseline) for h in named.values())]
    for network in dict.fromkeys(graph for h in everything for graph in (h.G.origin, h.G)):
        refuse_training_mode(network)
        check_language_columns(network, columns)
        check_network(network, columns)
    for explanation in dict.fromkeys(h.I for h in everything):
        check_features(explanation, columns)
    settings = {
        "others": options.others if isinstance(options.others, str) else "pairing",
        "exclude_self": options.exclude_self,
        "unclaimed": options.unclaimed if isinstance(options.unclaimed, str) else repr(options.unclaimed),
        "together": [sorted(group) for group in policy.together],
        "donors": sorted(policy.donors),
        "exact": options.exact,
        "references": "drawn" if rule or number_drawn(references) else "all" if references is None else "given",
        "until": options.until,
    }
    jobs = [Job.of(planner, h, baseline_of(h, baseline)) for h in named.values()]
    return Prepared(named, columns, jobs, planner, evaluator, settings, options.exact, rule)


def policy_of(options: Options, dataset_rows: int) -> Policy:
    """The policy that the options describe.

    Raises `HypothesisError` for donors that exact mode cannot follow.
    """
    others = options.others
    if not isinstance(options.donors or {}, Mapping):
        raise HypothesisError(f"donors={options.donors!r} must map names of I to rows or functions: {{'A': rows}}")
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
