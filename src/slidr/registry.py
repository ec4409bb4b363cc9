"""The registry: bundles, and the numbered history of which one was champion since when, and which its challenger.

    bundles/<id>/...            the files of a bundle; its manifest.json is written last
    champions/00000001.json     one entry of the history; the newest one names the champion

It lives in a directory or in an object store (`s3://`, `gs://`, `az://`). Nothing in it is ever changed: an entry is
written only where none of its number exists, so two who promote at once are both in the history, one after the other.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from slidr.errors import RegistryError, nearest

MANIFEST = "manifest.json"
_BUNDLES = "bundles"
_CHAMPIONS = "champions"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ATTEMPTS = 16


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the champions' history.

    Attributes:
        number: its place, from 1.
        kind: `promote` makes the bundle champion, `challenge` challenger.
        bundle: the champion or challenger from here on; an empty challenger is none.
        at: when, microseconds UTC.
        who: who did it.
        why: the reason given.
        cold: whether the champion may decide while the state of its features is younger than their longest window.
    """

    number: int
    kind: Literal["promote", "challenge"]
    bundle: str
    at: int
    who: str
    why: str
    cold: bool = False


class Named(NamedTuple):
    """What the history names now.

    Attributes:
        champion: the bundle that decides.
        challenger: the bundle that decides in its shadow; None where there is none.
        cold: see `HistoryEntry`.
    """

    champion: str
    challenger: str | None
    cold: bool


