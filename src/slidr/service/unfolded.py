"""Clicks that were answered without being folded: within an hour they get the same answer again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slidr.clock import HOUR, Clock
from slidr.features.clicks import Click
from slidr.journal import Entry, Journal

_MOST = 1_000_000
"""Clicks remembered; beyond them the oldest are forgotten, and decided anew where they come again."""


class Unfolded:
    """What this process decided of clicks that the store does not know.

    Args:
        journal: tells what was decided within the last hour before this process started.
        clock: tells the time.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self.note(journal.unfolded(clock.now() - HOUR))

    def among(self, clicks: Sequence[Click]) -> dict[int, Entry]:
        """Return the entries of those of the clicks that were answered already, by their place."""
        if not self._entries:
            return {}
        self._forget()
        known = self._entries
        return {place: known[click.click_id] for place, click in enumerate(clicks) if click.click_id in known}

    def note(self, entries: Iterable[Entry]) -> None:
        """Remember those of the entries whose clicks were not folded."""
        for entry in entries:
            if entry.sequence < 0:
                self._entries[entry.click_id] = entry

    def _forget(self) -> None:
        """Forget what is older than an hour, or too much; the oldest stand first."""
        oldest = self._clock.now() - HOUR
        surplus = len(self._entries) - _MOST
        gone = []
        for place, (click_id, entry) in enumerate(self._entries.items()):
            if place >= surplus and entry.decided_at >= oldest:
                break
            gone.append(click_id)
        for click_id in gone:
            del self._entries[click_id]
