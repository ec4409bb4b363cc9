"""The journal: every decision of one service process, written before it is answered.

One SQLite file in WAL mode. A group of decisions is one transaction, so a decision is either there with its row,
its keys and its place in the fold, or was never acknowledged. With `durability="process"` (synchronous=NORMAL) an
acknowledged decision survives a kill of the process at any moment, and a power cut may lose the last moments; with
`"power"` (synchronous=FULL) it survives that too, at five times the cost of a commit.

Only the primary key is indexed. An index by click_id would land on a random page for every click: measured, it
tripled the cost of a group of eight decisions and quintupled that of 64.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from slidr.errors import JournalError

SCHEMA = 1
"""Version of the file's layout; a newer one is refused."""
APPLICATION = 0x736C6472  # "sldr": tells a journal from any other SQLite file
CHUNK = 10_000
"""Entries that a read holds in memory at once."""
_LOOKUPS = 500
_BUSY_MILLISECONDS = 100
_LOG_BYTES = 1 << 26  # the write-ahead log is cut to this length when it starts over
_COLUMNS = (
    ("sequence", "INTEGER PRIMARY KEY"),
    ("decision_id", "TEXT NOT NULL"),
    ("click_id", "TEXT NOT NULL"),
    ("time", "INTEGER NOT NULL"),
    ("decided_at", "INTEGER NOT NULL"),
    ("verdict", "TEXT NOT NULL"),
    ("reasons", "TEXT NOT NULL"),
    ("lists", "TEXT NOT NULL"),
    ("score", "REAL"),
    ("threshold", "REAL"),
    ("slice", "TEXT NOT NULL"),
    ("bundle", "TEXT NOT NULL"),
    ("cause", "TEXT NOT NULL"),
    ("click_key", "INTEGER NOT NULL"),
    ("logged_in", "INTEGER NOT NULL"),
    ("keys", "BLOB NOT NULL"),
    ("row", "BLOB NOT NULL"),
    ("campaign", "TEXT"),
    ("advertiser", "TEXT"),
    ("cost", "INTEGER"),
    ("currency", "TEXT"),
)
_DECISIONS = f"CREATE TABLE decisions ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS)}) STRICT"
_BUNDLES = "CREATE TABLE bundles (bundle TEXT PRIMARY KEY, keys TEXT NOT NULL, features TEXT NOT NULL) STRICT"
_META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_INSERT = f"INSERT INTO decisions ({_NAMES}) VALUES ({', '.join('?' for _ in _COLUMNS)})"  # noqa: S608 our own names
_SELECT = f"SELECT {_NAMES} FROM decisions"  # noqa: S608 our own names
_REMEDIES = {
    "SQLITE_BUSY": "another process is writing to it; one service writes to one journal, so stop the other",
    "SQLITE_LOCKED": "another process is writing to it; one service writes to one journal, so stop the other",
    "SQLITE_FULL": "the disk is full; make room, and the service goes on by itself",
    "SQLITE_READONLY": "it is read-only; give the service's account the right to write it and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened; check that its folder exists and may be written",
    "SQLITE_NOTADB": "it is not a SQLite database; move it away, or set storage.journal to another path",
    "SQLITE_CORRUPT": "it is damaged; move it away, keep it for `sqlite3 FILE .recover`, and start anew",
    "SQLITE_IOERR": "the disk reports an error; check it before trusting what it holds",
    "SQLITE_CONSTRAINT": "an entry with this sequence is there already: the state does not belong to this journal",
}


class Entry(NamedTuple):
    """One decision as it is journalled.

    Attributes:
        sequence: place of the click in the fold, the primary key.
        decision_id: identifies the decision.
        click_id: as the request gave it.
        time: when the click was made, microseconds UTC.
        decided_at: when it was decided, microseconds UTC.
        verdict: one of `slidr.tables.Verdict`.
        reasons: stable codes.
        lists: list rules that the click hit.
        score: the model's score, a float32; None where the model was not asked.
        threshold: the slice's threshold, a float32; None likewise.
        slice: slice whose threshold was used.
        bundle: bundle that decided.
        cause: `live`, `replay:ID` or `review:ID`.
        click_key: keyed hash of the click_id, the uint64's bits as int64.
        logged_in: 1, 0, or -1 where not known.
        keys: the click's column of the key matrix, uint64, named by `Journal.bundle`; while secret keys rotate, the
            column under the next one and its hash of the click_id follow.
        row: the features, float32 little-endian, named by `Journal.bundle`.
        campaign: campaign that the click is charged to.
        advertiser: advertiser that pays.
        cost: price of the click in micros.
        currency: currency of the cost.
    """

    sequence: int
    decision_id: str
    click_id: str
    time: int
    decided_at: int
    verdict: str
    reasons: tuple[str, ...]
    lists: tuple[str, ...]
    score: float | None
    threshold: float | None
    slice: str
    bundle: str
    cause: str
    click_key: int
    logged_in: int
    keys: bytes
    row: bytes
    campaign: str | None = None
    advertiser: str | None = None
    cost: int | None = None
    currency: str | None = None


