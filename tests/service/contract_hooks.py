"""What schemathesis does not know by itself: how to write NDJSON, and how to show a key."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import schemathesis
from tests.service.making import click

KEY = "TESTED_KEY"
"""Environment variable with the key that is shown."""
_ITEMS = [click(1), click(2, cost=-1), {"purchase_id": "p", "time": "2026-03-02T08:00:00Z"}, {}, 5, None, [[]], "text"]
_LINES = [*map(msgspec.json.encode, _ITEMS), b"", b" ", b"{", b"\xff", b'{"time": "\\ud800"}', b"[" * 5000]


@schemathesis.serializer("application/x-ndjson")
def _written(_context: object, value: object) -> bytes:
    """Write an example as it stands; of a drawn text each character stands for a line."""
    text = value if isinstance(value, str) else repr(value)
    return text.encode() if text.startswith("{") else b"\n".join(_LINES[ord(letter) % len(_LINES)] for letter in text)


if KEY in os.environ:

    @schemathesis.auth()
    class _Key:
        """Shows the key, but where schemathesis looks whether it is asked for."""

        def get(self, _case: Any, _context: Any) -> str:
            return os.environ[KEY]

        def set(self, case: Any, key: str, _context: Any) -> None:
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}
