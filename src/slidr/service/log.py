"""Logs: one line a happening, as JSON or as text, with the request that it belongs to.

Lines tell of the service, not of clicks: no identifiers, no bodies, no paths with a click_id, no secrets. The message
of an error that is neither slidr's own nor the system's is left out for the same reason, since it may quote what a
request sent; its type and its place in the code are told.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, TextIO

import msgspec

from slidr.errors import SlidrError

Level = Literal["debug", "info", "warning", "error"]
REQUEST_ID = b"x-request-id"
_TAKEN = re.compile(rb"[ -~]{1,128}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_fields: dict[str, str] = {}
"""What every line of this process tells: logging is one for a process, and so is this."""


class RequestIds:
    r"""Identifies requests: as the client did, or by a number behind a prefix that no other process has.

    >>> ids = RequestIds("3f9a0c")
    >>> ids.of([]), ids.of([(b"x-request-id", b"order 7")]), ids.of([(b"x-request-id", b"a\n")])
    ('3f9a0c-1', 'order 7', '3f9a0c-2')
    """

    def __init__(self, prefix: str | None = None) -> None:
        self._prefix = secrets.token_hex(6) if prefix is None else prefix
        self._number = 0

    def of(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the identity of a request: its header where that is 1 to 128 printable ASCII characters."""
        for name, value in headers:
            if name == REQUEST_ID and _TAKEN.fullmatch(value):
                return value.decode()
        self._number += 1
        return f"{self._prefix}-{self._number:x}"


def set_up(style: Literal["json", "text"], level: Level, stream: TextIO | None = None) -> None:
    """Write what is logged to a stream, one line each.

    Args:
        style: as JSON, or as text.
        level: of slidr's own lines; those of libraries are written from `warning` on.
        stream: the standard error where None.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_Json() if style == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("slidr").setLevel(level.upper())


def tell(**fields: str) -> None:
    """Have every line from now on tell something more: the worker, the bundle."""
    _fields.update(fields)


class _Lines(logging.Formatter):
    """Turns a record into the fields of a line, in their order."""

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        found: dict[str, object] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().encode("utf-8", "backslashreplace").decode(),
            **_fields,
        }
        if (request := getattr(record, "request_id", None)) is not None:
            found["request_id"] = request
        if record.exc_info and (fault := record.exc_info[1]) is not None:
            found["error"] = type(fault).__name__
            if isinstance(fault, (SlidrError, OSError)):
                found["error_message"] = str(fault).encode("utf-8", "backslashreplace").decode()
            found["stack"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(fault.__traceback__)
            ]
        return found


class _Json(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(self.fields(record)).decode()


class _Text(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        start = f"{fields.pop('time')} {fields.pop('level')} {fields.pop('logger')}: {fields.pop('message')}"
        stack = fields.pop("stack", ())
        rest = "".join(f" {name}={value}" for name, value in fields.items())
        # A line stays one line, whatever a message holds; only the stack has lines of its own.
        line = _CONTROL.sub(lambda found: repr(found[0])[1:-1], start + rest)
        return "\n".join([line, *(f"    {frame}" for frame in stack)]) if isinstance(stack, list) else line
