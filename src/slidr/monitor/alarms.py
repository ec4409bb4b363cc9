"""Alarms: what is wrong now, since when, and who was told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import msgspec

from slidr.monitor.deviations import Deviation
from slidr.monitor.state import State

_log = logging.getLogger("slidr.monitor")
_WORDS = {
    "ivr": "the model finds {observed} of the clicks invalid, {expected} are usual",
    "low_ivr": "the model finds {observed} of the clicks invalid, {expected} are usual",
    "unmeasurable": "{observed} of the clicks are unmeasurable, {expected} are usual",
    "trusted": "{observed} of the clicks of trusted accounts are found invalid, {expected} is the budget",
    "fpr": "{observed} of the purchasing clicks were found invalid, {expected} is the budget",
    "clicks": "{rate} clicks a minute came, {usual} are usual",
    "scores": "the scores' stability index is {index:.2f}, at most {most:.2f} is usual",
}
_AGAINST = {"bundle": " by the bundle's own days", "weeks": " at this hour of earlier weeks", "budget": ""}


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes:
        key: names what is watched; there is one alarm of a key at a time.
        kind: `deviation`, `journal`, `lake`, `registry`, `clock` or `rollback`.
        state: `open` or `closed`.
        at: when it was opened or closed, microseconds UTC.
        message: what is wrong, in a sentence.
        bundle: the champion; empty where it has nothing to do with it.
        metric: what deviates; empty where nothing does.
        slice: where.
        observed: what was found: a share; of `clicks`, how many a minute; of `scores`, their index.
        expected: what is usual.
        clicks: that it rests on.
        since: when the deviation began, microseconds UTC.
        told: whether the webhook took it.
    """

    key: str
    kind: Literal["deviation", "journal", "lake", "registry", "clock", "rollback"]
    state: Literal["open", "closed"] = "open"
    at: int
    message: str
    bundle: str = ""
    metric: str = ""
    slice: str = ""
    observed: float | None = None
    expected: float | None = None
    clicks: int | None = None
    since: int | None = None
    told: bool = False


class Wrong(NamedTuple):
    """Something that is wrong beside the decisions: its alarm's key, kind, and what it says."""

    key: str
    kind: Literal["journal", "lake", "registry", "clock"]
    message: str


class Alarms:
    """The alarms that are open, and how they open and close.

    A deviation opens its alarm once it is sharp, and closes it once half of that is left: between the two the alarm
    stays as it is.

    Args:
        state: keeps them over a restart.
        send: gives one to the webhook, without waiting, and calls back once that took it.
    """

    def __init__(self, state: State, send: Callable[[Alarm, Callable[[], None]], None]) -> None:
        self._state, self._send = state, send
        self._told: list[str] = []
        self.open = {key: msgspec.json.decode(text, type=Alarm) for key, text in state.alarms().items()}
        for alarm in self.open.values():
            if not alarm.told:
                self._tell(alarm)

    def update(self, deviations: Iterable[Deviation], wrong: Iterable[Wrong], bundle: str, now: int) -> list[Alarm]:
        """Open and close alarms as things stand, and return those that were.

        Args:
            deviations: everything that is watched.
            wrong: what is wrong beside it.
            bundle: the champion.
            now: microseconds UTC.
        """
        wanted: dict[str, Alarm | None] = {}
        for one in deviations:
            if one.sharp:
                wanted[one.key] = _alarm(one, bundle, now)
            elif not one.over:
                wanted[one.key] = None  # as it was
        for other in wrong:
            wanted[other.key] = Alarm(key=other.key, kind=other.kind, at=now, message=other.message)
        changed = []
        for key, alarm in wanted.items():
            if alarm is not None and key not in self.open:
                self.open[key] = alarm
                changed.append(alarm)
        for key, alarm in list(self.open.items()):
            if key not in wanted or alarm.bundle not in {"", bundle}:
                del self.open[key]
                changed.append(msgspec.structs.replace(alarm, state="closed", at=now))
        for alarm in changed:
            self._say(alarm)
        self._keep(changed)
        return changed

    def report(self, alarm: Alarm) -> None:
        """Tell of something that happened and is not to be closed."""
        self._say(alarm)

    def _say(self, alarm: Alarm) -> None:
        level = logging.ERROR if alarm.state == "open" else logging.INFO
        _log.log(level, "alarm %s: %s: %s", alarm.state, alarm.key, alarm.message)
        self._tell(alarm)

    def _tell(self, alarm: Alarm) -> None:
        self._send(alarm, lambda: self._told.append(alarm.key))

    def _keep(self, changed: list[Alarm]) -> None:
        told, self._told = self._told, []
        for key in told:
            if key in self.open:
                self.open[key] = msgspec.structs.replace(self.open[key], told=True)
        if changed or told:
            self._state.keep_alarms({key: msgspec.json.encode(alarm).decode() for key, alarm in self.open.items()})


def _alarm(one: Deviation, bundle: str, now: int) -> Alarm:
    shares = {"observed": f"{one.observed:.2%}", "expected": f"{one.expected:.2%}"}
    shares |= {"rate": f"{one.observed:,.1f}", "usual": f"{one.expected:,.1f}"}
    words = _WORDS[one.metric].format(**shares, index=one.observed, most=one.expected) + _AGAINST[one.against]
    words += "; clicks came in such numbers that robots tell it, and not the bundle" if one.robots else ""
    seen = one.excursion
    return Alarm(
        key=one.key, kind="deviation", at=now, bundle=bundle, metric=one.metric, slice=one.slice,
        message=f"{one.slice}: {words} ({seen.clicks} clicks)",
        observed=one.observed, expected=one.expected, clicks=seen.clicks, since=seen.since * 60_000_000,
    )  # fmt: skip
