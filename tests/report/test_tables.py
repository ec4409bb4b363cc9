from __future__ import annotations

import msgspec
import pytest
from tests.report import samples

from slidr.evaluation.change import Change
from slidr.evaluation.results import Evaluation, Interval, MissedFamily
from slidr.report import tables
from slidr.slices import ROOT


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Return an evaluation to write."""
    return samples.evaluation(clicks=5000)


def test_a_share_has_its_interval_or_none() -> None:
    """A share is written with its interval, one that holds by rule without."""
    assert tables.measured(Interval(0.5, 0.4, 0.6)) == {"value": "50.0 %", "bounds": "40.0 to 60.0 %"}
    assert tables.measured(Interval(1.0, None, None))["bounds"] == ""


def test_every_share_of_a_slice_has_an_interval(evaluation: Evaluation) -> None:
    """IVR and coverage have intervals beside that of the FPR, in every slice, and the truth its two shares."""
    whole = tables.slice_rows(evaluation)[0]
    assert all(" to " in whole[share]["bounds"] for share in ("ivr", "fpr", "coverage"))
    assert whole["recall"].endswith("%")
    blind = samples.evaluation(clicks=2000, truth=False)
    assert not any(row["recall"].endswith("%") for row in tables.slice_rows(blind))


def test_the_truth_ends_with_robots_people_and_marks(evaluation: Evaluation) -> None:
    """The last rows are recall, true FPR and precision; marks whose worth is unknown are dashes."""
    caught = evaluation.networks[0].caught
    assert caught is not None
    rows = tables.truth_rows([caught, None], 2)
    assert [row["family"] for row in rows[:-3]] == [family.family for family in caught.families]
    assert rows[-3]["marked"][0] == f"{100 * (caught.recall or 0):.1f} %"
    assert rows[-2]["marked"][0] == f"{100 * (caught.true_fpr or 0):.2f} %"
    assert not any(row["marked"][1].endswith("%") for row in rows)


def test_the_slices_that_change_most_come_first(evaluation: Evaluation) -> None:
    """All clicks come first, then no more than a dozen slices, by the clicks whose decision flips."""
    assert isinstance(evaluation.change, Change)
    whole, first, *_ = evaluation.change.slices
    many = [
        msgspec.structs.replace(first, slice=f"device={n}", newly_marked=n / 100, newly_valid=0.0) for n in range(40)
    ]
    rows = tables.change_rows(Change("a", (whole, *many)), 2)
    assert len(rows) == 1 + tables.CHANGED
    assert [rows[0]["slice"], rows[1]["slice"], rows[-1]["slice"]] == [ROOT, "device=39", "device=28"]


def test_a_family_without_a_signal_says_so(evaluation: Evaluation) -> None:
    """A missed family that the simulator does not have is listed all the same."""
    (row,) = tables.missed_rows(msgspec.structs.replace(evaluation, missed=(MissedFamily("x", 9, 0.1, ""),)))
    assert row["signal"].startswith("not told")


def test_a_day_that_lacks_a_class_stands_out(evaluation: Evaluation) -> None:
    """Only the day without purchases is marked."""
    assert evaluation.health is not None
    assert [row["day"] for row in tables.day_rows(evaluation.health) if row["warn"]] == ["2026-03-05"]
