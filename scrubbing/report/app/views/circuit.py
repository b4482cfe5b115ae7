"""The page of a head's circuits: what it moves, and what it looks for."""

import streamlit as st

from scrubbing.report.app.circuits import circuits
from scrubbing.report.app.served import Served
from scrubbing.report.app.views.parts import chosen_head, listed, recalled, told

MOST_OPTIONS = 10_000  # tokens in a list; of more, a number is asked for


def circuit(app: Served) -> None:
    """A head's OV and QK circuits."""
    st.header("What a head is wired to do", anchor=False)
    st.write(
        "The direct path: tokens as the embedding writes them, without positions and without what other blocks write. "
        "OV is what a token does to the logits where the head looks at it; QK is which tokens the head looks for."
    )
    head = chosen_head(app)
    if head is None:
        return
    with told():
        found = recalled(app, ("circuits", head), "Multiplying matrices ...", lambda: circuits(app.subject, head))
        own = recalled(app, ("own token", head), "Ranking every token ...", found.of_own_token)
    st.subheader("Of all tokens", anchor=False)
    st.markdown("How often a token is itself among the ten that are")
    for place, (name, share) in zip(st.columns(3), own.items(), strict=True):
        place.metric(name, f"{share:.0%}", border=True)
    st.subheader("Of one token", anchor=False)
    token = _token(app, len(found.k))
    raised, lowered = found.moved(token, app.subject)
    keys, avoided = found.looked_for(token, app.subject)
    columns = st.columns(4)
    for place, title, rows, unit in zip(
        columns,
        ("OV: it raises", "OV: it lowers", "QK: it looks for", "QK: it looks away from"),
        (raised, lowered, keys, avoided),
        ("logit", "logit", "score", "score"),
        strict=True,
    ):
        with place:
            listed(title, rows, unit, signed=True)


def _token(app: Served, tokens: int) -> int:
    if tokens > MOST_OPTIONS:
        return int(st.number_input(f"Token (0 to {tokens - 1})", 0, tokens - 1, key="token"))
    return st.selectbox(
        "Token", range(tokens), key="token", format_func=lambda token: f"{app.subject.names(token)}  ({token})"
    )
