"""The tables of slidr, in the order of the flow: every column with its type, unit and meaning.

The declarations need no library, so that serving stays light; `slidr.lake.arrow_schema` turns one into an
Arrow schema. Types are Arrow's names. A table carries a version; a change of columns raises it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import Self

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

    `open` tables accept further columns, which pass through unchanged. A table written under an older version, back to
    `since`, is read too: it only lacks columns that may be null.
    """

    name: str
    version: int
    columns: tuple[Column, ...]
    open: bool = False
    since: int | None = None

    def reads(self, version: str | None) -> bool:
        """Return whether a table written under this version can be read and written as this one.

        >>> [CLICKS.reads(version) for version in ("1", "2", "3", None)]
        [True, True, False, False]
        """
        return version in {str(known) for known in range(self.since or self.version, self.version + 1)}

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

    @property
    def timed(self) -> bool:
        """Whether the table has a `time` column."""
        return "time" in self.names

    def misspelt(self, present: Iterable[str]) -> tuple[str, str] | None:
        """Return a further column whose name is almost that of an absent column of ours, and that column's name.

        An absent nullable column reads as null, so a misspelt one would be lost without a word.

        >>> CLICKS.misspelt(["click_id", "time", "campain"])
        ('campain', 'campaign')
        """
        names = list(present)
        absent = [name for name in self.names if name not in names]
        for name in names:
            if name not in self.names and (close := difflib.get_close_matches(name, absent, n=1, cutoff=0.85)):
                return name, close[0]
        return None


EXAMPLES = 5
"""Rejected rows that are kept as examples, for each column and reason."""


class Rejections(msgspec.Struct, frozen=True):
    r"""Rows that were not admitted: how many for each (column, reason), and the first few as (row, value).

    Rows are counted from zero in the order of the log. A row is counted once, for the first fault found in it.

    >>> one = Rejections.of("ip", "not an address", [(3, "10.0.0.256")])
    >>> two = one + Rejections.of("ip", "not an address", [(9, "localhost")])
    >>> two.total
    2
    >>> print(*two.summary(), sep="\n")
    ip: not an address: 2 rows, such as row 3 '10.0.0.256', row 9 'localhost'
    """

    counts: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], tuple[tuple[int, object], ...]] = {}

    @classmethod
    def of(cls, column: str, reason: str, examples: Iterable[tuple[int, object]], *, count: int | None = None) -> Self:
        """Return rejections of one column and reason; `count` is needed only where not all rows are given."""
        rows = tuple(examples)
        key = (column, reason)
        return cls({key: len(rows) if count is None else count}, {key: rows[:EXAMPLES]})

    def __add__(self, other: Self) -> Self:
        keys = (*self.counts, *(key for key in other.counts if key not in self.counts))
        return type(self)(
            {key: self.counts.get(key, 0) + other.counts.get(key, 0) for key in keys},
            {key: (*self.examples.get(key, ()), *other.examples.get(key, ()))[:EXAMPLES] for key in keys},
        )

    @property
    def total(self) -> int:
        """The number of rows rejected."""
        return sum(self.counts.values())

    def summary(self) -> tuple[str, ...]:
        """Return one line for each column and reason, most frequent first."""
        return tuple(
            f"{column}: {reason}: {count} row{'s' if count > 1 else ''}, such as "
            + ", ".join(f"row {row} {_shown(value)}" for row, value in self.examples[column, reason])
            for (column, reason), count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        )


def _shown(value: object, longest: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}..."


class Verdict(StrEnum):
    """What slidr says of a click; a click is flagged, never dropped."""

    VALID = "valid"
    INVALID_GENERAL = "invalid_general"
    INVALID_SOPHISTICATED = "invalid_sophisticated"
    UNMEASURABLE = "unmeasurable"


INVALID = (Verdict.INVALID_GENERAL.value, Verdict.INVALID_SOPHISTICATED.value)
"""The verdicts on clicks that should not be billed for being robotic."""
NO_CURRENCY = "XXX"
"""What ISO 4217 has for no currency."""


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
    2,
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
        Column("impression", "string", "", "showing of the ad that was clicked", nullable=True),
    ),
    open=True,
    since=1,
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
    2,
    (
        Column("click_id", "string", "", "the click"),
        Column("time", TIME, "us", "when the click was made"),
        Column("human", "bool", "", "labelled human; false means unlabelled, not robotic"),
        Column("reason", "string", "", "purchase, rfm or none"),
        Column("purchaser", "string", "", "who bought after the click; null where nobody did", nullable=True),
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
    2,
    (
        Column("slice", "string", "", "path of the slice; 'all' is the root"),
        Column("threshold", "float32", "score", "a click is invalid if and only if its score is greater"),
        Column("ivr", "float64", "share", "expected share of clicks marked robotic", nullable=True),
        Column("fpr", "float64", "share", "expected share of purchasing clicks marked robotic", nullable=True),
        Column("coverage", "float64", "share", "expected share of clicks in busy sessions marked", nullable=True),
        Column("clicks", "int64", "clicks", "clicks that the calibration saw in the slice"),
        Column("purchases", "int64", "clicks", "purchasing clicks among them"),
        Column("source", "string", "", "own, parent or global: whose clicks set the threshold"),
    ),
)

