"""What makes the circuit good: faithfulness, completeness, minimality.

Heads are knocked out by their means over prompts of three names and one template, position by position; MLPs never are.

Source: Wang et al. 2022, Interpretability in the Wild, section 4.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from hypotheses.heads import Head, head_name, in_words
from hypotheses.ioi.data import ROLES, grouped
from hypotheses.ioi.roles import Place, Roles
from scrubbing import Criteria, Graph, criteria, mean
from scrubbing.experiments.judged import Row as Found
from scrubbing.experiments.knockouts import EVERYTHING, Kept

Row = dict[str, Any]

ANY = "any_"  # what the columns begin with that have a role's positions in all prompts
BY_TEMPLATE = mean(by="template", over="three_names")


def judged(
    G: Graph,
    heads: Iterable[Head],
    data: Mapping[str, Tensor],
    rows: int,
    roles: Roles,
    *,
    union: bool = False,
    **settings: Any,
) -> dict[str, Criteria]:
    """The naive circuit, where it is another, and the full one.

    `data` are the prompts, `rows` of them, and below them those of three names. With `union`, a place is kept wherever
    it is in any of the prompts, as a well-known implementation does.
    """
    marked = {**data, "three_names": torch.arange(len(data["END"]), device=data["END"].device) >= rows}
    prefix = ANY if union else ""
    if union:
        marked |= {f"{ANY}{role}": data[role][:rows].unique().expand(len(data[role]), -1) for role in ROLES}
    circuits = {"naive": roles.naive_places, "full": roles.full}
    if set(roles.naive_places) == set(roles.full):
        del circuits["naive"]
    settings |= {"references": range(rows), "check": False, **grouped(data["template"][:rows])}
    return {
        name: criteria(
            G,
            in_roles(places, prefix),
            marked,
            among=[head_name(head) for head in heads],
            instead=BY_TEMPLATE,
            classes={
                of: in_roles(some, prefix)
                for of, given in roles.classes.items()
                if (some := [place for place in given if place in places])
            },
            **settings,
        )
        for name, places in circuits.items()
    }


def in_roles(places: Iterable[Place], prefix: str = "") -> list[str]:
    """Places as nodes at the positions of roles."""
    return [f"{head_name(head)}@{prefix}{role}" for head, role in places]


def named(places: Iterable[Any]) -> str:
    """Places in words, by role: "9.9 10.0 at END"."""
    by_role: dict[str, list[Head]] = {}
    for place in places:
        layer, head = place.node[1:].split("_h")
        by_role.setdefault(place.role.removeprefix(ANY), []).append((int(layer), int(head)))
    return "; ".join(f"{in_words(sorted(by_role[role]))} at {role}" for role in ROLES if role in by_role) or "none"


def table(found: Mapping[str, Criteria], roles: Roles) -> list[Row]:
    """All criteria, of the naive circuit and of the full one (where they differ)."""
    rows: list[Row] = []
    for name, of in found.items():
        said = {"the circuit": f"{name} circuit", "nothing": "none"}
        for each in (*of.performance, *of.faithfulness):
            nodes = said.get(each.name, each.name)
            nodes = f"random circuits of the size of the {name} one" if "random" in nodes else nodes
            rows.append(_row(each.criterion, nodes, each))
    rows = list({(row["criterion"], row["nodes"]): row for row in rows}.values())
    classes = {place: kind for kind, places in roles.classes.items() for place in in_roles(places)}
    for name, of in found.items():
        whole = float(of.F(EVERYTHING).mean())
        for each in of.completeness:
            without = each.name.removeprefix("without ")
            kind = without.replace("_", " ") if "@" not in without else "some"
            rows.append(_row(f"completeness ({name})", f"without {kind}: {named(each.removed)}", each))
        for each in of.minimality:
            after = f", {named(each.removed)} gone" if each.removed else ""
            kind = classes[str(each.place).replace(f"@{ANY}", "@")].replace("_", " ")
            rows.append(_row(f"minimality ({name})", f"{kind} {named([each.place])}{after}", each, whole))
    return rows


def points(found: Mapping[str, Criteria]) -> list[Row]:
    """F of a circuit and of the network without the same places: of a complete circuit they are equal."""
    return [
        {
            "circuit": name,
            "without": without.removeprefix("without "),
            "nodes": named(K),
            "circuit_without": float(of.F(Kept(frozenset(of.circuit)).without(K)).mean()),
            "network_without": float(of.F(EVERYTHING.without(K)).mean()),
        }
        for name, of in found.items()
        for without, K in [("nothing", ()), *((each.name, each.removed) for each in of.completeness)]
    ]


def _row(criterion: str, nodes: str, found: Found, per: float = 1.0) -> Row:
    """A row of the table, as a share of a number."""
    value, low, high = (number / abs(per) for number in (found.value, found.low, found.high))
    return {"criterion": criterion, "nodes": nodes, "value": value, "low": low, "high": high}
