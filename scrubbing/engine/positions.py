"""Claims per position, and where they are illegal."""

from scrubbing.engine.policy import Policy
from scrubbing.engine.rules import draws_by_position, gives_by_position
from scrubbing.errors import HypothesisError
from scrubbing.graph.hypothesis import Hypothesis


def refuse_illegal_positions(h: Hypothesis, policy: Policy) -> None:
    """Raise `HypothesisError` where a donor for each position has no position to go to, or would need two."""
    if not any(node.per_position for node in h.I.values()) and not any(gives_by_position(policy, n) for n in h.I):
        return
    waiting = [(h.I.output, False)]
    seen = set(waiting)
    while waiting:
        name, below = waiting.pop()
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
            if step not in seen:
                seen.add(step)
                waiting.append(step)
