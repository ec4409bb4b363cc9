"""Measures the monitor: entries a second, minutes to an alarm, and false alarms over two quiet simulated weeks.

    python -m benchmarks.operations.monitor

The last line is JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tests.monitor.traffic import HASHES, Traffic, append, registry_with, settings_at

from slidr.clock import DAY, HOUR, MINUTE, ManualClock
from slidr.evaluation.expectation import expected_clicks, expected_hours
from slidr.metrics import Bools
from slidr.metrics import Int64s as Ints
from slidr.monitor import Monitor
from slidr.monitor.counting import SUMS, Counts
from slidr.monitor.deviations import Watch
from slidr.monitor.expected import Expected
from slidr.monitor.rollback import Rules, blamed, refused
from slidr.monitor.state import State
from slidr.registry import HistoryEntry
from slidr.settings import MonitorSettings, Settings
from slidr.simulate.days import simulate
from slidr.simulate.plan import Plan

ENTRIES = 200_000
DAYS, QUIET, PER_DAY = 31, 14, 30_000
BUDGET = 0.005
CAUGHT = 0.9
SEED = 7
LOOK = 60
"""Minutes between two looks of the quiet weeks; the counts of all minutes are looked at."""
START = 1_773_360_000_000_000
RULES = Rules.of(Settings())


def reading(folder: Path) -> float:
    """Return the entries a second of a first look at a journal."""
    settings = settings_at(folder)
    registry, ids = registry_with(folder, [START - 2 * DAY])
    made = Traffic(rate=1000).minutes(START, ENTRIES // 1000, ids[0])
    append(Path(settings.storage.journal), [one._replace(row=bytes(300)) for one in made])
    paths = (Path(settings.storage.journal),)
    monitor = Monitor(settings, ManualClock(START + DAY // 2), registry, lambda: paths, lambda _now: HASHES)
    begun = time.process_time()
    taken = monitor.look().taken
    seconds = time.process_time() - begun
    monitor.close()
    return taken.entries / seconds


class Log(NamedTuple):
    """Simulated clicks, a column each: minute, slice, found invalid, and the minute of the purchase, -1 for none."""

    minutes: Ints
    slices: Ints
    marked: Bools
    bought: Ints
    names: list[str]


def traffic() -> Log:
    """Return weeks of simulated clicks, as a good model would decide them: 90 % of the robots, few of the people."""
    generator = np.random.default_rng(SEED)
    parts = list(simulate(Plan(clicks=PER_DAY * DAYS, days=DAYS, burn_in=5), generator))
    clicks = pa.concat_tables([part.clicks for part in parts])
    truth = pa.concat_tables([part.truth for part in parts]).select(["click_id", "robot"])
    purchases = pa.concat_tables([part.purchases for part in parts])
    robot = truth["robot"].take(pc.index_in(clicks["click_id"], truth["click_id"])).to_numpy()
    times = clicks["time"].cast(pa.int64()).to_numpy()
    marked = np.where(robot, generator.random(len(robot)) < CAUGHT, generator.random(len(robot)) < BUDGET)
    device = clicks["device"].fill_null("null").combine_chunks().dictionary_encode()
    bought = np.full(len(times), -1)
    named = purchases.filter(pc.is_valid(purchases["click_id"]))
    if named.num_rows < purchases.num_rows // 2:
        # Purchases name accounts: each is the last click's of its account, within a day.
        bought = last_touch(clicks, purchases, times)
    else:
        place = pc.index_in(clicks["click_id"], named["click_id"]).to_numpy(zero_copy_only=False)
        hit = ~np.isnan(place.astype(np.float64))
        at = named["time"].cast(pa.int64()).to_numpy() // MINUTE
        bought[hit] = at[place[hit].astype(np.int64)]
    names = [f"device={name}" for name in device.dictionary.to_pylist()]
    return Log(times // MINUTE, device.indices.to_numpy().astype(np.int64), marked, bought, names)


def last_touch(clicks: pa.Table, purchases: pa.Table, times: Any) -> Any:
    """Return the minute of each click's purchase, -1 for none."""
    users = purchases["user"].unique()
    code = pc.index_in(clicks["user"], users).fill_null(-1).to_numpy()
    order = np.lexsort((times, code))
    keys = code[order].astype(np.float64) * 1e17 + times[order]
    buyer = pc.index_in(purchases["user"], users).fill_null(-2).to_numpy()
    at = purchases["time"].cast(pa.int64()).to_numpy()
    place = np.searchsorted(keys, buyer.astype(np.float64) * 1e17 + at, side="right") - 1
    found = order[np.maximum(place, 0)]
    hit = (place >= 0) & (code[found] == buyer) & (at - times[found] <= DAY) & (at >= times[found])
    bought = np.full(len(times), -1)
    bought[found[hit]] = at[hit] // MINUTE
    return bought


