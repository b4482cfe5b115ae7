"""Hypotheses as tests: run `pytest examples/test_induction.py`. Each case is scored once, however many tests ask."""

from hypotheses import induction
from scrubbing import approx_percent


def test_refinement_beats_naive(scrub):
    naive, refined = scrub(induction.case("naive/Q"), induction.case("refined 1/Q"), references=50)
    assert refined > naive


def test_naive_queries_recover_a_quarter(scrub):
    naive = scrub(induction.case("naive/Q"), references=50)
    assert naive.recovered == approx_percent(24, within=8)
