"""The audit log: who changed what, when and why, in a chain of records of which none can be changed unseen.

    audit/00000001.json     one record; it names the SHA-256 of the record before it

Records lie in the registry, each in an object of its own that is written only where none of its number exists. Where
there is a secret key, each bears a seal made with it (HMAC-SHA256, RFC 2104), so that only who holds the key can write
one. Who keeps the head, the hash of the newest record, at a place of their own can tell that none was cut off the end.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from obstore.store import ObjectStore

from slidr.errors import RegistryError
from slidr.features.keys import KeyRing
from slidr.objects import Objects, numbered

_PREFIX = "audit/"
_ATTEMPTS = 256
_PURPOSE = b"slidr audit\0"  # what the secret key is used for here, and nowhere else
_CHUNK = 256


class Draft(NamedTuple):
    """What a record is to say; see `Record`."""

    kind: str
    subject: str
    at: int
    who: str
    why: str
    details: dict[str, Any]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One record of the audit log.

    Attributes:
        number: its place, from 1.
        kind: what was done: `promote`, `challenge`, `rollback`, `alarm`, `clear`, `settings`, `lists`, `override`, ...
        subject: to what it was done, such as the id of a bundle.
        at: when, microseconds UTC.
        who: who did it.
        why: the reason given.
        details: the rest.
        before: SHA-256 of the record before it; empty for the first one.
        key: fingerprint of the secret key of its seal; empty where it has none.
        seal: HMAC-SHA256 of all of the above with that key.
    """

    number: int
    kind: str
    subject: str
    at: int
    who: str
    why: str
    details: dict[str, Any]
    before: str
    key: str = ""
    seal: str = ""


class Fault(NamedTuple):
    """What is wrong with the record of a number."""

    number: int
    reason: str


class Verified(NamedTuple):
    """What `Audit.verify` found.

    Attributes:
        records: how many there are.
        sealed: how many of them bear a seal that is right.
        head: number and hash of the newest, `12:9f86d0...`, to be kept elsewhere; empty where there is none.
        faults: what is wrong, by number; none where the log is whole.
    """

    records: int
    sealed: int
    head: str
    faults: tuple[Fault, ...]


