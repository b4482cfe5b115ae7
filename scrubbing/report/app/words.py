"""A passage as HTML: each token on the colour of its number, with its line on hover. No token is read as markup."""

from collections.abc import Sequence

from scrubbing.report.app.replacing import Change
from scrubbing.report.picture import templates

LARGEST = 4.0  # nats at which a colour is full
SIGNS = "·↵→"

Number = float | None


def coloured(
    tokens: Sequence[str],
    numbers: Sequence[Number],
    tips: Sequence[str],
    *,
    largest: float = LARGEST,
    unit: str = "nats",
    at: int | None = None,
) -> str:
    """A passage: above zero red, below blue, full at `largest`; None for a token without a number; `at` is marked.

    >>> "&lt;b&gt;" in coloured(["<b>"], [1.0], ["loss 1"])
    True
    """
    words = [
        {
            "parts": [(c, c in SIGNS) for c in token] if any(c in SIGNS for c in token) else [(token, False)],
            "strength": 0 if number is None else min(55, round(55 * abs(number) / (largest or 1))),
            "above": number is not None and number > 0,
            "out": number is None,
            "at": place == at,
            "tip": tip,
        }
        for place, (token, number, tip) in enumerate(zip(tokens, numbers, tips, strict=True))
    ]
    both = any(number is not None and number < 0 for number in numbers)
    return templates.get_template("words.html.j2").render(words=words, largest=f"{largest:.2g}", both=both, unit=unit)


def of_change(change: Change, which: str = "added", at: int | None = None) -> str:
    """The words of a row: coloured by what a run adds to their loss ("added"), or by their loss "before" or "after".

    >>> "loss 1.000, then 3.000" in of_change(Change(1.0, 3.0, [["a", [1.0, 3.0]], ["b"]]))
    True
    """
    numbers, tips = [], []
    for place, word in enumerate(change.words):
        losses = word[1] if len(word) > 1 else None
        numbers.append(None if losses is None else _number(losses, which))
        said = "not evaluated" if losses is None else f"loss {losses[0]:.3f}, then {losses[1]:.3f}"
        tips.append(f"position {place}: {said}")
    return coloured([word[0] for word in change.words], numbers, tips, at=at)


def _number(losses: Sequence[float], which: str) -> float:
    before, after = losses
    return {"added": after - before, "before": before, "after": after}[which]
