"""Rollback: whether a deviation is reason enough to let the last stable bundle decide again, and only then.

People found invalid are reason enough at any time. A changed share of invalid clicks is, only while the champion is
young: of one that was stable, it tells of another traffic, such as an attack, which another bundle would meet too. Nor
is it where the number of clicks tells that robots came or stayed away, and that as many people as usual are found
valid. The target of a rollback was stable, and is not rolled back in its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from slidr.clock import MINUTE
from slidr.monitor.deviations import Deviation
from slidr.registry import HistoryEntry
from slidr.settings import Settings, duration

WHO = "slidr monitor"
"""Who rolled back, in the history."""
_PEOPLE = frozenset({"trusted", "fpr"})
_YOUNG = frozenset({"ivr", "low_ivr"})
_FRESH = 10 * MINUTE


class Rules(NamedTuple):
    """When the monitor may roll back.

    Attributes:
        hold: minutes that a deviation must last.
        quiet: least time since its last rollback, microseconds.
        stable_after: age from which on a champion is not young, microseconds.
    """

    hold: int
    quiet: int
    stable_after: int

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Return what the settings say."""
        monitor = settings.monitor
        return cls(monitor.hold_minutes, duration(monitor.quiet), duration(settings.registry.stable_after))


def blamed(deviations: Sequence[Deviation], champion: HistoryEntry, now: int, rules: Rules) -> Deviation | None:
    """Return the deviation of all slices together that the champion is to be blamed for, the sharpest; None if none.

    Args:
        deviations: as they stand.
        champion: the entry of the history that named it.
        now: microseconds UTC.
        rules: see `Rules`.
    """
    young = champion.kind != "rollback" and now - champion.at < rules.stable_after
    kinds = _PEOPLE | _YOUNG if young else _PEOPLE
    sharp = [one for one in deviations if one.sharp and one.slice == "all" and one.metric in kinds]
    found = [one for one in sharp if not one.robots]
    return max(found, key=lambda one: one.excursion.sum, default=None)


def refused(
    cause: Deviation, history: Sequence[HistoryEntry], champion: HistoryEntry, times: tuple[int, int], rules: Rules
) -> str:
    """Return why nothing is rolled back for now; empty where it is to be.

    Args:
        cause: what the champion is blamed for.
        history: the registry's, oldest first.
        champion: the entry that named it.
        times: when the last click was decided, and now; microseconds UTC.
        rules: see `Rules`.
    """
    last, now = times
    if champion.kind == "rollback":
        return "a rollback made it champion; another one is a person's to decide"
    if cause.excursion.held < rules.hold:
        return f"it has lasted {cause.excursion.held} of {rules.hold} minutes"
    if now - last > _FRESH:
        return "the last click is too old to judge by"
    own = [entry for entry in history if entry.kind == "rollback" and entry.who == WHO]
    if any(entry.instead == champion.bundle for entry in own):
        return "it was rolled back once, and somebody promoted it again"
    if own and now - own[-1].at < rules.quiet:
        return "the last rollback is too short a while ago"
    return ""
