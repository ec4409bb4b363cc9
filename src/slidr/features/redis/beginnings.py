"""Beginnings: what long values held when they were last read, so that Redis sends only what follows.

A value is only ever appended to, or its chunks replaced by a newer record. So one that still begins as it did, as told
by its first chunk's base and count and, of a record, by its checksum, holds all that it held. That is so under one
agreement of a partition: a replica that took over may lack appends of its master, and comes with another agreement.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable, Sequence

_LEAST = 512  # bytes of a value that is worth it
MOST = 1 << 26
"""Bytes that a process keeps, of all partitions."""
_FOLDED = (0xFFFFFFFF).to_bytes(4, "little")
_HEAD = 12  # bytes: base and count
_CHECK = 4  # bytes of a checksum, or of the first click's offset
_description = struct.Struct(f"<{_HEAD}s{_CHECK}sII").pack


class Beginnings:
    """What the entities of a partition held, those read last.

    Args:
        agreement: what the values were read under.
        most: bytes to keep.
    """

    def __init__(self, agreement: bytes, most: int) -> None:
        self.agreement = agreement
        self._most, self._bytes = most, 0
        self._held: OrderedDict[str, bytes] = OrderedDict()

    def described(self, names: Iterable[str]) -> list[bytes]:
        """Return what tells Redis how the value of each entity began: head, checksum, its place, length; or nothing."""
        return [b"" if (held := self._held.get(name)) is None else _described(held) for name in names]

    def whole(self, names: Sequence[str], answers: Sequence[bytes | list[bytes]]) -> list[bytes]:
        """Return the values, of which a list has what follows the beginning, and keep them as beginnings."""
        values = []
        for name, answer in zip(names, answers, strict=True):
            value = answer if isinstance(answer, bytes) else self._held[name] + answer[0]
            self._keep(name, value)
            values.append(value)
        while self._bytes > self._most:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= len(dropped)
        return values

    def _keep(self, name: str, value: bytes) -> None:
        before = self._held.pop(name, None)
        if before is not None:
            self._bytes -= len(before)
        if len(value) >= _LEAST:
            self._held[name] = value
            self._bytes += len(value)


def _described(value: bytes) -> bytes:
    place = _HEAD
    if value[8:_HEAD] == _FOLDED:
        # A damaged record may say any length; what is then compared is what the value has there.
        place = min(_HEAD + int.from_bytes(value[_HEAD : _HEAD + 4], "little"), len(value) - _CHECK)
    return _description(value[:_HEAD], value[place : place + _CHECK], place, len(value))
