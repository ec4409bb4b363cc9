from __future__ import annotations

import datetime as dt

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.learned import Learned

from slidr.clock import DAY, HOUR
from slidr.daily.parts import read_part
from slidr.daily.stages import read_networks
from slidr.errors import LabelError
from slidr.labels import label, rule_hits
from slidr.labels.diagnostics import LabelHealth, diagnose, estimate_human_share
from slidr.lake.schema import conform
from slidr.model.scorer import Scorer
from slidr.settings import LabelsSettings
from slidr.simulate import Plan, simulate
from slidr.tables import LABELS

UTC = pa.timestamp("us", tz="UTC")
MONDAY = int(dt.datetime(2026, 3, 2, tzinfo=dt.UTC).timestamp()) * 1_000_000
Row = tuple[int, str]


def labels(*rows: Row, as_of: int = MONDAY + 30 * DAY) -> pa.Table:
    """Return labels (hours since Monday 0:00 UTC, reason) that mature after a day."""
    times = np.array([MONDAY + hour * HOUR for hour, _ in rows], np.int64)
    return conform(
        LABELS,
        pa.table(
            {
                "click_id": [f"c{row}" for row in range(len(rows))],
                "time": pa.array(times).cast(UTC),
                "human": [reason != "none" for _, reason in rows],
                "reason": [reason for _, reason in rows],
                "purchaser": pa.array([f"b{hour}" if why == "purchase" else None for hour, why in rows], pa.string()),
                "matured_at": pa.array(times + DAY).cast(UTC),
                "as_of": pa.array(np.full(len(rows), as_of)).cast(UTC),
            }
        ),
    )


def test_counts_are_of_mature_labels() -> None:
    """Labels whose window is open are counted as such and nowhere else."""
    rows = [(0, "purchase"), (0, "none"), (1, "rfm"), (5, "none"), (26, "purchase")]
    found = diagnose(labels(*rows, as_of=MONDAY + 25 * HOUR), zone="UTC")
    assert (found.clicks, found.mature, found.human, found.purchases, found.purchasers) == (5, 3, 2, 1, 1)
    assert found.density[0][:2] == (0.5, 1.0)
    assert found.density[1][2] is None
    assert [day.clicks for day in found.days] == [3]


def test_a_day_without_a_class_is_named() -> None:
    """Monday lacks purchases, Tuesday humans, Wednesday unlabelled clicks; Thursday has them all."""
    rows = [(1, "rfm"), (1, "none"), (25, "none"), (49, "purchase"), (73, "purchase"), (73, "none")]
    found = diagnose(labels(*rows), zone="UTC")
    assert [(lack.day, lack.missing) for lack in found.missing] == [
        ("2026-03-02", "purchase"), ("2026-03-03", "human"), ("2026-03-04", "unlabelled"),
    ]  # fmt: skip
    assert "On 2026-03-03 the 1 clicks have no human label" in found.summary()


def test_days_and_hours_are_local() -> None:
    """Monday 23:30 UTC is Tuesday in Berlin."""
    found = diagnose(labels((23, "purchase"), (23, "none")), zone="Europe/Berlin")
    assert [day.day for day in found.days] == ["2026-03-03"]
    assert found.density[1][0] == 0.5


def test_the_overlap_of_rules_is_counted() -> None:
    """Two rules that agree on one click of four stand beside what chance would give."""
    hits = {"purchase": np.array([True, True, False, False]), "rfm": np.array([False, True, True, False])}
    (found,) = diagnose(labels(*[(1, "none")] * 4), zone="UTC", hits=hits).overlap
    assert (found.first, found.second, found.first_clicks, found.second_clicks) == ("purchase", "rfm", 2, 2)
    assert (found.both, found.by_chance) == (1, 1.0)


def test_no_mature_label_is_no_error() -> None:
    """An hour whose labels are all unripe has nothing to count, and says so."""
    found = diagnose(labels((1, "none"), as_of=MONDAY), zone="UTC")
    assert (found.mature, found.days, found.missing) == (0, (), ())
    assert found.summary().startswith("0 % of 1 labels are mature")
    assert diagnose(labels(), zone="UTC").summary().startswith("none of 0 labels")


