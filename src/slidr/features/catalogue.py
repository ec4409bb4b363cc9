"""The catalogue: which features a row has, declared, never programmed.

A catalogue is a tuple of features; the default one is made from the windows and half-lives of the settings, and a
user adds to it under `features.add`. It compiles to the arrays that the fold reads (`slidr.features.layout`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from slidr.clock import DAY, HOUR
from slidr.errors import FeatureError, SettingsError, nearest
from slidr.settings import FeaturesSettings, duration

Entity = tuple[str, ...]
"""The columns whose values name an entity, such as ("user",) or ("ip", "user_agent")."""

IDENTIFIERS = ("user", "session", "ip", "user_agent", "network", "device", "campaign", "advertiser", "impression")
"""Columns that can name an entity or be counted; `network` is the ip's /24 (IPv4) or /48 (IPv6)."""
NULLABLE = ("user", "session", "ip", "user_agent", "logged_in")
_PARTS = {"hour_sin", "hour_cos", "weekday_sin", "weekday_cos"}
RETENTION = "30d"
"""The longest that state looks back: what every live entity costs is kept for its longest window."""
LONGEST_PEAK = "90d"
"""The longest that a slow feature looks back: as many days are merged whenever its table is built."""
HALF_LIVES_KEPT = 24
"""A rate has fallen below the resolution of float32 after as many half-lives."""
_STATISTICS = {
    "last": "time since the previous click",
    "mean": "running mean of the time between clicks",
    "variation": "coefficient of variation of the time between clicks, 0 is clockwork,",
}


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """One column of a row; each kind declares its fields and how it is called."""

    name_template: ClassVar[str]
    meaning_template: ClassVar[str]
    measured_in: ClassVar[str] = ""

    @property
    def entity(self) -> Entity:
        """The columns that name the entity whose state the feature reads; empty where it reads the click alone."""
        by: str | Entity = getattr(self, "by", ())
        return (by,) if isinstance(by, str) else tuple(by)

    @property
    def name(self) -> str:
        """The name of the column."""
        return self.name_template.format(entity="_".join(self.entity), **msgspec.structs.asdict(self))

    @property
    def meaning(self) -> str:
        """What the value says, in words."""
        entity = " and ".join(self.entity).replace("_", " ")
        return self.meaning_template.format(
            entity=entity, what=_STATISTICS.get(getattr(self, "statistic", "")), **msgspec.structs.asdict(self)
        )

    @property
    def unit(self) -> str:
        """The unit of the value; empty where it has none."""
        return "" if getattr(self, "statistic", "") == "variation" else self.measured_in


class Clicks(Feature, frozen=True, tag="Clicks"):
    """Clicks of an entity within a window.

    >>> Clicks(by="user", window="10m").name
    'clicks_user_10m'
    """

    by: str | Entity
    window: str
    name_template = "clicks_{entity}_{window}"
    meaning_template = "clicks of the same {entity} in the last {window}"
    measured_in = "clicks"


class Velocity(Feature, frozen=True, tag="Velocity"):
    """Rate of an entity's clicks, where a click counts half after every half-life."""

    by: str | Entity
    half_life: str
    name_template = "velocity_{entity}_{half_life}"
    meaning_template = "click rate of the same {entity}, decayed with a half-life of {half_life}"
    measured_in = "clicks/h"


class Burst(Feature, frozen=True, tag="Burst"):
    """Rate of an entity's clicks in a short window over their rate in a long one; 1 where they are even.

    >>> Burst(by="user", short="10m", long="24h").name
    'burst_user_10m_24h'
    """

    by: str | Entity
    short: str
    long: str
    name_template = "burst_{entity}_{short}_{long}"
    meaning_template = "click rate of the same {entity} in the last {short} over that in the last {long}"


class Gap(Feature, frozen=True, tag="Gap"):
    """Time between an entity's clicks: the last one, the running mean, or its coefficient of variation."""

    by: str | Entity
    statistic: str = "last"
    name_template = "gap_{entity}_{statistic}"
    meaning_template = "{what} of the same {entity}"
    measured_in = "s"


class Distinct(Feature, frozen=True, tag="Distinct"):
    """Distinct values of a column among an entity's clicks within a window.

    >>> Distinct("session", by="ip", window="1h").name
    'distinct_session_ip_1h'
    """

    column: str
    by: str | Entity
    window: str
    name_template = "distinct_{column}_{entity}_{window}"
    meaning_template = "distinct values of {column} among the clicks of the same {entity} in the last {window}"
    measured_in = "values"


