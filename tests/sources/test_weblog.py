from __future__ import annotations

from pathlib import Path

import pytest

from slidr.clock import SECOND
from slidr.lake.door import admit_clicks
from slidr.settings import ClicksSettings, PurchasesSettings
from slidr.sources import Feed, weblog

AGENT = '"-" "Mozilla/5.0"'
NOW = 1_800_000_000 * SECOND


def read(folder: Path, *lines: str | bytes) -> Feed:
    """Read a short log, whose lines may be bytes that are no text."""
    path = folder / "access.log"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    (feed,) = weblog.read(ClicksSettings(path=str(path)), PurchasesSettings())
    return feed


def request(sent: str, rest: str = f"200 5 {AGENT}") -> str:
    """Return a line with this request."""
    return f'192.0.2.1 - - [17/May/2015:10:05:03 +0200] "{sent}" {rest}'


def test_a_line_becomes_a_click(tmp_path: Path) -> None:
    """Every field lands in its column; the time keeps its zone; a dash is null."""
    feed = read(tmp_path, request("GET /a?b=c HTTP/1.1"))
    assert feed.purchases is None
    assert feed.clicks is not None
    assert feed.clicks.to_pylist() == [
        {
            "click_id": "access-1",
            "time": "2015-05-17T10:05:03+0200",
            "ip": "192.0.2.1",
            "user_agent": "Mozilla/5.0",
            "method": "GET",
            "path": "/a?b=c",
            "status": "200",
            "referrer": None,
            "user": None,
            "session": None,
        }
    ]


@pytest.mark.parametrize(
    ("sent", "method", "path"),
    [
        ("GET /", "GET", "/"),
        ("-", None, None),
        (r"\x16\x03\x01", None, r"\x16\x03\x01"),
        (r"GET /a\"b HTTP/1.1", "GET", r"/a\"b"),
        ("GET /a b c HTTP/1.1", None, "GET /a b c HTTP/1.1"),
    ],
)
def test_odd_requests_are_still_clicks(tmp_path: Path, sent: str, method: str | None, path: str | None) -> None:
    """Robots send requests that are none: the click stands, with what was sent as its path."""
    feed = read(tmp_path, request(sent))
    assert feed.clicks is not None
    assert feed.clicks.select(["method", "path"]).to_pylist() == [{"method": method, "path": path}]


def test_fields_after_the_user_agent_are_ignored(tmp_path: Path) -> None:
    """Logs with fields appended read as the plain format does."""
    feed = read(tmp_path, request("GET / HTTP/1.1", f'404 - {AGENT} "192.0.2.9" 0.003'))
    assert feed.clicks is not None
    assert feed.clicks["status"].to_pylist() == ["404"]
    assert feed.rejected.total == 0


@pytest.mark.parametrize(
    "line",
    ["", "nonsense", request("GET / HTTP/1.1", "200 5"), request("GET /").replace("May", "Mai"), b'1.1.1.1 - - "\xff"'],
)
def test_malformed_lines_are_counted_and_shown(tmp_path: Path, line: str | bytes) -> None:
    """A line in another format is left out, counted, and kept as an example with its place."""
    feed = read(tmp_path, request("GET /"), line, request("GET /"))
    assert feed.clicks is not None
    assert feed.clicks["click_id"].to_pylist() == ["access-1", "access-3"]
    assert feed.rejected.counts == {("line", "not in the combined log format"): 1}
    ((row, value),) = feed.rejected.examples["line", "not in the combined log format"]
    assert row == 1
    assert str(value).startswith("access.log: ")


def test_the_real_log_passes_the_door(data: Path) -> None:
    """Of 10,000 requests one line is cut off; every other is admitted."""
    log = ClicksSettings(path=str(data / "weblog" / "apache_2015-05.log.gz"))
    (feed,) = weblog.read(log, PurchasesSettings())
    assert feed.clicks is not None
    assert feed.rejected.total == 1
    clicks, rejections = admit_clicks(feed.clicks, settings=log, now=NOW)
    assert (clicks.num_rows, rejections.summary()) == (9_999, ())
