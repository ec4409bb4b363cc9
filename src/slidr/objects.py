"""Objects: small files of a directory or an object store, some of which are numbered and written once.

An object is written whole or not at all. What is numbered is written only where none of its number exists, so that of
several who write at once each gets a number of its own, and nothing that was written is ever changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from slidr.errors import RegistryError

_AT_ONCE = 16  # objects that are read at once, since each read of an object store takes tens of milliseconds


class Objects:
    """The objects below a location.

    Args:
        location: a directory, made where missing; the address of an object store (`s3://`, `gs://`, `az://`), whose
            credentials come from the environment; or a store that is open.

    Attributes:
        location: where they are, as text.

    Raises:
        RegistryError: the location is neither, or cannot be opened.
    """

    def __init__(self, location: str | Path | ObjectStore) -> None:
        self._folder: Path | None = None
        self.location = str(location)
        with self.reported("opened"):
            if not isinstance(location, str | Path):
                self._store: ObjectStore = location
            elif "://" in self.location:
                self._store = from_url(self.location)
            else:
                self._folder = Path(location).absolute()
                self._store = LocalStore(self._folder, mkdir=True)

    def paths(self, prefix: str) -> list[str]:
        """Return the paths of the objects below a prefix that ends in `/`.

        Raises:
            RegistryError: they cannot be listed.
        """
        with self.reported("read"):
            return [found["path"] for page in obstore.list(self._store, prefix) for found in page]

    def numbers(self, prefix: str) -> list[int]:
        """Return the numbers of the numbered objects below a prefix, ascending.

        Raises:
            RegistryError: they cannot be listed.
        """
        return sorted(int(stem) for path in self.paths(prefix) if (stem := Path(path).stem).isdigit())

    def get(self, path: str) -> bytes:
        """Return an object.

        Raises:
            RegistryError: it is missing or cannot be read.
        """
        with self.reported("read"):
            return self._get(path)

    def find(self, path: str) -> bytes | None:
        """Return an object, or None where it is missing.

        Raises:
            RegistryError: it cannot be read.
        """
        with self.reported("read"):
            try:
                return self._get(path)
            except FileNotFoundError:
                return None

    def get_all(self, paths: Iterable[str]) -> list[bytes]:
        """Return several objects, read at once, in the order given.

        Raises:
            RegistryError: one is missing or cannot be read.
        """
        wanted = list(paths)
        if len(wanted) < 2:  # noqa: PLR2004 one needs no threads
            return [self.get(path) for path in wanted]
        with self.reported("read"), ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._get, wanted))

    def put(self, path: str, content: bytes) -> None:
        """Write an object over what may be there.

        Raises:
            RegistryError: it cannot be written.
        """
        with self.reported("written"):
            obstore.put(self._store, path, content)
            self._settle(path)

    def create(self, path: str, content: bytes) -> bool:
        """Write an object where none is; return False, and change nothing, where one is.

        Raises:
            RegistryError: it cannot be written.
        """
        with self.reported("written"):
            try:
                obstore.put(self._store, path, content, mode="create")
            except AlreadyExistsError:
                return False
            self._settle(path)
        return True

    def _get(self, path: str) -> bytes:
        return obstore.get(self._store, path).bytes().to_bytes()

    def _settle(self, path: str) -> None:
        """Bring a file of a directory to the disk, so that it outlasts a loss of power; an object store does that."""
        if self._folder is None:
            return
        _sync(self._folder / path)
        # Not every file system takes this of a folder.
        with suppress(OSError):
            _sync((self._folder / path).parent)

    @contextmanager
    def reported(self, done: str) -> Iterator[None]:
        """Turn what a store raises into a RegistryError that says what could not be done."""
        try:
            yield
        except (BaseError, OSError) as fault:
            reason = str(fault).partition("\n")[0]
            raise RegistryError(
                f"registry {self.location} cannot be {done}: {reason}; check storage.registry and the rights to it"
            ) from fault


def numbered(prefix: str, number: int) -> str:
    """Return the path of a numbered object.

    >>> numbered("champions/", 7)
    'champions/00000007.json'
    """
    return f"{prefix}{number:08d}.json"


def _sync(place: Path) -> None:
    number = os.open(place, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
