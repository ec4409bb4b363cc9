from __future__ import annotations

import msgspec
import pytest
from tests.report import samples

from slidr.evaluation.change import Change
from slidr.evaluation.results import Assurance, Evaluation, Interval
from slidr.report.checks import Check, checks


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Return an evaluation to check."""
    return samples.evaluation(clicks=5000)


def check(evaluation: Evaluation, name: str) -> Check:
    """Return the check of a name."""
    return next(one for one in checks(evaluation) if one.name == name)


@pytest.mark.parametrize(
    ("interval", "state"),
    [
        (Interval(0.003, 0.002, 0.004), "good"),
        (Interval(0.009, 0.007, 0.012), "warn"),
        (Interval(0.004, 0.002, 0.007), "open"),
        (Interval(None, None, None), "open"),
    ],
)
def test_the_budget_is_well_only_where_the_interval_says_so(
    evaluation: Evaluation, interval: Interval, state: str
) -> None:
    """Within the budget is well, above it warns, and anything between is open."""
    first = msgspec.structs.replace(evaluation.networks[0], fpr=interval)
    assert check(msgspec.structs.replace(evaluation, networks=(first,)), "budget").state == state


def test_a_promise_is_well_and_none_warns(evaluation: Evaluation) -> None:
    """A certificate says what it rests on; without one the check warns and says what is needed."""
    promised = check(evaluation, "certificate")
    assert promised.state == "good"
    assert "It rests on 5,000 purchasers, one click each, of whom 16 are marked and 16 could be." in promised.said
    bare = msgspec.structs.replace(evaluation, assurance=Assurance("knee", None, 598, 120, 0.05))
    lacking = check(bare, "certificate")
    assert lacking.state == "warn"
    assert lacking.said.startswith("Uncertified.")
    assert "598" in lacking.said


def test_the_proxy_warns_as_its_check_does(evaluation: Evaluation) -> None:
    """The check of the proxy is told in its own words, and its warning is one here."""
    assert evaluation.proxy is not None
    assert check(evaluation, "proxy").state == "warn"
    assert check(evaluation, "proxy").said == evaluation.proxy.summary()
    well = msgspec.structs.replace(evaluation.proxy, warning=False)
    assert check(msgspec.structs.replace(evaluation, proxy=well), "proxy").state == "good"
    unmarked = msgspec.structs.replace(well, ratio=None)
    assert check(msgspec.structs.replace(evaluation, proxy=unmarked), "proxy").state == "open"


def test_gaps_in_the_labels_warn(evaluation: Evaluation) -> None:
    """A day without purchases warns, hours without human labels warn where labels are many, and else all is well."""
    said = check(evaluation, "labels").said
    assert "On 2026-03-05 none of 40,000 clicks is followed by a purchase." in said
    assert "3 hours of the week" in said
    assert evaluation.health is not None
    whole = msgspec.structs.replace(evaluation.health, missing=(), human=168)
    assert check(msgspec.structs.replace(evaluation, health=whole), "labels").state == "good"


def test_the_change_is_told_in_a_sentence(evaluation: Evaluation) -> None:
    """Flipped clicks are told with IVR and FPR before and after; no flip and no champion are told as such."""
    assert "are decided otherwise than by the champion: IVR from" in check(evaluation, "champion").said
    assert isinstance(evaluation.change, Change)
    still = msgspec.structs.replace(evaluation.change.slices[0], newly_marked=0.0, newly_valid=0.0)
    same = msgspec.structs.replace(evaluation, change=Change("a", (still,)))
    assert check(same, "champion").said == "Every click is decided as the champion decides it."
    assert check(msgspec.structs.replace(evaluation, change="None yet."), "champion").said == "None yet."


def test_the_truth_is_checked_in_simulation_only(evaluation: Evaluation) -> None:
    """Recall, true FPR and missed families stand there where the truth is known, and nowhere else."""
    assert "are caught by less than half" in check(evaluation, "truth").said
    blind = samples.evaluation(clicks=5000, truth=False)
    assert "truth" not in {one.name for one in checks(blind)}


def test_what_is_not_known_is_open() -> None:
    """Without evidence every check is open and says what is lacking."""
    found = checks(samples.bare())
    assert {one.state for one in found} == {"open"}
    assert all(one.said for one in found)
    assert len(checks(msgspec.structs.replace(samples.bare(), networks=()))) == len(found) - 1
