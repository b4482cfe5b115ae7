"""Which heads play which part in the circuit: those of the published network, or what a model's roles.json says."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, StrictInt

from hypotheses import heads
from hypotheses.heads import in_words, is_head
from scrubbing.errors import ModelError
from scrubbing.lens import TransformerConfig

Head = tuple[StrictInt, StrictInt]  # layer, number
Place = tuple[tuple[int, int], str]  # a head, and the role of the position where it acts

FILE = "roles.json"


class Roles(BaseModel):
    """The heads of a circuit by class, each with the most important first; `Roles()` has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name_mover: tuple[Head, ...] = ()  # copy the object to the end
    backup: tuple[Head, ...] = ()  # do so where a name mover is gone
    negative: tuple[Head, ...] = ()  # write against the object
    s_inhibition: tuple[Head, ...] = ()  # tell name movers which name not to attend to
    induction: tuple[Head, ...] = ()  # know from the token after the first subject that it stood before
    duplicate: tuple[Head, ...] = ()  # know it from the first subject itself
    previous: tuple[Head, ...] = ()  # write, at the token after it, what stood before
    naive: tuple[Head, ...] | None = None  # the first account of the circuit: by default all but backup and negative

    @property
    def classes(self) -> dict[str, tuple[Place, ...]]:
        """The circuit: each class's heads, with the position at which they act."""
        return {name: tuple((head, at) for head in getattr(self, name)) for name, at in AT.items()}

    @property
    def full(self) -> tuple[Place, ...]:
        """Every place of the circuit."""
        return tuple(place for places in self.classes.values() for place in places)

    @property
    def naive_places(self) -> tuple[Place, ...]:
        """The places of the naive circuit."""
        if self.naive is None:
            return tuple(p for name, places in self.classes.items() for p in places if name not in LATER)
        return tuple(place for place in self.full if place[0] in self.naive)

    def __str__(self) -> str:
        found = {name: getattr(self, name) for name in AT}
        return ", ".join(f"{name.replace('_', ' ')} {in_words(heads)}" for name, heads in found.items() if heads)


AT = {
    "name_mover": "END",
    "backup": "END",
    "negative": "END",
    "s_inhibition": "END",
    "induction": "S2",
    "duplicate": "S2",
    "previous": "S1_next",
}
LATER = ("backup", "negative")  # found by a second look

# Wang et al. 2022, GPT-2 small.
GPT2_SMALL = Roles(
    name_mover=((9, 9), (10, 0), (9, 6)),
    backup=((10, 10), (10, 6), (10, 2), (10, 1), (11, 2), (9, 7), (9, 0), (11, 9)),
    negative=((10, 7), (11, 10)),
    s_inhibition=((7, 3), (7, 9), (8, 6), (8, 10)),
    induction=((5, 5), (5, 8), (5, 9), (6, 9)),
    duplicate=((0, 1), (0, 10), (3, 0)),
    previous=((2, 2), (4, 11)),
    naive=(
        *((9, 6), (9, 9), (10, 0), (7, 3), (7, 9), (8, 6), (8, 10)),
        *((5, 5), (5, 9), (3, 0), (0, 10), (2, 2), (4, 11)),
    ),
)


def read_roles(path: Path, config: TransformerConfig) -> Roles:
    """The roles in a file.

    Raises `ModelError` for a file that is damaged, and for heads that the model does not have.
    """
    roles = heads.read_roles(path, Roles, _EXAMPLE)
    check_roles(roles, config, str(path))
    return roles


def check_roles(roles: Roles, config: TransformerConfig, where: str) -> None:
    """Raise `ModelError` for heads that the model does not have, one with two parts, and a circuit without movers."""
    problem = next(_problems(roles, config), None)
    if problem:
        raise ModelError(f"{where}: {problem}; name the heads of this model, for example {_EXAMPLE}")


def _problems(roles: Roles, config: TransformerConfig) -> Iterator[str]:
    named = [head for head, _ in roles.full]
    for head in (*named, *(roles.naive or ())):
        if not is_head(head, config):
            yield (
                f"the circuit speaks of head {in_words([head])}, but the model has {config.n_layers} layers of "
                f"{config.n_heads} heads"
            )
    for head in named:
        if named.count(head) > 1:
            yield f"head {in_words([head])} plays two parts"
    for head in roles.naive or ():
        if head not in named:
            yield f"the naive circuit has head {in_words([head])}, which plays no part"
    if not roles.name_mover:
        yield "no head is a name mover, so there is nothing to knock out"


_EXAMPLE = '{"name_mover": [[9, 9]], "s_inhibition": [[7, 3], [8, 6]], "duplicate": [[3, 0]]}'
