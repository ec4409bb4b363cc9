"""The file of a journal: its tables, its lock, how it is opened and brought to the newest schema, and its errors."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from slidr.errors import JournalError
from slidr.journal.records import Context, Entry, Purchase, Shadow

SCHEMA = 3
"""Version of the file's layout; a newer one is refused, an older one is brought up by who writes."""
APPLICATION = 0x736C6472  # "sldr": tells a journal from any other SQLite file
_BUSY_MILLISECONDS = 100
_LOG_BYTES = 1 << 31  # the write-ahead log is cut to this length when it starts over, which takes a while
_TEXT = "TEXT NOT NULL"
_KINDS = {
    "time": "INTEGER NOT NULL",
    "decided_at": "INTEGER NOT NULL",
    "reported_at": "INTEGER NOT NULL",
    "score": "REAL",
    "threshold": "REAL",
    "enforced": "INTEGER NOT NULL",
    "click_key": "INTEGER NOT NULL",
    "logged_in": "INTEGER NOT NULL",
    "keys": "BLOB NOT NULL",
    "user_key": "INTEGER",
    "campaign": "TEXT",
    "advertiser": "TEXT",
    "cost": "INTEGER",
    "value": "INTEGER",
    "currency": "TEXT",
}
_DECISIONS = {"sequence": "INTEGER PRIMARY KEY", "row": "BLOB NOT NULL"}
_SHADOWS = {"sequence": "INTEGER PRIMARY KEY", "row": "BLOB"}
_PURCHASES = {"purchase_id": "TEXT NOT NULL UNIQUE", "click_id": "TEXT"}
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


def _table(name: str, fields: tuple[str, ...], kinds: dict[str, str], before: str = "") -> str:
    columns = ", ".join(f"{field} {kinds.get(field) or _KINDS.get(field) or _TEXT}" for field in fields)
    return f"CREATE TABLE {name} ({before}{columns}) STRICT"


_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE contexts (context TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT",
    _table("decisions", Entry._fields, _DECISIONS),
    _table("shadows", Shadow._fields, _SHADOWS),
    # Entries whose sequence is not greater than those appended before them, in the order of appending. So reading on
    # finds everything, and a click that comes in order, as nearly all do, costs no index of its own.
    "CREATE TABLE apart (number INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL UNIQUE) STRICT",
    # The number is the order of arrival, in which they are read on.
    _table("purchases", Purchase._fields, _PURCHASES, "number INTEGER PRIMARY KEY AUTOINCREMENT, "),
)


def open_file(path: Path, durability: str, *, write: bool) -> sqlite3.Connection:
    """Open a journal's file; sqlite3.Error where that cannot be done."""
    mode = "rwc" if write else "ro"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'power' else 'NORMAL'}")
    # A checkpoint syncs the disk, which takes milliseconds: `checkpoint` is called when no request waits.
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
    return connection


def prepare(connection: sqlite3.Connection, path: Path, *, write: bool) -> str:
    """Make the tables of a new journal, bring an old one to the newest schema, and return the journal's id.

    Raises:
        JournalError: the file is no journal, or has a schema that cannot be read.
    """
    application = _value(connection, "PRAGMA application_id")
    version = int(_value(connection, "PRAGMA user_version") or 0)
    if write and application == 0 and _value(connection, "SELECT count(*) FROM sqlite_master") == 0:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('id', ?)", (secrets.token_hex(6),))
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={SCHEMA}")
        connection.execute("COMMIT")
    elif application != APPLICATION:
        raise JournalError(f"{path} is a database, but no journal of slidr; set storage.journal to another path")
    elif version > SCHEMA:
        raise JournalError(f"{path} has schema {version}; this slidr reads up to {SCHEMA}: upgrade slidr")
    elif version < SCHEMA and not write:
        raise JournalError(f"{path} has schema {version}; start the service on it once, which brings it to {SCHEMA}")
    elif version < SCHEMA:
        _upgrade(connection, version)
    return str(_value(connection, "SELECT value FROM meta WHERE key = 'id'"))


def move_log(path: Path, connection: sqlite3.Connection | None = None) -> int:
    """Move a journal's write-ahead log into its file, as far as nobody reads it, sync both, and return its bytes.

    Args:
        path: the journal.
        connection: what moves it; None for one of its own, which blocks neither readers nor appends.

    Raises:
        JournalError: the disk is full or reports an error.
    """
    with reported(path):
        if connection is not None:
            return _moved(connection)
        with closing(open_file(path, "process", write=True)) as own:
            return _moved(own)


def _moved(connection: sqlite3.Connection) -> int:
    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages * _value(connection, "PRAGMA page_size"))


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring a journal from an older schema to this one, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    if version == 1:
        _name_contexts(connection)
    else:
        connection.execute(next(statement for statement in _TABLES if " apart " in statement))
    # Nothing of it was shipped, so an adopted entry in between is read in the order of its sequence.
    connection.execute("INSERT INTO apart (sequence) SELECT sequence FROM decisions WHERE sequence < 0 ORDER BY 1 DESC")
    connection.execute(f"PRAGMA user_version={SCHEMA}")
    connection.execute("COMMIT")


def _name_contexts(connection: sqlite3.Connection) -> None:
    """Turn the tables of schema 1, which named bundles where this one names contexts, into those of this one."""
    connection.execute("ALTER TABLE decisions RENAME TO decisions_1")
    for statement in _TABLES[1:]:
        connection.execute(statement)
    for bundle, keys, features in connection.execute("SELECT bundle, keys, features FROM bundles").fetchall():
        named = tuple(tuple(key) for key in json.loads(keys))
        context = Context(bundle, named, tuple(json.loads(features)))
        connection.execute("INSERT INTO contexts VALUES (?, ?)", (context.id, context.encoded()))
        names = ", ".join(Entry._fields)
        kept = ", ".join({"context": "?", "enforced": "1"}.get(name, name) for name in Entry._fields)
        connection.execute(
            f"INSERT INTO decisions ({names}) SELECT {kept} FROM decisions_1 WHERE bundle = ?",  # noqa: S608 our own names
            (context.id, bundle),
        )
    connection.execute("DROP TABLE decisions_1")
    connection.execute("DROP TABLE bundles")


def _value(connection: sqlite3.Connection, statement: str) -> Any:
    return connection.execute(statement).fetchone()[0]


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn an error of SQLite into one that says what to do.

    Raises:
        JournalError: of every sqlite3.Error.
    """
    try:
        yield
    except sqlite3.Error as fault:
        name = getattr(fault, "sqlite_errorname", "")
        remedy = next((words for prefix, words in _REMEDIES.items() if name.startswith(prefix)), None)
        raise JournalError(f"journal {path}: {remedy or 'it cannot be used'} ({fault})") from fault


def lock(path: Path) -> int:
    """Take the lock file beside the journal, which the system releases however the process ends.

    Raises:
        JournalError: another service holds it, or it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as fault:
        raise JournalError(f"journal {path}: its lock file cannot be made ({fault}); check the folder") from None
    try:
        fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(taken)
        raise JournalError(
            f"journal {path} is in use by another service; stop it, or set storage.journal to another path"
        ) from None
    return taken