def test_hours_without_human_labels_are_told() -> None:
    """The summary counts hours with clicks and no human label, as a gap in the purchase log makes them."""
    told = diagnose(labels((1, "purchase"), (2, "none"), (3, "none")), zone="UTC").summary()
    assert "2 hours with clicks have none" in told


def test_health_survives_json() -> None:
    """All of it is plain numbers that a report keeps."""
    share = estimate_human_share(
        np.array([0.1, 0.2, 0.9], np.float32), np.array([True, False, False]), np.full(3, False)
    )
    found = diagnose(labels((1, "purchase"), (2, "none")), zone="UTC", human_share=share)
    assert msgspec.json.decode(msgspec.json.encode(found), type=LabelHealth) == found
    assert share.assumption in found.summary()


@pytest.mark.parametrize("people", [0.3, 0.7, 1.0])
def test_the_share_of_people_is_found_where_its_assumption_holds(people: float) -> None:
    """With purchases at random among people and robots that score higher, the estimate holds the true share."""
    generator = np.random.default_rng(8)
    human = generator.random(100_000) < people
    scores = np.where(human, generator.beta(2, 5, 100_000), generator.beta(9, 2, 100_000)).astype(np.float32)
    purchased = human & (generator.random(100_000) < 0.03)
    found = estimate_human_share(scores, purchased, purchased)
    assert found.of_clicks == pytest.approx(people, abs=0.03)
    assert found.low <= found.of_clicks <= found.high
    assert found.of_unlabelled is not None
    assert found.of_unlabelled == pytest.approx((people - purchased.mean()) / (1 - purchased.mean()), abs=0.03)


def test_all_scores_equal_tell_that_all_may_be_people() -> None:
    """A score that tells nothing apart leaves everything possible."""
    found = estimate_human_share(np.zeros(10, np.float32), np.arange(10) < 2, np.full(10, True))
    assert (found.of_clicks, found.high, found.of_unlabelled) == (1.0, 1.0, None)


def test_no_purchases_give_no_share() -> None:
    """Without a purchase nothing is known of people's scores."""
    nothing = np.zeros(3, np.bool_)
    with pytest.raises(LabelError, match="none of 3 scored clicks"):
        estimate_human_share(np.zeros(3, np.float32), nothing, nothing)


def test_labels_of_a_simulated_log_are_healthy() -> None:
    """Two simulated days have every class on each, and the rules overlap more than chance would have it."""
    days = list(simulate(Plan(clicks=20_000, days=2, burn_in=5), np.random.default_rng(1)))
    clicks = pa.concat_tables([day.clicks for day in days if day.phase == "counted"])
    purchases = pa.concat_tables([day.purchases for day in days])
    settings, as_of = LabelsSettings(), MONDAY + 3 * DAY
    made = label(clicks, purchases, as_of=as_of, settings=settings)
    hits = rule_hits(clicks, purchases, as_of=as_of, settings=settings)
    found = diagnose(made, zone="UTC", hits=hits)
    assert found.human == (hits["purchase"] | hits["rfm"]).sum()
    assert (len(found.days), found.missing) == (2, ())
    assert found.overlap[0].both > 1.5 * found.overlap[0].by_chance


def test_the_share_of_people_is_near_the_simulators_truth(learned: Learned) -> None:
    """On unseen days of a small simulated log the estimate is within 0.15 of who really clicked."""
    run, scorer = learned.run, Scorer(read_networks(learned.run)[learned.settings.model.network])
    parts = [read_part(run, span) for span in (run.split.calibrate, run.split.judge)]
    scores, bought, human = (
        np.concatenate(column)
        for column in zip(*((scorer.score(part.rows), part.purchased, part.human) for part in parts), strict=True)
    )
    table = pq.read_table(learned.folder / "logs" / "truth")
    robots = dict(zip(table["click_id"].to_pylist(), table["robot"].to_pylist(), strict=True))
    ids = [click for part in parts for click in part.clicks["click_id"].to_pylist()]
    truth = 1 - np.mean([robots[click] for click in ids])
    found = estimate_human_share(scores, bought, human)
    print(f"people {truth:.3f}, estimate {found.of_clicks:.3f} ({found.low:.3f} to {found.high:.3f})")  # noqa: T201
    assert found.of_clicks == pytest.approx(truth, abs=0.15)
