"""A record goes to JSON and comes back, says what has changed since, and runs nothing."""

import json
import os
import random
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from hypotheses import toy
from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import DataError, Graph, Hypothesis, HypothesisError, Node, per_position, reads, scrub
from scrubbing.engine.component import Component
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


def test_a_number_that_is_not_finite_survives(path):
    score = scrub(OR, DATA, baseline=KNOWS_NOTHING).model_copy(update={"variance_between": float("inf")})
    save_record(path, OR, DATA, score)
    assert load_record(path).score == score
    json.loads(path.read_text(), parse_constant=pytest.fail)  # infinity is not JSON


def changed_losses(**columns):
    def change(found):
        found["score"]["by_reference"] |= columns

    return change


LOSSES = [0.5] * len(DATA["y"])
IMPOSSIBLE = {
    "infinite losses": (changed_losses(scrubbed=["inf", *LOSSES[1:]]), "its scrubbed losses are not finite"),
    "losses that are no number": (changed_losses(original=["nan", *LOSSES[1:]]), "its original losses are not finite"),
    "an infinite baseline": (changed_losses(baseline=[1e400, *LOSSES[1:]]), "its baseline losses are not finite"),
    "a broadcast column": (changed_losses(scrubbed=[0.5]), "its scrubbed losses are of 1 references"),
    "an empty column": (changed_losses(change=[]), "its change losses are of 0 references"),
    "another column of one entry": (changed_losses(kl=[0.5]), "its kl losses are of 1 references"),
    "a row beyond the data": (changed_losses(reference=[10**6, *range(1, len(LOSSES))]), "have row 1000000, and the"),
    "a row below 0": (changed_losses(reference=[-1, *range(1, len(LOSSES))]), "its references have row -1"),
    "a row that is no number": (changed_losses(reference=["many"]), "score.by_reference.reference.0: "),
    "a row beyond all": (changed_losses(reference=[2**70, *range(1, len(LOSSES))]), "its references have row 118059"),
    "fewer references": (lambda f: f["score"].update(references=3), "it is of 3 references, and has rows of 1000"),
    "no references": (lambda f: f["score"].update(references=0), "it is of 0 references, and has rows of 1000"),
    "another mean": (lambda f: f["score"].update(scrubbed=0.0), "its scrubbed loss is 0, which is not the mean"),
    "an infinite mean": (lambda f: f["score"].update(original="inf"), "its original loss is inf, which is not the"),
    "a mean that is no number": (lambda f: f["score"].update(baseline="nan"), "its baseline loss is nan, which is"),
    "no rows": (lambda f: f["data"].update(rows=0), "data.rows: "),
    "fewer rows": (lambda f: f["data"].update(rows=2), "have row 2, and the data have 2 rows"),
    "other keys": (lambda f: f.update({"more\x1b[31m": 1}), "Extra inputs are not permitted"),
    "another schema": (lambda f: f.update(schema=["a" * 10**5]), "has the schema ["),
    "no hypothesis": (lambda f: f.pop("hypothesis"), "hypothesis: Field required"),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> str:
    """The text of a good record."""
    path = tmp_path_factory.mktemp("record") / "or.json"
    save_record(path, OR, DATA, scrub(OR, DATA, baseline=KNOWS_NOTHING))
    return path.read_text()


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_record_of_what_cannot_be_is_refused(name, path, recorded):
    change, message = IMPOSSIBLE[name]
    found = json.loads(recorded)
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(DataError) as error:
        load_record(path)
    assert message in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


def test_a_score_of_other_data_is_not_recorded(path):
    score = scrub(OR, DATA, baseline=KNOWS_NOTHING)
    few = {name: column[:10] for name, column in DATA.items()}
    with pytest.raises(DataError, match="the score cannot be recorded: its references have row 10, and the data have"):
        save_record(path, OR, few, score)
    assert not path.exists()


@pytest.mark.parametrize("seed", range(60))
def test_a_record_with_changed_bytes_is_refused_or_read(seed, path, recorded):
    rng, content = random.Random(seed), bytearray(recorded.encode())
    for _ in range(3):
        place = rng.randrange(len(content))
        content[place : place + rng.choice((0, 1, 9))] = rng.randbytes(rng.choice((0, 1, 9)))
    path.write_bytes(content)
    with suppress(DataError):
        load_record(path)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe", b"null", b"1e999", b"NaN", b'"a"', b"1" * 5000, b"[]"),
        *(b"[" * 10**5, b'{"schema":' * 10**4, b'{"schema": 1, "schema": 2}'),
    ],
)
def test_what_is_no_record_is_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"or.json is (damaged|no record)"):
        load_record(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_record_that_would_never_end_is_not_begun(make, path):
    make(path)
    with pytest.raises(DataError, match=r"or.json cannot be read: it is no ordinary file"):
        load_record(path)


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


def test_loading_and_restoring_import_nothing_and_name_what_is_missing(path, monkeypatch):
    save_record(path, OR, DATA)
    monkeypatch.delitem(sys.modules, "hypotheses.toy")
    with pytest.raises(HypothesisError) as error:
        restore(load_record(path))
    assert str(error.value).splitlines()[0] == (
        "G's 'A' is hypotheses.toy:<lambda> `lambda z1, z2, z3: torch.sigmoid(8 * (z1 - 3.5))`, "
        "and hypotheses.toy is not imported: import it, or give the graph that has it"
    )
    assert "hypotheses.toy" not in sys.modules


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
