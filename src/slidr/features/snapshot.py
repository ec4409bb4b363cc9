"""Snapshot: the state of a store as one file, written whole or not at all."""

from __future__ import annotations

import ctypes
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.errors import FeatureError

VERSION = 3
"""Version of the file's layout; another one is refused."""


_STEADY = 1 << 22  # bytes that are sent to the disk at once
_SEND_AND_WAIT = 7  # of sync_file_range, which only Linux has
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)


class _Steady(io.FileIO):
    """A file that is sent to the disk while it is written.

    One sync of hundreds of megabytes at the end is one entry of the file system's own log, behind which every other
    file waits: the append to a journal beside it was seen to take 0.2 s.
    """

    _sent = 0

    def write(self, data: Any, /) -> int:
        """Write all bytes, and wait for the disk now and again."""
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left):
            # Nearly full, a disk may take some of them without a word.
            left = left[super().write(left) :]
        end = self.tell()
        if end - self._sent >= _STEADY and _sync_file_range is not None:
            begin = ctypes.c_int64(self._sent)
            _sync_file_range(self.fileno(), begin, ctypes.c_int64(end - self._sent), ctypes.c_uint(_SEND_AND_WAIT))
            self._sent = end
        return size


class BlockAbout(msgspec.Struct, frozen=True):
    """What a snapshot says of one block.

    Attributes:
        since: event time from which it has folded every click, microseconds; 0 from the beginning.
    """

    since: int


class About(msgspec.Struct, frozen=True):
    """What a snapshot says of itself: its version, the secret key that hashed it, and its blocks by their keys."""

    version: int
    fingerprint: str
    blocks: dict[str, BlockAbout]


class Snapshot(NamedTuple):
    """A snapshot that was read."""

    about: About
    arrays: dict[str, NDArray[Any]]

    def block(self, key: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of one block by their names."""
        return {name.partition(".")[2]: array for name, array in self.arrays.items() if name.startswith(f"{key}.")}


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot to a file, whole or not at all."""
    about = np.frombuffer(msgspec.json.encode(snapshot.about), np.uint8)
    part = path.with_suffix(path.suffix + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Steady(part, "wb") as file:
        np.savez(file, about=about, **snapshot.arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_snapshot(path: Path, *, fingerprint: str) -> Snapshot:
    """Read a snapshot.

    Raises:
        FeatureError: the file is not a snapshot, is of another version, or was hashed with another key.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            head = json.loads(file["about"].tobytes())
            found = (head["version"], head["fingerprint"])
            if found == (VERSION, fingerprint):
                arrays = {name: file[name] for name in file.files if name != "about"}
                return Snapshot(msgspec.convert(head, About), arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.ValidationError) as fault:
        raise FeatureError(f"{path} is not a snapshot of feature state: {fault}") from None
    raise FeatureError(
        f"{path} has version {found[0]} and key {found[1]}; this process reads version {VERSION} and key"
        f" {fingerprint}: use the secret key of the backfill, or run `slidr backfill`, then move this file"
        " (storage.state) and the service's journal (storage.journal) away together, so that the service starts from"
        " the new seed"
    )


def snapshot_sequence(path: Path, *, fingerprint: str) -> int:
    """Return the sequence of the first click that a snapshot has not folded; its state is not read.

    Raises:
        FeatureError: the file is not a snapshot, or was hashed with another key.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            head = json.loads(file["about"].tobytes())
            if (head["version"], head["fingerprint"]) == (VERSION, fingerprint):
                return int(file["numbers"][1])
    except (OSError, ValueError, KeyError, EOFError, IndexError, zipfile.BadZipFile) as fault:
        raise FeatureError(f"{path} is not a snapshot of feature state: {fault}") from None
    raise FeatureError(f"{path} is of another version or secret key than this process reads")


def snapshot_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of the secret key of a snapshot, or None where the file is missing or damaged."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return str(json.loads(file["about"].tobytes())["fingerprint"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
