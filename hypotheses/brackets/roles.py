"""Which heads play which part: those of the published network, or what stands beside another model in roles.json."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from hypotheses import heads
from hypotheses.heads import in_words, is_head
from scrubbing.errors import ModelError
from scrubbing.lens import TransformerConfig

Head = tuple[StrictInt, StrictInt]  # layer, number

FILE = "roles.json"


class Roles(BaseModel):
    """The heads that the claims speak of, as (layer, number)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: tuple[Head, ...] = Field(default=((1, 0), (2, 0)), min_length=1)  # whether the counts are equal
    horizon: tuple[Head, ...] = Field(default=((2, 1),), min_length=1)  # whether the horizon holds
    share: Head = (0, 0)  # writes the share of "(" at the first bracket

    def __str__(self) -> str:
        return f"count {in_words(self.count)}, horizon {in_words(self.horizon)}, share {in_words([self.share])}"


def read_roles(folder: Path, config: TransformerConfig) -> Roles:
    """The roles in a model's folder, or those of the published network.

    Raises `ModelError` for a file that is damaged, and for heads that the model does not have.
    """
    path = folder / FILE
    roles = heads.read_roles(path, Roles, Roles().model_dump_json()) if path.exists() else Roles()
    check_roles(roles, config, path)
    return roles


def check_roles(roles: Roles, config: TransformerConfig, path: Path) -> None:
    """Raise `ModelError` unless the model has the heads, each plays one part, and the first layer makes the share."""
    named = (*roles.count, *roles.horizon, roles.share)
    absent = in_words(head for head in named if not is_head(head, config)).split()
    problem = ""
    if absent:
        size = f"{config.n_layers} layers of {config.n_heads} heads"
        problem = f"the claims speak of head {absent[0]}, but the model has {size}"
    elif len(set(named)) < len(named):
        problem = "a head has two parts to play"
    elif roles.share[0] != 0:
        problem = f"the share of ( is made by head {roles.share[0]}.{roles.share[1]}, which is not in the first layer"
    elif any(layer == 0 for layer, _ in roles.count):
        problem = "a head of the first layer reads no other, so it cannot count by the share that another head writes"
    if problem:
        raise ModelError(f"{problem}; name the heads of this model in {path}: for example {Roles().model_dump_json()}")
