"""Invoice reports: what a closed month was charged, frozen; what was corrected later goes to the next open one.

An invoice is the billable cost of a month's clicks as they were decided when it was closed, less the adjustments of
months that had been closed before. Each adjustment is in exactly one invoice: in the figures of its own month, where
its correction was in the lake when that was closed, and else in the next month to be closed. So invoices sum up to
what the decisions that hold now would charge, once all adjustments are booked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.billing.clicks import billed_clicks
from slidr.billing.figures import figures
from slidr.billing.periods import Period, local_days, period
from slidr.clock import DAY, midnight
from slidr.errors import BillingError
from slidr.lake.delta import Lake
from slidr.registry import Registry
from slidr.tables import ADJUSTMENTS, DECISIONS, PERIODS

FORMAT = 1
KIND = "close"
"""Of the record in the audit log."""
_MONTH = len("2026-11")


class Line(msgspec.Struct, frozen=True):
    """What one campaign is charged in one currency; costs in micros."""

    campaign: str | None
    advertiser: str | None
    currency: str
    gross_clicks: int
    general_clicks: int
    sophisticated_clicks: int
    unmeasurable_clicks: int
    undecided_clicks: int
    billable_clicks: int
    gross_cost: int
    billable_cost: int
    unpriced_clicks: int


class Credit(msgspec.Struct, frozen=True):
    """What is credited (positive) or charged (negative) for a day of a month that was closed before."""

    replay: str
    billing_day: str
    campaign: str | None
    advertiser: str | None
    currency: str
    clicks: int
    cost: int


class Invoice(msgspec.Struct, frozen=True):
    """The report of a month.

    Attributes:
        format: of this document.
        period: the month.
        timezone: of the billing day.
        closed_at: when it was frozen, microseconds UTC; None while it is provisional.
        lines: what its clicks are charged.
        credits: adjustments of months that were closed before.
        corrections: causes of the corrections that the lines hold already.
        due: by currency, billable cost less credits, in micros.
    """

    format: int
    period: str
    timezone: str
    closed_at: int | None
    lines: tuple[Line, ...]
    credits: tuple[Credit, ...]
    corrections: tuple[str, ...]
    due: dict[str, int]


class Closed(msgspec.Struct, frozen=True):
    """A month that is closed: its invoice, and the SHA-256 of the document as it is kept."""

    invoice: Invoice
    sha256: str


def invoices(lake: Lake) -> dict[str, Closed]:
    """Return the months that are closed, in their order.

    Raises:
        BillingError: a document is none.
        TableError: the lake cannot be read.
    """
    if not lake.exists(PERIODS):
        return {}
    found = {}
    for row in sorted(lake.read(PERIODS).to_pylist(), key=lambda row: row["period"]):
        try:
            invoice = msgspec.json.decode(row["document"], type=Invoice)
        except msgspec.MsgspecError as fault:
            raise BillingError(
                f"the invoice report of {row['period']} cannot be read: {fault}; restore the table {PERIODS.name}"
            ) from None
        found[row["period"]] = Closed(invoice, _digest(row["document"]))
    return found


def draft(lake: Lake, wanted: Period, zone: str, now: int | None = None) -> Invoice:
    """Return what the invoice of a month would be now.

    Args:
        lake: holds decisions and adjustments.
        wanted: a month.
        zone: time zone of the billing day.
        now: when it is frozen, microseconds UTC; None where it is not.

    Raises:
        BillingError: the period is no month, or has no decisions.
        TableError: the lake cannot be read.
    """
    if len(wanted.name) != _MONTH:
        raise BillingError(f"{wanted.name} is no month, and invoices are of months; give one such as 2026-11")
    known = invoices(lake)
    earlier = {name: one.invoice for name, one in known.items() if name != wanted.name}
    # The causes first: a correction that lands while the clicks are read is adjusted in the next month, not lost.
    corrections = _corrections(lake, wanted)
    grouped = figures(billed_clicks(lake, wanted), ("campaign", "advertiser"), zone)
    if _corrections(lake, wanted) != corrections:
        raise BillingError(f"decisions of {wanted.name} were corrected while they were read; run this again")
    lines = tuple(
        Line(
            campaign, advertiser, str(currency), one.clicks.gross, one.clicks.general, one.clicks.sophisticated,
            one.clicks.unmeasurable, one.clicks.undecided, one.clicks.billable, one.cost.gross, one.cost.billable,
            one.unpriced,
        )
        for (campaign, advertiser, currency), one in grouped.items()
    )  # fmt: skip
    credited = tuple(_credits(lake, earlier))
    due: dict[str, int] = {}
    for line in lines:
        due[line.currency] = due.get(line.currency, 0) + line.billable_cost
    for credit in credited:
        due[credit.currency] = due.get(credit.currency, 0) - credit.cost
    return Invoice(FORMAT, wanted.name, zone, now, lines, credited, corrections, dict(sorted(due.items())))


def close(lake: Lake, registry: Registry, wanted: Period, *, zone: str, now: int, who: str, why: str) -> Closed:
    """Freeze the invoice of a month and return it; a month that is closed stays as it is.

    The document is in PERIODS and its hash in the audit log; who was ended between the two is caught up with by
    whoever closes the month again.

    Args:
        lake: holds decisions and adjustments, and PERIODS.
        registry: its audit log records the closing.
        wanted: a month that is over.
        zone: time zone of the billing day.
        now: microseconds UTC.
        who: who closes it.
        why: the reason.

    Raises:
        BillingError: the month is not over, has no decisions, a month before it is open, a replay of it was not ended,
            or what is kept is not what the audit log says.
        TableError: the lake cannot be read or written.
        RegistryError: the audit log cannot be written.
    """
    if wanted.name not in (known := invoices(lake)):
        _refuse(lake, wanted, known, zone, now)
        document = msgspec.json.encode(draft(lake, wanted, zone, now)).decode()
        row = {"period": [wanted.name], "closed_at": pa.array([now]).cast(pa.timestamp("us", "UTC"))}
        # Of two that close it at once the first one's stands.
        lake.append(PERIODS, pa.table({**row, "document": [document]}), (f"close:{wanted.name}", 1))
    closed = invoices(lake)[wanted.name]
    recorded = [one for one in registry.audit.records() if (one.kind, one.subject) == (KIND, wanted.name)]
    if recorded and recorded[-1].details.get("sha256") != closed.sha256:
        raise BillingError(
            f"the invoice report of {wanted.name} is not the one that record {recorded[-1].number} of the audit log"
            f" names: it was changed; restore the table {PERIODS.name}"
        )
    if not recorded:
        details = {"sha256": closed.sha256, "due": closed.invoice.due}
        registry.audit.append(KIND, wanted.name, at=now, who=who, why=why, details=details)
    return closed


def _refuse(lake: Lake, wanted: Period, known: Iterable[str], zone: str, now: int) -> None:
    if now < wanted.end:
        raise BillingError(f"{wanted.name} is not over ({zone}); close it from its last instant on")
    if later := [name for name in known if name > wanted.name]:
        raise BillingError(
            f"{later[-1]} is closed, and {wanted.name} lies before it; months are closed in their order, so that each"
            " adjustment has one invoice"
        )
    before = [month for month in _months(lake, zone) if month < wanted.name and month not in known]
    if open_ones := [month for month in before if _has_clicks(lake, month, zone)]:
        several = len(open_ones) > 1
        raise BillingError(
            f"{', '.join(open_ones)} {'have' if several else 'has'} decisions and {'are' if several else 'is'} not"
            f" closed; close {'them in this order' if several else 'it'} before {wanted.name}"
        )
    for cause in _corrections(lake, wanted):
        if lake.transaction(ADJUSTMENTS, cause) is None:
            raise BillingError(
                f"{cause} corrected clicks of {wanted.name} and has not booked its adjustments; run it to its end,"
                " then close the month"
            )


def _months(lake: Lake, zone: str) -> list[str]:
    """Return the months, by the clock of a zone, in which the UTC days with decisions lie."""
    ends = [moment for day in lake.days(DECISIONS) for moment in (midnight(day), midnight(day) + DAY - 1)]
    return sorted({str(day)[:_MONTH] for day in local_days(np.array(ends, np.int64), zone).to_pylist()})


def _has_clicks(lake: Lake, month: str, zone: str) -> bool:
    chosen = period(month, zone)
    return bool(lake.read(DECISIONS, start=chosen.start, end=chosen.end, columns=["time"]).num_rows)


def _corrections(lake: Lake, wanted: Period) -> tuple[str, ...]:
    """Return the causes of what superseded a decision of a period."""
    if not lake.exists(DECISIONS):
        return ()
    causes: set[str] = set()
    for part in lake.batches(DECISIONS, start=wanted.start, end=wanted.end, columns=["cause", "supersedes"]):
        causes.update(part.filter(pc.is_valid(part["supersedes"]))["cause"].unique().to_pylist())
    return tuple(sorted(causes))


def _credits(lake: Lake, earlier: dict[str, Invoice]) -> Iterable[Credit]:
    """Yield the adjustments of months closed before that no invoice holds."""
    if not earlier or not lake.exists(ADJUSTMENTS):
        return
    carried = {credit for invoice in earlier.values() for credit in invoice.credits}
    for row in lake.read(ADJUSTMENTS).to_pylist():
        month = f"{row['billing_day']:%Y-%m}"
        credit = Credit(
            row["replay"], str(row["billing_day"]), row["campaign"], row["advertiser"], row["currency"],
            row["clicks"], row["cost"],
        )  # fmt: skip
        if month in earlier and row["replay"] not in earlier[month].corrections and credit not in carried:
            yield credit


def _digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def told(closed: Closed) -> dict[str, Any]:
    """Return a closed month for machines."""
    document: dict[str, Any] = msgspec.to_builtins(closed.invoice)
    return document | {"sha256": closed.sha256, "provisional": False}