def counts(log: Log, day: int, first: int, bundle: str) -> Counted:
    """Return the rows of a day's clicks, those of their purchases, and the share found invalid by slice."""
    of_day = (log.minutes - first) // 1440 == day
    bought = of_day & (log.bought >= 0)
    zeros = [0] * (len(SUMS) - 3)
    rows = [
        (minute, log.names[where], bundle, clicks, clicks, marked, *zeros)
        for minute, where, clicks, marked in groups(log.minutes, log.slices, log.marked, of_day)
    ]
    purchases = [
        (minute, log.names[where], bundle, clicks, marked, 0)
        for minute, where, clicks, marked in groups(log.bought, log.slices, log.marked, bought)
    ]
    ivr = {name: float(log.marked[of_day & (log.slices == place)].mean()) for place, name in enumerate(log.names)}
    return Counted(rows, purchases, ivr)


class Counted(NamedTuple):
    """A day's counts: rows of clicks, rows of purchases, and the share of each slice that was found invalid."""

    rows: list[tuple[Any, ...]]
    purchases: list[tuple[Any, ...]]
    ivr: dict[str, float]


def groups(minutes: Ints, slices: Ints, marked: Bools, which: Bools) -> list[tuple[int, int, int, int]]:
    """Return minute, slice, clicks and marked clicks of each minute and slice of some clicks."""
    key = minutes[which] * 100 + slices[which]
    found, place = np.unique(key, return_inverse=True)
    clicks, hits = np.bincount(place), np.bincount(place, marked[which]).astype(np.int64)
    return [
        (one // 100, one % 100, n, x) for one, n, x in zip(found.tolist(), clicks.tolist(), hits.tolist(), strict=True)
    ]


def quiet(folder: Path, log: Log) -> dict[str, Any]:
    """Return what opened over the last two weeks, and for how much of it a young bundle would be rolled back.

    Each day's bundle is that of the days before: shares of the last one, shares by the hour of the last two, clicks by
    the hour of all nine.
    """
    first = int(log.minutes.max()) // 1440 * 1440 - DAYS * 1440 + 1440
    state = State(folder / "quiet.sqlite")
    watch = Watch(state, MonitorSettings(), BUDGET)
    seconds, looks, blamed_days, opened, by_metric = 0.0, 0, 0, {}, Counter[str]()
    before: dict[str, float] = {}
    for day in range(DAYS):
        found = counts(log, day, first, f"b{day}")
        with state.transaction():
            state.add(Counts(found.rows, []))
            state.add_bought(found.purchases)
        start = (first + day * 1440) * MINUTE
        if day >= DAYS - QUIET:
            expected = expectation(log, day, first, before)
            champion = HistoryEntry(
                number=1, kind="promote", bundle=f"b{day}", at=start, who="benchmark", why="a new day"
            )
            open_: set[str] = set()
            blame = False
            for minute in range(LOOK, 1440 + 1, LOOK):
                begun = time.perf_counter()
                deviations = watch.deviations(expected, start, start + minute * MINUTE)
                seconds, looks = seconds + time.perf_counter() - begun, looks + 1
                cause = blamed(deviations, champion, start + minute * MINUTE, RULES)
                blame |= cause is not None and not refused(cause, (), champion, (start + minute * MINUTE,) * 2, RULES)
                for one in deviations:
                    if one.sharp and one.key not in open_:
                        open_.add(one.key)
                        by_metric[f"{one.metric} {one.against}"] += 1
                        opened[f"day {day} {minute}m {one.key}"] = (round(one.observed, 3), round(one.expected, 3))
                    elif one.over:
                        open_.discard(one.key)
            blamed_days += blame
        before = found.ivr
    state.close()
    return {
        "alarms": opened,
        "alarms_by_metric": dict(by_metric),
        "days_with_a_bundle_blamed": blamed_days,
        "look_ms": round(1000 * seconds / looks, 1),
    }


def expectation(log: Log, day: int, first: int, shares: dict[str, float]) -> Expected:
    """Return what the bundle of a day expects, as `slidr daily` writes it."""
    days = (log.minutes - first) // 1440
    two, nine = (days >= day - 2) & (days < day), (days >= day - 9) & (days < day)
    hours = np.bincount((log.minutes[nine] - first) // 60 - 24 * (day - 9), minlength=9 * 24)
    clicks = tuple((one.centre, one.most) for one in expected_clicks(hours, 0))
    moves = np.array(expected_hours(log.minutes[two] * MINUTE, log.marked[two]))
    return Expected(f"b{day}", shares, {}, clicks=clicks, hours=moves)


def minutes_to_alarm(folder: Path, log: Log, metric: str, spoil: Callable[[Log, Bools], Log]) -> int | None:
    """Return how many minutes after noon, when a bundle spoils, a metric's alarm of all clicks opens."""
    first = int(log.minutes.max()) // 1440 * 1440 - DAYS * 1440 + 1440
    noon = first + (DAYS - 2) * 1440 + 720
    spoilt = spoil(log, log.minutes >= noon)
    state = State(folder / f"{metric}.sqlite")
    before = counts(log, DAYS - 3, first, "good").ivr
    bad = log.minutes >= noon
    for part, bundle in ((~bad, "good"), (bad, "bad")):
        for day in range(DAYS - 9, DAYS):
            some = Log(
                spoilt.minutes[part], spoilt.slices[part], spoilt.marked[part], spoilt.bought[part], spoilt.names
            )
            if ((some.minutes - first) // 1440 == day).any():
                found = counts_of(some, day, first, bundle)
                with state.transaction():
                    state.add(Counts(found[0], []))
                    state.add_bought(found[1])
    watch = Watch(state, MonitorSettings(), BUDGET)
    for minute in range(1, 2 * 1440):
        if minute > HOUR // MINUTE and minute % LOOK:
            continue
        deviations = watch.deviations(Expected("bad", before, {}), noon * MINUTE, (noon + minute) * MINUTE)
        if any(one.sharp and one.metric == metric and one.slice == "all" for one in deviations):
            state.close()
            return minute
    state.close()
    return None


def counts_of(log: Log, day: int, first: int, bundle: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the rows of `counts`, of a log that may lack slices."""
    of_day = (log.minutes - first) // 1440 == day
    zeros = [0] * (len(SUMS) - 3)
    clicks = groups(log.minutes, log.slices, log.marked, of_day)
    rows = [(m, log.names[s], bundle, n, n, x, *zeros) for m, s, n, x in clicks]
    bought = groups(log.bought, log.slices, log.marked, of_day & (log.bought >= 0))
    return rows, [(m, log.names[s], bundle, n, x, 0) for m, s, n, x in bought]


def everything(log: Log, which: Bools) -> Log:
    """Return the log with all of some clicks found invalid."""
    return log._replace(marked=log.marked | which)


def doubled(log: Log, which: Bools) -> Log:
    """Return the log with some purchasing clicks found invalid at twice the budget."""
    drawn = np.random.default_rng(SEED).random(len(which)) < 2 * BUDGET
    return log._replace(marked=np.where(which & (log.bought >= 0), drawn, log.marked))


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rate = reading(folder)
        log = traffic()
        result = {
            "entries_per_second": round(rate),
            "clicks_a_minute": round(PER_DAY / 1440, 1),
            "quiet_days": QUIET,
            **quiet(folder, log),
            "minutes_to_invalidating_everything": minutes_to_alarm(folder, log, "ivr", everything),
            "minutes_to_doubled_fpr": minutes_to_alarm(folder, log, "fpr", doubled),
            "purchasing_clicks_a_day": round(int((log.bought >= 0).sum()) / DAYS),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
