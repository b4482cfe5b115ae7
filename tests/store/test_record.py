"""A record goes to JSON and comes back, says what has changed since, and runs nothing."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from hypotheses import toy
from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import DataError, Graph, Hypothesis, HypothesisError, Node, per_position, reads, scrub
from scrubbing.lens.components.base import Component
from scrubbing.store.record import data_hash, load_record, restore, save_record

DATA = digits()
OR = Hypothesis(NETWORK, CLAIMS["an or of thresholds"])


@dataclass(frozen=True)
class Near:
    """A wrapper of a feature, as `within` is."""

    fn: Any
    step: float

    def __call__(self, z1):
        return (self.fn(z1) / self.step).round()


@dataclass(frozen=True, eq=False)
class Scale(Component):
    """A function with a weight."""

    weight: torch.Tensor

    def __call__(self, z1):
        return self.weight * z1


def large(z1):
    return z1 > 3


def with_A(claim):
    return Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": claim})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "or.json"


def test_a_record_comes_back_with_hypothesis_data_settings_and_score(path):
    score = scrub(OR, DATA, baseline=KNOWS_NOTHING)
    saved = save_record(path, OR, DATA, score, {"seed": 0, "others": "node"})
    record = load_record(path)
    assert record == saved
    assert record.score == score
    assert record.settings == {"seed": 0, "others": "node"}
    assert record.data.digest == data_hash(DATA)
    assert record.matches(OR, DATA)
    assert json.loads(path.read_text())["schema"] == "scrubbing.store.record/1"
    assert list(path.parent.iterdir()) == [path]


def test_an_infinite_loss_survives(path):
    score = scrub(OR, DATA, baseline=KNOWS_NOTHING).model_copy(update={"scrubbed": float("inf")})
    save_record(path, OR, DATA, score)
    assert load_record(path).score == score
    json.loads(path.read_text(), parse_constant=pytest.fail)  # infinity is not JSON


def test_the_content_hash_is_of_names_types_shapes_and_values_in_any_order():
    assert data_hash(dict(reversed(DATA.items()))) == data_hash(DATA)
    assert data_hash({name: column.numpy() for name, column in DATA.items()}) == data_hash(DATA)
    for changed in (
        {"z1": DATA["z1"].float()},
        {"z1": DATA["z1"][:, None]},
        {"z1": DATA["z1"].flip(0)},
        {"extra": DATA["z1"]},
    ):
        assert data_hash({**DATA, **changed}) != data_hash(DATA)
    renamed = {"w": DATA["z1"], **{n: c for n, c in DATA.items() if n != "z1"}}
    assert data_hash(renamed) != data_hash(DATA)


CHANGES = {
    "source": (
        with_A(lambda z1: z1 > 4),
        "the source of I's 'A' has changed since the record was made: "
        "it was `lambda z1: z1 > 3`, and is `lambda z1: z1 > 4`",
    ),
    "feature to reads": (
        with_A(reads("z1")),
        "the source of I's 'A' has changed since the record was made: it was `lambda z1: z1 > 3`, and is `reads(...)`",
    ),
    "inputs": (
        with_A(Node(OR.I["A"].fn, ("z2",))),
        "I's 'A' has other inputs since the record was made: it read z1, and reads z2",
    ),
    "per position": (
        with_A(per_position(OR.I["A"])),
        "I's 'A' is declared otherwise since the record was made: it was {}, and is {'per_position': True}",
    ),
    "removed": (
        Hypothesis(NETWORK, OR.I | {"D": lambda A: A}),
        "I no longer has the node 'B' that the record has",
    ),
    "network": (
        Hypothesis(NETWORK | {"C": lambda z1: 0 * z1}, OR.I),
        "G's 'C' has other inputs since the record was made: it read z1, z2, z3, and reads z1",
    ),
    "declared": (
        Hypothesis(NETWORK, OR.I, columns=("group",)),
        "columns has changed since the record was made: it was (), and is ('group',)",
    ),
}


@pytest.mark.parametrize(("hypothesis", "sentence"), [pytest.param(*case, id=name) for name, case in CHANGES.items()])
def test_what_has_changed_is_said_by_name(path, hypothesis, sentence):
    record = save_record(path, OR, DATA)
    assert sentence in record.check(hypothesis)
    assert not record.matches(hypothesis)


def test_a_value_that_a_function_uses_is_part_of_it(path):
    def above(limit):
        return with_A(lambda z1: z1 > limit)

    record = save_record(path, above(3), DATA)
    assert record.matches(above(3))
    assert record.check(above(4)) == ("I's 'A' uses another value of 'limit' than when the record was made",)


def test_changed_weights_are_named(path):
    def network(weight):
        return Hypothesis(NETWORK | {"A": Scale(torch.tensor(weight))}, Graph(loss=reads("y")))

    record = save_record(path, network([1.0]), DATA)
    assert record.matches(network([1.0]))
    assert record.check(network([2.0])) == ("G's 'A' uses another value of 'weight' than when the record was made",)


def test_changed_data_are_named_by_column(path):
    record = save_record(path, OR, DATA)
    assert record.check(OR, {**DATA, "z2": DATA["z2"] + 1}) == (
        "the column 'z2' has changed since the record was made",
    )
    fewer = record.check(OR, {name: column[:10] for name, column in DATA.items()})
    assert fewer[0] == "the data had 1000 rows when the record was made, and have 10"


def test_a_record_is_restored_from_imported_modules(path):
    restored = restore(save_record(path, OR, DATA))
    assert restored == OR
    assert restored.G is not OR.G
    assert restore(load_record(path), toy.NETWORK).G is toy.NETWORK


def test_named_functions_and_wrappers_are_restored(path):
    for claim in (large, Node(Near(large, 0.5), ("z1",)), per_position(large)):
        assert restore(save_record(path, with_A(claim), DATA)) == with_A(claim)


def test_weights_come_from_the_graph_that_has_them(path):
    weighted = Hypothesis(NETWORK | {"A": Scale(torch.tensor([1.0]))}, CLAIMS["an or of thresholds"])
    record = save_record(path, weighted, DATA)
    with pytest.raises(
        HypothesisError, match=r"G's 'A' is .*Scale, which is not among the functions given or imported"
    ):
        restore(record)
    again = restore(record, weighted.G)
    assert again == weighted
    assert again.G is weighted.G


def test_a_function_that_has_changed_is_not_restored(path, monkeypatch):
    record = save_record(path, with_A(large), DATA)
    monkeypatch.setattr(sys.modules[__name__], "large", lambda z1: z1 > 5)
    with pytest.raises(HypothesisError, match=r"I's 'A' .* has changed since the record was made"):
        restore(record)


def test_loading_and_restoring_import_nothing_and_name_what_is_missing(path):
    save_record(path, OR, DATA)
    script = f"""
