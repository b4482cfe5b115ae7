"""Rao-Blackwellised last levels: the last donor on each path averaged exactly, those above it sampled.

Source: Blackwell 1947 (Conditional expectation and unbiased sequential estimation): a mean of conditional expectations
estimates the same and varies less.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from scrubbing.engine.exact.draws import Above, BeyondCapError, Contexts
from scrubbing.engine.exact.losses import ExactLosses, exact_two_level_variance
from scrubbing.engine.exact.propagation import CAP, exact_losses, propagation
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.distributions import Transitions
from scrubbing.engine.sampling.streams import Drawn, Fixed, Sample, Stream
from scrubbing.errors import HypothesisError
from scrubbing.graph.data import Columns
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Estimate, sampled_estimate


def exact_estimate(
    h: Hypothesis,
    columns: Columns,
    sample: Sample,
    policy: Policy,
    streams: Mapping[str, Stream],
    original: Float[np.ndarray, " reference"],
    *,
    cap: int = CAP,
) -> Estimate:
    """The expected losses of a sample's references over all draws of donors.

    `streams` are the donors that sampling would take, by path. Raises `HypothesisError` where more than `cap`
    combinations would meet at one node, and offers `exact="last"` where that would do.
    """
    try:
        found = exact_losses(h, columns, sample.references, policy, cap=cap)
    except BeyondCapError as error:
        if _last_fits(h, columns, sample, policy, streams, cap=cap):
            raise BeyondCapError(error.what, cap, last_fits=True) from None
        raise
    return Estimate(found.mean, found.mean_absolute_change(original), *exact_two_level_variance(found))


def last_estimate(
    h: Hypothesis,
    columns: Columns,
    sample: Sample,
    policy: Policy,
    streams: Mapping[str, Stream],
    original: Float[np.ndarray, " reference"],
    *,
    cap: int = CAP,
) -> Estimate:
    """The losses of a sample's references, each draw's averaged over the last donor on each path.

    The variance within a reference is that between the averages of its draws, so that the mean over n references of R
    draws each has variance between/n + within/(nR), as ever.
    """
    found = last_losses(h, columns, sample, policy, streams, cap=cap)
    shape = (len(sample.references), sample.draws)
    change = found.mean_absolute_change(np.repeat(original, sample.draws)).reshape(shape).mean(axis=1)
    averaged = sampled_estimate(found.mean.reshape(shape), original)
    return Estimate(averaged.loss, change, averaged.between, averaged.within)


def last_losses(
    h: Hypothesis,
    columns: Columns,
    sample: Sample,
    policy: Policy,
    streams: Mapping[str, Stream],
    *,
    cap: int = CAP,
) -> ExactLosses:
    """The distribution of each draw's scrubbed loss, given the donors above the last ones; references in order."""
    references = np.repeat(sample.references, sample.draws)
    return exact_losses(h, columns, references, policy, cap=cap, contexts=_sampled(sample, policy, streams))


def _sampled(sample: Sample, policy: Policy, streams: Mapping[str, Stream]) -> Contexts | None:
    """A context for each draw of each reference; None where one donor u is all that is drawn, and so the last one."""
    if policy.others == "reference" and {s for s in streams.values() if isinstance(s, Drawn)} <= {streams.get("other")}:
        return None
    row = np.repeat(sample.references, sample.draws)
    other = policy.others.rows[row] if isinstance(policy.others, Fixed) else None
    if policy.others == "reference" and "other" in streams:
        other = sample.rows(streams["other"])
    itself = np.arange(len(row))
    return Contexts(row, other, Transitions(itself, itself, np.ones(len(row))), Above(sample, streams))


def _last_fits(
    h: Hypothesis, columns: Columns, sample: Sample, policy: Policy, streams: Mapping[str, Stream], *, cap: int
) -> bool:
    """Whether the last donors can surely be averaged within the cap: by a bound, with nothing computed."""
    contexts = _sampled(sample, policy, streams)
    if contexts is None:
        return False
    try:
        planned = propagation(h, columns, contexts.row, policy, cap=cap, contexts=contexts)
    except HypothesisError:
        return False
    return planned.averages and planned.most() <= cap