class BundleNames(NamedTuple):
    """What the bytes of a bundle's entries mean: the rows of its key matrix and the features of its rows."""

    keys: tuple[tuple[str, ...], ...]
    features: tuple[str, ...]


class Journal:
    """Append-only record of decisions, in order of their sequence.

    Args:
        path: the SQLite file; made where missing, unless `write` is False.
        durability: what an acknowledged entry survives: the end of the "process", or of the "power" too.
        write: False opens an existing journal to read, beside the service that writes it.

    Attributes:
        path: the file.
        id: identifies the journal; decision ids begin with it.
        waiting: entries appended since the last checkpoint began.

    Raises:
        JournalError: the file is in use by another service, cannot be written, is no journal, or has a newer schema.
    """

    def __init__(self, path: Path, *, durability: Literal["process", "power"] = "process", write: bool = True) -> None:
        self.path = path
        self.waiting = 0
        self._lock: int | None = _lock(path) if write else None
        try:
            with self._reported():
                self._connection = self._open(durability, write=write)
        except JournalError:
            self._unlock()
            raise
        try:
            with self._reported():
                self.id = self._prepare(write=write)
        except JournalError:
            self.close()
            raise

    def _open(self, durability: str, *, write: bool) -> sqlite3.Connection:
        mode = "rwc" if write else "ro"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'power' else 'NORMAL'}")
        # A checkpoint syncs the disk, which takes milliseconds: `checkpoint` is called when no request waits.
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
        return connection

    def _prepare(self, *, write: bool) -> str:
        application = self._value("PRAGMA application_id")
        version = int(self._value("PRAGMA user_version") or 0)
        if write and application == 0 and self._value("SELECT count(*) FROM sqlite_master") == 0:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in (_META, _BUNDLES, _DECISIONS):
                self._connection.execute(statement)
            self._connection.execute("INSERT INTO meta VALUES ('id', ?)", (secrets.token_hex(6),))
            self._connection.execute(f"PRAGMA application_id={APPLICATION}")
            self._connection.execute(f"PRAGMA user_version={SCHEMA}")
            self._connection.execute("COMMIT")
        elif application != APPLICATION:
            raise JournalError(
                f"{self.path} is a database, but no journal of slidr; set storage.journal to another path"
            )
        elif version > SCHEMA:
            raise JournalError(f"{self.path} has schema {version}; this slidr reads up to {SCHEMA}: upgrade slidr")
        return str(self._value("SELECT value FROM meta WHERE key = 'id'"))

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries in one transaction: all of them, or none.

        Raises:
            JournalError: they cannot be written, for a reason that the message names.
        """
        with self._reported():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_INSERT, [_stored(entry) for entry in entries])
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        self.waiting += len(entries)

    def declare(self, bundle: str, names: BundleNames) -> None:
        """Write down what the keys and rows of a bundle's entries mean; does nothing the second time.

        Raises:
            JournalError: it cannot be written.
        """
        with self._reported():
            self._connection.execute(
                "INSERT OR IGNORE INTO bundles VALUES (?, ?, ?)",
                (bundle, json.dumps(names.keys), json.dumps(names.features)),
            )

    def bundle(self, bundle: str) -> BundleNames:
        """Return what the keys and rows of a bundle's entries mean.

        Raises:
            JournalError: no entry of this bundle was ever written.
        """
        with self._reported():
            found = self._connection.execute(
                "SELECT keys, features FROM bundles WHERE bundle = ?", (bundle,)
            ).fetchone()
        if found is None:
            raise JournalError(f"{self.path} has no entries of bundle {bundle!r}")
        return BundleNames(tuple(tuple(key) for key in json.loads(found[0])), tuple(json.loads(found[1])))

    def secrets(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return from which sequences on the entries' keys are hashed with which secret keys, by their fingerprints.

        Raises:
            JournalError: the journal cannot be read.
        """
        with self._reported():
            found = self._connection.execute("SELECT value FROM meta WHERE key = 'secrets'").fetchone()
        return [(first, tuple(names)) for first, names in json.loads(found[0])] if found else []

    def declare_secrets(self, fingerprints: tuple[str, ...]) -> None:
        """Write down which secret keys hash the entries from the next one on; does nothing where they do so already.

        Raises:
            JournalError: it cannot be written.
        """
        known, following = self.secrets(), self.last_sequence + 1
        if known and known[-1][1] == fingerprints:
            return
        written = json.dumps([*(entry for entry in known if entry[0] < following), (following, fingerprints)])
        with self._reported():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('secrets', ?)", (written,))

    def entries(self, after: int = -1) -> Iterator[list[Entry]]:
        """Yield the entries whose sequence is greater than `after`, in order, in chunks.

        Raises:
            JournalError: the journal cannot be read.
        """
        while chunk := self._read(f"{_SELECT} WHERE sequence > ? ORDER BY sequence LIMIT {CHUNK}", (after,)):
            yield chunk
            after = chunk[-1].sequence

    def find(self, sequences: Iterable[int]) -> dict[int, Entry]:
        """Return the entries with these sequences; those that are not there are left out.

        Raises:
            JournalError: the journal cannot be read.
        """
        wanted, found = list(sequences), {}
        for start in range(0, len(wanted), _LOOKUPS):
            part = wanted[start : start + _LOOKUPS]
            marks = ", ".join("?" for _ in part)
            found.update(
                {entry.sequence: entry for entry in self._read(f"{_SELECT} WHERE sequence IN ({marks})", part)}
            )
        return found

    def by_click(self, click_id: str) -> Entry | None:
        """Return the newest entry of a click, or None; reads the whole journal, for click_id is not indexed.

        Raises:
            JournalError: the journal cannot be read.
        """
        found = self._read(f"{_SELECT} WHERE click_id = ? ORDER BY sequence DESC LIMIT 1", (click_id,))
        return found[0] if found else None

    @property
    def last_sequence(self) -> int:
        """The greatest sequence, or -1 where there are no entries."""
        with self._reported():
            last = self._value("SELECT max(sequence) FROM decisions")
        return -1 if last is None else int(last)

    @property
    def log_bytes(self) -> int:
        """Length of the write-ahead log; it grows until a commit follows a checkpoint that reached the end."""
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database and sync both.

        Blocks neither readers nor appends and may run in another thread, since it opens a connection of its own.

        Raises:
            JournalError: the disk is full or reports an error.
        """
        appended = self.waiting
        with self._reported():
            connection = self._open("process", write=True)
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            finally:
                connection.close()
        self.waiting -= appended

    def close(self) -> None:
        """Close the file; what was appended stays."""
        with suppress(sqlite3.Error):
            self._connection.close()
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _value(self, statement: str) -> Any:
        return self._connection.execute(statement).fetchone()[0]

    def _read(self, statement: str, values: Sequence[int | str]) -> list[Entry]:
        with self._reported():
            return [_loaded(stored) for stored in self._connection.execute(statement, values)]

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn an error of SQLite into one that says what to do."""
        try:
            yield
        except sqlite3.Error as fault:
            name = getattr(fault, "sqlite_errorname", "")
            remedy = next((words for prefix, words in _REMEDIES.items() if name.startswith(prefix)), None)
            raise JournalError(f"journal {self.path}: {remedy or 'it cannot be used'} ({fault})") from fault


def _lock(path: Path) -> int:
    """Take the lock file beside the journal, which the system releases however the process ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as fault:
        raise JournalError(f"journal {path}: its lock file cannot be made ({fault}); check the folder") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise JournalError(
            f"journal {path} is in use by another service; stop it, or set storage.journal to another path"
        ) from None
    return lock


@lru_cache(maxsize=4096)
def _words(codes: tuple[str, ...]) -> str:
    return json.dumps(codes)


@lru_cache(maxsize=4096)
def _codes(words: str) -> tuple[str, ...]:
    return tuple(json.loads(words))


def _stored(entry: Entry) -> tuple[object, ...]:
    return (*entry[:6], _words(entry.reasons), _words(entry.lists), *entry[8:])


def _loaded(stored: tuple[Any, ...]) -> Entry:
    return Entry._make((*stored[:6], _codes(stored[6]), _codes(stored[7]), *stored[8:]))