class Registry:
    """Bundles and the champions' history.

    Args:
        location: a directory, made where missing, or the address of an object store, whose credentials come from the
            environment.

    Raises:
        RegistryError: the location is neither, or cannot be opened.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        # An entry never changes: who looks again and again reads each once.
        self._entries: dict[int, HistoryEntry] = {}
        with self._reported("opened"):
            if "://" in self.location:
                self._store = from_url(self.location)
            else:
                self._store = LocalStore(Path(location).absolute(), mkdir=True)

    def publish(self, bundle_dir: Path) -> str:
        """Copy a bundle into the registry and return its id, the name of its folder.

        Publishing the same bundle again does nothing; an upload that was cut off is done again.

        Raises:
            RegistryError: the folder has no manifest.json, another bundle of this id is there, or it cannot be written.
        """
        identity = _checked(bundle_dir.name)
        if not (bundle_dir / MANIFEST).is_file():
            raise RegistryError(f"{bundle_dir} holds no {MANIFEST}, so it is not a whole bundle; write it again")
        manifest = (bundle_dir / MANIFEST).read_bytes()
        with self._reported("written"):
            if not self._holds(identity, manifest):
                for file in sorted(bundle_dir.iterdir()):
                    if file.name != MANIFEST:
                        obstore.put(self._store, f"{_BUNDLES}/{identity}/{file.name}", file.read_bytes())
                try:
                    obstore.put(self._store, f"{_BUNDLES}/{identity}/{MANIFEST}", manifest, mode="create")
                except AlreadyExistsError:
                    # Another upload finished first: it must have been of the same bundle.
                    self._holds(identity, manifest)
        return identity

    def _holds(self, identity: str, manifest: bytes) -> bool:
        held = self._read(f"{_BUNDLES}/{identity}/{MANIFEST}")
        if held is not None and held != manifest:
            raise RegistryError(
                f"registry {self.location} holds another bundle {identity}, and a bundle never changes; make yours anew"
            )
        return held is not None

    def fetch(self, identity: str, into: Path) -> Path:
        """Copy a bundle to `into/<id>` and return that folder, which appears whole or not at all.

        A folder that is there already is returned as it is; loading it checks it.

        Raises:
            RegistryError: the registry has no such bundle, or it cannot be copied.
        """
        place = into / _checked(identity)
        if (place / MANIFEST).is_file():
            return place
        self._require(identity)
        part = into / f".{identity}.{secrets.token_hex(4)}"
        with self._reported("read"):
            part.mkdir(parents=True)
            for path in self._paths(f"{_BUNDLES}/{identity}/"):
                (part / path.rpartition("/")[2]).write_bytes(self._get(path))
            part.replace(place)
        return place

    def read(self, identity: str, name: str) -> bytes:
        """Return one file of a bundle, unchecked: to list what there is; who serves a bundle fetches and loads it.

        Raises:
            RegistryError: the registry has no such bundle or file, or it cannot be read.
        """
        with self._reported("read"):
            return self._get(f"{_BUNDLES}/{_checked(identity)}/{name}")

    def ids(self) -> tuple[str, ...]:
        """Return the ids of the whole bundles, sorted.

        Raises:
            RegistryError: the registry cannot be read.
        """
        with self._reported("read"):
            return tuple(
                sorted(path.split("/")[1] for path in self._paths(f"{_BUNDLES}/") if path.endswith(f"/{MANIFEST}"))
            )

    def promote(self, identity: str, *, at: int, who: str, why: str, cold: bool = False) -> HistoryEntry:
        """Make a bundle the champion and return the entry of the history that says so.

        Args:
            identity: the bundle's id.
            at: the time, microseconds UTC.
            who: who promotes it.
            why: the reason.
            cold: let it decide even where clicks are unmeasurable until its state is as old as its longest window.

        Raises:
            RegistryError: the registry has no such bundle, or cannot be written.
        """
        self._require(identity)
        return self._append(HistoryEntry(number=0, kind="promote", bundle=identity, at=at, who=who, why=why, cold=cold))

    def challenge(self, identity: str | None, *, at: int, who: str, why: str) -> HistoryEntry:
        """Let a bundle decide beside the champion without being listened to, or none; returns the history's entry.

        Args:
            identity: the bundle's id; None for no challenger.
            at: the time, microseconds UTC.
            who: who says so.
            why: the reason.

        Raises:
            RegistryError: the registry has no such bundle, or cannot be written.
        """
        if identity is not None:
            self._require(identity)
        return self._append(HistoryEntry(number=0, kind="challenge", bundle=identity or "", at=at, who=who, why=why))

    def _append(self, entry: HistoryEntry) -> HistoryEntry:
        """Write an entry under the next number that is free."""
        for _ in range(_ATTEMPTS):
            history = self._numbers()
            entry = msgspec.structs.replace(entry, number=history[-1] + 1 if history else 1)
            with self._reported("written"):
                try:
                    obstore.put(self._store, _entry_path(entry.number), msgspec.json.encode(entry), mode="create")
                except AlreadyExistsError:
                    continue  # Somebody took this number first: theirs stands, ours comes next.
                return entry
        raise RegistryError(
            f"registry {self.location}: {_ATTEMPTS} times another entry came first; see who promotes all the time"
        )

    def champion(self) -> HistoryEntry | None:
        """Return the newest entry of the history that promotes, or None where nothing was ever promoted.

        Raises:
            RegistryError: the registry cannot be read.
        """
        for number in reversed(self._numbers()):
            if (entry := self._entry(number)).kind == "promote":
                return entry
        return None

    def named(self) -> Named | None:
        """Return champion and challenger, or None where nothing was ever promoted; a champion is no challenger.

        Raises:
            RegistryError: the registry cannot be read.
        """
        champion: HistoryEntry | None = None
        challenger: HistoryEntry | None = None
        for number in reversed(self._numbers()):
            entry = self._entry(number)
            if entry.kind == "promote":
                champion = champion or entry
            else:
                challenger = challenger or entry
            if champion is not None and challenger is not None:
                break
        if champion is None:
            return None
        rival = challenger.bundle if challenger is not None else ""
        return Named(champion.bundle, rival if rival not in {"", champion.bundle} else None, champion.cold)

    def history(self) -> tuple[HistoryEntry, ...]:
        """Return all entries of the history, oldest first.

        Raises:
            RegistryError: the registry cannot be read.
        """
        return tuple(self._entry(number) for number in self._numbers())

    def _require(self, identity: str) -> None:
        with self._reported("read"):
            present = self._read(f"{_BUNDLES}/{_checked(identity)}/{MANIFEST}") is not None
        if not present:
            known = self.ids()
            words = nearest(identity, known) if known else "publish one first"
            raise RegistryError(f"registry {self.location} has no bundle {identity!r}; {words}")

    def _numbers(self) -> list[int]:
        with self._reported("read"):
            return sorted(int(Path(path).stem) for path in self._paths(f"{_CHAMPIONS}/") if Path(path).stem.isdigit())

    def _entry(self, number: int) -> HistoryEntry:
        if (known := self._entries.get(number)) is not None:
            return known
        with self._reported("read"):
            content = self._get(_entry_path(number))
        try:
            return self._entries.setdefault(number, msgspec.json.decode(content, type=HistoryEntry))
        except msgspec.MsgspecError as fault:
            raise RegistryError(
                f"registry {self.location}: {_entry_path(number)} is not an entry of the history ({fault}); if a newer"
                " slidr wrote it, upgrade this one"
            ) from None

    def _paths(self, prefix: str) -> list[str]:
        return [found["path"] for page in obstore.list(self._store, prefix) for found in page]

    def _get(self, path: str) -> bytes:
        return obstore.get(self._store, path).bytes().to_bytes()

    def _read(self, path: str) -> bytes | None:
        try:
            return self._get(path)
        except FileNotFoundError:
            return None

    @contextmanager
    def _reported(self, done: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as fault:
            reason = str(fault).partition("\n")[0]
            raise RegistryError(
                f"registry {self.location} cannot be {done}: {reason}; check storage.registry and the rights to it"
            ) from fault


def _entry_path(number: int) -> str:
    return f"{_CHAMPIONS}/{number:08d}.json"


def _checked(identity: str) -> str:
    if not _NAME.fullmatch(identity):
        raise RegistryError(
            f"{identity!r} is not the id of a bundle: up to 128 letters, digits, '.', '_' and '-', beginning with a"
            " letter or digit"
        )
    return identity
