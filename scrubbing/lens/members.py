"""Which nodes of a transformer a group names: heads of one layer, or any blocks."""

import re
from collections.abc import Iterable, Iterator, Mapping

from scrubbing.errors import GraphError, nearest
from scrubbing.lens.config import TransformerConfig
from scrubbing.lens.grouping import matching

Head = tuple[int, int]  # layer and number
HEAD = re.compile(r"a(\d+)_h(\d+)")


def members_of(
    config: TransformerConfig, groups: Mapping[str, str], *, reserved: Iterable[str] = ()
) -> tuple[dict[str, list[Head]], dict[str, list[str]]]:
    """The heads of the groups that are heads of one layer, and the nodes of all others.

    Raises `GraphError` for a group that names no node, an unknown one, or one twice, and for a name that is taken.
    """
    named = _named(config, groups, reserved)
    members: dict[str, list[Head]] = {}
    for group, names in named.items():
        heads = [(int(found[1]), int(found[2])) for name in names if (found := HEAD.fullmatch(name))]
        if len(heads) == len(names) and len({layer for layer, _ in heads}) == 1:
            members[group] = heads
    return members, {group: names for group, names in named.items() if group not in members}


def _named(config: TransformerConfig, groups: Mapping[str, str], reserved: Iterable[str]) -> dict[str, list[str]]:
    """The nodes of each group, in the order in which they are named."""
    heads = [f"a{layer}_h{head}" for layer in range(config.n_layers) for head in range(config.n_heads)]
    kinds = ("" if config.norm_placement == "before" else "a") + ("" if config.attn_only else "m")
    known = [*heads, *(f"{kind}{layer}" for kind in kinds for layer in range(config.n_layers))]
    taken = {"embed", "pos_embed", "logits", "loss", "tokens", "labels", "weights", "padding", *reserved, *known}
    what = "head" if config.attn_only else "head or MLP"
    seen: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for group, written in groups.items():
        if group in taken:
            raise GraphError(f"there is a node or column {group!r} already; choose another name")
        if not written.split():
            raise GraphError(f"{group!r} groups {written!r}; a group names at least one head")
        found[group] = []
        for word in written.split():
            names = matching(word, known)
            if not names:
                raise GraphError(f"{group!r} groups {word!r}, which is no {what} of this model{nearest(word, known)}")
            for name in names:
                if name in seen:
                    raise GraphError(
                        f"{name!r} is named twice, in {seen[name]!r} and in {group!r}; name each head once"
                    )
                seen[name] = group
            found[group] += names
    return found


def heads_of(layer: int, n_heads: int, members: Mapping[str, list[Head]]) -> Iterator[tuple[str, list[int]]]:
    """The nodes of a layer with their heads: a group stands where its first head stood."""
    grouped = {head: (group, heads) for group, heads in members.items() for head in heads}
    for head in range(n_heads):
        group, heads = grouped.get((layer, head), (f"a{layer}_h{head}", [(layer, head)]))
        if heads[0] == (layer, head):
            yield group, [h for _, h in heads]