class PeakDistinct(Feature, frozen=True, tag="PeakDistinct"):
    """Highest number of distinct values of a column among an entity's clicks in any one hour of the days before.

    It is slow: no state is folded, it is looked up in a table that is built once a day.

    >>> PeakDistinct("user", by="ip").name
    'peak_distinct_user_ip_1h_30d'
    """

    column: str
    by: str | Entity
    window: str = "1h"
    over: str = "30d"
    name_template = "peak_distinct_{column}_{entity}_{window}_{over}"
    meaning_template = (
        "most distinct values of {column} of the same {entity} in one hour of the {over} before today; -1 where not"
        " known"
    )
    measured_in = "values"


class TimeOfClick(Feature, frozen=True, tag="TimeOfClick"):
    """Hour of day or day of week, UTC, as a coordinate of a point on the unit circle."""

    part: str
    name_template = "{part}"
    meaning_template = "time of the click on the unit circle, UTC: {part}"


class LoggedIn(Feature, frozen=True, tag="LoggedIn"):
    """Whether the user was logged in; 0 where it is not known."""

    name_template = "logged_in"
    meaning_template = "1 where the user was logged in"


class Missing(Feature, frozen=True, tag="Missing"):
    """Whether a column of the click is null."""

    column: str
    name_template = "missing_{column}"
    meaning_template = "1 where the click has no {column}"


AnyFeature = Clicks | Velocity | Burst | Gap | Distinct | PeakDistinct | TimeOfClick | LoggedIn | Missing
KINDS: dict[str, type[AnyFeature]] = {
    kind.__name__: kind
    for kind in (Clicks, Velocity, Burst, Gap, Distinct, PeakDistinct, TimeOfClick, LoggedIn, Missing)
}
Catalogue = tuple[AnyFeature, ...]


def default_catalogue(settings: FeaturesSettings) -> Catalogue:
    """Return the features of the settings: the default entities over the default windows, and what the user adds.

    Raises:
        FeatureError: a feature that cannot be computed, or two of one name.
        SettingsError: an entry under `features.add` that declares no feature.
    """
    counted: tuple[AnyFeature, ...] = tuple(
        feature
        for by in (("user",), ("session",), ("ip",), ("ip", "user_agent"), ("network",))
        for feature in _activity(by, settings)
    )
    distinct = tuple(
        Distinct(column, by=by, window=window)
        for by, columns in (("user", ("ip",)), ("ip", ("user", "session")), ("network", ("user", "session")))
        for column in columns
        for window in settings.distinct_windows
    )
    bursts = tuple(
        Burst(by, settings.windows[1], settings.windows[-1]) for by in ("user", "ip") if _can_burst(settings.windows)
    )
    repeated = tuple(Clicks(("user", "campaign"), window) for window in settings.campaign_windows)
    peaks = tuple(PeakDistinct(column, by="ip") for column in ("user", "session"))
    clock = tuple(TimeOfClick(part) for part in sorted(_PARTS))
    missing = tuple(Missing(column) for column in NULLABLE)
    added = parse_features(settings.add)
    return check_catalogue((*counted, *bursts, *distinct, *repeated, *peaks, *clock, LoggedIn(), *missing, *added))


def parse_features(declarations: Iterable[dict[str, Any]]) -> Catalogue:
    """Return features declared as in the settings file, such as `{"kind": "Clicks", "by": "user", "window": "30m"}`.

    Raises:
        SettingsError: a declaration is of no feature.
    """
    return tuple(_parse(declaration) for declaration in declarations)


def _can_burst(windows: tuple[str, ...]) -> bool:
    """Return whether the second window is shorter than the last one."""
    return len(windows) > 1 and duration(windows[1]) < duration(windows[-1])


def _activity(by: Entity, settings: FeaturesSettings) -> Iterable[AnyFeature]:
    entity = by[0] if len(by) == 1 else by
    # Sessions end: windows past a few hours would only repeat the shorter ones.
    windows = settings.windows[:3] if by == ("session",) else settings.windows
    yield from (Clicks(entity, window) for window in windows)
    yield from (Velocity(entity, half_life) for half_life in settings.half_lives)
    if by != ("network",):
        yield from (Gap(entity, statistic) for statistic in _STATISTICS)


def _parse(declaration: dict[str, Any]) -> AnyFeature:
    kind = str(declaration.get("kind", ""))
    if kind not in KINDS:
        raise SettingsError(f"features.add: kind = {kind!r} is not a feature; {nearest(kind, KINDS)}")
    try:
        return msgspec.convert(declaration, KINDS[kind])
    except msgspec.ValidationError as fault:
        raise SettingsError(f"features.add: {declaration}: {fault}") from None


