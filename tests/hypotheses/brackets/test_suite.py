"""The suite on a model folder: what it scores, what it writes, and what it refuses."""

import gzip
import json

import pytest
import torch
from bracket_checker import random_checker, save

from hypotheses import brackets
from hypotheses.brackets.places import SHIPPED
from hypotheses.brackets.strings import balanced, random_strings
from scrubbing import DataError, HypothesisError, ModelError
from scrubbing.cli.results import results, shown, write_json
from scrubbing.score.tables import rendered

pytestmark = pytest.mark.usefixtures("unchecked")

NAMES = ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b", "4"]


@pytest.fixture
def folder(tmp_path):
    made = save(random_checker(), tmp_path / "model")
    strings = [s for s in random_strings(300, seed=1) if len(s) <= 10]
    (made / "strings.txt.gz").write_bytes(gzip.compress("".join(f"{s}\n" for s in strings).encode()))
    return made


def test_nine_hypotheses_are_scored_and_written(folder, tmp_path):
    suite = brackets.suite(folder, dtype=torch.float64)
    scores = suite.score(references=20)
    assert list(scores) == NAMES
    path = tmp_path / "scores.json"
    tables = suite.tabulated(scores)
    write_json(results(suite, scores, tables, {}), path)
    found = json.loads(path.read_text())
    assert found.keys() == {"schema", "original", "baseline", "settings", "hypotheses", "about", "tables"}
    assert [h["name"] for h in found["hypotheses"]] == NAMES
    assert {h["references"] for h in found["hypotheses"]} == {20}
    assert [row["hypothesis"] for row in found["tables"]["losses"]] == NAMES
    assert [row["loss"] for row in found["tables"]["losses"]] == [h["loss"] for h in found["hypotheses"]]
    assert [row["baseline"] for row in found["tables"]["baselines"]] == ["all_pairs", "base_rate"]
    (pairs, rate), row = found["tables"]["baselines"], found["tables"]["losses"][3]
    original = found["original"]
    assert row["against_base_rate"] == pytest.approx((rate["loss"] - row["loss"]) / (rate["loss"] - original))
    assert row["against_all_pairs"] == pytest.approx((pairs["loss"] - row["loss"]) / (pairs["loss"] - original))
    assert found["about"]["heads"] == "count 1.0 2.0, horizon 2.1, share 0.0"
    said = rendered(shown(suite, scores, tables))
    assert all(f"│ {name} " in said for name in NAMES)
    assert "base_rate" in said


def test_published_figures_stand_only_beside_the_published_network(folder):
    suite = brackets.suite(folder)
    assert not suite.published
    losses = suite.tables["losses"](suite.only(["1a"]).score(references=5))
    assert losses[0]["published_loss"] is None


def test_the_base_rate_is_a_baseline_of_all_strings(folder):
    suite = brackets.suite(folder, dtype=torch.float64)
    data = suite.cases[0].data
    assert isinstance(data, dict)
    p = data["labels"][:, 0].double().mean()
    pairs, rate = suite.tables["baselines"](suite.only(["0a"]).score(references=5))
    assert rate["loss"] == pytest.approx(float(-p * p.log() - (1 - p) * (1 - p).log()))
    losses = torch.stack(
        [suite.cases[0].hypothesis.G({**data, "labels": torch.full_like(data["labels"], y)}) for y in (0, 1)]
    )
    assert pairs["loss"] == pytest.approx(float((1 - p) * losses[0].mean() + p * losses[1].mean()))


def test_roles_stand_beside_the_model(folder):
    (folder / "roles.json").write_text('{"count": [[2, 0]], "horizon": [[2, 1], [1, 1]], "share": [0, 1]}')
    suite = brackets.suite(folder, dtype=torch.float64)
    assert suite.about["heads"] == "count 2.0, horizon 2.1 1.1, share 0.1"
    assert all(score.scrubbed > 0 for score in suite.score(references=5).values())


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ('{"count": [[3, 0]]}', "the claims speak of head 3.0, but the model has 3 layers of 2 heads; .* for example"),
        ('{"count": [[2, 1]]}', "a head has two parts to play"),
        ('{"share": [1, 1]}', "which is not in the first layer"),
        ('{"count": [[0, 1]]}', "a head of the first layer reads no other"),
        ('{"counts": [[0, 1]]}', "roles.json: counts: .*not permitted"),
        ('{"count": [["a", 1]]}', "roles.json: count.0.0: .*integer"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_wrong_roles_are_refused(folder, roles, said):
    (folder / "roles.json").write_text(roles)
    with pytest.raises(ModelError, match=said):
        brackets.suite(folder)


def test_a_model_without_those_heads_is_told_which(tmp_path, folder):
    small = save(random_checker(n_layers=2), tmp_path / "small")
    with pytest.raises(ModelError, match=r"the claims speak of head 2\.0, but the model has 2 layers of 2 heads"):
        brackets.suite(small, folder / "strings.txt.gz")


def test_heads_are_measured_in_ordinary_numbers_too(folder):
    found = brackets.heads(folder)
    said = rendered(found)
    assert all(name in said for name in ("0.0", "2.1", "count", "horizon", "share"))


def test_strings_are_needed(tmp_path):
    made = save(random_checker(), tmp_path / "alone")
    with pytest.raises(DataError, match=r"holds no strings.txt.gz; name a file of strings, one a line, with --data"):
        brackets.suite(made)


@pytest.mark.parametrize(("text", "said"), [("()\n(())\n", "all 2 strings are balanced"), (")\n", "are unbalanced")])
def test_strings_of_both_kinds_are_needed(folder, tmp_path, text, said):
    (tmp_path / "one_kind.txt").write_text(text)
    with pytest.raises(DataError, match=said):
        brackets.suite(folder, tmp_path / "one_kind.txt")


def test_strings_longer_than_the_context_are_refused(folder, tmp_path):
    (tmp_path / "long.txt").write_text("()\n" + "()" * 6 + "\n")
    with pytest.raises(DataError, match=r"line 2 of .* has 12 brackets; .* context of 12 holds 10"):
        brackets.suite(folder, tmp_path / "long.txt")


def test_a_case_is_one_of_the_shipped_suite():
    case = brackets.case("1b")
    assert case.name == "1b"
    assert case.score(references=5).references == 5
    with pytest.raises(HypothesisError, match="there is no experiment '1c'"):
        brackets.case("1c")


def test_the_shipped_network_tells_strings_apart():
    case = brackets.case("0a")
    assert isinstance(case.data, dict)
    some = {name: column[:3000] for name, column in case.data.items()}
    assert float((case.hypothesis.G(some) > 0.693).double().mean()) < 0.001
    assert 0.25 < float(case.data["labels"][:, 0].double().mean()) < 0.28
    assert len(case.data["tokens"]) == 100_000


def test_the_shipped_strings_are_those_of_the_generator():
    lines = gzip.decompress((SHIPPED / "strings.txt.gz").read_bytes()).decode().split()
    assert lines == random_strings(100_000, 0)
    assert sum(map(balanced, lines)) == pytest.approx(26_400, abs=300)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1e6
