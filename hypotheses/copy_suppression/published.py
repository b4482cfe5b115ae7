"""What was found on GPT-2 small, for whom that network is loaded by its name."""

from collections.abc import Mapping
from pathlib import Path

from hypotheses.heads import Head

SOURCE = "McDougall et al. 2023 on GPT-2 small, head 10.7, 500 sequences of 1000 tokens of OpenWebText"
NAMES = ("gpt2", "gpt2-small", "openai-community/gpt2")
HEAD: Head = (10, 7)

EXPLAINED: Mapping[str, float] = {"ov": 81.1, "qk": 95.2, "both": 76.9}  # percent


def published(model: Path | None, head: Head) -> dict[str, float]:
    """The published figures, where this is the published head."""
    return dict(EXPLAINED) if model is not None and str(model) in NAMES and head == HEAD else {}
