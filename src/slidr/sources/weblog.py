r"""Access logs of Apache and nginx in the combined format, one request a line.

A request is a click; `method`, `path`, `status` and `referrer` pass through. There are no users, no sessions and no
purchases, and `purchases.path` is refused: no labels come of such a log, so nothing can be trained or calibrated on it
alone. A click is named after its file and line, counted from one. Fields after the user agent are ignored.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pyarrow as pa

from slidr.errors import SourceError
from slidr.settings import ClicksSettings, PurchasesSettings
from slidr.sources import CHUNK, Feed, Log, logs, refuse_same_stems, refuse_settings
from slidr.tables import EXAMPLES, Rejections

FINAL_ATTRIBUTION = False
COLUMNS: tuple[str, ...] = ()
EXAMPLE = """\
83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /style.css HTTP/1.1" 200 4877 "-" "Mozilla/5.0 (X11)"
2001:db8::7 - - [17/May/2015:10:05:43 +0000] "GET / HTTP/1.1" 200 171717 "http://example.org/" "Mozilla/5.0 (X11)"
66.249.73.135 - - [17/May/2015:10:05:47 +0000] "HEAD /robots.txt HTTP/1.1" 404 - "-" "Googlebot/2.1"
"""
FIELDS = ("click_id", "time", "ip", "user_agent", "method", "path", "status", "referrer")

_MALFORMED = "not in the combined log format"
# Runs of plain characters between escapes: one alternation a character would be several times slower.
_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_LINE = re.compile(
    r"(\S+) \S+ .*?\[(\d\d)/(\w{3})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})\] "
    + _QUOTED
    + r" (\d{3}) \S+ "
    + _QUOTED
    + " "
    + _QUOTED
)
_MONTHS = {
    "Jan": "01", "Feb": "02", "Mar": "03", "Apr": "04", "May": "05", "Jun": "06",
    "Jul": "07", "Aug": "08", "Sep": "09", "Oct": "10", "Nov": "11", "Dec": "12",
}  # fmt: skip
_Row = tuple[str, str, str, str | None, str | None, str | None, str, str | None]


def read(clicks: ClicksSettings, purchases: PurchasesSettings) -> Iterator[Feed]:
    """Read a file, folder or glob of access logs, gzip or not.

    Raises:
        SourceError: a file cannot be read to its end, or the log has no line in the combined format.
    """
    refuse_settings("weblog", clicks.columns, purchases.path)
    files = logs(clicks.path, "clicks.path")
    refuse_same_stems(files)
    rows = 0
    rejected = Rejections()
    for log in files:
        for feed in _feeds(log):
            yield feed
            rows += feed.clicks.num_rows if feed.clicks is not None else 0
            rejected += feed.rejected
    if not rows:
        why = "; ".join(rejected.summary()) or "it is empty"
        raise SourceError(f"clicks.path = {clicks.path!r}: the log has no requests: {why}")


def _feeds(log: Log) -> Iterator[Feed]:
    with log.opened() as stream, log.faults():
        rows: list[_Row] = []
        wrong: list[tuple[int, object]] = []
        malformed = 0
        stem = log.stem
        for number, line in enumerate(io.BufferedReader(stream), start=1):
            row = _row(f"{stem}-{number}", line)
            if row is not None:
                rows.append(row)
            else:
                malformed += 1
                if len(wrong) < EXAMPLES:
                    wrong.append((number - 1, f"{log.name}: {line.decode(errors='replace').rstrip()}"))
            if len(rows) == CHUNK:
                yield _feed(rows, wrong, malformed)
                rows, wrong, malformed = [], [], 0
        if rows or malformed:
            yield _feed(rows, wrong, malformed)


def _feed(rows: list[_Row], wrong: list[tuple[int, object]], malformed: int) -> Feed:
    columns = zip(*rows, strict=True) if rows else ((),) * len(FIELDS)
    clicks = pa.table({name: pa.array(values, pa.string()) for name, values in zip(FIELDS, columns, strict=True)})
    missing = {name: pa.nulls(len(rows), pa.string()) for name in ("user", "session")}
    for name, values in missing.items():
        clicks = clicks.append_column(name, values)
    return Feed(clicks, None, Rejections.of("line", _MALFORMED, wrong, count=malformed) if malformed else Rejections())


def _row(identifier: str, line: bytes) -> _Row | None:
    """Return the fields of one line, or None where it is malformed."""
    try:
        found = _LINE.match(line.decode())
    except UnicodeDecodeError:
        return None
    if not found:
        return None
    ip, day, month, year, clock, zone, request, status, referrer, user_agent = found.groups()
    if month not in _MONTHS:
        return None
    # Robots send requests that are none; the click stands, without method, and with all that was sent as its path.
    parts = request.split(" ")
    method, path = (parts[0], parts[1]) if len(parts) in {2, 3} else (None, _given(request))
    time = f"{year}-{_MONTHS[month]}-{day}T{clock}{zone}"
    return identifier, time, ip, _given(user_agent), method, path, status, _given(referrer)


def _given(field: str) -> str | None:
    """Return a field, or None where the server wrote that there was none."""
    return None if field in {"-", ""} else field
