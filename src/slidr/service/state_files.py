"""State files: where the feature state of a service lies, for the secret key that serves and for the next one."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from glob import escape
from pathlib import Path

from slidr.clock import SECOND
from slidr.features.keys import KeyRing, Pseudonymiser
from slidr.features.snapshot import snapshot_fingerprint, write_snapshot
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.service.recovery import recover

_NEW = ".new"
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


class StateFiles:
    """The snapshots of a service.

    While secret keys rotate there are two: that of the key that serves, and, with the key's fingerprint in its name,
    that of the next one, which takes the place of the first when its key serves.

    Args:
        own: the file of the snapshot.
        seed: the file of the last backfill's state.
        ring: the secret keys; None where they do not rotate.
        days: UTC days whose first snapshot stays, for replays.
    """

    def __init__(self, own: Path, seed: Path, ring: KeyRing | None, days: int = 0) -> None:
        self.own = own
        self._seed = seed
        self._ring = ring
        self._days = days

    def adopt_seed(self, journal: Journal) -> None:
        """Let a service that has decided nothing yet go on from the last backfill, in a copy of its own."""
        if journal.last_sequence < 0 and not self.own.exists() and self._seed.exists():
            self.own.parent.mkdir(parents=True, exist_ok=True)
            part = self.own.with_name(f"{self.own.name}.part")
            shutil.copyfile(self._seed, part)
            part.replace(self.own)

    def keep(self, now: int) -> None:
        """Let the state as it is stay as that of a UTC day, unless the day has one, and remove those of older days."""
        kept = [path for path in kept_states(self.own) if path != self.own]
        today = self.own.with_name(f"{self.own.stem}.{_day(now)}{self.own.suffix}")
        if self._days and self.own.exists() and today not in kept:
            # A snapshot is never changed, only replaced: another name for it costs nothing.
            os.link(self.own, today)
            kept.append(today)
        for path in sorted(kept)[: max(len(kept) - self._days, 0)]:
            path.unlink(missing_ok=True)

    def hashing(self, now: int, horizon: int) -> Pseudonymiser | None:
        """Return what hashes now: what the ring says, but the next key alone where only its state is there."""
        if self._ring is None:
            return None
        found = self._ring.at(now, horizon)
        held = snapshot_fingerprint(self.own)
        if found.beside is not None and held == found.beside.fingerprint:
            return self._ring.of(held)
        return found

    def recover(self, store: EmbeddedStore, journal: Journal, pseudonymiser: Pseudonymiser) -> int:
        """Bring a fresh store, and the one of the next key beside it, to where the journal ends.

        Returns how many clicks the snapshot did not hold.

        Raises:
            FeatureError: a snapshot cannot be read, or is of a key that is not on the ring.
            JournalError: the journal cannot be read.
            ServiceError: snapshot and journal do not belong together.
        """
        self._discard(_NEW)  # of a process that was killed
        folded = self._recover(store, journal, pseudonymiser)
        fingerprints = [pseudonymiser.fingerprint]
        if pseudonymiser.beside is not None:
            beside = store.empty()
            self._recover(beside, journal, pseudonymiser.beside)
            store.accompany(beside)
            fingerprints.append(pseudonymiser.beside.fingerprint)
        journal.declare_secrets(tuple(fingerprints))
        return folded

    def prepare(self, store: EmbeddedStore, pseudonymiser: Pseudonymiser) -> None:
        """Write the state of a store, and that of the next secret key, to files beside those that hold the last one.

        They carry the id of this process in their names, so that processes do not disturb each other.
        """
        write_snapshot(_new(self.own), store.state(pseudonymiser.fingerprint))
        if store.beside is not None and pseudonymiser.beside is not None:
            fingerprint = pseudonymiser.beside.fingerprint
            write_snapshot(_new(self._aside(fingerprint)), store.beside.state(fingerprint))

    def adopt(self, process: int) -> None:
        """Put what a process prepared in the place of the last state."""
        ending = f".{process}{_NEW}"
        prepared = self._prepared(ending)
        fingerprint = snapshot_fingerprint(self.own.with_name(self.own.name + ending))
        for path in prepared:
            path.replace(path.with_name(path.name.removesuffix(ending)))
        if fingerprint is not None:
            self._aside(fingerprint).unlink(missing_ok=True)

    def discard(self, process: int) -> None:
        """Remove what a process prepared, whole or not."""
        self._discard(f".{process}{_NEW}")

    def _recover(self, store: EmbeddedStore, journal: Journal, pseudonymiser: Pseudonymiser) -> int:
        own, fingerprint = self.own, pseudonymiser.fingerprint
        held = snapshot_fingerprint(own)
        if held != fingerprint and (self._aside(fingerprint).exists() or held in pseudonymiser.known):
            own = self._aside(fingerprint)
        rotated = self._ring is not None and fingerprint != self._ring.oldest.fingerprint
        seed = self._seed if snapshot_fingerprint(self._seed) == fingerprint else None
        return recover(store, journal, own, fingerprint=fingerprint, seed=seed, rotated=rotated)

    def _discard(self, ending: str) -> None:
        for left in (*self._prepared(ending), *self._prepared(f"{ending}.part")):
            left.unlink(missing_ok=True)

    def _prepared(self, ending: str) -> list[Path]:
        return sorted(self.own.parent.glob(f"{escape(self.own.stem)}*{escape(self.own.suffix)}*{ending}"))

    def _aside(self, fingerprint: str) -> Path:
        return self.own.with_name(f"{self.own.stem}.{fingerprint}{self.own.suffix}")


def kept_states(own: Path) -> list[Path]:
    """Return the files of a service's states: its snapshot, and those of days."""
    return [own, *sorted(own.parent.glob(f"{escape(own.stem)}.{_DATE}{escape(own.suffix)}"))]


def _day(now: int) -> str:
    return datetime.fromtimestamp(now / SECOND, UTC).date().isoformat()


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}{_NEW}")
