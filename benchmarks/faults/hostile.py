"""Hostile requests: what a client may send that no service should suffer from, beside the load of the others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection
from urllib.parse import urlsplit

import msgspec
from benchmarks.service.serving import Running

_DEPTH = 500_000
_JSON = {"content-type": "application/json"}
BAD: dict[str, tuple[bytes, int]] = {
    "nested half a million deep": (b"[" * _DEPTH + b"]" * _DEPTH, 400),
    "a click nested as deep": (b'{"click_id":' + b'{"a":' * _DEPTH + b"1" + b"}" * (_DEPTH + 1), 400),
    "no UTF-8": (b'{"click_id":"\xff\xfe"}', 400),
    "a number that nothing holds": (b'{"click_id":"a","time":"2026-11-23T00:00:00Z","cost":1e999}', 422),
    "a negative cost": (b'{"click_id":"a","time":"2026-11-23T00:00:00Z","cost":-1}', 422),
    "cut off": (b'[{"click_id":"a"', 400),
}
"""Bodies, each with the status that it is to be answered."""


def many(count: int) -> bytes:
    """Return the body of a request with so many clicks, of now and of as many users."""
    now = datetime.now(UTC).isoformat()
    clicks = [
        {"click_id": f"many-{place}", "time": now, "user": f"many-{place}", "user_agent": "Mozilla/5.0"}
        for place in range(count)
    ]
    return msgspec.json.encode(clicks)


@contextmanager
def sent(running: Running, bodies: dict[str, tuple[bytes, int]]) -> Iterator[None]:
    """Bodies are sent one after the other, again and again, until the end; each must be answered as it says."""
    ended, counts = threading.Event(), Counter[str]()

    def send() -> None:
        place = 0
        while not ended.is_set() or place < len(bodies):
            name, (body, status) = [*bodies.items()][place % len(bodies)]
            connection = HTTPConnection(urlsplit(running.url).netloc, timeout=30)
            try:
                connection.request("POST", "/v1/decisions", body, _JSON)
                response = connection.getresponse()
                response.read()
                found = response.status
            except (ConnectionResetError, BrokenPipeError):
                # What is too large is not read: who sends on is cut off, perhaps before the answer has come.
                found = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            counts[name if found == status else f"{name}: {found}, not {status}"] += 1
            connection.close()
            place += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    print(f"  sent besides: {told}", flush=True)
    if wrong := set(counts) - set(bodies):
        raise AssertionError(f"answered otherwise than announced: {sorted(wrong)}")
