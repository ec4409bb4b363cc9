"""State: what the monitor has counted and up to where, in one SQLite file whose size is bounded."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slidr.clock import DAY, HOUR, MINUTE
from slidr.errors import ServiceError
from slidr.features.keys import KEY_BYTES, Pseudonymiser
from slidr.monitor.counting import SUMS, Counts, Int64s
from slidr.monitor.reading import Cursor
from slidr.tables import Verdict

SCHEMA = 1
APPLICATION = 0x736C6D6E  # "slmn"
BOUGHT = ("bought", "bought_marked", "bought_listed")
"""Purchasing clicks, counted to the minute in which that became known, and those found invalid: by model, by lists."""
NUMBERS = (*SUMS, *BOUGHT)
KEPT_MINUTES = 8 * DAY
KEPT_HOURS = 36 * DAY
"""Five weeks and a day."""
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL)",
    """CREATE TABLE cursors (journal TEXT PRIMARY KEY, path TEXT NOT NULL, after INTEGER NOT NULL,
    apart INTEGER NOT NULL, purchase INTEGER NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID""",
    *(
        f"""CREATE TABLE {table} (start INTEGER NOT NULL, slice TEXT NOT NULL, bundle TEXT NOT NULL,
        {", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in NUMBERS)},
        PRIMARY KEY (start, slice, bundle)) WITHOUT ROWID"""
        for table in ("minutes", "hours")
    ),
    """CREATE TABLE causes (start INTEGER NOT NULL, slice TEXT NOT NULL, cause TEXT NOT NULL, clicks INTEGER NOT NULL,
    PRIMARY KEY (start, slice, cause)) WITHOUT ROWID""",
    """CREATE TABLE clicks (click INTEGER PRIMARY KEY, user INTEGER NOT NULL, time INTEGER NOT NULL,
    slice TEXT NOT NULL, bundle TEXT NOT NULL, verdict INTEGER NOT NULL, bought INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX clicks_by_user ON clicks (user, time)",
    """CREATE TABLE purchases (purchase INTEGER PRIMARY KEY, time INTEGER NOT NULL, user INTEGER, click INTEGER,
    arrived INTEGER NOT NULL, open INTEGER NOT NULL DEFAULT 1)""",
    "CREATE INDEX purchases_open ON purchases (open, arrived)",
    "CREATE TABLE trusted (account INTEGER PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE alarms (key TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID",
)
_VERDICTS = dict(enumerate(Verdict))


class Row(NamedTuple):
    """Counts of one minute or hour, in one slice, by one bundle; `numbers` are those of `NUMBERS`."""

    start: int
    slice: str
    bundle: str
    numbers: tuple[int, ...]


Kept = tuple[int, int, int, str, str, int]
"""A click that is kept for its purchases: its hash, its account, its time, slice, bundle, place in `Verdict`."""


class Reported(NamedTuple):
    """A purchase; its identity and its click are hashes of the state's own, its user that of the clicks."""

    purchase: int
    time: int
    user: int | None
    click: int | None
    arrived: int


class State:
    """What the monitor keeps.

    Args:
        path: the SQLite file, made where missing.

    Raises:
        ServiceError: it is no state of a monitor, has a newer schema, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reported():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        self._hashes = Pseudonymiser(bytes.fromhex(str(self.meta("secret"))))

    def _prepare(self) -> None:
        connection = self._connection
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('secret', ?)", (secrets.token_bytes(KEY_BYTES).hex(),))
            connection.execute(f"PRAGMA application_id={APPLICATION}")
            connection.execute(f"PRAGMA user_version={SCHEMA}")
            connection.execute("COMMIT")
        elif application != APPLICATION:
            raise ServiceError(f"{self.path} is no state of a monitor; set storage.monitor to another path")
        elif version > SCHEMA:
            raise ServiceError(f"{self.path} has schema {version}; this slidr reads up to {SCHEMA}: upgrade slidr")
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute("PRAGMA synchronous=NORMAL")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise ServiceError(
                f"the monitor's state {self.path} cannot be used: {fault}; make room, or delete the file, from which"
                " only the earlier weeks are lost"
            ) from fault

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in the block stands together, or not at all.

        Raises:
            ServiceError: it cannot be written.
        """
        with self._reported():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def meta(self, key: str, missing: str | int = "") -> str | int:
        """Return what is noted under a key."""
        with self._reported():
            found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return missing if found is None else found[0]

    def note(self, key: str, value: str | int) -> None:
        """Note a value under a key."""
        with self._reported():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def hashes(self, texts: Sequence[str]) -> Int64s:
        """Return the state's own hashes of identifiers, int64[n]."""
        return self._hashes.texts(list(texts)).view(np.int64)

    def cursor(self, journal: str) -> Cursor:
        """Return up to where a journal has been counted."""
        found = self._all("SELECT after, apart, purchase FROM cursors WHERE journal = ?", (journal,))
        return Cursor(*found[0]) if found else Cursor()

    def move(self, journal: str, path: Path, cursor: Cursor, now: int) -> None:
        """Keep up to where a journal has been counted."""
        self._connection.execute(
            "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?, ?)", (journal, str(path), *cursor, now)
        )

    def add(self, counts: Counts) -> None:
        """Add sums of clicks to their minutes and hours."""
        self._add(SUMS, counts.rows)
        self._connection.executemany(
            "INSERT INTO causes VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks",
            counts.causes,
        )

    def add_bought(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add (minute, slice, bundle, *`BOUGHT`) of purchasing clicks to their minutes and hours."""
        self._add(BOUGHT, rows)

    def _add(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        marks = ", ".join("?" * (3 + len(names)))
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in names)
        statement = (
            f"INSERT INTO {{}} (start, slice, bundle, {', '.join(names)}) VALUES ({marks})"  # noqa: S608 our own names
            f" ON CONFLICT DO UPDATE SET {sums}"
        )
        self._connection.executemany(statement.format("minutes"), rows)
        self._connection.executemany(statement.format("hours"), [(start - start % 60, *rest) for start, *rest in rows])

    def keep(self, clicks: Sequence[Kept]) -> None:
        """Keep clicks to which purchases may be attributed; one that is kept already stays as it is."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO clicks (click, user, time, slice, bundle, verdict) VALUES (?, ?, ?, ?, ?, ?)", clicks
        )

    def report(self, purchases: Sequence[Reported]) -> None:
        """Keep purchases; one that is known already is not counted again."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO purchases (purchase, time, user, click, arrived) VALUES (?, ?, ?, ?, ?)", purchases
        )

    def attribute(self, now: int, window: int) -> int:
        """Attribute purchases to clicks, each click once, and return how many clicks were found to have bought.

        A purchase that names a click is that one's, any other one the last click's of its user before it, as labels
        have it. One without a click stays open for an hour, since journals are not read all at once.

        Args:
            now: microseconds UTC.
            window: the attribution window, microseconds.
        """
        waiting = self._all("SELECT purchase, time, user, click, arrived FROM purchases WHERE open = 1")
        rows: list[tuple[Any, ...]] = []
        for purchase, time, user, click, arrived in waiting:
            found = self._clicked((click, user), time, window)
            if found is None:
                if arrived < now - HOUR:
                    self._connection.execute("UPDATE purchases SET open = 0 WHERE purchase = ?", (purchase,))
                continue
            self._connection.execute("UPDATE purchases SET open = 0 WHERE purchase = ?", (purchase,))
            one, slice_, bundle, verdict, bought = found
            if bought:
                continue
            self._connection.execute("UPDATE clicks SET bought = 1 WHERE click = ?", (one,))
            kind = _VERDICTS[verdict]
            marked, listed = kind is Verdict.INVALID_SOPHISTICATED, kind is Verdict.INVALID_GENERAL
            rows.append((min(arrived, now) // MINUTE, slice_, bundle, 1, int(marked), int(listed)))
        self.add_bought(rows)
        return len(rows)

    def _clicked(self, whose: tuple[int | None, int | None], time: int, window: int) -> Any:
        click, user = whose
        which, value = ("click", click) if click is not None else ("user", user)
        if value is None:
            return None
        found = self._all(
            f"SELECT click, slice, bundle, verdict, bought FROM clicks WHERE {which} = ? AND time BETWEEN ? AND ?"  # noqa: S608 our own names
            " ORDER BY time DESC, click DESC LIMIT 1",
            (value, time - window, time),
        )
        return found[0] if found else None

    def prune(self, now: int, window: int, most_clicks: int) -> None:
        """Forget what is too old, and halve the share of accounts whose clicks are kept where these are too many."""
        execute = self._connection.execute
        execute("DELETE FROM minutes WHERE start < ?", ((now - KEPT_MINUTES) // MINUTE,))
        execute("DELETE FROM causes WHERE start < ?", ((now - KEPT_MINUTES) // MINUTE,))
        execute("DELETE FROM hours WHERE start < ?", ((now - KEPT_HOURS) // MINUTE,))
        execute("DELETE FROM clicks WHERE time < ?", (now - window - HOUR,))
        execute("DELETE FROM purchases WHERE time < ?", (now - horizon(window),))
        execute("DELETE FROM cursors WHERE seen < ?", (now - KEPT_HOURS,))
        while self.kept > most_clicks:
            mask = 2 * self.mask + 1
            self.note("mask", mask)
            execute("DELETE FROM clicks WHERE (CASE user WHEN 0 THEN click ELSE user END) & ? != 0", (mask,))

    @property
    def kept(self) -> int:
        """How many clicks are kept."""
        return int(self._all("SELECT count(*) FROM clicks")[0][0])

    @property
    def mask(self) -> int:
        """Bits that are zero in the hash of every account whose clicks are kept; of the click's where it has none."""
        return int(self.meta("mask", 0))

    def trusted(self) -> Int64s:
        """Return the hashes of the most trusted accounts, sorted, int64[n]."""
        found = self._all("SELECT account FROM trusted ORDER BY account")
        return np.array([one for (one,) in found], np.int64)

    def trust(self, accounts: Int64s) -> None:
        """Replace the most trusted accounts."""
        self._connection.execute("DELETE FROM trusted")
        self._connection.executemany("INSERT INTO trusted VALUES (?)", [(one,) for one in accounts.tolist()])

    def rows(self, table: str, first: int, *, bought: bool = False) -> list[Row]:
        """Return the counts of `minutes` or `hours` from a minute on, in order; only those with purchases if asked."""
        where = "start >= ? AND bought > 0" if bought else "start >= ?"
        statement = f"SELECT start, slice, bundle, {', '.join(NUMBERS)} FROM {table} WHERE {where} ORDER BY start"  # noqa: S608 our own names
        found = self._all(statement, (first,))
        return [Row(start, where, bundle, tuple(numbers)) for start, where, bundle, *numbers in found]

    def causes(self, first: int) -> dict[str, int]:
        """Return why clicks were unmeasurable from a minute on, and how many for each cause."""
        return dict(self._all("SELECT cause, sum(clicks) FROM causes WHERE start >= ? GROUP BY cause", (first,)))

    def newest(self) -> int:
        """Return the newest minute with clicks, 0 where there is none."""
        return int(self._all("SELECT coalesce(max(start), 0) FROM minutes WHERE clicks > 0")[0][0])

    def alarms(self) -> dict[str, str]:
        """Return the documents of the alarms that are kept, by their keys."""
        return dict(self._all("SELECT key, document FROM alarms"))

    def keep_alarms(self, documents: dict[str, str]) -> None:
        """Replace the alarms that are kept."""
        with self.transaction():
            self._connection.execute("DELETE FROM alarms")
            self._connection.executemany("INSERT INTO alarms VALUES (?, ?)", list(documents.items()))

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._reported():
            return self._connection.execute(statement, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def horizon(window: int) -> int:
    """Return for how long a purchase is known again: one that is older is not counted, microseconds."""
    return window + 2 * DAY
