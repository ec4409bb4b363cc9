"""The one settings file, `slidr.toml`: what may stand in it, its defaults, and its errors.

Every key is declared once, here, with its default, its limits and its meaning; the reference page of the docs is
generated from these declarations. Settings are frozen once read.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from slidr.clock import DAY, HOUR, MINUTE, SECOND
from slidr.errors import SettingsError, nearest

Share = Annotated[float, Meta(gt=0, lt=1)]
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the settings file."""


class ClicksSettings(Section, frozen=True):
    """Where the clicks are, and how their columns are called."""

    source: Annotated[str, Meta(description="adapter that reads the logs; see `slidr ingest --help`")] = "table"
    path: Annotated[str, Meta(description="the click log: a file, a folder or an address")] = ""
    columns: Annotated[
        dict[str, str], Meta(description="our column = your column; columns of one name need no entry")
    ] = {}
    timezone: Annotated[str, Meta(description="time zone of times that carry none; empty: such times are refused")] = ""
    ip: Annotated[
        Literal["address", "opaque"],
        Meta(
            description="'address': IPv4 or IPv6, others are rejected; "
            "'opaque': any string, with a network only where it parses as an address"
        ),
    ] = "address"


class PurchasesSettings(Section, frozen=True):
    """Where the purchases are, and how their columns are called."""

    path: Annotated[str, Meta(description="the purchase log; empty where the click log tells of purchases")] = ""
    columns: Annotated[dict[str, str], Meta(description="our column = your column")] = {}


class LabelsSettings(Section, frozen=True):
    """How clicks are labelled human."""

    attribution_window: Annotated[
        str, Meta(description="a purchase this long after a click makes the click human; labels mature after it")
    ] = "24h"
    rfm: Annotated[bool, Meta(description="also label clicks of accounts with a high RFM score")] = True
    rfm_quantiles: Annotated[int, Meta(ge=2, le=10, description="parts that each of R, F and M is cut into")] = 5
    rfm_minimum: Annotated[
        int, Meta(ge=3, description="smallest sum of the three quantile ranks that makes an account human")
    ] = 13
    rfm_history: Annotated[str, Meta(description="purchases this far back count for RFM")] = "90d"


class SlicesSettings(Section, frozen=True):
    """What the traffic is sliced by."""

    columns: Annotated[
        tuple[str, ...], Meta(description="columns of the clicks, coarse to fine; each adds a level to the slices")
    ] = ("device", "logged_in")


class FeaturesSettings(Section, frozen=True):
    """Windows and half-lives of the default catalogue, and features added to it."""

    windows: Annotated[tuple[str, ...], Meta(min_length=1, description="windows of the click counts")] = (
        "1m",
        "10m",
        "1h",
        "6h",
        "24h",
    )
    half_lives: Annotated[tuple[str, ...], Meta(description="half-lives of the click rates")] = ("1m", "10m", "1h")
    distinct_windows: Annotated[tuple[str, ...], Meta(description="windows of the distinct counts")] = ("1h", "24h")
    campaign_windows: Annotated[
        tuple[str, ...], Meta(description="windows of the counts of a user's clicks on one campaign")
    ] = ("1h", "24h")
    most_entities: Annotated[
        int, Meta(ge=1024, description="entities of one kind with state at most; beyond them the oldest are dropped")
    ] = 10_000_000
    slow_age: Annotated[
        str, Meta(description="a table of slow features serves until this long after the end of its day; at least 24h")
    ] = "48h"
    threads: Annotated[
        int, Meta(ge=0, description="threads of the backfill; 0: as many as cores that the process may use")
    ] = 0
    add: Annotated[
        tuple[dict[str, Any], ...],
        Meta(description="further features, such as {kind='Clicks', by='user', window='30m'}"),
    ] = ()


class ModelSettings(Section, frozen=True):
    """The networks and their training."""

    network: Annotated[str, Meta(description="the network that decides; one of docs/model.md")] = "three_layer"
    peers: Annotated[
        tuple[str, ...], Meta(description="networks trained and judged beside it, such as 'lightgbm'; none decides")
    ] = ("logistic", "velocity")
    widths: Annotated[tuple[int, ...], Meta(min_length=1, description="nodes of the hidden layers")] = (256, 128, 64)
    l2: Annotated[float, Meta(ge=0, description="L2 penalty on the weights of the intermediate layers")] = 1e-5
    learning_rate: Annotated[float, Meta(gt=0, description="step of the optimiser at its peak")] = 6e-3
    batch_size: Annotated[int, Meta(ge=1, description="clicks a step; fewer where the log is small")] = 1024
    weight_cap: Annotated[float, Meta(ge=1, description="largest sample weight, in medians")] = 100.0
    device: Annotated[
        Literal["cpu", "cuda"], Meta(description="where layers are trained; 'cuda' needs a build of PyTorch with CUDA")
    ] = "cpu"
    threads: Annotated[
        int, Meta(ge=1, description="threads of the training on the CPU; layers come out the same with any number")
    ] = 1
    checkpoint_every: Annotated[
        int, Meta(ge=1, description="clicks between checkpoints, from the last of which a stopped training goes on")
    ] = 1_000_000
    seed: Annotated[int, Meta(ge=0, description="seed of the initial weights and of the order of the clicks")] = 1