class Audit:
    """The audit log of a registry.

    Args:
        location: of the registry: a directory or the address of an object store; see `slidr.objects.Objects`.
        secret: the secret keys; records are sealed with the newest, and checked with that which they name.

    Raises:
        RegistryError: the location cannot be opened.
    """

    def __init__(self, location: str | Path | ObjectStore | Objects, secret: KeyRing | None = None) -> None:
        self._objects = location if isinstance(location, Objects) else Objects(location)
        self._secret = secret
        # A record never changes: who appends again and again reads each once.
        self._read: dict[int, bytes] = {}

    def append(
        self, kind: str, subject: str, *, at: int, who: str, why: str, details: dict[str, Any] | None = None
    ) -> Record:
        """Append a record and return it.

        Args:
            kind: what was done.
            subject: to what.
            at: when, microseconds UTC.
            who: who did it.
            why: the reason.
            details: the rest, as JSON can have it.

        Raises:
            RegistryError: the log cannot be written.
        """
        draft = Draft(kind, subject, at, who, why, details or {})
        (record,) = self.extend(lambda _newest_first: [draft])
        return record

    def changed(
        self, kind: str, subject: str, document: dict[str, Any], *, at: int, who: str, why: str
    ) -> Record | None:
        """Append what a thing is now, and where it differs, unless the newest record of this kind and subject says so.

        Args:
            kind: such as `settings`.
            subject: whose.
            document: what it is now, as JSON can have it.
            at: when, microseconds UTC.
            who: who found it changed.
            why: the reason.

        Returns:
            The record; None where nothing has changed.

        Raises:
            RegistryError: the log cannot be read or written.
        """
        document = msgspec.json.decode(msgspec.json.encode(document))

        def differs(newest_first: Iterator[Record]) -> list[Draft]:
            last = next((one for one in newest_first if (one.kind, one.subject) == (kind, subject)), None)
            known = last.details.get("is") if last is not None else None
            if known == document:
                return []
            details = {"changed": differences(known or {}, document), "is": document}
            return [Draft(kind, subject, at, who, why, details)]

        return next(iter(self.extend(differs)), None)

    def extend(self, missing: Callable[[Iterator[Record]], list[Draft]]) -> tuple[Record, ...]:
        """Append what is missing, whoever else appends meanwhile.

        Args:
            missing: is given the records, newest first and those alone that can be read, and returns what is to be
                appended, in order; it is asked again whenever somebody else was first.

        Returns:
            The records that were appended.

        Raises:
            RegistryError: the log cannot be read or written.
        """
        appended: list[Record] = []
        for _ in range(_ATTEMPTS):
            numbers = self._objects.numbers(_PREFIX)
            drafts = missing(self._newest_first(numbers))
            if not drafts:
                return tuple(appended)
            number = numbers[-1] if numbers else 0
            before = _digest(self._content(number)) if number else ""
            for draft in drafts:
                number += 1
                record = self._sealed(Record(number=number, before=before, **draft._asdict()))
                content = _encoded(record)
                if not self._objects.create(numbered(_PREFIX, number), content):
                    break  # Somebody took this number first: theirs stands, ours comes next.
                appended.append(record)
                before = _digest(content)
            else:
                return tuple(appended)
        raise RegistryError(
            f"registry {self._objects.location}: {_ATTEMPTS} times another record of the audit log came first"
        )

    def records(self) -> tuple[Record, ...]:
        """Return all records, oldest first.

        Raises:
            RegistryError: the log cannot be read, or a record is none.
        """
        numbers = self._objects.numbers(_PREFIX)
        contents = self._objects.get_all(numbered(_PREFIX, number) for number in numbers)
        found = []
        for number, content in zip(numbers, contents, strict=True):
            if (record := _decoded(content)) is None:
                raise RegistryError(
                    f"registry {self._objects.location}: {numbered(_PREFIX, number)} is no record of the audit log;"
                    " `slidr audit verify` says what else is wrong"
                )
            found.append(record)
        return tuple(found)

    def verify(self, head: str = "") -> Verified:
        """Check that no record was changed, removed, put elsewhere or inserted, and name those of which one was.

        Args:
            head: of an earlier `Verified`, kept elsewhere: that it is still there shows that none was cut off the end.

        Raises:
            RegistryError: the log cannot be read.
        """
        numbers, faults = [], {}
        for path in self._objects.paths(_PREFIX):
            stem = Path(path).stem
            if stem.isdigit() and numbered(_PREFIX, int(stem)) == path:
                numbers.append(int(stem))
            else:
                faults[0] = f"{path} is no name of a record: it was inserted"
        hashes: dict[int, str] = {}
        sealed = last = 0
        for number, content in self._contents(sorted(numbers)):
            record = _decoded(content)
            if reason := self._fault(number, content, record):
                faults[number] = reason
            elif record is not None:
                sealed += bool(record.seal)
                if number == last + 1 and record.before != hashes.get(last, ""):
                    # The record itself is as its seal says, so that it is the one before it that is another one.
                    faults.setdefault(last or number, f"it was changed: record {last + 1} has another hash of it")
            if number > last + 1:
                more = "" if number == last + 2 else f", and so are all up to record {number - 1}"
                faults[last + 1] = f"it is missing{more}: removed"
            hashes[number] = _digest(content)
            last = number
        if head:
            faults |= _cut_off(head, hashes)
        newest = f"{last}:{hashes[last]}" if numbers else ""
        return Verified(len(numbers), sealed, newest, tuple(Fault(*one) for one in sorted(faults.items())))

    def _contents(self, numbers: list[int]) -> Iterator[tuple[int, bytes]]:
        for start in range(0, len(numbers), _CHUNK):
            chunk = numbers[start : start + _CHUNK]
            yield from zip(chunk, self._objects.get_all(numbered(_PREFIX, number) for number in chunk), strict=True)

    def _fault(self, number: int, content: bytes, record: Record | None) -> str:
        """Return what is wrong with a record by itself; nothing where nothing is."""
        if record is None or _encoded(record) != content:
            return "it was changed: it is not as it is written"
        if record.number != number:
            return f"it was put here from elsewhere: it says that it is record {record.number}"
        return "" if self._secret is None else _unsealed(record, self._secret)

    def _newest_first(self, numbers: list[int]) -> Iterator[Record]:
        for end in range(len(numbers), 0, -_CHUNK):
            chunk = numbers[max(0, end - _CHUNK) : end]
            # The newest one is mostly what is looked for; only then are the others worth reading, many at once.
            for part in (chunk[-1:], chunk[:-1]):
                unread = [number for number in part if number not in self._read]
                contents = self._objects.get_all(numbered(_PREFIX, number) for number in unread)
                self._read.update(zip(unread, contents, strict=True))
                for number in reversed(part):
                    if (record := _decoded(self._read[number])) is not None:
                        yield record

    def _content(self, number: int) -> bytes:
        if number not in self._read:
            self._read[number] = self._objects.get(numbered(_PREFIX, number))
        return self._read[number]

    def _sealed(self, record: Record) -> Record:
        if self._secret is None:
            return record
        named = msgspec.structs.replace(record, key=self._secret.newest.fingerprint)
        return msgspec.structs.replace(named, seal=_seal(named, self._secret.keys[-1].secret))


