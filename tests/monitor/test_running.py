from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.monitor.traffic import (
    DAY,
    HOUR,
    MINUTE,
    START,
    Traffic,
    append,
    monitor_of,
    purchase,
    registry_with,
    settings_at,
    totals,
)
from tests.receiving import receiving

from slidr.clock import ManualClock
from slidr.journals import worker_journal
from slidr.monitor.alarms import Alarm
from slidr.monitor.webhook import Webhook
from slidr.posting import Receiver

ALARM = Alarm(key="ivr all bundle", kind="deviation", at=1, message="wrong")


def test_what_is_read_again_counts_once(tmp_path: Path) -> None:
    """Two looks, a monitor that starts anew, and a journal under two names give what one look gives."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY])
    path, traffic = Path(settings.storage.journal), Traffic()
    clock = ManualClock(START + HOUR)
    append(path, traffic.minutes(START, 5, ids[0]))
    monitor = monitor_of(settings, registry, clock, path, path)
    assert (monitor.look().taken.clicks, monitor.look().taken.clicks) == (500, 0)
    monitor.close()
    append(path, traffic.minutes(START + 5 * MINUTE, 1, ids[0]))
    monitor = monitor_of(settings, registry, clock)
    assert monitor.look().taken.clicks == 100
    assert totals(monitor)["clicks"] == totals(monitor)["judged"] == 600
    monitor.close()


def test_entries_out_of_order_are_decisions_too(tmp_path: Path) -> None:
    """Clicks that were not folded count as unmeasurable with their cause; what tells their place later counts not."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY])
    path = Path(settings.storage.journal)
    first, second, third = Traffic(rate=3).minutes(START, 1, ids[0])
    lost: dict[str, Any] = {
        "verdict": "unmeasurable",
        "score": None,
        "threshold": None,
        "reasons": ("store_unavailable",),
    }
    append(path, [first, second._replace(sequence=-1, **lost)])
    clock = ManualClock(START + HOUR)
    monitor = monitor_of(settings, registry, clock)
    monitor.look()
    append(path, [third, second._replace(sequence=1, cause="late", **lost), second._replace(sequence=-2, **lost)])
    monitor.look()
    assert totals(monitor) == {"clicks": 4, "judged": 2, "marked": totals(monitor)["marked"], "listed": 0,
                               "unmeasurable": 2, "bought": 0, "bought_marked": 0}  # fmt: skip
    assert monitor.state.causes(0) == {"store_unavailable": 2}
    monitor.close()


def test_a_replaced_journal_is_read_from_its_beginning(tmp_path: Path) -> None:
    """A new journal at the old path is another one: all of it counts, and nothing of the old one again."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY])
    path, traffic = Path(settings.storage.journal), Traffic()
    append(path, traffic.minutes(START, 2, ids[0]))
    monitor = monitor_of(settings, registry, ManualClock(START + HOUR))
    monitor.look()
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink()
    append(path, Traffic(2).minutes(START, 1, ids[0]))
    assert monitor.look().taken.clicks == 100
    assert totals(monitor)["clicks"] == 300
    monitor.close()


def test_twins_count_once(tmp_path: Path) -> None:
    """A click of the fold that two processes decided in the same moment is one click."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY])
    paths = [worker_journal(Path(settings.storage.journal), number) for number in (1, 2)]
    entries = Traffic().minutes(START, 1, ids[0])
    append(paths[0], entries[:60])
    append(paths[1], [one._replace(decision_id=f"other-{one.sequence}") for one in entries[50:]])
    monitor = monitor_of(settings, registry, ManualClock(START + HOUR), *paths)
    assert monitor.look().taken.clicks == 100
    monitor.close()


