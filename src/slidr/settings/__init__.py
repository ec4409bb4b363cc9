"""The one settings file, `slidr.toml`: what may stand in it, its defaults, and its errors.

Every key is declared once, here, with its default, its limits and its meaning; the reference page of the docs is
generated from these declarations. Settings are frozen once read.
"""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from slidr.clock import DAY, HOUR, MINUTE, SECOND
from slidr.errors import SettingsError, nearest
from slidr.settings.learning import (
    CalibrationSettings,
    ClicksSettings,
    FeaturesSettings,
    LabelsSettings,
    ModelSettings,
    PurchasesSettings,
    SlicesSettings,
)
from slidr.settings.operations import (
    BillingSettings,
    GuardrailsSettings,
    LakeSettings,
    MonitorSettings,
    RegistrySettings,
    ReplaySettings,
)
from slidr.settings.section import Section
from slidr.settings.serving import (
    PACKAGED_CRAWLERS,
    WORDS,
    RulesSettings,
    ServiceSettings,
    StorageSettings,
    StoreSettings,
)

__all__ = [
    "BillingSettings",
    "CalibrationSettings",
    "ClicksSettings",
    "FeaturesSettings",
    "GuardrailsSettings",
    "LabelsSettings",
    "LakeSettings",
    "ModelSettings",
    "MonitorSettings",
    "PurchasesSettings",
    "RegistrySettings",
    "ReplaySettings",
    "RulesSettings",
    "ServiceSettings",
    "Settings",
    "SlicesSettings",
    "StorageSettings",
    "StoreSettings",
    "duration",
    "located",
    "parse_settings",
    "read_settings",
]

_PASSWORD = re.compile(r"://[^\s'\"]*@")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


class Settings(Section, frozen=True):
    """All settings; the whole of `slidr.toml`."""

    timezone: Annotated[str, Meta(description="time zone of the billing day")] = "UTC"
    clicks: ClicksSettings = ClicksSettings()
    purchases: PurchasesSettings = PurchasesSettings()
    labels: LabelsSettings = LabelsSettings()
    slices: SlicesSettings = SlicesSettings()
    features: FeaturesSettings = FeaturesSettings()
    rules: RulesSettings = RulesSettings()
    model: ModelSettings = ModelSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    guardrails: GuardrailsSettings = GuardrailsSettings()
    service: ServiceSettings = ServiceSettings()
    store: StoreSettings = StoreSettings()
    registry: RegistrySettings = RegistrySettings()
    monitor: MonitorSettings = MonitorSettings()
    replay: ReplaySettings = ReplaySettings()
    billing: BillingSettings = BillingSettings()
    lake: LakeSettings = LakeSettings()
    storage: StorageSettings = StorageSettings()


def duration(text: str) -> int:
    """Return a duration such as `10m`, `24h` or `90d` in microseconds.

    >>> duration("10m") == 10 * MINUTE
    True

    Raises:
        SettingsError: the text is not a whole positive number of s, m, h or d.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or int(number) == 0:
        raise SettingsError(
            f"{text!r} is not a duration; write a positive whole number and one of s, m, h, d, such as '10m'"
        )
    value = int(number) * _UNITS[unit]
    if value > timedelta(days=3650) // timedelta(microseconds=1):
        raise SettingsError(f"{text!r} is longer than ten years, the longest duration that slidr takes")
    return value


def read_settings(path: Path) -> Settings:
    """Read and check a settings file; its relative paths start at the file's folder.

    Raises:
        SettingsError: the file is missing, not TOML, or holds an unknown key or a value out of its limits.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no settings file at {path}; `slidr init` writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise SettingsError(f"{path} is not TOML: {fault}") from None
    return located(parse_settings(document, str(path)), path.parent)


def located(settings: Settings, folder: Path) -> Settings:
    """Return the settings with every relative path starting at a folder; addresses such as s3://... stay."""

    def absolute(text: str) -> str:
        return text if not text or "://" in text else str((folder / text).absolute())

    storage = msgspec.structs.asdict(settings.storage)
    rules = {
        key: tuple(
            name if name in {PACKAGED_CRAWLERS, WORDS} else absolute(name) for name in getattr(settings.rules, key)
        )
        for key in ("crawlers", "data_centres", "deny", "allow")
    }
    return msgspec.structs.replace(
        settings,
        clicks=msgspec.structs.replace(settings.clicks, path=absolute(settings.clicks.path)),
        purchases=msgspec.structs.replace(settings.purchases, path=absolute(settings.purchases.path)),
        rules=msgspec.structs.replace(settings.rules, **rules),
        service=msgspec.structs.replace(
            settings.service,
            tls_certificate=absolute(settings.service.tls_certificate),
            tls_key=absolute(settings.service.tls_key),
        ),
        storage=StorageSettings(**{key: absolute(path) for key, path in storage.items()}),
    )


