"""Backup: everything that cannot be made again, as of one moment, while all goes on.

    manifest.json       what there is, with sizes and hashes; written last, so that a backup without it is none
    lake/...            each table at one Delta version: the files that it reads, and its log up to there
    state/, journals/   the service's snapshot, then its journals by SQLite's online backup
    registry/...        champions' history and audit log, then bundles
    slow/, backfill/    what the daily run goes on from
    files/...           seed.npz and api-keys.json

The order is what makes it consistent. The lake's versions are chosen first, so that the lake never has decisions that
the journals, which are copied after it, lack. The snapshot is older than the journals, whose tail the service folds. A
journal that was shortened meanwhile beyond what the lake or the snapshot of the backup holds is refused.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from slidr.errors import RecordsError
from slidr.features.snapshot import snapshot_fingerprint
from slidr.journal import SCHEMA, Journal
from slidr.lake.delta import Lake
from slidr.lake.stored import held_version, reported
from slidr.records.places import Held, Places, Tree, empty, parts, read_held, written
from slidr.tables import CONTEXTS, DECISIONS, PURCHASES, ROWS, SHADOWS, TABLES, Table

FORMAT = 1
"""Version of the layout of a backup."""
MANIFEST = "manifest.json"
_FIRST = (DECISIONS, ROWS, SHADOWS, CONTEXTS)  # what DECISIONS has shipped the others have too
_SPARE = 1.02  # a disk needs a little more than the files' bytes
_DIGITS = 20  # of a version in the name of a file of Delta's log


class JournalHeld(msgspec.Struct, frozen=True):
    """What a journal of a backup is: its id, its schema, its greatest sequence and how many entries it has."""

    id: str
    schema: int
    last: int
    entries: int


class TableHeld(msgspec.Struct, frozen=True):
    """What a table of a backup is: its Delta version, its schema version and how many rows it has."""

    version: int
    schema: str
    rows: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds.

    Attributes:
        format: see `FORMAT`.
        at: when it was begun, microseconds UTC.
        slidr: version of the program.
        keys: fingerprints of the secret keys that the state is hashed with.
        key_file: where the keys were; they are in the backup only where it was asked for.
        audit: head of the audit log.
        tables: the lake, by table.
        journals: by their file's name.
        files: all files by their path.
    """

    format: int
    at: int
    slidr: str
    keys: tuple[str, ...]
    key_file: str
    audit: str
    tables: dict[str, TableHeld]
    journals: dict[str, JournalHeld]
    files: dict[str, Held]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(one.bytes for one in self.files.values())


class _Pinned(NamedTuple):
    held: TableHeld
    paths: dict[str, int]


def backup(places: Places, to: Path, *, at: int, audit: str = "", with_key: bool = False) -> Manifest:
    """Copy everything to a folder that is missing or empty, and return what it holds.

    Args:
        places: what is copied; services, shippers and the daily run may go on.
        to: the folder.
        at: now, microseconds UTC.
        audit: head of the audit log, to be compared when it is restored.
        with_key: copy the secret keys too: who has the backup can then tell whose a hash is.

    Raises:
        RecordsError: the folder is not empty, the disk is full or has too little room, a file cannot be copied, or
            parts do not fit together; what was written stays and is no backup, for it has no manifest.
        JournalError: a journal cannot be read.
        TableError: the lake cannot be read.
    """
    if not empty(to):
        raise RecordsError(f"{to} is not empty; give a folder that is, or one that does not exist yet")
    to.mkdir(parents=True, exist_ok=True)
    lake = Lake(places.lake)
    pinned = {table.name: _pin(lake, table) for table in _ordered() if lake.exists(table)}
    _refuse_little_room(places, pinned, to)
    files: dict[str, Held] = {}

    def keep(path: str, source: Path) -> None:
        files[path] = written(to / path, parts(source))

    try:
        for state in places.states():
            keep(f"state/{state.name}", state)
        journals = {path.name: _journal(path, to / "journals" / path.name) for path in places.journals()}
        files |= {f"journals/{name}": read_held(to / "journals" / name) for name in journals}
        _refuse_gaps(lake, places, to, pinned, tuple(journals))
        for name, table in pinned.items():
            tree = Tree(f"{places.lake}/{name}")
            files |= {f"lake/{name}/{path}": tree.copy_out(path, to / "lake" / name / path) for path in table.paths}
        registry = Tree(places.registry)
        # A bundle is whole before the history names it.
        for path in (*registry.paths("champions"), *registry.paths("audit"), *registry.paths("bundles")):
            files[f"registry/{path}"] = registry.copy_out(path, to / "registry" / path)
        for name, folder in places.folders.items():
            for path in Tree(str(folder)).paths():
                keep(f"{name}/{path}", folder / path)
        named = {**places.files, **({"key": places.key_file} if with_key else {})}
        for name, file in named.items():
            if file.exists():
                keep(f"files/{name}", file)
        fingerprints = {snapshot_fingerprint(path) for path in (*places.states(), places.files["seed"])}
        manifest = Manifest(
            FORMAT, at, version("slidr"), tuple(sorted(one for one in fingerprints if one)), str(places.key_file),
            audit, {name: one.held for name, one in pinned.items()}, journals, files,
        )  # fmt: skip
        written(to / MANIFEST, iter([msgspec.json.format(msgspec.json.encode(manifest))]))
    except OSError as fault:
        raise RecordsError(
            f"{to} is no backup, it was not finished: {fault}; make room or choose another disk, delete it, and run"
            " this again"
        ) from fault
    return manifest


