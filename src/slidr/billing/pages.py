"""Pages: reports of billing as documents, every amount as it is written."""

from __future__ import annotations

from collections.abc import Sequence

from slidr.billing.false_positives import FalsePositives
from slidr.billing.figures import Figures, Key, totals
from slidr.billing.invoice import Invoice
from slidr.billing.periods import Period
from slidr.report.document import Document, Grid, Section, Tile
from slidr.report.numerals import MISSING, count, money, percent

_WORDS = (
    ("gross", "every click that was decided or logged, each once"),
    ("net of general", "without what list rules found invalid"),
    ("net of all", "without what the model found invalid, too"),
    ("billable", "the net of all, and what was found invalid but answered valid"),
    ("unmeasurable", "not decided for want of information; charged"),
    ("decided", "share of the clicks that were found valid or invalid"),
)


def report_page(
    wanted: Period, zone: str, state: str, by: tuple[str, ...], found: dict[Key, Figures], *, advertiser: str = ""
) -> Document:
    """Return figures as a document.

    Args:
        wanted: the period.
        zone: time zone of the billing day.
        state: whether the figures may still change, in a sentence.
        by: what they are grouped by.
        found: the figures.
        advertiser: whose they are, where they are one's alone.
    """
    sums = totals(found)
    whole = sum((one.clicks for one in sums.values()), Figures().clicks)
    billed = tuple(
        Tile(f"billable, {currency}", money(one.cost.billable), f"of {money(one.cost.gross)} gross")
        for currency, one in sums.items()
    )
    invalid = whole.general + whole.sophisticated
    share = percent(invalid / whole.gross if whole.gross else None)
    unpriced = sum(one.unpriced for one in sums.values())
    return Document(
        "slidr billing",
        f"{advertiser or 'Clicks and their cost'}, {wanted.name}",
        f"{zone}. {state[:1].upper()}{state[1:]}.",
        (Tile("clicks", count(whole.gross), f"{count(invalid)} invalid, {share}"), *billed),
        (f"The cost of {count(unpriced, 'click')} is not known; it counts as nothing.",) if unpriced else (),
        (
            Section(f"By {' and '.join(by)}", grid=figures_grid(by, found)),
            Section("The words used here", facts=_WORDS),
        ),
    )


def figures_grid(by: tuple[str, ...], found: dict[Key, Figures]) -> Grid:
    """Return figures as a table, the totals of each currency last."""
    lines = tuple((*_names(key), *_cells(one)) for key, one in found.items())
    lines += tuple(("total", *[""] * (len(by) - 1), currency, *_cells(one)) for currency, one in totals(found).items())
    headers = (
        *by, "currency", "gross", "net of general", "net of all", "unmeasurable", "decided", "gross cost",
        "net of general", "net of all", "billable cost",
    )  # fmt: skip
    return Grid(headers, lines, len(by) + 1)


def _names(key: Key) -> tuple[str, ...]:
    return tuple(MISSING if value is None else value for value in key)


def _cells(one: Figures) -> tuple[str, ...]:
    clicks = (one.clicks.gross, one.clicks.net_of_general, one.clicks.net_of_all, one.clicks.unmeasurable)
    costs = (one.cost.gross, one.cost.net_of_general, one.cost.net_of_all, one.cost.billable)
    return (*(count(value) for value in clicks), percent(one.decision_rate), *map(money, costs))


def false_positives_page(
    wanted: Period, zone: str, state: str, found: Sequence[FalsePositives], material: float
) -> Document:
    """Return false-positive rates as a document; slices that raise an alarm stand out."""
    lines = [(one, currency) for one in found for currency in one.cost]
    rows = tuple(false_positive_cells(one, currency) for one, currency in lines)
    warned = tuple(place for place, (one, _) in enumerate(lines) if one.alarm)
    alarms = sum(one.alarm for one in found)
    said = (
        f"{count(alarms, 'slice')} of {len(found)} reach {percent(material)}."
        if alarms
        else "No slice raises an alarm."
    )
    whole = found[0]
    return Document(
        "slidr billing",
        f"False positives, {wanted.name}",
        f"{zone}. {said} {state[:1].upper()}{state[1:]}.",
        (
            Tile("purchasing clicks", count(whole.purchasing), "taken to be people's"),
            Tile(
                "found invalid",
                percent(whole.rate, 2),
                f"{count(whole.invalid)}; {percent(whole.low, 2)} to {percent(whole.high, 2)}",
            ),
        ),
        sections=(
            Section(
                "By slice",
                grid=Grid(FALSE_POSITIVES, rows, 1, warned),
                note="Exact binomial intervals at 95 % whose clicks come in clusters of one purchaser; by cost, each"
                " click weighs what it costs.",
            ),
        ),
    )


FALSE_POSITIVES = (
    "slice", "purchasing", "invalid", "rate", "95 % interval", "currency", "by cost", "95 % interval", "",
)  # fmt: skip
"""Headers of the table of false positives."""


def false_positive_cells(one: FalsePositives, currency: str) -> tuple[str, ...]:
    """Return the cells of a slice and currency."""
    cost = one.cost[currency]
    weighted = percent(cost.invalid / cost.purchasing if cost.purchasing else None, 2)
    reach = MISSING if cost.low is None or cost.high is None else f"{percent(cost.low, 2)} to {percent(cost.high, 2)}"
    word = "ALARM" if one.certain else "alarm, by few clicks" if one.alarm else ""
    interval = f"{percent(one.low, 2)} to {percent(one.high, 2)}"
    counts = (count(one.purchasing), count(one.invalid))
    return (one.slice, *counts, percent(one.rate, 2), interval, currency, weighted, reach, word)


def invoice_page(found: Invoice, state: str) -> Document:
    """Return the invoice report of a month as a document."""
    due = tuple(Tile(f"due, {currency}", money(cost)) for currency, cost in found.due.items())
    sections = [Section("Clicks and credits", grid=Grid(INVOICE, invoice_rows(found), 4))]
    if found.corrections:
        sections.append(Section("Corrections that the lines hold already", points=found.corrections))
    return Document(
        "slidr billing", f"Invoice report, {found.period}", f"{found.timezone}. {state}.", due, sections=tuple(sections)
    )


INVOICE = ("campaign", "advertiser", "for", "currency", "clicks", "cost")
"""Headers of the table of an invoice."""


def invoice_rows(found: Invoice) -> tuple[tuple[str, ...], ...]:
    """Return the lines of an invoice, its credits, and what is due."""
    charged = [
        (
            *_names((line.campaign, line.advertiser)),
            "clicks",
            line.currency,
            count(line.billable_clicks),
            money(line.billable_cost),
        )
        for line in found.lines
    ]
    credited = [
        (
            *_names((one.campaign, one.advertiser)),
            f"credit for {one.billing_day}",
            one.currency,
            count(-one.clicks),
            money(-one.cost),
        )
        for one in found.credits
    ]
    due = [("due", "", "", currency, "", money(cost)) for currency, cost in found.due.items()]
    return (*charged, *credited, *due)