def parse_settings(document: dict[str, Any], name: str = "settings") -> Settings:
    """Check a parsed settings document and return it frozen.

    >>> parse_settings({"calibration": {"fpr_budget": 0.01}}).calibration.fpr_budget
    0.01

    Raises:
        SettingsError: an unknown key (with the nearest known one), a wrong type, or a value out of its limits.
    """
    _refuse_unknown(document, Settings, name)
    try:
        settings = msgspec.convert(document, Settings)
    except msgspec.ValidationError as fault:
        raise SettingsError(f"{name}: {_located(str(fault), document)}") from None
    _check(settings, name)
    return settings


def _refuse_unknown(document: dict[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key, value in document.items():
        if key not in fields:
            raise SettingsError(f"{where}: unknown key {key!r}; {nearest(key, fields)}")
        section = fields[key].type
        if isinstance(section, type) and issubclass(section, Section) and isinstance(value, dict):
            _refuse_unknown(value, section, f"{where}: [{key}]")


def _located(message: str, document: dict[str, Any]) -> str:
    """Add the value at fault to a message of msgspec, which names only its path."""
    reason, _, path = message.partition(" - at `$.")
    if not path:
        return message
    value: Any = document
    keys = path.rstrip("`").replace("[", ".[").split(".")
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
    return f"{'.'.join(keys).replace('.[', '[')} = {_PASSWORD.sub('://***@', repr(value))}: {reason}"


def _check(settings: Settings, name: str) -> None:
    """Check what types cannot say: time zones and durations."""
    for key, zone in (("timezone", settings.timezone), ("clicks.timezone", settings.clicks.timezone)):
        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise SettingsError(f"{name}: {key} = {zone!r} is not a time zone, such as 'Europe/Berlin'") from None
    service = settings.service
    if bool(service.tls_certificate) != bool(service.tls_key):
        given, lacking = ("certificate", "key") if service.tls_certificate else ("key", "certificate")
        raise SettingsError(
            f"{name}: service.tls_{given} is set and service.tls_{lacking} is not; set both, or neither"
        )
    labels = settings.labels
    if labels.rfm_minimum > 3 * labels.rfm_quantiles:
        raise SettingsError(
            f"{name}: labels.rfm_minimum = {labels.rfm_minimum} is above {3 * labels.rfm_quantiles}, the largest sum "
            f"of three ranks of labels.rfm_quantiles = {labels.rfm_quantiles}; lower it, or set labels.rfm = false"
        )
    features = settings.features
    spans: dict[str, tuple[str, ...]] = {
        "labels.attribution_window": (settings.labels.attribution_window,),
        "labels.rfm_history": (settings.labels.rfm_history,),
        "features.windows": features.windows,
        "features.half_lives": features.half_lives,
        "features.distinct_windows": features.distinct_windows,
        "features.campaign_windows": features.campaign_windows,
        "features.slow_age": (features.slow_age,),
        "rules.repeats": (settings.rules.repeats,) if settings.rules.repeats else (),
        "rules.stale_after": (settings.rules.stale_after,),
        "guardrails.most_age": (settings.guardrails.most_age,),
        "guardrails.most_silence": (settings.guardrails.most_silence,),
        "registry.stable_after": (settings.registry.stable_after,),
        "lake.journal_keep": (settings.lake.journal_keep,),
        "monitor.quiet": (settings.monitor.quiet,),
    }
    for key, texts in spans.items():
        for text in texts:
            try:
                duration(text)
            except SettingsError as fault:
                raise SettingsError(f"{name}: {key}: {fault}") from None
    if duration(settings.lake.journal_keep) < 2 * HOUR:
        raise SettingsError(
            f"{name}: lake.journal_keep = {settings.lake.journal_keep!r} is below 2h: repeats of a click are answered"
            " from the journal for an hour; give at least '2h'"
        )
    if duration(features.slow_age) < DAY:
        raise SettingsError(
            f"{name}: features.slow_age = {features.slow_age!r} is below 24h, the age that a table of slow features"
            " reaches before the next one can be built; give at least '24h'"
        )