def _ordered() -> Iterator[Table]:
    yield from _FIRST
    yield from (table for table in TABLES if table not in _FIRST)


def _pin(lake: Lake, table: Table) -> _Pinned:
    """Choose a table's version of now, and list the files that make it."""
    with reported(lake.address(table)):
        delta = lake.open(table)
        newest = delta.version()
        actions = pa.table(delta.get_add_actions(flatten=True)).select(["path", "size_bytes", "num_records"])
    paths = dict(zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True))
    tree = Tree(lake.address(table))
    for path, size in tree.paths("_delta_log").items():
        name = path.rpartition("/")[2]
        # Which checkpoint is the last is told by _last_checkpoint, and by the names where that is not there.
        if name[:_DIGITS].isdigit() and int(name[:_DIGITS]) <= newest:
            paths[path] = size
    rows = sum(rows or 0 for rows in actions["num_records"].to_pylist())
    return _Pinned(TableHeld(newest, held_version(delta) or "", rows), paths)


def _refuse_little_room(places: Places, pinned: dict[str, _Pinned], to: Path) -> None:
    trees = (Tree(places.registry), *(Tree(str(folder)) for folder in places.folders.values()))
    files = (*places.states(), *places.journals(), *places.files.values())
    needed = sum(sum(table.paths.values()) for table in pinned.values())
    needed += sum(sum(tree.paths().values()) for tree in trees)
    needed += sum(path.stat().st_size for path in files if path.exists())
    free = shutil.disk_usage(to).free
    if needed * _SPARE > free:
        raise RecordsError(
            f"{to} has {free / 1e9:,.2f} GB of room, and the backup takes {needed / 1e9:,.2f} GB; choose another disk"
        )


def _journal(path: Path, to: Path) -> JournalHeld:
    """Copy a journal as it is at one moment, while its service writes."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with Journal(path, write=False):
        pass  # It is one, and of a schema that is known.
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(to)) as copy,
        ):
            source.backup(copy)
            # One file, without a log beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as fault:
        raise RecordsError(f"{path} cannot be copied to {to}: {fault}") from fault
    return journal_held(to)


def journal_held(path: Path) -> JournalHeld:
    """Return what a journal's file is.

    Raises:
        JournalError: it is none, or damaged.
        RecordsError: SQLite finds a fault in it.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            (fault,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            (entries,) = connection.execute("SELECT count(*) FROM decisions").fetchone()
        except sqlite3.Error as damage:
            raise RecordsError(f"{path} is damaged: {damage}") from damage
    if fault != "ok":
        raise RecordsError(f"{path} is damaged: {fault}")
    with Journal(path, write=False) as journal:
        return JournalHeld(journal.id, SCHEMA, journal.last_sequence, entries)


def _refuse_gaps(lake: Lake, places: Places, to: Path, pinned: dict[str, _Pinned], names: tuple[str, ...]) -> None:
    """Refuse journals that were shortened beyond what is in the lake, at its chosen version, or in the snapshot."""
    state = to / "state" / places.state.name
    for name in names:
        with Journal(to / "journals" / name, write=False) as journal:
            removed = journal.shortened
            gone = {"order": removed.sequence + 1, "apart": removed.number}
            behind = _behind(lake, pinned, DECISIONS, journal.id, gone)
            behind |= _behind(lake, pinned, PURCHASES, journal.id, {"purchases": journal.shortened_purchases})
            if behind or (removed.sequence >= 0 and _clicks(state) <= removed.sequence):
                raise RecordsError(
                    f"{name} was shortened while it was copied, beyond what the {'lake' if behind else 'snapshot'} of"
                    " this backup holds; delete the folder and run this again"
                )


def _behind(lake: Lake, pinned: dict[str, _Pinned], table: Table, journal: str, gone: dict[str, int]) -> bool:
    """Return whether a table, at its chosen version, lacks some of what has left a journal, by the part's name."""
    if not any(gone.values()):
        return False
    if table.name not in pinned:
        return True
    with reported(lake.address(table)):
        delta = lake.open(table, pinned[table.name].held.version)
        return any((delta.transaction_version(f"{journal}:{part}") or 0) < upto for part, upto in gone.items())


def _clicks(state: Path) -> int:
    """Return how many clicks a snapshot holds; none where there is none."""
    if not state.exists():
        return 0
    with np.load(state, allow_pickle=False) as file:
        return int(file["numbers"][1])
