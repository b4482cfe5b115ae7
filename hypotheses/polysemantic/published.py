"""The published figures of head 1.4 of attn-only-4l."""

from typing import Any

SOURCE = "Polysemantic attention head in a 4-layer transformer (2023)"
NAMES = ("attn-only-4l", "NeelNanda/Attn_Only_4L512W_C4_Code")
HEAD = (1, 4)

OVERRIDE: tuple[dict[str, Any], ...] = tuple(
    dict(
        zip(
            ("family", "prompts", "clean_top1", "clean_probability", "ablated_top1", "ablated_probability"),
            row,
            strict=True,
        )
    )
    for row in (
        ("induction", 120, 0.93, 0.28, 0.25, 0.09),
        ("bigger indentation", 50, 1.00, 0.55, 0.04, 0.11),
        ("previous", 50, 1.00, 0.87, 0.80, 0.40),
    )
)


def is_published(model: Any) -> bool:
    """Whether the network is the published one, by its name, or that which transformer_lens gave it."""
    return str(getattr(getattr(model, "cfg", None), "model_name", model)) in NAMES