def test_what_cannot_be_read_is_an_alarm_and_the_rest_is_read(tmp_path: Path) -> None:
    """A journal that is none, and one that is missing, are told of until they can be read; others are read on."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY])
    good, bad, missing = (tmp_path / f"j.{number}.sqlite" for number in range(3))
    append(good, Traffic().minutes(START, 1, ids[0]))
    bad.write_bytes(b"no journal" * 1000)
    monitor = monitor_of(settings, registry, ManualClock(START + HOUR), bad, missing, good)
    seen = monitor.look()
    assert seen.taken.clicks == 100
    assert [alarm.key for alarm in seen.open] == ["journal j.1.sqlite", "journal j.2.sqlite"]
    bad.unlink()
    append(bad, Traffic(2, first=1000).minutes(START, 1, ids[0]))
    append(missing, [])
    seen = monitor.look()
    assert (seen.taken.clicks, seen.open) == (100, ())
    monitor.close()


def test_a_clock_ahead_is_an_alarm_and_changes_no_other_minute(tmp_path: Path) -> None:
    """Decisions dated a day ahead count to the minute in which they were read, once."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY])
    append(Path(settings.storage.journal), Traffic().minutes(START + DAY, 1, ids[0]))
    clock = ManualClock(START)
    monitor = monitor_of(settings, registry, clock)
    assert [alarm.kind for alarm in monitor.look().open] == ["clock"]
    assert {row.start for row in monitor.state.rows("minutes", 0)} == {START // MINUTE}
    clock.advance(2 * DAY)
    assert monitor.look().open == ()
    assert totals(monitor)["clicks"] == 100
    monitor.close()


@pytest.mark.parametrize("purchases_first", [True, False])
def test_a_purchase_finds_its_click_whichever_is_read_first(tmp_path: Path, *, purchases_first: bool) -> None:
    """By the click that it names or its account's last click; a click buys once, however often that is reported."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY])
    entries = Traffic().minutes(START, 1, ids[0])
    named = entries[3]._replace(verdict="invalid_sophisticated")
    entries[3] = named
    users = {one.keys[:8]: one for one in entries}
    last = next(one for one in users.values() if one.keys[:8] != named.keys[:8])
    told = [purchase(1, named, named=True), purchase(2, named, named=True), purchase(3, last)]
    late = purchase(4, entries[5], later=2 * DAY, named=True)
    one, two = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    append(one, entries if not purchases_first else [], told if purchases_first else [])
    append(two, [], told)
    clock = ManualClock(START + 20 * MINUTE)
    monitor = monitor_of(settings, registry, clock, one, two)
    monitor.look()
    append(one, entries if purchases_first else [], [*told, late])
    monitor.look()
    assert {name: value for name, value in totals(monitor).items() if "bought" in name} == {
        "bought": 2, "bought_marked": 1 + (last.verdict != "valid")
    }  # fmt: skip
    monitor.close()


def watched(folder: Path, promoted: list[int], **limits: Any) -> tuple[Any, ManualClock, Any, list[str], Path]:
    """Return a monitor that may roll back, its clock, registry, bundles and journal."""
    settings = settings_at(folder, rollback=True, **limits)
    registry, ids = registry_with(folder, promoted)
    clock = ManualClock(START)
    return monitor_of(settings, registry, clock), clock, registry, ids, Path(settings.storage.journal)


def test_a_bundle_that_invalidates_everything_is_rolled_back_once(tmp_path: Path) -> None:
    """Within minutes, not before it held for three, to the stable one; when that is as bad, it is a person's turn."""
    monitor, clock, registry, ids, path = watched(tmp_path, [START - 3 * DAY, START - HOUR])
    traffic, acted = Traffic(), []
    for minute in range(60):
        bundle = registry.champion().bundle
        bad = {"ivr": 0.5, "people": 1.0} if minute >= 20 else {}
        append(path, traffic.minutes(START + minute * MINUTE, 1, bundle, **bad))
        clock.advance(MINUTE)
        seen = monitor.look()
        if seen.rolled_back:
            acted.append((minute, seen.rolled_back))
    assert [bundle for _, bundle in acted] == [ids[0]]
    assert 22 <= acted[0][0] <= 25
    assert [entry.kind for entry in registry.history()] == ["promote", "promote", "alarm", "rollback"]
    assert any(alarm.metric == "ivr" for alarm in seen.open)
    monitor.close()


def test_an_attack_on_a_stable_champion_alarms_and_rolls_nothing_back(tmp_path: Path) -> None:
    """More robots are found, of the people none: another bundle would find them too."""
    monitor, clock, registry, ids, path = watched(tmp_path, [START - 9 * DAY, START - 3 * DAY])
    traffic = Traffic()
    for minute in range(15):
        append(path, traffic.minutes(START + minute * MINUTE, 1, ids[1], ivr=0.2 if minute < 5 else 0.5))
        clock.advance(MINUTE)
        seen = monitor.look()
        assert seen.rolled_back == ""
    assert any(alarm.key == "ivr all bundle" for alarm in seen.open)
    assert [entry.kind for entry in registry.history()] == ["promote", "promote"]
    monitor.close()


def test_where_it_is_not_allowed_it_only_tells(tmp_path: Path) -> None:
    """Without monitor.rollback the registry gets the alarm, and the champion stays."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY, START - HOUR])
    append(Path(settings.storage.journal), Traffic().minutes(START, 10, ids[1], ivr=0.5, people=1.0))
    monitor = monitor_of(settings, registry, ManualClock(START + 10 * MINUTE))
    assert monitor.look().held_back == "monitor.rollback is false"
    monitor.look()
    assert [entry.kind for entry in registry.history()] == ["promote", "promote", "alarm"]
    assert 'slidr_monitor_alarm{alarm="ivr",slice="all"' in (tmp_path / "monitor.prom").read_text()
    monitor.close()


def test_a_webhook_gets_alarms_and_one_that_fails_holds_nothing_up() -> None:
    """It is asked again a few times, then given up, and the next alarm is sent."""
    with receiving([500, 200, 500, 500]) as (address, taken):
        webhook, done = Webhook(Receiver(address, ManualClock(START), setting="monitor.webhook", pauses=(0.0,))), []
        webhook.send(ALARM, lambda: done.append(1))
        webhook.send(ALARM, lambda: done.append(2))
        webhook.close(30)
    assert (done, webhook.failed, [json.loads(one.body)["key"] for one in taken]) == ([1], 1, ["ivr all bundle"] * 4)


def test_a_wave_of_robots_rolls_back_no_young_champion(tmp_path: Path) -> None:
    """Where as many clicks more come as are found invalid, people are as valid as before: it is told, and no more."""
    settings = settings_at(tmp_path, rollback=True)
    registry, ids = registry_with(tmp_path, [START - 3 * DAY, START - HOUR])
    clock, path = ManualClock(START), Path(settings.storage.journal)
    monitor, traffic, robots = monitor_of(settings, registry, clock), Traffic(), Traffic(2, rate=150, first=1_000_000)
    append(path, traffic.minutes(START - DAY, 60, ids[0]))
    for minute in range(30):
        start = START + minute * MINUTE
        append(path, traffic.minutes(start, 1, ids[1]))
        append(path, robots.minutes(start, 1, ids[1], ivr=0.5, people=1.0) if minute >= 10 else [])
        clock.advance(MINUTE)
        seen = monitor.look()
        assert (seen.rolled_back, seen.held_back) == ("", "")
    assert "robots tell it" in next(alarm.message for alarm in seen.open if alarm.key == "ivr all bundle")
    assert [entry.kind for entry in registry.history()] == ["promote", "promote"]
    monitor.close()


@pytest.mark.parametrize("told", [True, False])
def test_a_night_of_few_people_is_no_deviation_where_the_bundle_knows_it(tmp_path: Path, *, told: bool) -> None:
    """Twice the share of invalid clicks at the hour at which the bundle's own days had it opens no alarm."""
    settings = settings_at(tmp_path)
    night = {"expected": {"hours": [1.4] * 3 + [0.0] * 21}}
    registry, ids = registry_with(tmp_path, [START - DAY], night if told else None)
    append(Path(settings.storage.journal), Traffic().minutes(START, 40, ids[0], ivr=0.45))
    monitor = monitor_of(settings, registry, ManualClock(START + 40 * MINUTE))
    assert ("ivr all bundle" in {alarm.key for alarm in monitor.look().open}) is not told
    # Of the last hour 20 minutes lie before midnight, and log-odds of 1.4 make 20 % half.
    shown = re.search(
        r'^slidr_monitor_expected_share{slice="all"} (.*)$', (tmp_path / "monitor.prom").read_text(), re.MULTILINE
    )
    assert shown is not None
    assert float(shown[1]) == pytest.approx((0.2 + 2 * 0.503) / 3 if told else 0.2, abs=0.001)
    monitor.close()


def test_wild_earlier_weeks_hide_no_bundle_that_invalidates_everything(tmp_path: Path) -> None:
    """Earlier weeks at this hour had between nothing and everything, and still it is told."""
    settings = settings_at(tmp_path)
    registry, ids = registry_with(tmp_path, [START - 30 * DAY, START - HOUR])
    path, traffic = Path(settings.storage.journal), Traffic()
    for week, ivr in ((4, 0.05), (3, 0.45), (2, 0.1), (1, 0.4)):
        append(path, traffic.minutes(START - week * 7 * DAY, 60, ids[0], ivr=ivr))
    append(path, traffic.minutes(START, 15, ids[1], ivr=0.5, people=1.0))
    monitor = monitor_of(settings, registry, ManualClock(START + 15 * MINUTE))
    assert "ivr all weeks" in {alarm.key for alarm in monitor.look().open}
    monitor.close()
