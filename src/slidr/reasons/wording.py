"""Wording: what a feature says of a click, as a stable code for programs and as words for people.

Features that measure one thing of one entity share a code, such as every window and half-life of a user's click rate.
A code comes from the kind and the entity of a feature, so that one that a user declares has a code and words as well.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias, assert_never

from slidr.clock import DAY, HOUR, MINUTE, SECOND
from slidr.features.catalogue import (
    AnyFeature,
    Burst,
    Catalogue,
    Clicks,
    Distinct,
    Entity,
    Gap,
    LoggedIn,
    Missing,
    PeakDistinct,
    TimeOfClick,
    Velocity,
)
from slidr.model.reference import Usual
from slidr.settings import duration

_Measured: TypeAlias = Clicks | Velocity | Burst | Gap | Distinct | PeakDistinct
_UNITS = {"s": (SECOND, "second"), "m": (MINUTE, "minute"), "h": (HOUR, "hour"), "d": (DAY, "day")}
_PLURALS = {"ip": "addresses", "user_agent": "user agents"}
_NAMES = {"ip": "address", "user_agent": "user agent", "logged_in": "login state"}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def reason_code(feature: AnyFeature) -> str:
    """Return the code of what a feature measures.

    >>> [reason_code(feature) for feature in (Clicks("user", "10m"), Velocity("user", "1h"), Gap("ip", "variation"))]
    ['user_click_rate', 'user_click_rate', 'ip_click_rhythm']
    >>> reason_code(Distinct("session", by=("ip", "user_agent"), window="1h"))
    'ip_user_agent_sessions'
    """
    entity = "_".join(feature.entity)
    match feature:
        case Clicks() | Velocity():
            code = f"{entity}_click_rate"
        case Burst():
            code = f"{entity}_click_burst"
        case Gap(statistic="variation"):
            code = f"{entity}_click_rhythm"
        case Gap():
            code = f"{entity}_click_gaps"
        case Distinct(column=column):
            code = f"{entity}_{column}s"
        case PeakDistinct(column=column):
            code = f"{entity}_{column}s_before"
        case TimeOfClick():
            code = "time_of_click"
        case LoggedIn() | Missing(column="logged_in"):
            code = "login_state"
        case Missing(column=column):
            code = f"{column}_missing"
        case _:
            assert_never(feature)
    return code


def grouped(catalogue: Catalogue) -> dict[str, list[int]]:
    """Return the columns of a row by the code of what they measure, in the order of the catalogue."""
    found: dict[str, list[int]] = {}
    for column, feature in enumerate(catalogue):
        found.setdefault(reason_code(feature), []).append(column)
    return found


class Moment(NamedTuple):
    """What words need to know of a click besides the value of a feature.

    Attributes:
        time: when the click was made, microseconds UTC.
        named: whether the click has the columns that name the feature's entity.
        horizon: seconds after which an idle entity reads as new, which a gap cannot exceed.
    """

    time: int = 0
    named: bool = True
    horizon: float = math.inf


def worded(feature: AnyFeature, value: float, usual: Usual, moment: Moment = Moment()) -> str:  # noqa: B008 immutable
    """Return what a feature says of a click in words: value, unit and window, and what is usual of people.

    Args:
        feature: the feature.
        value: of the click's row.
        usual: what is usual of people's clicks.
        moment: what else is known of the click.

    >>> print(worded(Clicks("user", "10m"), 214.0, Usual(1.0, 2.0, 9.0)))
    214 clicks of this user in 10 minutes; a person's median is 2, and 99 of 100 clicks of people have at most 9
    """
    match feature:
        case TimeOfClick():
            made = datetime.fromtimestamp(moment.time / SECOND, UTC)
            return f"the click was made at {made:%H:%M} UTC on a {_WEEKDAYS[made.weekday()]}"
        case LoggedIn():
            said = "the user was logged in" if value else "the user was not logged in, or it is not known"
        case Missing(column=column):
            said = f"the click has {'no' if value else 'a'} {_NAMES.get(column, column)}"
        case _ if not moment.named:
            return f"the click has no {' or no '.join(_NAMES.get(column, column) for column in feature.entity)}"
        case _:
            return f"{_measured(feature, value, moment.horizon)}; {_usually(feature, value, usual, moment.horizon)}"
    return f"{said}; {'at least' if usual.median == value else 'less than'} half of people's clicks are like that"


def _measured(feature: _Measured, value: float, horizon: float) -> str:
    """Return what was measured of a click, with unit and window."""
    who = f"this {_entity(feature.entity)}"
    match feature:
        case Clicks(window=window):
            said = f"{_count(value, 'click')} of {who} in {span(window)}"
        case Velocity(half_life=half_life):
            said = f"{_figure(value)} clicks an hour of {who}, where a click counts half after {span(half_life)}"
        case Burst(short=short, long=long):
            said = (
                f"clicks of {who} {_figure(value)} times as fast in the last {span(short)} as in the last {span(long)}"
            )
        case Gap(statistic="variation"):
            said = f"the times between clicks of {who} deviate by {_scaled(feature, value, horizon)} of their mean"
        case Gap() if value >= horizon:
            said = f"no earlier click of {who} in {_figure(horizon / 3600)} hours"
        case Gap(statistic=statistic):
            since = "since the previous click" if statistic == "last" else "between clicks on average"
            said = f"{_figure(value)} s {since} of {who}"
        case Distinct(column=column, window=window):
            said = f"{_values(value, column)} of {who} in {span(window)}"
        case PeakDistinct() if value < 0:
            said = f"it is not known how many {_plural(feature.column)} {who} had in the {span(feature.over)} before"
        case PeakDistinct(column=column, window=window, over=over):
            said = f"{_values(value, column)} of {who} in the busiest {_one(window)} of the {span(over)} before"
        case _:
            assert_never(feature)
    return said


def _usually(feature: _Measured, value: float, usual: Usual, horizon: float) -> str:
    """Return a person's median, and the end of what is usual on the side on which the value lies."""
    said = f"a person's median is {_scaled(feature, usual.median, horizon)}, and 99 of 100 clicks of people have at"
    if value >= usual.median:
        return f"{said} most {_scaled(feature, usual.high, horizon)}"
    return f"{said} least {_scaled(feature, usual.low, horizon)}"


