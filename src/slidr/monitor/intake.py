"""Intake: what journals and lake have got since the last look goes into the state, once each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slidr.clock import DAY, HOUR, MINUTE
from slidr.errors import SlidrError
from slidr.features.keys import Pseudonymiser
from slidr.lake.delta import Lake
from slidr.monitor.alarms import Wrong
from slidr.monitor.counting import Clicks, clicks_of, count
from slidr.monitor.deviations import OTHER
from slidr.monitor.people import Bought, known_version, purchases_of, trusted_accounts
from slidr.monitor.reading import Cursor, Reader, reading
from slidr.monitor.state import Kept, Reported, State, horizon
from slidr.settings import Settings, duration

_AHEAD = 5 * MINUTE


class Taken(NamedTuple):
    """What an intake did.

    Attributes:
        entries: entries of journals that were read.
        clicks: clicks that were counted.
        purchases: clicks of which it became known that they led to a purchase.
        wrong: journals and lakes that could not be read, clocks that are ahead.
    """

    entries: int
    clicks: int
    purchases: int
    wrong: tuple[Wrong, ...]


class Intake:
    """Reads journals and lake into a state.

    Args:
        state: where to.
        settings: all of them.
        lake: whose purchases count; None for none.
    """

    def __init__(self, state: State, settings: Settings, lake: Lake | None) -> None:
        self._state, self._settings, self._lake = state, settings, lake
        self._window = duration(settings.labels.attribution_window)
        self._slices = {row.slice for row in state.rows("hours", 0)}
        self._last: set[tuple[int, int]] = set()
        self._now: set[tuple[int, int]] = set()

    def take(self, paths: Sequence[Path], hashes: Pseudonymiser, now: int) -> Taken:
        """Read everything new.

        A journal that cannot be read is told of, and read on from where it was once it can be.

        Args:
            paths: of the journals.
            hashes: hashes accounts as the services do.
            now: microseconds UTC.
        """
        wrong: list[Wrong] = []
        entries = clicks = 0
        self._last, self._now = self._now, set()
        seen: set[str] = set()
        trusted = self._state.trusted()
        for path in paths:
            try:
                with reading(path) as reader:
                    if reader.id in seen:
                        continue  # One journal under two names.
                    seen.add(reader.id)
                    read, counted, ahead = self._journal(reader, trusted, now, several=len(paths) > 1)
            except (SlidrError, OSError) as fault:
                wrong.append(Wrong(f"journal {path.name}", "journal", str(fault)))
                continue
            entries, clicks = entries + read, clicks + counted
            if ahead:
                words = f"{path.name}: {ahead} decisions are dated ahead of this clock; set the clocks right"
                wrong.append(Wrong(f"clock {path.name}", "clock", words))
        try:
            self._lake_purchases(hashes, now)
        except (SlidrError, OSError) as fault:
            wrong.append(Wrong("lake", "lake", str(fault)))
        with self._state.transaction():
            bought = self._state.attribute(now, self._window)
        if int(self._state.meta("pruned", 0)) != now // HOUR:
            with self._state.transaction():
                self._state.prune(now, self._window, self._settings.monitor.kept_clicks)
                self._state.note("pruned", now // HOUR)
        return Taken(entries, clicks, bought, tuple(wrong))

    def _journal(self, reader: Reader, trusted: np.ndarray, now: int, *, several: bool) -> tuple[int, int, int]:
        """Count a journal on; return how many entries were read, clicks counted, and decisions dated ahead."""
        cursor = self._state.cursor(reader.id)
        read = counted = ahead = 0
        for part in reader.parts(cursor):
            cursor = part.cursor
            read += part.read
            with self._state.transaction():
                if part.columns:
                    clicks = clicks_of(part, reader.context, now)
                    ahead += sum(decided > now + _AHEAD for decided in part.columns[2])
                    clicks = self._known(clicks.without(self._twins(clicks)) if several else clicks)
                    counted += len(clicks.minutes)
                    self._state.add(count(clicks, trusted))
                    self._state.keep(self._kept(clicks, now))
                self._state.move(reader.id, reader.path, cursor, now)
                if self._crowded():
                    self._state.prune(now, self._window, self._settings.monitor.kept_clicks)
        self._purchases(reader, cursor, now)
        return read, counted, ahead

    def _crowded(self) -> bool:
        return self._state.kept > 2 * self._settings.monitor.kept_clicks

    def _twins(self, clicks: Clicks) -> np.ndarray:
        """Return which clicks another process decided too, in the same moment, bool[n]: one of the two counts."""
        pairs = list(zip(clicks.sequences.tolist(), clicks.click_keys.tolist(), strict=True))
        twins = [pair[0] >= 0 and (pair in self._last or pair in self._now) for pair in pairs]
        self._now.update(pairs[-100_000:])
        return np.array(twins, np.bool_)

    def _known(self, clicks: Clicks) -> Clicks:
        """Return the clicks with the slices beyond the limit put together."""
        names = []
        for where, bundle in clicks.names:
            if where not in self._slices:
                if len(self._slices) >= self._settings.monitor.slices:
                    names.append((OTHER, bundle))
                    continue
                self._slices.add(where)
            names.append((where, bundle))
        found: dict[tuple[str, str], int] = {}
        place = np.array([found.setdefault(pair, len(found)) for pair in names], np.int64)
        return clicks._replace(names=list(found), groups=place[clicks.groups])

    def _kept(self, clicks: Clicks, now: int) -> list[Kept]:
        mask = self._state.mask
        young = np.flatnonzero(clicks.times >= now - self._window - HOUR)
        if mask:
            young = young[(clicks.users[young] == 0) | (clicks.users[young] & mask == 0)]
        if not len(young):
            return []
        own = self._state.hashes([clicks.click_ids[place] for place in young.tolist()])
        users = clicks.users[young]
        if mask:
            chosen = (users != 0) | (own & mask == 0)
            young, own, users = young[chosen], own[chosen], users[chosen]
        order = np.argsort(own)  # as the state's file has them, which is sooner written so
        columns = (own, users, clicks.times[young], clicks.groups[young], clicks.verdicts[young])
        names = clicks.names
        return [
            (click, user, time, *names[group], verdict)
            for click, user, time, group, verdict in zip(*(one[order].tolist() for one in columns), strict=True)
        ]

    def _purchases(self, reader: Reader, cursor: Cursor, now: int) -> None:
        for chunk in reader.purchases(cursor):
            cursor = cursor._replace(purchase=chunk[-1][0])
            bought: list[tuple[Bought, int]] = [
                ((one.purchase_id, one.time, one.user_key, one.click_id), min(one.reported_at, now)) for _, one in chunk
            ]
            with self._state.transaction():
                self._state.report(self._reported(bought, now))
                self._state.move(reader.id, reader.path, cursor, now)

    def _lake_purchases(self, hashes: Pseudonymiser, now: int) -> None:
        """Take the lake's purchases where it has got some, and once a day who is trusted."""
        if self._lake is None:
            return
        version, chosen = known_version(self._lake), int(self._state.meta("trusted", -1))
        if version >= 0 and version != int(self._state.meta("lake", -1)):
            for chunk in purchases_of(self._lake, hashes, now - horizon(self._window)):
                with self._state.transaction():
                    self._state.report(self._reported([(one, now) for one in chunk], now))
            self._state.note("lake", version)
        if version >= 0 and chosen != now // DAY:
            limits = self._settings.monitor
            start = now - duration(self._settings.labels.rfm_history)
            accounts = trusted_accounts(
                self._lake, hashes, start, most=limits.trusted_accounts, days=limits.trusted_days
            )
            with self._state.transaction():
                self._state.trust(accounts)
                self._state.note("trusted", now // DAY)

    def _reported(self, bought: Iterable[tuple[Bought, int]], now: int) -> list[Reported]:
        """Return purchases as the state keeps them, without those that are too old to be known again."""
        young = [one for one in bought if one[0][1] >= now - horizon(self._window)]
        mask = self._state.mask
        purchases = self._state.hashes([one[0][0] for one in young]).tolist()
        named = self._state.hashes([one[0][3] or "" for one in young]).tolist()
        return [
            Reported(purchase, time, user, click if click_id else None, arrived)
            for purchase, click, ((_, time, user, click_id), arrived) in zip(purchases, named, young, strict=True)
            if click_id or (user is not None and user & mask == 0)
        ]
