"""Places: where the settings keep what a backup holds, and how files come from and go to directories and stores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from slidr.errors import RecordsError
from slidr.journals import journals_at
from slidr.settings import Settings

_CHUNK = 8 << 20


class Held(NamedTuple):
    """Size in bytes and SHA-256 of a file."""

    bytes: int
    sha256: str


class Places(NamedTuple):
    """Where things are; see `slidr.settings.StorageSettings`.

    Attributes:
        lake: folder or address.
        registry: folder or address.
        folders: by the name that a backup gives them.
        files: likewise.
        journal: of one process, beside which those of workers are.
        state: the snapshot, beside which those of other secret keys are.
        key_file: the secret keys.
    """

    lake: str
    registry: str
    folders: dict[str, Path]
    files: dict[str, Path]
    journal: Path
    state: Path
    key_file: Path

    def journals(self) -> tuple[Path, ...]:
        """Return the journals that are there."""
        return journals_at(self.journal)

    def states(self) -> list[Path]:
        """Return the snapshots that are there: one, or two while secret keys rotate."""
        found = self.state.parent.glob(f"{self.state.stem}*{self.state.suffix}")
        return sorted(path for path in found if path == self.state or path.name.startswith(f"{self.state.stem}."))


def places_of(settings: Settings) -> Places:
    """Return where the settings keep things."""
    storage = settings.storage
    return Places(
        storage.lake,
        storage.registry,
        {"slow": Path(storage.slow), "backfill": Path(storage.backfill)},
        {"seed": Path(storage.seed), "api-keys": Path(storage.api_keys)},
        Path(storage.journal),
        Path(storage.state),
        Path(storage.key_file),
    )


class Tree:
    """The files below a folder, or below the address of an object store.

    Args:
        location: which; a folder that is missing has no files.

    Raises:
        RecordsError: it cannot be opened.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.folder = None if "://" in location else Path(location).absolute()
        with self._reported("opened"):
            self._store: ObjectStore | None = from_url(location) if self.folder is None else None
            if self.folder is not None and self.folder.is_dir():
                self._store = LocalStore(self.folder)

    def paths(self, prefix: str | None = None) -> dict[str, int]:
        """Return the files, below a prefix, with their sizes in bytes.

        Raises:
            RecordsError: they cannot be listed.
        """
        if self._store is None:
            return {}
        with self._reported("read"):
            return {one["path"]: one["size"] for page in obstore.list(self._store, prefix) for one in page}

    def copy_out(self, path: str, to: Path) -> Held:
        """Copy a file to one of a local folder, and bring it to the disk.

        Raises:
            RecordsError: it cannot be read, or the disk is full.
        """
        with self._reported("copied"):
            if self._store is None:
                raise FileNotFoundError(path)
            return written(to, (bytes(part) for part in obstore.get(self._store, path).stream(_CHUNK)))

    def copy_in(self, source: Path, path: str) -> None:
        """Copy a local file below this place.

        Raises:
            RecordsError: it cannot be written.
        """
        with self._reported("written"):
            if self.folder is not None:
                written(self.folder / path, parts(source))
            elif self._store is not None:
                obstore.put(self._store, path, source)

    @contextmanager
    def _reported(self, done: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as fault:
            reason = str(fault).partition("\n")[0]
            raise RecordsError(f"{self.location} cannot be {done}: {reason}") from fault


def parts(path: Path) -> Iterator[bytes]:
    """Yield a file piece by piece."""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def written(to: Path, pieces: Iterator[bytes]) -> Held:
    """Write a file that must not be there yet, bring it to the disk, and return what it holds."""
    to.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return Held(size, digest.hexdigest())


def read_held(path: Path) -> Held:
    """Return size and hash of a file."""
    digest, size = hashlib.sha256(), 0
    for piece in parts(path):
        digest.update(piece)
        size += len(piece)
    return Held(size, digest.hexdigest())


def empty(folder: Path) -> bool:
    """Return whether a folder is missing or has nothing in it."""
    with suppress(FileNotFoundError):
        return not any(folder.iterdir())
    return True
