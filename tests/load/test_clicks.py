from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from slidr.clock import SECOND, ManualClock
from slidr.errors import SettingsError, SourceError
from slidr.load.clicks import Logged, Plan, read_lines, requests
from slidr.load.sending import Request

NOW = 1_800_000_000 * SECOND
LOG = [Logged(f"c{place}", (1000 + 2 * place) * SECOND, b'"user":"u%d"' % place) for place in range(5)]


def reader(clicks: list[Logged]) -> Callable[[], Iterator[Logged]]:
    """Return what begins to read these clicks."""
    return lambda: iter(clicks)


def drawn(plan: Plan, clicks: list[Logged] = LOG) -> list[Request]:
    """Return the requests of a log."""
    return list(requests(reader(clicks), plan, ManualClock(NOW)))


def decoded(found: list[Request]) -> list[dict[str, Any]]:
    """Return the clicks of requests of one click each."""
    return [msgspec.json.decode(request.body) for request in found]


def test_clicks_are_sent_as_they_are() -> None:
    """Without a plan every click keeps its id, its time and its fields, and has no time at which it is due."""
    found = drawn(Plan())
    assert decoded(found)[1] == {"click_id": "c1", "time": "1970-01-01T00:16:42+00:00", "user": "u1"}
    assert [request.due for request in found] == [None] * 5


def test_a_rate_is_of_clicks_whatever_the_batch() -> None:
    """At four clicks a second the second pair of clicks is due when its second click is."""
    found = drawn(Plan(rate=4.0, batch=2))
    assert [request.due for request in found] == [0.25, 0.75, 1.0]
    assert [len(msgspec.json.decode(request.body)) for request in found] == [2, 2, 1]


def test_the_own_time_of_a_log_is_kept_and_made_faster() -> None:
    """At twice its speed clicks two seconds apart are one second apart; one that is late in the log keeps its place."""
    late = [*LOG[:2], Logged("late", 0, b""), *LOG[2:]]
    assert [request.due for request in drawn(Plan(speed=2.0), late)] == [0, 1, 1, 2, 3, 4]


def test_the_time_becomes_that_of_the_sending() -> None:
    """A click sent two seconds after the start happened then, so that none lies ahead of the service's clock."""
    found = decoded(drawn(Plan(rate=0.5, now=True)))
    assert [click["time"] for click in found[:2]] == ["2027-01-15T08:00:00+00:00", "2027-01-15T08:00:02+00:00"]
    assert decoded(drawn(Plan(now=True)))[4]["time"] == "2027-01-15T08:00:00+00:00"


def test_a_log_with_fresh_ids_starts_over() -> None:
    """Every click has an id of its own, and the time goes on where the log ended."""
    found = requests(reader(LOG), Plan(speed=1.0, prefix="x"), ManualClock(NOW))
    taken = list(islice(found, 7))
    assert [click["click_id"] for click in decoded(taken)] == [f"x-{place}" for place in range(7)]
    assert [click["user"] for click in decoded(taken)][5:] == ["u0", "u1"]
    assert [request.due for request in taken] == [0, 2, 4, 6, 8, 8, 10]


@pytest.mark.parametrize(("prefix", "most", "sent"), [(None, 3, 3), (None, 9, 5), ("x", 9, 9)])
def test_the_number_of_clicks_is_bounded(prefix: str | None, most: int, sent: int) -> None:
    """No more than the clicks asked for are sent, and no more than there are unless the log starts over."""
    assert len(drawn(Plan(prefix=prefix, most=most))) == sent


def test_an_empty_log_is_refused() -> None:
    """A log without clicks is named, even one that would start over forever."""
    with pytest.raises(SourceError, match="the log holds no clicks"):
        drawn(Plan(prefix="x"), [])


def test_rate_and_speed_exclude_each_other() -> None:
    """Two paces are refused with both values."""
    with pytest.raises(SettingsError, match=r"rate = 5 and speed = 2 are set; choose one"):
        drawn(Plan(rate=5, speed=2))


LINES = b"""\
{"click_id": "a", "time": "2026-03-02T10:00:00Z", "user": "u", "headers": {"purpose": "prefetch"}}

{"time": "2026-03-02T11:00:01.5+01:00", "click_id": "\\u00e4"}
"""


@pytest.mark.parametrize(("name", "pack"), [("log.ndjson", bytes), ("log.jsonl.gz", gzip.compress)])
def test_lines_of_json_are_read(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    """Plain or gzip, empty lines left out; what is no id and no time is kept as it stands."""
    path = tmp_path / name
    path.write_bytes(pack(LINES))
    first, second = read_lines(path)
    assert (first.click_id, first.time) == ("a", 1_772_445_600 * SECOND)
    assert first.rest == b'"user":"u","headers":{"purpose": "prefetch"}'
    assert second == ("ä", 1_772_445_601_500_000, b"")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"time": "2026-03-02T10:00:00Z"}', r"log\.ndjson, line 2: no 'click_id' in .*; a click has click_id and"),
        (b'{"click_id": "a", "time": "2026-03-02T10:00:00"}', r"line 2: time is 2026-03-02T10:00:00, without a zone"),
        (b'{"click_id": "a", "time": "noon"}', r"line 2: .* is no click as JSON: .*"),
        (b'{"click_id": 1, "time": "2026-03-02T10:00:00Z"}', r"line 2: .* is no click as JSON: .*"),
        (b"[1, 2]", r"line 2: .* is no click as JSON: .*"),
        (b'{"click_id": "\xff", "time": "2026-03-02T10:00:00Z"}', r"line 2: .* is no click as JSON: .*"),
    ],
)
def test_a_line_that_is_no_click_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    """File, line, what stands there and what is missing."""
    path = tmp_path / "log.ndjson"
    path.write_bytes(LINES.splitlines()[0] + b"\n" + line)
    with pytest.raises(SourceError, match=message):
        list(read_lines(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, or cut short in its gzip stream."""
    with pytest.raises(SourceError, match=r"none\.ndjson: .*No such file"):
        list(read_lines(tmp_path / "none.ndjson"))
    (tmp_path / "cut.ndjson.gz").write_bytes(gzip.compress(LINES)[:-9])
    with pytest.raises(SourceError, match=r"cut\.ndjson\.gz: "):
        list(read_lines(tmp_path / "cut.ndjson.gz"))
