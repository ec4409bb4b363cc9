"""History: all that the lake holds of one click, found by its click_id and day.

Of a day that `slidr compact` has sorted, one or two row groups of each table may hold the click by their statistics;
the others are not read. Purchases and adjustments are not sorted by click: of the purchases, the days of the
attribution window are read, of the adjustments the whole table, which has few rows.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from slidr.clock import DAY
from slidr.datasets import dataset_of
from slidr.errors import RecordsError
from slidr.lake.delta import Lake
from slidr.lake.settled import settled
from slidr.lake.spans import PARTITION
from slidr.lake.stored import reported
from slidr.tables import ADJUSTMENTS, CLICKS, DECISIONS, LABELS, PURCHASES, ROWS, SHADOWS, Table

Row = dict[str, Any]

_BYTES = ("keys", "row")  # columns that only their context makes readable


class Scanned(NamedTuple):
    """What a look-up read of one table.

    Attributes:
        table: its name.
        files: files that may hold the click, by their day and statistics.
        of: files of the table.
        groups: row groups of these files that may hold it.
        bytes: of those row groups, uncompressed, before columns are chosen.
    """

    table: str
    files: int
    of: int
    groups: int
    bytes: int


class History(NamedTuple):
    """All that the lake holds of a click.

    Attributes:
        click_id: the click.
        day: its UTC day.
        click: as the log had it; None where the log was not ingested.
        decisions: all that were made of it, oldest first.
        standing: the decision that holds, by its id; None where there is none.
        rows: what they were decided from: sequence, context, and how many bytes of keys and of features.
        shadows: what a challenger would have decided.
        labels: whether it counts as human, and why.
        purchases: those that name it, oldest first.
        adjustments: those that its corrections are part of: of their cause, its billing day and campaign.
        scanned: what was read for this.
    """

    click_id: str
    day: date
    click: Row | None
    decisions: list[Row]
    standing: str | None
    rows: list[Row]
    shadows: list[Row]
    labels: list[Row]
    purchases: list[Row]
    adjustments: list[Row]
    scanned: list[Scanned]


def history(lake: Lake, click_id: str, day: date, *, window: int, zone: str) -> History:
    """Return all that the lake holds of a click.

    Args:
        lake: where to look.
        click_id: the click.
        day: UTC day on which it was made.
        window: attribution window, microseconds, in whose days its purchases are sought.
        zone: time zone of the billing day.

    Raises:
        RecordsError: the lake holds nothing of it on that day; the message says what it holds.
        TableError: the lake cannot be read.
    """
    scanned: list[Scanned] = []

    def of_day(table: Table) -> pa.Table:
        return _found(lake, table, click_id, (day, day), scanned)

    decided, clicks = of_day(DECISIONS), of_day(CLICKS)
    if not decided.num_rows and not clicks.num_rows:
        raise RecordsError(_unknown(lake, click_id, day))
    decided = decided.sort_by([("decided_at", "ascending"), ("decision_id", "ascending")])
    standing = settled(decided)["decision_id"].to_pylist() if decided.num_rows else []
    last = day + timedelta(days=window // DAY + 1)
    purchases = _found(lake, PURCHASES, click_id, (day, last), scanned)
    decisions = decided.to_pylist()
    return History(
        click_id,
        day,
        next(iter(clicks.to_pylist()), None),
        decisions,
        standing[0] if standing else None,
        [_sized(row) for row in of_day(ROWS).to_pylist()],
        [_sized(row) for row in of_day(SHADOWS).to_pylist()],
        of_day(LABELS).to_pylist(),
        sorted(purchases.to_pylist(), key=lambda row: (row["time"], row["purchase_id"])),
        _adjustments(lake, decisions, zone),
        scanned,
    )


def _found(lake: Lake, table: Table, click_id: str, days: tuple[date, date], scanned: list[Scanned]) -> pa.Table:
    """Return the rows of a click between two days, both included, and note what it took."""
    if not lake.exists(table):
        return pa.table({name: pa.array([], pa.string()) for name in table.names})
    with reported(lake.address(table)):
        dataset = dataset_of(lake.open(table))
        first, last = (pa.scalar(one, pa.date32()) for one in days)
        wanted: Any = (ds.field("click_id") == click_id) & (ds.field(PARTITION) >= first)
        wanted &= ds.field(PARTITION) <= last
        names = [name for name in dataset.schema.names if name != PARTITION]
        fragments = list(dataset.get_fragments(filter=wanted))
        parts, groups, size, files = [], 0, 0, 0
        for fragment in fragments:
            # Footers alone are read for this; a file none of whose row groups may hold the click is not read.
            pruned = fragment.split_by_row_group(wanted, schema=dataset.schema)
            files += bool(pruned)
            groups += len(pruned)
            size += sum(group.total_byte_size for one in pruned for group in one.row_groups)
            parts += [one.to_table(schema=dataset.schema, columns=names, filter=wanted) for one in pruned]
        scanned.append(Scanned(table.name, files, len(lake.open(table).file_uris()), groups, size))
        return pa.concat_tables([dataset.schema.empty_table().select(names), *parts])


def _sized(row: Row) -> Row:
    return {name: len(value) if name in _BYTES and value is not None else value for name, value in row.items()}


def _adjustments(lake: Lake, decisions: list[Row], zone: str) -> list[Row]:
    """Return the adjustments that the corrections among some decisions of a click went into."""
    causes = [one["cause"] for one in decisions if one["supersedes"]]
    if not causes or not lake.exists(ADJUSTMENTS):
        return []
    held = lake.read(ADJUSTMENTS)
    first = decisions[0]
    wanted = {"billing_day": first["time"].astimezone(ZoneInfo(zone)).date(), "campaign": first.get("campaign")}
    rows = held.filter(pc.is_in(held["replay"], value_set=pa.array(causes))).to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _unknown(lake: Lake, click_id: str, day: date) -> str:
    """Return why nothing was found: before the retention, a day without data, another day, or an unknown click."""
    days = sorted({*lake.days(DECISIONS), *lake.days(CLICKS)})
    if not days:
        return f"the lake at {lake.address(DECISIONS)} holds no decisions and no clicks yet; run `slidr ship`"
    span = f"it holds {days[0]} to {days[-1]}"
    if day < days[0]:
        return f"{day} is before all that the lake still holds: {span}; older days are removed by lake.keep_months"
    if day not in days:
        return f"the lake has nothing of {day}: {span}; what was decided since the last `slidr ship` is in journals"
    for beside in (day - timedelta(1), day + timedelta(1)):
        if _found(lake, DECISIONS, click_id, (beside, beside), []).num_rows:
            return f"click {click_id} was not made on {day} but on {beside} (UTC); give --day {beside}"
    return (
        f"the lake knows no click {click_id} on {day}, nor a day before or after; days are UTC, and what was decided"
        " since the last `slidr ship` is in journals"
    )


def moment(text: str) -> date:
    """Return the UTC day of a date or of a time with its zone, as in a log.

    >>> moment("2026-03-02"), moment("2026-03-02T00:30:00+02:00")
    (datetime.date(2026, 3, 2), datetime.date(2026, 3, 1))

    Raises:
        ValueError: it is neither.
    """
    if len(text) == len("2026-03-02"):
        return date.fromisoformat(text)
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(text)
    return at.astimezone(UTC).date()
