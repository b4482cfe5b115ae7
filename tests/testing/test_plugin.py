"""The plugin in test runs of its own: what a user's test file sees, prints and leaves behind."""

import json
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hypotheses import toy
from scrubbing.testing import fixture  # noqa: F401  # imported here, it stays imported after a run in this process
from scrubbing.testing.report import Report

# Where the package was installed before it had the plugin, pytest is told of it.
INSTALLED = any(entry.name == "scrubbing" for entry in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", "scrubbing.testing.plugin")

HEAD = """
    import pytest
    from hypotheses import toy
    from scrubbing import approx_percent

    A, B = toy.case("an or of thresholds"), toy.case("a threshold too high")
"""
GOOD = """
    def test_or_beats_a_threshold(scrub):
        high, right = scrub(B, A)
        assert right > high

    def test_percentages(scrub):
        assert scrub(A).recovered == approx_percent(100, within=2)
"""


@pytest.fixture(autouse=True)
def _this_copy(monkeypatch):
    """Other processes import the package from here, wherever it was installed from."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest on a file with these tests, in this process."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("CI", raising=False)  # where pytest cuts nothing short

    def run(tests: str, *arguments: str) -> pytest.RunResult:
        path = pytester.makepyfile(f"{HEAD}\n{tests}")
        return pytester.runpytest_inprocess(path, *PLUGIN, "-p", "no:cacheprovider", *arguments)

    return run


def section(result: pytest.RunResult, title: str) -> list[str]:
    """The lines printed below a title, up to the next."""
    text = result.stdout.str()
    found = re.search(rf"^[=-]+ {title} [=-]+$\n(.*?)(?=^[=_-]{{3,}})", text, flags=re.DOTALL | re.MULTILINE)
    assert found, text
    return found[1].splitlines()


def test_two_hypotheses_in_three_lines(run):
    result = run(GOOD, "--scrub-references", "200")
    result.assert_outcomes(passed=2)
    a, b = (toy.case(name).score(references=200) for name in ("an or of thresholds", "a threshold too high"))
    shown = {s.name: str(s).split("   ")[0] + ", 200 references" for s in (a, b)}
    assert section(result, "causal scrubbing") == [
        "test_two_hypotheses_in_three_lines.py::test_or_beats_a_threshold",
        f"  {b.name}   {shown[b.name]}",
        f"  {a.name}    {shown[a.name]}",
        "test_two_hypotheses_in_three_lines.py::test_percentages",
        f"  {a.name}   {shown[a.name]}",
    ]


def test_scores_are_shared_by_all_tests_and_by_fixtures_of_any_scope(run):
    tests = """
    @pytest.fixture(scope="module")
    def right(scrub):
        return scrub(A, references=50)

    def test_one(right, scrub):
        assert scrub(A, references=50) is right

    def test_another(right, scrub):
        assert scrub(A.hypothesis, A.data, baseline=A.baseline, references=50).by_reference == right.by_reference
    """
    run(tests).assert_outcomes(passed=2)


FAILURE = [
    "E       AssertionError: assert 'a threshold too high' > 'an or of thresholds'",
    "E         'a threshold too high' does not recover more than 'an or of thresholds', by a paired t test, *at 2.5%",
    "E           a threshold too high   *% recovered [[]*[]], 200 references",
    "E           an or of thresholds    *% recovered [[]*[]], 200 references",
    "E         difference -* points [[]-*, -*[]]",
    "E         worst for 'a threshold too high': row *, loss * originally, 1 scrubbed",
    "E           stood in: row * at loss/D, row * at loss/D/A, row * at loss/D/A/other, and 3 more",
]


def test_a_failed_comparison_says_by_how_much_and_where(run):
    result = run("    def test_it(scrub):\n        assert scrub(B) > scrub(A)", "--scrub-references", "200")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(FAILURE, consecutive=True)
    a, b = (toy.case(name).score(references=200) for name in ("an or of thresholds", "a threshold too high"))
    assert section(result, "Scores of this test") == [f"  {b.name}   {b}", f"  {a.name}    {a}"]


def test_a_percentage_that_is_not_the_expected_one_brings_its_score(run):
    tests = """
    def test_score(scrub):
        assert scrub(B) == approx_percent(3, within=1)

    def test_fraction(scrub):
        assert scrub(B).recovered == approx_percent(99, within=1)

    def test_number(scrub):
        assert scrub(B).recovered > 0.9
    """
    result = run(tests, "--scrub-references", "200")
    result.assert_outcomes(failed=3)
    score = ["E           a threshold too high   *% recovered [[]*[]], 200 references", "E         worst for *: row *"]
    start = "E       AssertionError: assert "
    for lines in (
        [f"{start}'a threshold too high' == 3% ± 1 points", "E         * points above 3%", *score],
        [f"{start}0.* == 99% ± 1 points", "E         * points below 99%", *score],
        [f"{start}0.* > 0.9", *score],
    ):
        result.stdout.fnmatch_lines(lines, consecutive=True)


def test_any_failure_shows_the_scores_of_its_test_and_no_other_s(run):
    tests = """
    def test_other(scrub):
        scrub(A)

    def test_it(scrub):
        assert round(100 * scrub(B).recovered) > 90

    def test_without():
        assert 1 + 1 == 3
    """
    result = run(tests, "--scrub-references", "20")
    result.assert_outcomes(passed=1, failed=2)
    (line,) = section(result, "Scores of this test")
    assert line.startswith("  a threshold too high   ")
    assert result.stdout.str().count("Scores of this test") == 1


def test_names_cannot_command_the_terminal(run):
    tests = """
    from dataclasses import replace

    def test_it(scrub):
        assert scrub(replace(B, name="a\\x1b[31mred\\x9b")) > scrub(replace(A, name="b\\u202e"))
    """
    shown = run(tests, "--scrub-references", "50").stdout.str()
    lines = [line for line in shown.splitlines() if "recovered" in line]
    assert len(lines) > 4
    assert all(line.isprintable() for line in lines)
    assert r"a\x1b[31mred\x9b" in shown


def test_other_comparisons_are_explained_as_ever(run):
    result = run("    def test_it():\n        assert [1, 2] == [1, 3]")
    result.stdout.fnmatch_lines(["E       assert [[]1, 2[]] == [[]1, 3[]]", "*At index 1 diff: 2 != 3"])


def test_a_seeded_run_repeats_itself(run, pytester):
    texts = []
    for _ in range(2):
        result = run(GOOD, "--scrub-references", "200", "--scrub-seed", "3", "--scrub-report", "out.json")
        result.assert_outcomes(passed=2)
        texts.append((pytester.path / "out.json").read_text())
    assert texts[0] == texts[1]
    report = Report.model_validate_json(texts[0])
    assert {(entry.score.seed, entry.score.references) for entry in report.scores} == {(3, 200)}
    assert report.scores[1].score == toy.case("an or of thresholds").score(seed=3, references=200)


# -- options


def test_options_may_stand_in_the_ini_file_and_the_command_line_goes_before(run, pytester):
    pytester.makeini("[pytest]\nscrub_references = 30\nscrub_seed = 4\nscrub_report = scores.json\n")
    result = run(GOOD.replace("100, within=2", "100, within=20"), "--scrub-seed", "5")
    result.stdout.fnmatch_lines(["scrubbing: references 30, seed 5"])
    report = Report.model_validate_json((pytester.path / "scores.json").read_text())
    assert {(entry.score.seed, entry.score.references) for entry in report.scores} == {(5, 30)}
    result.stdout.fnmatch_lines([f"2 scores written to {pytester.path / 'scores.json'}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scrub-references", "many"], "--scrub-references is 'many', and must be an integer"),
        (["--scrub-references", "0"], "--scrub-references is 0, and must be at least 1"),
        (["--scrub-seed", "x"], "--scrub-seed is 'x', and must be an integer"),
        (["--scrub-report", "nowhere/out.json"], "--scrub-report: .*out.json cannot be written: there is no folder /"),
        (["--scrub-report", "."], "--scrub-report: .* cannot be written: it is a folder$"),
    ],
)
def test_a_wrong_option_is_said_before_any_test_runs(arguments, message, pytester):
    with pytest.raises(pytest.UsageError, match=f"^{message}"):
        pytester.parseconfigure(*PLUGIN, *arguments)


def test_a_report_of_nothing_is_a_report(run, pytester):
    run("    def test_it(): pass", "--scrub-report", "out.json").assert_outcomes(passed=1)
    assert json.loads((pytester.path / "out.json").read_text()) == {"schema": "scrubbing.tests/1", "scores": []}


def test_nothing_is_written_when_tests_are_only_listed(run, pytester):
    run(GOOD, "--scrub-report", "out.json", "--collect-only")
    assert not (pytester.path / "out.json").exists()


def test_a_report_that_cannot_be_written_fails_the_run_and_leaves_the_old_one(run, pytester, monkeypatch):
    (pytester.path / "out.json").write_text("old")
    replace = Path.replace

    def full(path, target):
        if target.name == "out.json":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    result = run(GOOD, "--scrub-report", "out.json", "-q")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["--scrub-report: */out.json cannot be written: No space left on device"])
    assert (pytester.path / "out.json").read_text() == "old"


def test_a_quiet_run_has_no_table(run):
    assert "causal scrubbing" not in run(GOOD, "-q").stdout.str()


# -- beside other plugins, and without this one


def test_a_run_without_hypotheses_prints_nothing_and_loads_nothing(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert not {"torch", "numpy", "pydantic", "scrubbing.score", "scrubbing.testing.scores"} & set(sys.modules)
            assert "scrubbing.testing.plugin" in sys.modules
        """
    )
    others = [word for name in ("jaxtyping", "hypothesispytest") for word in ("-p", f"no:{name}")]
    result = pytester.runpytest_subprocess(*PLUGIN, *others)
    result.assert_outcomes(passed=1)
    assert "scrubbing:" not in result.stdout.str()
    assert "causal" not in result.stdout.str()


