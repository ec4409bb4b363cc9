"""The tables of slidr, in the order of the flow: every column with its type, unit and meaning.

The declarations need no library, so that serving stays light; `slidr.lake.arrow_schema` turns one into an
Arrow schema. Types are Arrow's names. A table carries a version; a change of columns raises it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

TIME = "timestamp[us, tz=UTC]"


class Column(msgspec.Struct, frozen=True):
    """One column: name, Arrow type, unit (empty where it has none), meaning, and whether it may be null."""

    name: str
    type: str
    unit: str
    meaning: str
    nullable: bool = False


class Table(msgspec.Struct, frozen=True):
    """A table's name, schema version and columns.

    `open` tables accept further columns, which pass through unchanged.
    """

    name: str
    version: int
    columns: tuple[Column, ...]
    open: bool = False

    def column(self, name: str) -> Column:
        """Return the column of this name; raises KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)


class Verdict(StrEnum):
    """What slidr says of a click; a click is flagged, never dropped."""

    VALID = "valid"
    INVALID_GENERAL = "invalid_general"
    INVALID_SOPHISTICATED = "invalid_sophisticated"
    UNMEASURABLE = "unmeasurable"


class LabelReason(StrEnum):
    """Why a click is labelled human, or `none` where it is not."""

    PURCHASE = "purchase"
    RFM = "rfm"
    NONE = "none"


class ThresholdSource(StrEnum):
    """Whose clicks set a slice's threshold: its own, an ancestor's, or all."""

    OWN = "own"
    PARENT = "parent"
    GLOBAL = "global"


CLICKS = Table(
    "clicks",
    1,
    (
        Column("click_id", "string", "", "identifies the click; unique within the log"),
        Column("time", TIME, "us", "when the click was made"),
        Column("user", "string", "", "account or cookie", nullable=True),
        Column("session", "string", "", "visit", nullable=True),
        Column("ip", "string", "", "address, IPv4 or IPv6", nullable=True),
        Column("user_agent", "string", "", "user-agent header", nullable=True),
        Column("device", "string", "", "kind of device, such as desktop, mobile or app", nullable=True),
        Column("logged_in", "bool", "", "whether the user was logged in", nullable=True),
        Column("campaign", "string", "", "campaign that the click is charged to", nullable=True),
        Column("advertiser", "string", "", "advertiser that pays for the campaign", nullable=True),
        Column("cost", "int64", "micros", "price of the click", nullable=True),
        Column("currency", "string", "ISO 4217", "currency of the cost", nullable=True),
    ),
    open=True,
)

PURCHASES = Table(
    "purchases",
    1,
    (
        Column("purchase_id", "string", "", "identifies the purchase; unique within the log"),
        Column("time", TIME, "us", "when the purchase was made"),
        Column("user", "string", "", "account or cookie that bought", nullable=True),
        Column("click_id", "string", "", "click it is attributed to; null where not attributed", nullable=True),
        Column("value", "int64", "micros", "price paid", nullable=True),
        Column("currency", "string", "ISO 4217", "currency of the value", nullable=True),
    ),
)

LABELS = Table(
    "labels",
    1,
    (
        Column("click_id", "string", "", "the click"),
        Column("time", TIME, "us", "when the click was made"),
        Column("human", "bool", "", "labelled human; false means unlabelled, not robotic"),
        Column("reason", "string", "", "purchase, rfm or none"),
        Column("matured_at", TIME, "us", "when its attribution window closed"),
        Column("as_of", TIME, "us", "purchases up to here were known"),
    ),
)

FEATURES = Table(
    "features",
    1,
    (
        Column("click_id", "string", "", "the click"),
        Column("time", TIME, "us", "when the click was made"),
        Column("sequence", "int64", "clicks", "place of the click in the fold; a repeat has its original's"),
    ),
    open=True,
)

SCORES = Table(
    "scores",
    1,
    (
        Column("click_id", "string", "", "the click"),
        Column("time", TIME, "us", "when the click was made"),
        Column("score", "float32", "", "in [0, 1], higher is more robotic; not a calibrated probability"),
    ),
)

THRESHOLDS = Table(
    "thresholds",
    1,
    (
        Column("slice", "string", "", "path of the slice; 'all' is the root"),
        Column("threshold", "float32", "score", "a click is invalid if and only if its score is greater"),
        Column("ivr", "float64", "share", "expected share of clicks marked robotic"),
        Column("fpr", "float64", "share", "expected share of purchasing clicks marked robotic", nullable=True),
        Column("coverage", "float64", "share", "expected share of clicks in busy sessions marked", nullable=True),
        Column("clicks", "int64", "clicks", "clicks that the calibration saw in the slice"),
        Column("purchases", "int64", "clicks", "purchasing clicks among them"),
        Column("source", "string", "", "own, parent or global: whose clicks set the threshold"),
    ),
)

DECISIONS = Table(
    "decisions",
    1,
    (
        Column("decision_id", "string", "", "identifies the decision"),
        Column("click_id", "string", "", "the click"),
        Column("time", TIME, "us", "when the click was made"),
        Column("decided_at", TIME, "us", "when the decision was made"),
        Column("verdict", "string", "", "valid, invalid_general, invalid_sophisticated or unmeasurable"),
        Column("reasons", "list<item: string>", "", "stable codes"),
        Column("score", "float32", "", "the model's score; null where the model was not asked", nullable=True),
        Column("threshold", "float32", "score", "the slice's threshold", nullable=True),
        Column("slice", "string", "", "slice whose threshold was used"),
        Column("bundle", "string", "", "bundle that decided"),
        Column("lists", "list<item: string>", "", "list rules that the click hit"),
        Column("supersedes", "string", "", "decision that this one replaces", nullable=True),
        Column("cause", "string", "", "live, replay:ID or review:ID"),
        Column("sequence", "int64", "clicks", "place of the click in the fold", nullable=True),
    ),
)

ADJUSTMENTS = Table(
    "adjustments",
    1,
    (
        Column("replay", "string", "", "replay that found the difference"),
        Column("billing_day", "date32[day]", "day", "date in the billing time zone"),
        Column("campaign", "string", "", "campaign", nullable=True),
        Column("advertiser", "string", "", "advertiser", nullable=True),
        Column("clicks", "int64", "clicks", "clicks to credit (positive) or to charge (negative)"),
        Column("cost", "int64", "micros", "cost to credit (positive) or to charge (negative)"),
        Column("currency", "string", "ISO 4217", "currency of the cost"),
    ),
)

TABLES = (CLICKS, PURCHASES, LABELS, FEATURES, SCORES, THRESHOLDS, DECISIONS, ADJUSTMENTS)
"""All tables, in the order of the flow."""


class Threshold(msgspec.Struct, frozen=True):
    """One row of THRESHOLDS, as calibration returns it and a bundle carries it."""

    slice: str
    threshold: float
    ivr: float
    fpr: float | None
    coverage: float | None
    clicks: int
    purchases: int
    source: ThresholdSource
