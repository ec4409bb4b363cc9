"""Commands of billing: what is charged, false positives, closing a month."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from slidr.billing.clicks import billed_clicks
from slidr.billing.false_positives import false_positives as rates_of
from slidr.billing.figures import DIMENSIONS, Figures, Key, figures, of_advertiser, totals
from slidr.billing.invoice import Credit, Invoice, Line, draft, invoices, told
from slidr.billing.invoice import close as close_month
from slidr.billing.pages import (
    FALSE_POSITIVES,
    INVOICE,
    false_positive_cells,
    false_positives_page,
    figures_grid,
    invoice_page,
    invoice_rows,
    report_page,
)
from slidr.billing.periods import Period, begun, period
from slidr.cli.options import Outcome, account, printed, settings_option
from slidr.clock import SECOND, SystemClock
from slidr.errors import BillingError, nearest
from slidr.lake.delta import Lake
from slidr.registry import open_registry
from slidr.report.document import Document, Grid, as_html, text_table
from slidr.settings import Settings

_AMOUNTS = ("gross", "net_of_general", "net_of_all", "billable", "general", "sophisticated", "unmeasurable")
_PARTS = ("undecided", "unenforced")
_ALARM = 4
"""Exit status where a false-positive rate is material."""
_PROVISIONAL = "provisional: a correction or a late decision may still change these figures"
_CLOSED = "closed: the invoice is frozen; what was corrected since is in these figures, and credited in a later invoice"


@click.group(short_help="Report what clicks are charged; close a month.")
def billing() -> None:
    """Report what clicks are charged, and what was wrongly not; freeze the invoice report of a month.

    A PERIOD is a month such as 2026-11, or a day such as 2026-11-23, in the time zone of the settings. Costs are of one
    currency a line, in whole micros for machines.
    """


_page_option = click.option("--html", "page", type=click.Path(path_type=Path), help="Write an HTML page, too.")


@billing.command(short_help="Gross, net of general, net of all, by campaign, advertiser, slice, day or hour.")
@settings_option
@click.argument("wanted", metavar="PERIOD")
@click.option("--by", multiple=True, type=click.Choice(DIMENSIONS), help="Group by this; repeat it.  [campaign]")
@click.option("--csv", "file", type=click.Path(path_type=Path), help="Write the lines to a CSV file, too.")
@_page_option
@printed
def report(settings: Settings, wanted: str, *, by: tuple[str, ...], file: Path | None, page: Path | None) -> Outcome:
    """Report the clicks of PERIOD and their cost, each click once, by the decision that holds."""
    chosen = _period(settings, wanted)
    by = tuple(dict.fromkeys(by)) or ("campaign",)
    found = figures(billed_clicks(Lake(settings.storage.lake), chosen), by, settings.timezone)
    rows = [_row(by, key, one) for key, one in found.items()]
    if file is not None:
        _write(file, rows)
    sums = {currency: _amounts(one) for currency, one in totals(found).items()}
    state = _state(chosen, settings)
    _write_page(page, report_page(chosen, settings.timezone, _said(state), by, found))
    document = {**_told(chosen, settings), **state, "by": by, "rows": rows, "totals": sums}
    return Outcome(f"{text_table(figures_grid(by, found))}\n\n{_said(state)}", document)


@billing.command(short_help="What an advertiser is shown: outcomes, no thresholds and no scores.")
@settings_option
@click.argument("wanted", metavar="PERIOD")
@click.argument("name", metavar="ADVERTISER")
@click.option("--csv", "file", type=click.Path(path_type=Path), help="Write the lines to a CSV file, too.")
@_page_option
@printed
def advertiser(settings: Settings, wanted: str, name: str, *, file: Path | None, page: Path | None) -> Outcome:
    """Report the clicks of PERIOD that ADVERTISER pays, by campaign and day.

    What a robot could learn from is left out: thresholds, scores, reasons, lists and slices.
    """
    chosen, by = _period(settings, wanted), ("campaign", "day")
    clicks = list(billed_clicks(Lake(settings.storage.lake), chosen))
    found = figures(of_advertiser(clicks, name), by, settings.timezone)
    if not found:
        known = sorted({one for part in clicks for one in part["advertiser"].unique().to_pylist() if one is not None})
        raise BillingError(f"no click of {chosen.name} is paid by advertiser {name!r}; {nearest(name, known)}")
    rows = [_row(by, key, one) for key, one in found.items()]
    if file is not None:
        _write(file, rows)
    sums = {currency: _amounts(one) for currency, one in totals(found).items()}
    state = _state(chosen, settings)
    _write_page(page, report_page(chosen, settings.timezone, _said(state), by, found, advertiser=name))
    document = {**_told(chosen, settings), **state, "advertiser": name, "by": by, "rows": rows, "totals": sums}
    return Outcome(f"{text_table(figures_grid(by, found))}\n\n{_said(state)}", document)


@billing.command("false-positives", short_help="Purchasing clicks that were found invalid, by slice.")
@settings_option
@click.argument("wanted", metavar="PERIOD")
@_page_option
@printed
def false_positives(settings: Settings, wanted: str, *, page: Path | None) -> Outcome:
    """Report the false-positive rate of PERIOD by slice, with 95 % intervals, by clicks and by cost.

    A slice whose rate reaches billing.material_fpr raises an alarm: exit status 4.
    """
    chosen, limit = _period(settings, wanted), settings.billing.material_fpr
    found = rates_of(Lake(settings.storage.lake), chosen, limit)
    rows = [msgspec.to_builtins(one) | {"rate": one.rate} for one in found]
    alarm = any(one.alarm for one in found)
    lines = tuple(false_positive_cells(one, currency) for one in found for currency in one.cost)
    state = _state(chosen, settings)
    _write_page(page, false_positives_page(chosen, settings.timezone, _said(state), found, limit))
    text = f"{text_table(Grid(FALSE_POSITIVES, lines))}\n\n{_said(state)}"
    document = {**_told(chosen, settings), **state, "material_fpr": limit, "alarm": alarm, "slices": rows}
    return Outcome(text, document, status=_ALARM if alarm else 0)


@billing.command(short_help="The invoice report of a month: frozen where it is closed, else provisional.")
@settings_option
@click.argument("month", metavar="MONTH")
@click.option("--csv", "file", type=click.Path(path_type=Path), help="Write the lines to a CSV file, too.")
@_page_option
@printed
def invoice(settings: Settings, month: str, *, file: Path | None, page: Path | None) -> Outcome:
    """Show the invoice report of MONTH: what it is charged, and credits for months that were closed before."""
    lake, chosen = Lake(settings.storage.lake), _period(settings, month)
    if (kept := invoices(lake).get(chosen.name)) is not None:
        state = f"closed; SHA-256 {kept.sha256}"
        _write_page(page, invoice_page(kept.invoice, state))
        return _invoice(kept.invoice, told(kept), state, file)
    found = draft(lake, chosen, settings.timezone)
    _write_page(page, invoice_page(found, _PROVISIONAL))
    return _invoice(found, msgspec.to_builtins(found) | {"provisional": True}, _PROVISIONAL, file)


@billing.command(short_help="Freeze the invoice report of a month.")
@settings_option
@click.argument("month", metavar="MONTH")
@click.option("--why", required=True, help="The reason, for the audit log.")
@printed
def close(settings: Settings, month: str, *, why: str) -> Outcome:
    """Freeze the invoice report of MONTH; corrections that come later are credited in the next one.

    A month that is closed stays as it is: closing it again does no harm.
    """
    chosen, now = period(month, settings.timezone), SystemClock().now()
    kept = close_month(
        Lake(settings.storage.lake),
        open_registry(settings),
        chosen,
        zone=settings.timezone,
        now=now,
        who=account(),
        why=why,
    )
    return _invoice(kept.invoice, told(kept), f"closed; SHA-256 {kept.sha256}", None)


def _invoice(found: Invoice, document: dict[str, Any], state: str, file: Path | None) -> Outcome:
    if file is not None:
        rows = [
            {"kind": "clicks", "clicks": line.billable_clicks, "cost": line.billable_cost} | _payer(line)
            for line in found.lines
        ]
        rows += [{"kind": "credit", "clicks": -one.clicks, "cost": -one.cost} | _payer(one) for one in found.credits]
        _write(file, rows)
    table = text_table(Grid(INVOICE, invoice_rows(found), 4))
    return Outcome(f"{found.period}, {found.timezone}\n\n{table}\n\n{state}", document)


def _payer(one: Line | Credit) -> dict[str, Any]:
    return {"campaign": one.campaign, "advertiser": one.advertiser, "currency": one.currency}


def _period(settings: Settings, text: str) -> Period:
    chosen = period(text, settings.timezone)
    begun(chosen, SystemClock().now())
    return chosen


def _told(chosen: Period, settings: Settings) -> dict[str, Any]:
    return {
        "period": chosen.name,
        "timezone": settings.timezone,
        "from": _moment(chosen.start),
        "until": _moment(chosen.end),
    }


def _state(chosen: Period, settings: Settings) -> dict[str, Any]:
    """Return whether the month of a period is closed, and since when."""
    kept = invoices(Lake(settings.storage.lake)).get(chosen.month)
    at = None if kept is None else kept.invoice.closed_at
    return {"provisional": kept is None, "closed_at": None if at is None else _moment(at)}


def _said(state: dict[str, Any]) -> str:
    return _PROVISIONAL if state["provisional"] else _CLOSED


def _moment(time: int) -> str:
    return datetime.fromtimestamp(time // SECOND, UTC).isoformat()


def _amounts(one: Figures) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name in (*_AMOUNTS, *_PARTS):
        told[f"{name}_clicks"] = getattr(one.clicks, name)
        told[f"{name}_cost"] = getattr(one.cost, name)
    return told | {"unpriced_clicks": one.unpriced, "decision_rate": one.decision_rate}


def _row(by: tuple[str, ...], key: Key, one: Figures) -> dict[str, Any]:
    return dict(zip((*by, "currency"), key, strict=True)) | _amounts(one)


def _write_page(page: Path | None, document: Document) -> None:
    if page is not None:
        page.write_text(as_html(document), encoding="utf-8")


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
