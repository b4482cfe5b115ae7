"""The benchmarks run, at a tiny size, and refuse to compare things that differ."""

import json
import os
import sys

import numpy as np
import pytest
import torch
from benchmarks import billion, effects, gpt2, growth, ladder, memory, paths, reference, run
from benchmarks.figures import Figure, Skipped, quotient
from benchmarks.plain import Plain

TINY = {"n_layers": 2, "n_heads": 3, "d_model": 24, "d_head": 8, "d_vocab": 50}


def test_a_quotient_is_the_median_over_turns_and_knows_its_target():
    figure = quotient("b", "w", [2.0, 9.0, 4.0], [1.0, 3.0, 1.0], at_most=3.0)
    assert (figure.value, figure.lowest, figure.highest, figure.met) == (3.0, 2.0, 4.0, True)
    assert quotient("b", "w", [2.0], [1.0], at_least=3.0).met is False
    assert quotient("b", "w", [2.0], [1.0]).met is None


@pytest.mark.slow  # the growth below runs some rungs of it
def test_the_ladder_is_measured_against_a_plain_pass_of_equal_loss():
    figures = ladder.measure(rows=2, repeats=1, vocabulary=4999, tune=False, check=False)
    assert [figure.value > 0 for figure in figures] == [True, True, True]
    assert {figure.benchmark for figure in figures} == {"ladder, vocabulary 4,999"}


def test_a_plain_pass_of_another_loss_is_refused():
    ladder.check_equal("the plain pass", 2.00001, 2.0)
    with pytest.raises(AssertionError, match=r"the plain pass has the loss 2.001, and scrub 2: they compute different"):
        ladder.check_equal("the plain pass", 2.001, 2.0)


def test_tiles_give_the_losses_of_all_logits_also_where_exponentials_overflow():
    L = ladder.ladder(rows=1)
    tokens, labels = L.data["tokens"][:, :20], L.data["labels"][:, :20]
    for scale in (1.0, 300.0):
        plain = Plain(L.model)
        plain.W_U = plain.W_U * scale
        simple, best = plain.simple(tokens, labels, rows=1), plain.best(tokens, labels, tile=(7, 1000))
        torch.testing.assert_close(best, simple, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.filterwarnings("ignore")  # transformer_lens and what it imports warn about each other
def test_patching_all_heads_at_once_equals_a_loop_of_hooked_passes():
    figures = paths.measure(rows=3, repeats=2, positions=6, **TINY)
    assert [figure.value > 0 for figure in figures] == [True, True]


@pytest.mark.filterwarnings("ignore")
def test_patching_another_head_is_refused(monkeypatch):
    monkeypatch.setattr(paths, "all_but_edge", lambda head, claim=paths.all_but_edge: claim(f"{head[:-1]}0"))
    with pytest.raises(AssertionError, match=r"without a0_h1's edge, scrub and the hooked pass differ by"):
        paths.measure(rows=3, repeats=1, positions=6, **TINY)


@pytest.mark.slow
def test_patching_through_mlps_equals_a_loop_of_hooked_passes(monkeypatch):
    size = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 50}
    figures = gpt2.measure(rows=3, repeats=1, positions=6, **size)
    assert [figure.value > 0 for figure in figures] == [True] * 4
    with pytest.raises(AssertionError, match="with a0_h1 patched, scrub and the hooked pass differ by 1"):
        gpt2.check_equal("a0_h1", np.array([1.0]), np.array([2.0]))


@pytest.mark.slow
def test_effects_equal_loops_of_hooked_passes_and_planning_is_a_share():
    size = {"n_layer": 3, "n_head": 4, "n_embd": 16, "vocab_size": 50}
    figures = effects.measure_effects(rows=3, positions=6, **size)
    assert len(figures) == 6
    assert all(0 < figure.value < 1 for figure in figures[1::2])


@pytest.mark.slow  # a process of its own
def test_a_large_model_is_measured_in_its_files_type():
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    figures = billion.measure(**size, intermediate_size=96, vocab_size=300)
    assert [figure.value > 0 for figure in figures] == [True, True]


@pytest.mark.slow
def test_growth_is_measured_by_rows_and_by_hypotheses():
    figures = growth.measure(rows=4, repeats=1, rungs=("naive (whole head)", "naive"))
    assert len(figures) == 5
    assert all(isinstance(figure, Figure) for figure in figures)


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own():
    results = memory.measure(rows=2, caps=("1GiB",), threads=1)
    if sys.platform == "win32":
        assert isinstance(results[0], Skipped)
    else:
        assert len(results) == 2  # chunks as they are, and filled
        assert all(isinstance(result, Figure) and 0 <= result.value < 1 for result in results)


def test_the_reference_implementation_is_skipped_where_it_is_absent():
    (skipped,) = reference.measure(rust_circuit=None)
    assert isinstance(skipped, Skipped)
    assert "--rust-circuit" in skipped.why


@pytest.mark.skipif("RUST_CIRCUIT_PYTHON" not in os.environ, reason="no environment with the reference implementation")
def test_the_reference_implementation_gives_the_same_losses():
    figures = reference.measure(
        rust_circuit=os.environ["RUST_CIRCUIT_PYTHON"], rows=3, repeats=1, tried=("2 plain",), settings={"check": False}
    )
    assert [figure.value > 0 for figure in figures] == [True, True]  # a quarter of the positions, and all


def test_other_losses_than_the_reference_implementation_s_are_refused():
    ours = {"naive/Q": np.array([1.0, 2.0])}
    reference.check_equal(ours, {"naive/Q": np.array([1.0, 2.00001])})
    with pytest.raises(AssertionError, match="naive/Q: the mean losses differ by 5e-05"):
        reference.check_equal(ours, {"naive/Q": np.array([1.0, 2.0001])})


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RUST_CIRCUIT_PYTHON", raising=False)
    run.main(["reference", "--json", str(tmp_path / "figures.json")])
    assert "skipped: name the Python" in capsys.readouterr().out
    record = json.loads((tmp_path / "figures.json").read_text())
    assert record["machine"]["torch"] == torch.__version__
    assert record["figures"][0]["benchmark"] == "reference implementation"


def test_an_unknown_benchmark_is_named(capsys):
    with pytest.raises(SystemExit):
        run.main(["laddr"])
    assert "there is no benchmark laddr; there are ladder, " in capsys.readouterr().err