DECISIONS = Table(
    "decisions",
    2,
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
        Column("supersedes", "string", "", "decision_id of the decision that this one replaces", nullable=True),
        Column("cause", "string", "", "live, late, replay:ID or review:ID"),
        Column("sequence", "int64", "clicks", "place of the click in the fold", nullable=True),
        Column("journal", "string", "", "journal that it was shipped from", nullable=True),
        Column("context", "string", "", "what decided and what the row's bytes mean, in contexts", nullable=True),
        Column("enforced", "bool", "", "whether the answer said what was decided", nullable=True),
        Column("campaign", "string", "", "campaign that the click is charged to", nullable=True),
        Column("advertiser", "string", "", "advertiser that pays for the campaign", nullable=True),
        Column("cost", "int64", "micros", "price of the click", nullable=True),
        Column("currency", "string", "ISO 4217", "currency of the cost", nullable=True),
    ),
    since=1,
)

ROWS = Table(
    "rows",
    1,
    (
        Column("click_id", "string", "", "the click"),
        Column("time", TIME, "us", "when the click was made"),
        Column("decision_id", "string", "", "the decision that was made of the row"),
        Column("journal", "string", "", "journal that it was shipped from"),
        Column("sequence", "int64", "clicks", "place of the click in the fold; below zero where it was not folded"),
        Column("decided_at", TIME, "us", "when the decision was made"),
        Column("context", "string", "", "what the bytes mean, in contexts"),
        Column("click_key", "int64", "", "keyed hash of the click_id, the uint64's bits"),
        Column("logged_in", "int8", "", "1, 0, or -1 where not known"),
        Column("keys", "binary", "", "the click's column of the key matrix, uint64 little-endian"),
        Column("row", "binary", "", "the features, float32 little-endian; empty where the click was not folded"),
    ),
)

SHADOWS = Table(
    "shadows",
    1,
    (
        Column("click_id", "string", "", "the click"),
        Column("time", TIME, "us", "when the click was made"),
        Column("sequence", "int64", "clicks", "place of the click in the fold"),
        Column("journal", "string", "", "journal that it was shipped from"),
        Column("context", "string", "", "what the bytes mean, in contexts"),
        Column("bundle", "string", "", "the challenger"),
        Column("verdict", "string", "", "valid, invalid_general, invalid_sophisticated or unmeasurable"),
        Column("reasons", "list<item: string>", "", "stable codes"),
        Column("score", "float32", "", "the challenger's score; null where it was not asked", nullable=True),
        Column("threshold", "float32", "score", "the slice's threshold", nullable=True),
        Column("slice", "string", "", "slice whose threshold was used"),
        Column("row", "binary", "", "the challenger's features; null where they are the champion's", nullable=True),
    ),
)

CONTEXTS = Table(
    "contexts",
    1,
    (
        Column("context", "string", "", "what decisions and rows name it by: a hash of the document"),
        Column("document", "string", "JSON", "bundle, names of keys and features, list versions, version of slidr"),
    ),
)

ADJUSTMENTS = Table(
    "adjustments",
    2,
    (
        Column("replay", "string", "", "replay that found the difference"),
        Column("period", "string", "YYYY-MM", "accounting period in which it is booked"),
        Column("billing_day", "date32[day]", "day", "date in the billing time zone"),
        Column("campaign", "string", "", "campaign", nullable=True),
        Column("advertiser", "string", "", "advertiser", nullable=True),
        Column("clicks", "int64", "clicks", "clicks to credit (positive) or to charge (negative)"),
        Column("cost", "int64", "micros", "cost to credit (positive) or to charge (negative)"),
        Column("currency", "string", "ISO 4217", "currency of the cost"),
    ),
)

PERIODS = Table(
    "periods",
    1,
    (
        Column("period", "string", "YYYY-MM", "accounting period, in the billing time zone"),
        Column("closed_at", TIME, "us", "when it was closed"),
        Column("document", "string", "JSON", "the frozen report"),
    ),
)

TABLES = (
    *(CLICKS, PURCHASES, LABELS, FEATURES, SCORES, THRESHOLDS),
    *(DECISIONS, ROWS, SHADOWS, CONTEXTS, ADJUSTMENTS, PERIODS),
)
"""All tables, in the order of the flow."""


class Threshold(msgspec.Struct, frozen=True):
    """One row of THRESHOLDS, as calibration returns it and a bundle carries it."""

    slice: str
    threshold: float
    ivr: float | None
    fpr: float | None
    coverage: float | None
    clicks: int
    purchases: int
    source: ThresholdSource
