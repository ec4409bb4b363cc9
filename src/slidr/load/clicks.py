"""Clicks of a log as requests: in their own time or at a rate, as they were or as if they happened now."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from slidr.clock import SECOND, Clock
from slidr.errors import SettingsError, SourceError
from slidr.load.sending import Request

LINES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
"""Endings of a file of clicks as the service takes them, one JSON object a line."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SHOWN = 80  # bytes of a line at fault that are shown
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_time = msgspec.json.Decoder(datetime)
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.encode


class Logged(NamedTuple):
    """One click of a log.

    Attributes:
        click_id: identifies it.
        time: microseconds UTC.
        rest: its further fields as JSON without braces; empty where it has none.
    """

    click_id: str
    time: int
    rest: bytes


class Plan(NamedTuple):
    """How a log becomes requests.

    Attributes:
        batch: clicks a request; 1 sends an object, more send an array.
        rate: clicks a second; None leaves it to `speed`.
        speed: multiple of the log's own time; None, without a rate, sends as fast as answers come.
        now: a click's time becomes that of its sending.
        prefix: replaces every click_id by this and a number, and lets the log start over when it ends; None sends
            every click once and as it is.
        most: clicks, at most; None sends all.
    """

    batch: int = 1
    rate: float | None = None
    speed: float | None = None
    now: bool = False
    prefix: str | None = None
    most: int | None = None


def read_lines(path: Path) -> Iterator[Logged]:
    """Read clicks from a file with one JSON object a line, gzip or not.

    Raises:
        SourceError: the file cannot be read, or a line is no click with a click_id and a time with a zone.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _parsed(line, f"{path}, line {number}")
    except (OSError, EOFError) as fault:
        raise SourceError(f"{path}: {fault}") from None


def _parsed(line: bytes, where: str) -> Logged:
    try:
        fields = _object.decode(line)
        click_id = _text.decode(fields.pop("click_id"))
        time = _time.decode(fields.pop("time"))
        if time.tzinfo is None:
            raise SourceError(f"{where}: time is {time.isoformat()}, without a zone; add one, such as Z")
    except KeyError as fault:
        raise SourceError(f"{where}: no {fault} in {line[:_SHOWN]!r}; a click has click_id and time") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise SourceError(f"{where}: {line[:_SHOWN]!r} is no click as JSON: {fault}") from None
    rest = b",".join(b"%b:%b" % (_encode(name), bytes(value)) for name, value in fields.items())
    return Logged(click_id, (time - _EPOCH) // _MICROSECOND, rest)


def requests(read: Callable[[], Iterator[Logged]], plan: Plan, clock: Clock) -> Iterator[Request]:
    """Return the requests of a log, made as they are drawn.

    Args:
        read: begins to read the log.
        plan: how its clicks are sent.
        clock: says what time it is when the first request is drawn.

    Raises:
        SettingsError: both a rate and a speed are set, or the log would never end.
        SourceError: the log cannot be read, or is empty.
    """
    if plan.rate is not None and plan.speed is not None:
        raise SettingsError(f"both rate = {plan.rate:g} and speed = {plan.speed:g} are set; choose one")
    return _drawn(_scheduled(read, plan), plan, clock)


def _scheduled(read: Callable[[], Iterator[Logged]], plan: Plan) -> Iterator[tuple[Logged, float | None]]:
    """Yield clicks with the seconds after the start at which they are due."""
    number, began, due = 0, 0.0, 0.0
    while plan.most is None or number < plan.most:
        first: int | None = None
        for click in islice(read(), None if plan.most is None else plan.most - number):
            first = click.time if first is None else first
            if plan.rate is not None:
                due = number / plan.rate
            elif plan.speed is not None:
                # A log is in order of time, as far as it goes: what is late in it is sent in its place.
                due = max(due, began + (click.time - first) / SECOND / plan.speed)
            named = click if plan.prefix is None else click._replace(click_id=f"{plan.prefix}-{number}")
            yield named, None if plan.rate is None and plan.speed is None else due
            number += 1
        if first is None:
            raise SourceError("the log holds no clicks; name another one")
        if plan.prefix is None:
            return
        began = due


def _drawn(scheduled: Iterator[tuple[Logged, float | None]], plan: Plan, clock: Clock) -> Iterator[Request]:
    start = clock.now()
    while group := list(islice(scheduled, plan.batch)):
        due = group[-1][1]
        now = None if not plan.now else clock.now() if due is None else start + int(due * SECOND)
        clicks = [_body(click, click.time if now is None else now) for click, _ in group]
        yield Request(clicks[0] if plan.batch == 1 else b"[%b]" % b",".join(clicks), due)


def _body(click: Logged, time: int) -> bytes:
    moment = (_EPOCH + timedelta(microseconds=time)).isoformat().encode()
    rest = b",%b" % click.rest if click.rest else b""
    return b'{"click_id":%b,"time":"%b"%b}' % (_encode(click.click_id), moment, rest)