import sys
from scrubbing.store.record import load_record, restore
record = load_record({str(path)!r})
try:
    restore(record)
except Exception as error:
    print(type(error).__name__, str(error).splitlines()[0])
print("hypotheses.toy" in sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == [
        "HypothesisError G's 'A' is hypotheses.toy:<lambda> `lambda z1, z2, z3: torch.sigmoid(8 * (z1 - 3.5))`, "
        "and hypotheses.toy is not imported: import it, or give the graph that has it",
        "False",
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:100], r"or.json is damaged: it is not JSON"),
        (lambda text: "[]", r"or.json is no record of a hypothesis: it has no schema"),
        (
            lambda text: text.replace("record/1", "record/9"),
            r"schema 'scrubbing.store.record/9', and this version reads only",
        ),
        (lambda text: text.replace('"rows": 1000', '"rows": "many"'), r"or.json is damaged: data.rows: .* integer"),
    ],
)
def test_a_damaged_or_other_file_is_said_in_one_line(path, damage, message):
    save_record(path, OR, DATA)
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=message) as error:
        load_record(path)
    assert "\n" not in str(error.value)


def test_files_and_settings_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none.json cannot be read: No such file"):
        load_record(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"cannot be written: there is no folder"):
        save_record(tmp_path / "no folder" / "or.json", OR, DATA)
    with pytest.raises(DataError, match=r"settings\['others'\] is a Tensor, which JSON does not have"):
        save_record(tmp_path / "or.json", OR, DATA, settings={"others": DATA["z1"]})
