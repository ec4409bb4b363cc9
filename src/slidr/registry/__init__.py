"""The registry: bundles, and the numbered history of which one was champion since when, and which its challenger.

    bundles/<id>/...            the files of a bundle; its manifest.json is written last
    champions/00000001.json     one entry of the history; the newest one that promotes names the champion
    audit/00000001.json         one record of the audit log, see `slidr.audit`

It lives in a directory or in an object store (`s3://`, `gs://`, `az://`). Nothing in it is ever changed: an entry is
written only where none of its number exists, so two who promote at once are both in the history, one after the other.
Every entry is then recorded in the audit log too; who was killed between the two is caught up with by whoever is next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from obstore.store import ObjectStore

from slidr.audit import Audit, Draft, Fault, Record, Verified
from slidr.clock import DAY
from slidr.errors import RegistryError
from slidr.features.keys import KeyRing, read_secrets
from slidr.objects import Objects, numbered
from slidr.registry.bundles import MANIFEST, Bundles
from slidr.registry.changes import record_changes, record_lists
from slidr.registry.history import (
    HistoryEntry,
    Named,
    champion_of,
    check_promotion,
    named_by,
    roles_of,
    rollback_of,
    stable_of,
    target_of,
)
from slidr.settings import Settings, duration

__all__ = ["MANIFEST", "HistoryEntry", "Named", "Registry", "open_registry", "record_changes", "record_lists"]

_CHAMPIONS = "champions/"
_ATTEMPTS = 256


def open_registry(settings: Settings) -> Registry:
    """Return the registry of the settings; what is done in it is sealed where there is a key file, or SLIDR_KEY.

    Raises:
        RegistryError: it cannot be opened.
        SettingsError: the key file does not hold secret keys.
    """
    key_file = Path(settings.storage.key_file)
    secret = read_secrets(key_file) if "SLIDR_KEY" in os.environ or key_file.exists() else None
    return Registry(settings.storage.registry, secret=secret, stable_after=duration(settings.registry.stable_after))


class Registry(Bundles):
    """Bundles and the champions' history.

    Args:
        location: a directory, made where missing; the address of an object store, whose credentials come from the
            environment; or a store that is open.
        secret: the secret keys, whose newest seals the records of the audit log; None where they bear no seal.
        stable_after: time as champion without an alarm after which a bundle is stable, microseconds.

    Attributes:
        location: as given, as text.
        audit: the audit log.

    Raises:
        RegistryError: the location is none of these, or cannot be opened.
    """

    def __init__(
        self, location: str | Path | ObjectStore, *, secret: KeyRing | None = None, stable_after: int = DAY
    ) -> None:
        super().__init__(Objects(location))
        self._stable_after = stable_after
        self.audit = Audit(self._objects, secret)
        # An entry never changes: who looks again and again reads each once.
        self._entries: dict[int, HistoryEntry] = {}

    def promote(
        self,
        identity: str,
        *,
        at: int,
        who: str,
        why: str,
        cold: bool = False,
        again: bool = False,
        once: bool = False,
    ) -> HistoryEntry:
        """Make a bundle the champion and return the entry of the history that says so.

        Args:
            identity: the bundle's id.
            at: the time, microseconds UTC.
            who: who promotes it.
            why: the reason.
            cold: let it decide even where clicks are unmeasurable until its state is as old as its longest window.
            again: promote it although it was rolled back.
            once: where it was promoted before, return that entry and write none: for those who may both be first.

        Raises:
            RegistryError: the registry has no such bundle, it was rolled back, or the registry cannot be written.
        """
        self.require(identity)
        entry = HistoryEntry(number=0, kind="promote", bundle=identity, at=at, who=who, why=why, cold=cold)

        def promotion(history: Sequence[HistoryEntry]) -> HistoryEntry:
            before = (one for one in history if (one.kind, one.bundle) == ("promote", identity))
            if once and (done := next(before, None)) is not None:
                return done
            if not again:
                check_promotion(history, identity)
            return entry

        return self._append(promotion)

    def rollback(self, *, at: int, who: str, why: str, to: str | None = None, of: str | None = None) -> HistoryEntry:
        """Let the newest stable bundle decide instead of the champion, and return the history's entry.

        Who rolls back while somebody else does gets that one's entry: nothing is rolled back twice. Services take it
        over even where its state is cold: clicks that cannot be measured are settled by replay, while what a bad bundle
        goes on deciding costs more.

        Args:
            at: the time, microseconds UTC.
            who: who rolls back.
            why: the reason.
            to: a bundle that was champion before, instead of the newest stable one.
            of: the bundle that is found bad; the champion where None.

        Raises:
            RegistryError: nothing was promoted, `of` is not champion, there is no stable bundle, `to` was never
                champion or was rolled back, or the registry cannot be written.
        """
        if to is not None:
            self.require(to)
        champion = self.champion()
        if champion is None:
            raise RegistryError(f"registry {self.location} has no champion, so that nothing can be rolled back")
        entry = HistoryEntry(
            number=0, kind="rollback", bundle=to or "", at=at, who=who, why=why, cold=True,
            instead=of or champion.bundle,
        )  # fmt: skip
        return self._append(lambda history: rollback_of(history, entry, self._stable_after))

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
            self.require(identity)
        entry = HistoryEntry(number=0, kind="challenge", bundle=identity or "", at=at, who=who, why=why)
        return self._append(lambda _history: entry)

    def alarm(self, identity: str, *, at: int, who: str, why: str) -> HistoryEntry:
        """Keep a bundle from being stable, since its decisions deviate; returns the history's entry.

        Args:
            identity: the bundle's id.
            at: the time, microseconds UTC.
            who: who found it.
            why: what was found.

        Raises:
            RegistryError: the registry has no such bundle, or cannot be written.
        """
        self.require(identity)
        entry = HistoryEntry(number=0, kind="alarm", bundle=identity, at=at, who=who, why=why)
        return self._append(lambda _history: entry)

    def clear(self, identity: str, *, at: int, who: str, why: str) -> HistoryEntry:
        """Withdraw the alarm of a bundle: its time as champion counts anew from here; returns the history's entry.

        Args:
            identity: the bundle's id.
            at: the time, microseconds UTC.
            who: who withdraws it.
            why: the reason.

        Raises:
            RegistryError: the registry has no such bundle, or cannot be written.
        """
        self.require(identity)
        entry = HistoryEntry(number=0, kind="clear", bundle=identity, at=at, who=who, why=why)
        return self._append(lambda _history: entry)

    def _append(self, make: Callable[[Sequence[HistoryEntry]], HistoryEntry]) -> HistoryEntry:
        """Write the entry that is made of the history as it is, under the next free number, and record it.

        An entry that has its number stands in the history already, and is not written again.
        """
        for _ in range(_ATTEMPTS):
            history = self.history()
            entry = make(history)
            if not entry.number:
                entry = msgspec.structs.replace(entry, number=history[-1].number + 1 if history else 1)
                if not self._objects.create(numbered(_CHAMPIONS, entry.number), msgspec.json.encode(entry)):
                    continue  # Somebody took this number first: theirs stands, ours comes next.
            try:
                self.record()
            except RegistryError as fault:
                raise RegistryError(
                    f"entry {entry.number} of the history stands ({entry.kind} {entry.bundle}), but the audit log lacks"
                    f" it until somebody promotes or runs `slidr audit record`: {fault}"
                ) from fault
            return entry
        raise RegistryError(
            f"registry {self.location}: {_ATTEMPTS} times another entry came first; see who promotes all the time"
        )

    def record(self) -> tuple[Record, ...]:
        """Record in the audit log what the history has and the log has not; return the records.

        Raises:
            RegistryError: the registry cannot be read or written.
        """

        def missing(newest_first: Iterator[Record]) -> list[Draft]:
            recorded = next((one.details["entry"] for one in newest_first if "entry" in one.details), 0)
            return [_draft(entry) for entry in self.history() if entry.number > recorded]

        return self.audit.extend(missing)

    def verify(self, head: str = "") -> Verified:
        """Check the audit log, see `Audit.verify`, and that the history is what it records.

        Raises:
            RegistryError: the registry cannot be read.
        """
        verified = self.audit.verify(head)
        if verified.faults:
            return verified
        history = {entry.number: entry for entry in self.history()}
        faults = []
        for record in self.audit.records():
            if "entry" not in record.details:
                continue
            number = record.details["entry"]
            entry = history.get(number)
            if entry is None or _draft(entry) != (record.kind, record.subject, *_told(record)):
                word = "is missing" if entry is None else "was changed"
                faults.append(Fault(record.number, f"{numbered(_CHAMPIONS, number)}, which it records, {word}"))
        return verified._replace(faults=tuple(faults))

    def champion(self) -> HistoryEntry | None:
        """Return the newest entry of the history that names a champion, or None where nothing was ever promoted.

        Raises:
            RegistryError: the registry cannot be read.
        """
        return champion_of(self.history())

    def named(self) -> Named | None:
        """Return champion, challenger and fallback, or None where nothing was ever promoted.

        Raises:
            RegistryError: the registry cannot be read.
        """
        return named_by(self.history(), self._stable_after)

    def stable(self, now: int) -> tuple[str, ...]:
        """Return the stable bundles, the one that was champion last first.

        A bundle is stable once it has been champion for `stable_after` without an alarm, and never once it was rolled
        back.

        Args:
            now: microseconds UTC.

        Raises:
            RegistryError: the registry cannot be read.
        """
        return stable_of(self.history(), now, self._stable_after)

    def target(self, now: int) -> str | None:
        """Return the bundle that a rollback would go to, None where there is none.

        Args:
            now: microseconds UTC.

        Raises:
            RegistryError: the registry cannot be read.
        """
        return target_of(self.history(), now, self._stable_after)

    def roles(self, now: int) -> dict[str, str]:
        """Return the role of every bundle, by its id, sorted.

        `champion` and `challenger` decide now; a `stable` one is what rollbacks go to; a `candidate` never was
        champion; one that was `rolled back` never is a rollback's target; any other one is `former`.

        Args:
            now: microseconds UTC.

        Raises:
            RegistryError: the registry cannot be read.
        """
        known = roles_of(self.history(), now, self._stable_after)
        return {identity: known.get(identity, "candidate") for identity in self.ids()}

    def history(self) -> tuple[HistoryEntry, ...]:
        """Return all entries of the history, oldest first.

        Raises:
            RegistryError: the registry cannot be read, or an entry is none.
        """
        numbers = self._objects.numbers(_CHAMPIONS)
        unread = [number for number in numbers if number not in self._entries]
        contents = self._objects.get_all(numbered(_CHAMPIONS, number) for number in unread)
        for number, content in zip(unread, contents, strict=True):
            self._entries[number] = self._decoded(number, content)
        return tuple(self._entries[number] for number in numbers)

    def _decoded(self, number: int, content: bytes) -> HistoryEntry:
        try:
            return msgspec.json.decode(content, type=HistoryEntry)
        except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
            raise RegistryError(
                f"registry {self.location}: {numbered(_CHAMPIONS, number)} is not an entry of the history ({fault}); if"
                " a newer slidr wrote it, upgrade this one"
            ) from None


def _draft(entry: HistoryEntry) -> Draft:
    """Return what the audit log says of an entry."""
    details = {"entry": entry.number, "cold": entry.cold, "instead": entry.instead}
    return Draft(entry.kind, entry.bundle, entry.at, entry.who, entry.why, details)


def _told(record: Record) -> tuple[object, ...]:
    return record.at, record.who, record.why, record.details
