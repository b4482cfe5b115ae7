"""Claims about each position by itself: which nodes draw a donor for each, and where that cannot be followed."""

from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import Fixed
from scrubbing.errors import HypothesisError
from scrubbing.graph.hypothesis import Hypothesis


def draws_by_position(h: Hypothesis, policy: Policy, name: str) -> bool:
    """Whether I's node has a donor for each position: it is claimed so, and no whole donor is given or made for it."""
    return h.I[name].per_position and h.I[name].swaps and (name not in policy.donors or gives_by_position(policy, name))


def gives_by_position(policy: Policy, name: str) -> bool:
    """Whether the donors given for I's node are a row for each position."""
    given = policy.donors.get(name)
    return isinstance(given, Fixed) and given.positions is not None


def refuse_illegal_positions(h: Hypothesis, policy: Policy) -> None:
    """Raise `HypothesisError` where a donor for each position has no position to go to, or would need two."""
    walk = [(h.I.output, False)]
    for name, below in walk:  # grows while it is walked
        for child in h.claimed_inputs(name).values():
            by_position, image = draws_by_position(h, policy, child), h.image(child)
            if by_position and h.G[image].position_axis is None:
                raise HypothesisError(
                    f"{child!r} is claimed per position, but {image!r} does not say which axis of its value "
                    f"runs over positions: give its Node a position_axis"
                )
            if by_position and below:
                raise HypothesisError(
                    f"{child!r} is claimed per position below another claim per position; claim it whole"
                )
            if gives_by_position(policy, child) and not (by_position or below):
                raise HypothesisError(
                    f"donors gives {child!r} a row for each position, but {child!r} is not claimed per position"
                )
            step = (child, below or by_position)
            if step not in walk:
                walk.append(step)