def _scaled(feature: _Measured, value: float, horizon: float) -> str:
    """Return a value of a feature with its unit, as it reads behind the measured one."""
    match feature:
        case Gap(statistic="variation"):
            return f"{_figure(100 * value)} %"
        case Gap():
            return f"{_figure(value)} s{' (no earlier click)' if value >= horizon else ''}"
        case PeakDistinct() if value < 0:
            return "not known"
        case Distinct() | PeakDistinct():
            return _figure(round(value))
        case _:
            return _figure(value)


def span(window: str) -> str:
    """Return a duration in words.

    >>> span("10m"), span("1h"), span("90s"), span("24h")
    ('10 minutes', '1 hour', '90 seconds', '24 hours')
    """
    unit, noun = _UNITS[window[-1]]
    return _count(duration(window) // unit, noun)


def _entity(entity: Entity) -> str:
    return " with this ".join(_NAMES.get(column, column) for column in entity)


def _values(value: float, column: str) -> str:
    # Beyond eight values a distinct count is an estimate, and a part of a value is none.
    number = round(value)
    return f"{_figure(number)} {_NAMES.get(column, column) if number == 1 else _plural(column)}"


def _plural(column: str) -> str:
    return _PLURALS.get(column, f"{column}s")


def _one(window: str) -> str:
    """Return a duration behind an adjective: the hour, or the ten minutes."""
    said = span(window)
    return said.removeprefix("1 ") if said.startswith("1 ") else said


def _count(value: float, noun: str) -> str:
    return f"{_figure(value)} {noun}{'' if value == 1 else 's'}"


def _figure(value: float) -> str:
    """Return a figure as people write it: whole where it is large or whole, else with three digits.

    >>> [_figure(value) for value in (214.0, 0.0, 12.345, 0.012345, 2592000.0, -1.0, 123456.7)]
    ['214', '0', '12.3', '0.0123', '2,592,000', '-1', '123,457']
    """
    if value == round(value) or abs(value) >= 100:  # noqa: PLR2004 three digits
        return f"{value:,.0f}"
    return f"{value:.3g}"