def check_catalogue(catalogue: Catalogue) -> Catalogue:
    """Return the catalogue if every feature can be computed and every name is unique.

    Raises:
        FeatureError: an unknown column, statistic or part, an entity of no column or of one twice, a window that is
            no duration or longer than state is kept, or two features of one name.
    """
    for feature in catalogue:
        _check_entity(feature)
        match feature:
            case Clicks(window=span):
                _check_span(span, "window", feature)
            case Velocity(half_life=span):
                _check_span(span, "half_life", feature, times=HALF_LIVES_KEPT)
            case Burst():
                _check_burst(feature)
            case Distinct(column=column, window=span):
                _check_counted(column, feature)
                _check_span(span, "window", feature)
            case PeakDistinct(column=column):
                _check_counted(column, feature)
                _check_peak(feature)
            case Gap(statistic=statistic):
                _known(statistic, _STATISTICS, feature)
            case TimeOfClick(part=part):
                _known(part, _PARTS, feature)
            case Missing(column=column):
                _known(column, NULLABLE, feature)
    for name, count in Counter(feature.name for feature in catalogue).items():
        if count > 1:
            raise FeatureError(f"{count} features are called {name!r}; a name may stand once in the catalogue")
    return catalogue


def _check_entity(feature: AnyFeature) -> None:
    for column in feature.entity:
        _known(column, IDENTIFIERS, feature)
    if hasattr(feature, "by") and not feature.entity:
        raise FeatureError(f"{feature.name}: `by` names no column; name at least one of {', '.join(IDENTIFIERS)}")
    for column, count in Counter(feature.entity).items():
        if count > 1:
            raise FeatureError(f"{feature.name}: `by` names {column!r} {count} times; name every column once")


def _check_counted(column: str, feature: AnyFeature) -> None:
    _known(column, IDENTIFIERS, feature)
    if column in feature.entity:
        raise FeatureError(f"{feature.name}: every click of the entity has the same {column!r}; count another column")


def _check_span(text: str, field: str, feature: AnyFeature, *, times: int = 1) -> None:
    """Refuse a span that is no duration, or that needs state for longer than any is kept."""
    span, limit = _span(text, field, feature), duration(RETENTION) // times
    if span > limit:
        most = f"{limit // HOUR}h" if limit % DAY else f"{limit // DAY}d"
        why = f", for a rate is kept for {times} half-lives" if times > 1 else ""
        raise FeatureError(
            f"{feature.name}: {field} = {text!r} is longer than {most}, since state is kept for {RETENTION}{why};"
            f" shorten it, or look back further with the slow feature PeakDistinct"
        )


def _check_burst(feature: Burst) -> None:
    _check_span(feature.short, "short", feature)
    _check_span(feature.long, "long", feature)
    if duration(feature.short) >= duration(feature.long):
        raise FeatureError(f"{feature.name}: short = {feature.short!r} is not shorter than long = {feature.long!r}")


def _check_peak(feature: PeakDistinct) -> None:
    if _span(feature.window, "window", feature) != HOUR:
        raise FeatureError(f"{feature.name}: window = {feature.window!r} is not '1h', the only one that has a peak")
    over = _span(feature.over, "over", feature)
    if over % DAY or over > duration(LONGEST_PEAK):
        raise FeatureError(
            f"{feature.name}: over = {feature.over!r} is not a whole number of days up to {LONGEST_PEAK}, such as '30d'"
        )


def _span(text: str, field: str, feature: AnyFeature) -> int:
    try:
        return duration(text)
    except SettingsError as fault:
        raise FeatureError(f"{feature.name}: {field}: {fault}") from None


def _known(word: str, words: Iterable[str], feature: AnyFeature) -> None:
    if word not in words:
        raise FeatureError(f"{type(feature).__name__}: {word!r} is unknown; {nearest(word, words)}")


def encode_catalogue(catalogue: Catalogue) -> bytes:
    """Return the catalogue as JSON, the form in which a bundle carries it."""
    return msgspec.json.format(msgspec.json.encode(catalogue), indent=1)


def decode_catalogue(document: bytes) -> Catalogue:
    """Return the catalogue that a JSON document declares.

    Raises:
        FeatureError: the document is not a catalogue.
    """
    try:
        return check_catalogue(msgspec.json.decode(document, type=tuple[AnyFeature, ...]))
    except msgspec.MsgspecError as fault:
        raise FeatureError(f"not a catalogue of features: {fault}") from None


def catalogue_hash(catalogue: Catalogue) -> str:
    """Return a hash of what the catalogue declares, in its order."""
    return hashlib.sha256(msgspec.json.encode(catalogue)).hexdigest()[:16]
