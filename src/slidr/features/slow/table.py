"""The table of slow features of one UTC day, as it lies on disk.

    <storage.slow>/2017-11-08/
        manifest.json            what the table holds, of which key, and the SHA-256 of each file
        ip-keys-1f0e....npy      keys of the entities that clicked in the days that it looks back, ascending
        ip-values-83aa....npy    their slow features, float32, one column a feature
        ip-day_keys-....npy      the same of this day alone, from which the tables of later days are rolled
        ip-day_peaks-....npy

Files are named by their content and the manifest is replaced last, in one step: a reader sees the old table or the
new one, and one that holds the old one goes on with it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.errors import FeatureError
from slidr.features.catalogue import Entity
from slidr.features.slow.peaks import Peaks

MANIFEST = "manifest.json"
VERSION = 1
Stamp = tuple[int, int, int]
"""What changes whenever a manifest is replaced: time, inode and size."""
_EPOCH = date(1970, 1, 1)


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a table and the SHA-256 of its content."""

    name: str
    sha256: str


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a table holds of one entity kind.

    Attributes:
        entity: the columns that name it.
        features: names of the columns of `values`.
        counted: the counted columns of `day_peaks`.
    """

    entity: Entity
    features: tuple[str, ...]
    counted: tuple[str, ...]
    keys: File
    values: File
    day_keys: File
    day_peaks: File


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a table is.

    Attributes:
        version: of the format.
        day: the UTC day whose end it is of.
        fingerprint: of the secret key.
        created: microseconds UTC.
        days: the earlier days that it was rolled with.
        parts: one for each entity kind.
    """

    version: int
    day: date
    fingerprint: str
    created: int
    days: tuple[date, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class EntityTable:
    """The slow features of one entity kind, mapped from disk: keys ascending, and a column a feature."""

    features: tuple[str, ...]
    keys: NDArray[np.uint64]
    values: NDArray[np.float32]


def read_manifest(folder: Path, fingerprint: str) -> Manifest:
    """Return the manifest of a table.

    Raises:
        FeatureError: it cannot be read, or is of another version or key.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as fault:
        raise FeatureError(f"{folder} holds no table of slow features ({fault}); run `slidr backfill`") from None
    if (manifest.version, manifest.fingerprint) != (VERSION, fingerprint):
        raise FeatureError(
            f"{folder} has version {manifest.version} and key {manifest.fingerprint}; this process reads version"
            f" {VERSION} and key {fingerprint}; run `slidr backfill` with that key"
        )
    return manifest


def open_table(folder: Path, fingerprint: str) -> dict[Entity, EntityTable]:
    """Check a table once and map it.

    Raises:
        FeatureError: as `read_manifest`, or a file is missing or was changed.
    """
    found = {}
    for part in read_manifest(folder, fingerprint).parts:
        keys = _mapped(folder, part.keys, np.uint64, ())
        values = _mapped(folder, part.values, np.float32, (len(part.features),), len(keys))
        found[part.entity] = EntityTable(part.features, keys, values)
    return found


def open_day(folder: Path, part: Part) -> Peaks:
    """Check and map the peaks of a table's own day.

    Raises:
        FeatureError: a file is missing or was changed.
    """
    keys = _mapped(folder, part.day_keys, np.uint64, ())
    return Peaks(keys, _mapped(folder, part.day_peaks, np.float32, (len(part.counted),), len(keys)))


def _mapped(
    folder: Path, file: File, kind: type[np.generic], shape: tuple[int, ...], rows: int | None = None
) -> NDArray[Any]:
    path = folder / file.name
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != file.sha256:
            raise FeatureError(
                f"{path} has SHA-256 {digest[:12]}..., its manifest says {file.sha256[:12]}...: the file was changed;"
                " delete its folder and run `slidr backfill`"
            )
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as fault:
        raise FeatureError(f"{path} cannot be read ({fault}); run `slidr backfill`") from None
    if array.dtype != kind or array.shape[1:] != shape or len(array) != (len(array) if rows is None else rows):
        raise FeatureError(f"{path} holds {array.dtype}{list(array.shape)}, which is no part of such a table")
    return array


def write_file(folder: Path, about: str, array: NDArray[np.generic]) -> File:
    """Write an array durably into a folder, named by what it is about and its content."""
    part = folder / f"{about}.npy"
    with part.open("w+b") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"{about}-{digest[:16]}.npy"
    part.rename(folder / name)
    return File(name, digest)


def publish(part: Path, folder: Path, manifest: Manifest) -> None:
    """Make a table of the files of a part folder: it stands once the manifest does, which is replaced in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {MANIFEST}
    for one in manifest.parts:
        for file in (one.keys, one.values, one.day_keys, one.day_peaks):
            (part / file.name).replace(folder / file.name)
            kept.add(file.name)
    _sync(folder)
    with (part / MANIFEST).open("wb") as opened:
        opened.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        opened.flush()
        os.fsync(opened.fileno())
    (part / MANIFEST).replace(folder / MANIFEST)
    _sync(folder)
    _sync(folder.parent)
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def dated(folder: Path) -> dict[date, Path]:
    """Return the folders of a folder that are named by a day."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            found[date.fromisoformat(path.name)] = path
        except ValueError:
            continue
    return {day: path for day, path in found.items() if path.name == day.isoformat()}


def folder_of(folder: Path, day: date) -> Path:
    """Return the folder of a day's table."""
    return folder / day.isoformat()


def stamp_of(folder: Path) -> Stamp | None:
    """Return the stamp of a table, None where there is none."""
    try:
        status = (folder / MANIFEST).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def number_of(day: date) -> int:
    """Return the days since 1970."""
    return (day - _EPOCH).days


def date_of(number: int) -> date:
    """Return the day that is so many days after the first of 1970."""
    return _EPOCH + timedelta(days=number)