class CalibrationSettings(Section, frozen=True):
    """How thresholds are set."""

    method: Annotated[
        Literal["knee", "one_threshold", "quadratic", "envelope", "neyman_pearson", "human_weighted"],
        Meta(description="how clicks are ranked; docs/calibration.md compares them"),
    ] = "neyman_pearson"
    fpr_budget: Annotated[Share, Meta(description="share of purchasing clicks that may be marked robotic")] = 0.005
    certificate: Annotated[
        Literal["required", "optional", "off"],
        Meta(
            description="'required': no thresholds without a certificate of the budget; 'optional': uncertified where"
            " too few people bought; 'off': the budget is kept on the calibration's own clicks alone"
        ),
    ] = "required"
    risk: Annotated[Share, Meta(description="chance that a certificate promises too much")] = 0.05
    fit_to_fpr: Annotated[Share, Meta(description="the curves of 'quadratic' are fitted up to this FPR")] = 0.05
    minimum_purchases: Annotated[
        int, Meta(ge=1, description="purchasing clicks below which 'quadratic' gives a slice its parent's curve")
    ] = 500
    minimum_coverage: Annotated[
        float, Meta(ge=0, lt=1, description="share of clicks in busy sessions that every slice must mark")
    ] = 0.0
    most_ivr_change: Annotated[
        float, Meta(gt=0, le=1, description="most that a slice's IVR may differ from the champion's; 1: any")
    ] = 1.0
    most_fpr_change: Annotated[
        float, Meta(gt=0, le=1, description="most that a slice's FPR may differ from the champion's; 1: any")
    ] = 1.0
    most_flips: Annotated[
        float, Meta(gt=0, le=1, description="share of a slice's clicks that may be decided otherwise; 1: any")
    ] = 1.0
    busy_clicks: Annotated[int, Meta(ge=1, description="a session with more clicks than this in an hour is busy")] = 50


class ServiceSettings(Section, frozen=True):
    """The HTTP service."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 8710
    queue: Annotated[int, Meta(ge=1, description="clicks that may wait; more are answered 429")] = 10_000
    batch: Annotated[int, Meta(ge=1, description="most clicks decided at once")] = 256
    body_limit: Annotated[int, Meta(ge=1024, description="largest request body, in bytes")] = 4_194_304
    batch_limit: Annotated[int, Meta(ge=1, description="most clicks in one request")] = 10_000
    entities: Annotated[
        int, Meta(ge=1024, description="live entities of one kind that memory is set aside for at the start")
    ] = 65_536
    durability: Annotated[
        Literal["process", "power"],
        Meta(description="what an acknowledged decision survives: a kill of the 'process', or a loss of 'power' too"),
    ] = "process"


class StoreSettings(Section, frozen=True):
    """Redis, where several processes share the state of the features."""

    redis: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses, redis://[user:password@]host:port: one server and its replicas, or some of a"
            " cluster; SLIDR_REDIS, separated by blanks, overrides them and keeps passwords out of this file"
        ),
    ] = ()
    partitions: Annotated[
        int, Meta(ge=1, le=1024, description="parts of the state: 1 for one server, about four a server of a cluster")
    ] = 1
    timeout_ms: Annotated[
        int, Meta(ge=1, le=60_000, description="milliseconds that an answer may take; later, a click is unmeasurable")
    ] = 50


class StorageSettings(Section, frozen=True):
    """Where slidr keeps what it makes; relative paths start at the settings file."""

    lake: Annotated[str, Meta(description="Delta tables")] = "lake"
    networks: Annotated[str, Meta(description="networks as they were trained, before they are bundled")] = "networks"
    bundles: Annotated[str, Meta(description="bundles as they were made or fetched")] = "bundles"
    registry: Annotated[str, Meta(description="bundles and the champion's history")] = "registry"
    report: Annotated[str, Meta(description="what the last run measured, and its page")] = "report"
    slow: Annotated[str, Meta(description="tables of the slow features, one folder a day")] = "slow"
    journal: Annotated[str, Meta(description="SQLite journal of the service")] = "journal.sqlite"
    seed: Annotated[
        str,
        Meta(description="feature state behind the last backfill; a service without a state of its own starts here"),
    ] = "seed.npz"
    backfill: Annotated[
        str, Meta(description="feature state behind the newest days of the backfill, from which the next one goes on")
    ] = "backfill"
    state: Annotated[str, Meta(description="snapshot of the service's own feature state")] = "state.npz"
    key_file: Annotated[
        str, Meta(description="secret key of the identifiers' hashes; made where missing; SLIDR_KEY overrides it")
    ] = "slidr.key"


class RulesSettings(Section, frozen=True):
    """List rules, which run before the model."""

    crawlers: Annotated[
        str, Meta(description="file of user-agent patterns, one a line or COUNTER's JSON; empty: the built-in ones")
    ] = ""


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
    service: ServiceSettings = ServiceSettings()
    store: StoreSettings = StoreSettings()
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
    return msgspec.structs.replace(
        settings,
        clicks=msgspec.structs.replace(settings.clicks, path=absolute(settings.clicks.path)),
        purchases=msgspec.structs.replace(settings.purchases, path=absolute(settings.purchases.path)),
        rules=msgspec.structs.replace(settings.rules, crawlers=absolute(settings.rules.crawlers)),
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
    return f"{'.'.join(keys).replace('.[', '[')} = {value!r}: {reason}"


def _check(settings: Settings, name: str) -> None:
    """Check what types cannot say: time zones and durations."""
    for key, zone in (("timezone", settings.timezone), ("clicks.timezone", settings.clicks.timezone)):
        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise SettingsError(f"{name}: {key} = {zone!r} is not a time zone, such as 'Europe/Berlin'") from None
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
    }
    for key, texts in spans.items():
        for text in texts:
            try:
                duration(text)
            except SettingsError as fault:
                raise SettingsError(f"{name}: {key}: {fault}") from None
    if duration(features.slow_age) < DAY:
        raise SettingsError(
            f"{name}: features.slow_age = {features.slow_age!r} is below 24h, the age that a table of slow features"
            " reaches before the next one can be built; give at least '24h'"
        )
