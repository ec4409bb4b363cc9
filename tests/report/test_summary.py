from __future__ import annotations

import msgspec
from tests.report import samples

from slidr.evaluation.results import Assurance, Caught, FamilyCaught
from slidr.report.numerals import MISSING
from slidr.report.summary import comparison, families


def test_every_network_has_a_row_in_both_tables() -> None:
    """Each network stands once with what a log can tell and once with the truth."""
    lines = comparison(samples.evaluation(clicks=5000)).splitlines()
    assert sum(line.startswith("logistic") for line in lines) == 2
    assert sum(line.startswith("three_layer") for line in lines) == 4
    assert max(map(len, lines)) <= 100


def test_numbers_are_those_of_the_evaluation() -> None:
    """IVR, FPR with its interval, coverage and recall are written as they were judged."""
    evaluation = samples.evaluation(clicks=5000)
    text, result = comparison(evaluation), evaluation.networks[0]
    assert result.caught is not None
    for share in (result.ivr.value or 0, result.coverage.value or 0, result.caught.families[0].recall):
        assert f"{100 * share:.1f} %" in text
    assert f"{100 * (result.fpr.low or 0):.2f} to {100 * (result.fpr.high or 0):.2f} %" in text
    assert f"{100 * (result.caught.true_fpr or 0):.2f} %" in text


def test_the_checks_stand_under_the_table() -> None:
    """Certificate, proxy and truth are told in words, warnings are marked, and no line is too wide."""
    evaluation = samples.evaluation(clicks=5000)
    text = comparison(evaluation)
    flat = " ".join(text.split())
    assert "certificate: Certified. With 95 % confidence" in flat
    assert "warning: proxy: Of purchasing clicks" in flat
    assert "truth: Simulated:" in flat
    assert not any(line.lstrip().startswith("%") for line in text.splitlines())
    bare = msgspec.structs.replace(evaluation, assurance=Assurance("knee", None, 598, 120, 0.05))
    assert "warning: certificate: Uncertified." in comparison(bare)


def test_the_deciding_network_has_intervals_by_who_clicked() -> None:
    """IVR and coverage of the first row have their intervals under the table."""
    evaluation = samples.evaluation(clicks=5000)
    low, high = evaluation.networks[0].ivr.low or 0, evaluation.networks[0].ivr.high or 0
    assert f"by who clicked: IVR {100 * low:.1f} to {100 * high:.1f} %, coverage" in comparison(evaluation)


def test_all_clicks_stand_under_the_comparison() -> None:
    """List hits, unmeasurable clicks and the shares of all clicks are told apart from the networks' rows."""
    evaluation = samples.evaluation(clicks=5000)
    text, totals = comparison(evaluation), evaluation.totals
    assert f"All 5,340 clicks: IVR {100 * totals.ivr:.1f} %, FPR {100 * (totals.fpr.value or 0):.2f} %" in text
    assert "list rules 300 (2 purchasing), unmeasurable 40 (1 purchasing)" in text
    assert "All 500 clicks: IVR" in comparison(samples.bare())


def test_a_real_log_has_no_table_of_the_truth() -> None:
    """Where the families are not known, the table of recall is left out."""
    assert "truth" not in comparison(samples.evaluation(clicks=5000, truth=False))


def test_what_cannot_be_measured_is_a_dash_with_a_reason() -> None:
    """Without purchases and busy sessions the table has dashes, and lines that say why."""
    text = comparison(samples.bare())
    assert MISSING in text
    assert "No FPR: no click of the judging part led to a purchase." in text
    assert "No coverage: no session of the judging part was busy." in text


def test_many_families_wrap_into_several_tables() -> None:
    """A dozen families still fit a terminal."""
    evaluation = samples.evaluation(clicks=5000)
    many = tuple(FamilyCaught(f"family_{number}", 10, 0.5) for number in range(13))
    wide = msgspec.structs.replace(evaluation.networks[0], caught=Caught(0.5, 0.5, 0.0, many))
    text = comparison(msgspec.structs.replace(evaluation, networks=(wide,)))
    assert max(map(len, text.splitlines())) <= 100
    assert len(families([wide])) == 13


def test_no_networks_make_an_empty_table() -> None:
    """An evaluation without networks gives headers and nothing else."""
    assert comparison(msgspec.structs.replace(samples.bare(), networks=())).startswith("network")
