"""The plan of a run: which part of the log is for what."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.learned import Learned, quiet

from slidr.clock import DAY, HOUR, SECOND, ManualClock
from slidr.daily.plan import Run, plan_run
from slidr.errors import LabelError, SettingsError
from slidr.lake.delta import Lake
from slidr.lake.schema import conform
from slidr.settings import located, parse_settings
from slidr.tables import CLICKS

FIRST = date(2026, 3, 2)


def start_of(day: date) -> int:
    """Return a day's first microsecond, UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND


def plan_of(folder: Path, times: list[int], *, now: int, day: date | None = None, **document: Any) -> Run:
    """Return the run over a lake that holds clicks at these times."""
    settings = located(parse_settings(document), folder)
    if times:
        ids = [f"c{place}" for place in range(len(times))]
        clicks = pa.table({"click_id": ids, "time": pa.array(times).cast(pa.timestamp("us", "UTC"))})
        Lake(settings.storage.lake).write(CLICKS, conform(CLICKS, clicks))
    return plan_run(settings, ManualClock(now), quiet, day=day)


def daily_clicks(days: int, a_day: int = 10) -> list[int]:
    """Return times of clicks spread over days."""
    return [start_of(FIRST) + place * DAY // a_day for place in range(days * a_day)]


def test_nine_days_are_seven_one_and_one(tmp_path: Path) -> None:
    """Seven whole days train, the eighth calibrates, the ninth judges, and purchases count until it matured."""
    run = plan_of(tmp_path, daily_clicks(12), now=start_of(FIRST) + 12 * DAY)
    last = start_of(date(2026, 3, 12))
    assert run.split.judge == (last, last + DAY)
    assert run.split.calibrate == (last - DAY, last)
    assert run.split.train == (last - 8 * DAY, last - DAY)
    assert run.as_of == last + 2 * DAY
    assert not run.final


def test_a_day_can_be_chosen(tmp_path: Path) -> None:
    """An earlier day is judged as if it were the newest."""
    run = plan_of(tmp_path, daily_clicks(12), now=start_of(FIRST) + 20 * DAY, day=date(2026, 3, 10))
    assert run.split.judge[0] == start_of(date(2026, 3, 10))
    assert run.split.train[0] == start_of(FIRST)


def test_a_short_log_is_cut_by_time(tmp_path: Path) -> None:
    """A log of fewer than nine days is cut 60/20/20 by clicks, in their order and without a gap."""
    times = sorted(start_of(FIRST) + place * place * SECOND for place in range(100))
    run = plan_of(tmp_path, times, now=start_of(FIRST) + 9 * DAY)
    assert run.split.train == (times[0], times[60])
    assert run.split.calibrate == (times[60], times[80])
    assert run.split.judge == (times[80], times[99] + 1)


def test_a_day_without_clicks_is_no_day(tmp_path: Path) -> None:
    """With a hole in the log, the newest nine days that have clicks are taken."""
    times = [time for time in daily_clicks(12) if not start_of(FIRST) + 4 * DAY <= time < start_of(FIRST) + 5 * DAY]
    run = plan_of(tmp_path, times, now=start_of(FIRST) + 30 * DAY)
    last = start_of(date(2026, 3, 13))
    assert run.split.judge == (last, last + DAY)
    assert run.split.train == (start_of(date(2026, 3, 4)), last - DAY)


@pytest.mark.parametrize(("hours", "day"), [(23, 9), (24, 10), (47, 10), (48, 11), (500, 11)])
def test_only_mature_days_are_judged(tmp_path: Path, hours: int, day: int) -> None:
    """A day may be judged once the attribution window of its last click has closed, and not an hour before."""
    run = plan_of(tmp_path, daily_clicks(10), now=start_of(date(2026, 3, 11)) + hours * HOUR)
    if day == 9:
        # Eight mature days are no nine: the short log ends with the ninth.
        assert run.split.judge[1] <= start_of(date(2026, 3, 10))
    else:
        assert run.split.judge[0] == start_of(date(2026, 3, day))


def test_an_immature_day_is_refused(tmp_path: Path) -> None:
    """A day whose labels are not mature, or that has no clicks, is refused with what the lake holds."""
    now = start_of(FIRST) + 10 * DAY
    for day in (date(2026, 3, 11), date(2026, 3, 20), date(2026, 3, 1)):
        with pytest.raises(LabelError, match=f"{day} cannot be judged: .* 2026-03-02 to 2026-03-11, .*24 h after"):
            plan_of(tmp_path, daily_clicks(10), now=now, day=day)
    with pytest.raises(LabelError, match="2026-03-11 cannot be judged"):
        plan_of(tmp_path, daily_clicks(10), now=start_of(FIRST) + DAY)


def test_the_window_of_the_settings_counts(tmp_path: Path) -> None:
    """A longer attribution window makes labels mature later, and purchases count for longer."""
    late = plan_of(tmp_path, daily_clicks(10), now=start_of(FIRST) + 12 * DAY, labels={"attribution_window": "3d"})
    assert late.split.judge[1] == start_of(FIRST) + 9 * DAY
    assert late.as_of == start_of(FIRST) + 12 * DAY


def test_final_attribution_is_mature_at_once(tmp_path: Path) -> None:
    """A source that delivers the last word on purchases needs no window after the day's end."""
    clicks = {"source": "talkingdata", "ip": "opaque"}
    run = plan_of(tmp_path, daily_clicks(10), now=start_of(FIRST) + 10 * DAY, clicks=clicks)
    assert run.final
    assert run.split.judge[1] == run.as_of == start_of(FIRST) + 10 * DAY


def test_an_empty_lake_says_ingest(tmp_path: Path) -> None:
    """Without clicks the error says what to run."""
    with pytest.raises(LabelError, match="holds no clicks; run `slidr ingest` first"):
        plan_of(tmp_path, [], now=start_of(FIRST))


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    """A source that does not exist is refused here too."""
    with pytest.raises(SettingsError, match="did you mean 'weblog'"):
        plan_of(tmp_path, [], now=start_of(FIRST), clicks={"source": "web_log"})


def test_the_simulated_log_has_nine_days(learned: Learned) -> None:
    """Burn-in days lie before the training part: they warm the state and are not trained on."""
    split = learned.run.split
    assert split.train[0] == start_of(FIRST)
    assert split.judge[1] - split.train[0] == 9 * DAY
    assert Lake(learned.settings.storage.lake).days(CLICKS)[0] < FIRST - timedelta(days=20)