@pytest.mark.skipif(not INSTALLED, reason="the package was installed before it had the plugin")
def test_the_plugin_can_be_left_out(pytester):
    pytester.makepyfile("def test_it(request):\n    assert not request.config.pluginmanager.has_plugin('scrubbing')")
    assert pytester.runpytest_inprocess("-p", "no:scrubbing").ret == pytest.ExitCode.OK
    refused = pytester.runpytest_inprocess("-p", "no:scrubbing", "--scrub-seed", "3")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*unrecognized arguments: --scrub-seed*"])


@pytest.mark.slow  # three processes
def test_workers_of_xdist_share_one_report(pytester):
    pytester.makepyfile(
        HEAD
        + GOOD
        + """
    @pytest.mark.parametrize("i", range(4))
    def test_often(scrub, i):
        assert scrub(A) > scrub(B)

    def test_it_fails(scrub):
        assert scrub(B) > scrub(A)
    """
    )
    result = pytester.runpytest_subprocess(*PLUGIN, "-n2", "--scrub-references=200", "--scrub-report=out.json")
    result.assert_outcomes(passed=6, failed=1)
    result.stdout.fnmatch_lines(
        [FAILURE[0], "*Scores of this test*", "*= causal scrubbing =*", "2 scores written to *"]
    )
    report = Report.model_validate_json((pytester.path / "out.json").read_text())
    tests = {entry.score.name: sorted(test.split("::")[1] for test in entry.tests) for entry in report.scores}
    often = [f"test_often[{i}]" for i in range(4)]
    assert tests == {
        "an or of thresholds": ["test_it_fails", *often, "test_or_beats_a_threshold", "test_percentages"],
        "a threshold too high": ["test_it_fails", *often, "test_or_beats_a_threshold"],
    }


@pytest.mark.slow
def test_a_worker_that_crashes_is_missed_and_the_others_are_reported(pytester):
    pytester.makepyfile(
        HEAD
        + """
    import os

    def test_it(scrub):
        scrub(A)

    def test_crash(scrub):
        scrub(B)
        os._exit(1)
    """
    )
    options = ["-n1", "--max-worker-restart=0", "--scrub-references=9", "--scrub-report=out.json"]
    result = pytester.runpytest_subprocess(*PLUGIN, *options)
    result.stdout.fnmatch_lines(["the scores of workers that crashed are missing: gw0", "0 scores written to *"])
    assert Report.model_validate_json((pytester.path / "out.json").read_text()) == Report()