def differences(was: object, now: object, path: str = "") -> dict[str, list[Any]]:
    """Return where two documents differ: the path of each value, with that before and that after.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}, "d": 4})
    {'a.b': [1, 3], 'd': [None, 4]}
    """
    if isinstance(was, dict) and isinstance(now, dict):
        found: dict[str, list[Any]] = {}
        for key in dict.fromkeys((*was, *now)):
            found |= differences(was.get(key), now.get(key), f"{path}.{key}" if path else str(key))
        return found
    return {} if was == now else {path: [was, now]}


def _cut_off(head: str, hashes: dict[int, str]) -> dict[int, str]:
    """Return the fault of a log whose head was once another one and is no longer part of it."""
    number, colon, digest = head.partition(":")
    if not (colon and number.isdigit()):
        raise RegistryError(
            f"{head!r} is no head of an audit log; `slidr audit verify` prints one, such as 12:9f86d0..."
        )
    found = hashes.get(int(number))
    if found == digest:
        return {}
    word = "was removed" if found is None else "was changed, or written anew with all records behind it"
    return {int(number): f"it {word}: the head that was kept names it"}


def _unsealed(record: Record, ring: KeyRing) -> str:
    """Return what is wrong with the seal of a record; nothing where nothing is."""
    if not record.seal:
        return "it bears no seal: it was written, or changed, without the secret key"
    secret = _secret_of(ring, record.key)
    if secret is None:
        return f"its seal is of the secret key {record.key}, which is not in the key file: put its line back"
    if not hmac.compare_digest(_seal(record, secret), record.seal):
        return "it was changed: its seal does not fit"
    return ""


def _secret_of(ring: KeyRing, fingerprint: str) -> bytes | None:
    for key in ring.keys:
        if (known := KeyRing((key,))).newest.fingerprint == fingerprint:
            return known.keys[0].secret
    return None


def _seal(record: Record, secret: bytes) -> str:
    bare = msgspec.structs.replace(record, seal="")
    return hmac.new(secret, _PURPOSE + _encoded(bare), hashlib.sha256).hexdigest()


def _encoded(record: Record) -> bytes:
    return msgspec.json.encode(record)


def _decoded(content: bytes) -> Record | None:
    try:
        return msgspec.json.decode(content, type=Record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
