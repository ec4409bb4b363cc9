"""The catalogue: what can be declared, how it is called, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from slidr.errors import FeatureError, SettingsError
from slidr.features.catalogue import (
    KINDS,
    AnyFeature,
    Burst,
    Catalogue,
    Clicks,
    Distinct,
    Gap,
    LoggedIn,
    Missing,
    PeakDistinct,
    TimeOfClick,
    Velocity,
    catalogue_hash,
    check_catalogue,
    decode_catalogue,
    default_catalogue,
    encode_catalogue,
)
from slidr.settings import FeaturesSettings, parse_settings


def with_added(*declarations: dict[str, Any]) -> Catalogue:
    """Return the catalogue of settings that add features."""
    return default_catalogue(parse_settings({"features": {"add": declarations}}).features)


def test_the_default_catalogue(catalogue: Catalogue) -> None:
    """It has about sixty features or more over the six entities, each with a name and a meaning of its own."""
    names = [feature.name for feature in catalogue]
    assert 60 <= len(names) == len(set(names))
    assert len({feature.meaning for feature in catalogue}) == len(names)
    entities = {feature.entity for feature in catalogue} - {()}
    assert entities == {("user",), ("session",), ("ip",), ("ip", "user_agent"), ("network",), ("user", "campaign")}
    for name in ("clicks_user_10m", "clicks_ip_user_agent_24h", "velocity_session_1m", "gap_user_variation",
                 "distinct_session_ip_1h", "clicks_user_campaign_24h", "peak_distinct_user_ip_1h_30d", "hour_sin",
                 "weekday_cos", "logged_in", "missing_user"):  # fmt: skip
        assert name in names


def test_every_kind_is_declared_by_default(catalogue: Catalogue) -> None:
    """No kind of feature stands idle, and none leaves a placeholder in its words."""
    assert {type(feature) for feature in catalogue} == set(KINDS.values())
    for feature in catalogue:
        assert not set("{}") & set(feature.name + feature.meaning)
        assert "None" not in feature.meaning


def test_windows_follow_the_settings() -> None:
    """Windows, half-lives and windows of distinct counts are those of the settings."""
    settings = FeaturesSettings(
        windows=("5m", "2h"), half_lives=("3m",), distinct_windows=("2h",), campaign_windows=("3h",)
    )
    names = {feature.name for feature in default_catalogue(settings)}
    assert {
        "clicks_user_5m",
        "clicks_user_2h",
        "velocity_ip_3m",
        "distinct_ip_user_2h",
        "clicks_user_campaign_3h",
    } <= names
    assert not any(name.endswith(("_10m", "_24h")) for name in names)


@pytest.mark.parametrize(
    ("declaration", "feature"),
    [
        ({"kind": "Clicks", "by": "user", "window": "30m"}, Clicks("user", "30m")),
        ({"kind": "Clicks", "by": ["ip", "device"], "window": "2d"}, Clicks(("ip", "device"), "2d")),
        ({"kind": "Velocity", "by": "campaign", "half_life": "1d"}, Velocity("campaign", "1d")),
        ({"kind": "Burst", "by": "user", "short": "1m", "long": "1h"}, Burst("user", "1m", "1h")),
        ({"kind": "Gap", "by": "network", "statistic": "variation"}, Gap("network", "variation")),
        ({"kind": "Gap", "by": "network"}, Gap("network", "last")),
        ({"kind": "Distinct", "column": "user", "by": "session", "window": "1h"}, Distinct("user", "session", "1h")),
        ({"kind": "PeakDistinct", "column": "user", "by": "network"}, PeakDistinct("user", "network", "1h", "30d")),
        ({"kind": "Clicks", "by": "device", "window": "30d"}, Clicks("device", "30d")),
        ({"kind": "Velocity", "by": "device", "half_life": "30h"}, Velocity("device", "30h")),
    ],
)
def test_settings_add_features(catalogue: Catalogue, declaration: dict[str, Any], feature: AnyFeature) -> None:
    """What stands under features.add comes last, after the default catalogue."""
    assert with_added(declaration) == (*catalogue, feature)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"kind": "Click", "by": "user", "window": "1h"}, "kind = 'Click' is not a feature; did you mean 'Clicks'"),
        ({"by": "user"}, "kind = '' is not a feature; known: Burst, Clicks"),
        ({"kind": "Clicks", "by": "user"}, "missing required field `window`"),
        ({"kind": "Clicks", "by": "user", "window": "1h", "per": 1}, "unknown field `per`"),
        ({"kind": "Clicks", "by": 5, "window": "1h"}, "by"),
        ({"kind": "Clicks", "by": ["user", None], "window": "1h"}, "Expected `str`, got `null`"),
        ({"kind": "Velocity", "by": "user", "half_life": 60}, "Expected `str`, got `int`"),
        ({"kind": "PeakDistinct", "column": "user", "by": "ip", "days": 30}, "unknown field `days`"),
    ],
)
def test_what_cannot_be_added(declaration: dict[str, Any], message: str) -> None:
    """A declaration that is not a feature is refused with the words at fault."""
    with pytest.raises(SettingsError) as fault:
        with_added(declaration)
    assert message in str(fault.value)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (Clicks("usr", "1h"), "Clicks: 'usr' is unknown; did you mean 'user'?"),
        (Clicks(("ip", "agent"), "1h"), "'agent' is unknown"),
        (Clicks((), "1h"), "`by` names no column"),
        (Gap("user", "median"), "Gap: 'median' is unknown; did you mean 'mean'?"),
        (Distinct("sesion", "ip", "1h"), "did you mean 'session'?"),
        (TimeOfClick("minute_sin"), "TimeOfClick: 'minute_sin' is unknown"),
        (Missing("devise"), "Missing: 'devise' is unknown"),
        (Clicks(("ip", "user", "ip"), "1h"), "clicks_ip_user_ip_1h: `by` names 'ip' 2 times"),
        (Clicks("", "1h"), "Clicks: '' is unknown"),
        (Clicks("user", "1 hour"), "clicks_user_1 hour: window: '1 hour' is not a duration"),
        (Clicks("user", "0s"), "clicks_user_0s: window: '0s' is not a duration; write a positive whole number"),
        (Burst("user", "1h", "60m"), "burst_user_1h_60m: short = '1h' is not shorter than long = '60m'"),
        (Burst("user", "1h", "31d"), "burst_user_1h_31d: long = '31d' is longer than 30d"),
        (Velocity("user", "0m"), "velocity_user_0m: half_life: '0m' is not a duration"),
        (
            Clicks("user", "31d"),
            "'31d' is longer than 30d, since state is kept for 30d; shorten it, or look back further with the slow",
        ),
        (Distinct("ip", "user", "721h"), "window = '721h' is longer than 30d"),
        (
            Velocity("user", "31h"),
            "half_life = '31h' is longer than 30h, since state is kept for 30d, for a rate is kept for 24",
        ),
        (Distinct("ip", ("user", "ip"), "1h"), "every click of the entity has the same 'ip'; count another column"),
        (PeakDistinct("ip", "ip"), "every click of the entity has the same 'ip'"),
        (PeakDistinct("cookie", "ip"), "PeakDistinct: 'cookie' is unknown"),
        (PeakDistinct("user", ()), "`by` names no column"),
        (PeakDistinct("user", "ip", window="2h"), "window = '2h' is not '1h'"),
        (PeakDistinct("user", "ip", window="0h"), "window: '0h' is not a duration"),
        (PeakDistinct("user", "ip", over="36h"), "over = '36h' is not a whole number of days up to 90d, such as '30d'"),
        (PeakDistinct("user", "ip", over="91d"), "over = '91d' is not a whole number of days up to 90d"),
    ],
)
def test_what_cannot_be_computed(feature: AnyFeature, message: str) -> None:
    """A column, statistic or part that does not exist is refused, the nearest suggested."""
    with pytest.raises(FeatureError) as fault:
        check_catalogue((feature,))
    assert message in str(fault.value)


def test_a_name_stands_once() -> None:
    """Two features of one name are refused: one declared twice, and two that are called the same."""
    with pytest.raises(FeatureError, match="2 features are called 'clicks_user_1h'"):
        with_added({"kind": "Clicks", "by": "user", "window": "1h"})
    with pytest.raises(FeatureError, match="2 features are called 'gap_user_last'"):
        check_catalogue((Gap("user"), Gap(("user",), "last")))


def test_a_catalogue_survives_json(catalogue: Catalogue) -> None:
    """Written and read, a catalogue is the same, its hash too; another order is another catalogue."""
    again = decode_catalogue(encode_catalogue(catalogue))
    assert again == catalogue
    assert catalogue_hash(again) == catalogue_hash(catalogue)
    assert catalogue_hash(catalogue[::-1]) != catalogue_hash(catalogue)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b'[{"kind": "Clock"}]',
        b'[{"kind": "Clicks", "by": "user"}]',
        b'[{"kind": "LoggedIn", "since": 1}]',
        b'[{"kind": "Missing", "column": "x"}]',
    ],
)
def test_what_is_no_catalogue_is_refused(document: bytes) -> None:
    """A document that declares something else is refused."""
    with pytest.raises(FeatureError):
        decode_catalogue(document)


def test_features_are_frozen() -> None:
    """A feature is a value: equal when declared equally, and not to be changed."""
    assert Clicks("user", "1h") == Clicks("user", "1h")
    with pytest.raises(AttributeError):
        Clicks("user", "1h").window = "2h"  # type: ignore[misc]
    assert msgspec.structs.asdict(LoggedIn()) == {}
    assert LoggedIn().unit == Gap("user", "variation").unit == ""
    assert (Gap("user").unit, Clicks("user", "1h").unit, Velocity("user", "1h").unit) == ("s", "clicks", "clicks/h")
