"""Wording: every feature that can be declared has a code and words."""

from __future__ import annotations

import re

import pytest
from tests import small

from slidr.features.catalogue import (
    KINDS,
    AnyFeature,
    Burst,
    Clicks,
    Distinct,
    Gap,
    LoggedIn,
    Missing,
    PeakDistinct,
    TimeOfClick,
    Velocity,
    default_catalogue,
)
from slidr.model.reference import Usual
from slidr.reasons.wording import Moment, grouped, reason_code, worded
from slidr.settings import FeaturesSettings

USUAL = Usual(1.0, 2.0, 9.0)


def test_every_column_is_in_one_group() -> None:
    """The groups share out the columns of a row, each column once."""
    columns = sorted(column for group in grouped(small.CATALOGUE).values() for column in group)
    assert columns == list(range(len(small.CATALOGUE)))


def test_a_feature_of_the_settings_has_a_code_and_words() -> None:
    """What a user adds is grouped with its like, or has a code of its own."""
    add = (
        {"kind": "Clicks", "by": "user", "window": "30m"},
        {"kind": "Distinct", "column": "campaign", "by": ["ip", "device"], "window": "2h"},
    )
    catalogue = default_catalogue(FeaturesSettings(add=add))
    old, new = catalogue[-2:]
    assert reason_code(old) in grouped(small.CATALOGUE)
    assert reason_code(new) == "ip_device_campaigns" not in grouped(small.CATALOGUE)
    assert worded(new, 12, USUAL).startswith("12 campaigns of this address with this device in 2 hours; ")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_worded(kind: str) -> None:
    """No kind of feature of the default catalogue lacks words, at any value, and codes are codes."""
    features = [feature for feature in small.CATALOGUE if type(feature).__name__ == kind]
    assert features
    for feature in features:
        assert re.fullmatch(r"[a-z_]+", reason_code(feature))
        for value in (-1.0, 0.0, 0.5, 1.0, 214.0):
            said = worded(feature, value, USUAL, Moment(time=3, horizon=86_400.0))
            assert not re.search(r"None|\{|_| {2}", said), said


@pytest.mark.parametrize(
    ("feature", "value", "words"),
    [
        (Clicks("user", "10m"), 214, "214 clicks of this user in 10 minutes; a person's median is 2, and 99 of 100"),
        (Clicks("user", "1h"), 1, "1 click of this user in 1 hour; a person's median is 2, and 99 of 100"),
        (Clicks("user", "1h"), 1, "clicks of people have at least 1"),
        (Clicks(("user", "campaign"), "24h"), 3, "3 clicks of this user with this campaign in 24 hours"),
        (Velocity("ip", "10m"), 1234.5, "1,234 clicks an hour of this address, where a click counts half after 10 min"),
        (
            Burst("user", "10m", "24h"),
            40,
            "clicks of this user 40 times as fast in the last 10 minutes as in the last 24",
        ),
        (Gap("session"), 0.25, "0.25 s since the previous click of this session; a person's median is 2 s"),
        (Gap("session", "mean"), 3.5, "3.5 s between clicks on average of this session"),
        (Gap("user"), 86_400, "no earlier click of this user in 24 hours"),
        (Gap("ip", "variation"), 0.02, "deviate by 2 % of their mean; a person's median is 200 %"),
        (Distinct("user", "ip", "1h"), 30.7, "31 users of this address in 1 hour"),
        (Distinct("ip", "user", "1h"), 1, "1 address of this user in 1 hour"),
        (PeakDistinct("user", "ip"), 41, "41 users of this address in the busiest hour of the 30 days before"),
        (PeakDistinct("user", "ip"), -1, "it is not known how many users this address had in the 30 days before"),
        (TimeOfClick("hour_cos"), 0.1, "the click was made at 03:12 UTC on a Thursday"),
        (LoggedIn(), 0, "the user was not logged in, or it is not known; less than half of people's clicks are like"),
        (Missing("user_agent"), 1, "the click has no user agent"),
        (Missing("user"), 0, "the click has a user"),
    ],
)
def test_words_say_value_unit_and_window(feature: AnyFeature, value: float, words: str) -> None:
    """Auditors read the measured value with its unit and window, and what is usual."""
    assert words in worded(feature, value, USUAL, Moment(time=(3 * 60 + 12) * 60_000_000, horizon=86_400.0))


def test_a_click_without_the_entity_says_so() -> None:
    """Where a click does not name the entity, no count of it is quoted."""
    said = worded(Distinct("ip", "user", "1h"), 0, USUAL, Moment(named=False))
    assert said == "the click has no user"
    assert (
        worded(Gap(("ip", "user_agent")), 9, USUAL, Moment(named=False)) == "the click has no address or no user agent"
    )
