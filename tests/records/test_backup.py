"""Backup and restore: what is restored is what was there at one moment, and a service goes on from it."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from tests.test_journal import CONTEXT
from tests.test_ship import fill

from slidr.clock import DAY, HOUR, ManualClock
from slidr.errors import RecordsError
from slidr.features.keys import KeyRing, Secret
from slidr.journal import Journal, Purchase, Shipped
from slidr.lake.delta import Lake
from slidr.records import backup as backing
from slidr.records.backup import MANIFEST, backup
from slidr.records.places import Places
from slidr.records.restore import read_manifest, restore
from slidr.registry import Registry
from slidr.ship import ship
from slidr.tables import DECISIONS, ROWS

NOW = 1_767_225_600_000_000 + 30 * DAY
RING = KeyRing((Secret(bytes(16), 0),))


def places_at(root: Path) -> Places:
    """Return places below a folder."""
    folders = {"slow": root / "slow", "backfill": root / "backfill"}
    files = {"seed": root / "seed.npz", "api-keys": root / "api-keys.json"}
    at = (str(root / "lake"), str(root / "registry"), folders, files)
    return Places(*at, root / "journal.sqlite", root / "state.npz", root / "slidr.key")


def shipped(places: Places) -> int:
    """Ship the journal to the lake, and return how many entries that were."""
    with Journal(places.journal, write=False) as journal:
        return ship(Lake(places.lake), [journal], clock=ManualClock(NOW), keep=25 * HOUR).entries


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A lake, a journal of which a part is shipped, and a registry with an audit log."""
    places = places_at(tmp_path / "own")
    with Journal(places.journal) as journal:
        fill(journal)
    shipped(places)
    with Journal(places.journal) as journal:
        fill(journal, first=30, count=10)
    Registry(places.registry, secret=RING).audit.append("settings", "all", at=NOW, who="ann", why="first")
    (places.folders["slow"] / "2026-01-01").mkdir(parents=True)
    (places.folders["slow"] / "2026-01-01" / "table.npz").write_bytes(b"slow")
    places.files["api-keys"].write_text("{}")
    places.key_file.write_text("00" * 16 + "\n")
    return places


def test_what_is_restored_is_what_was_there(places: Places, tmp_path: Path) -> None:
    """Tables, journal, audit log and folders are the same, the key file is not among them, and shipping goes on."""
    head = Registry(places.registry, secret=RING).audit.verify().head
    made = backup(places, tmp_path / "backup", at=NOW, audit=head)
    assert not any("key" in path.rpartition("/")[2] and "api" not in path for path in made.files)
    other = places_at(tmp_path / "other")
    done = restore(tmp_path / "backup", other, RING)
    assert (done.audit.records, done.audit.faults, done.manifest) == (1, (), made)
    for table in (DECISIONS, ROWS):
        assert Lake(other.lake).read(table).equals(Lake(places.lake).read(table))
    assert (other.folders["slow"] / "2026-01-01" / "table.npz").read_bytes() == b"slow"
    with Journal(other.journal) as journal:
        assert journal.context(CONTEXT.id) == CONTEXT
        fill(journal, first=40, count=10)
    assert shipped(other) == 24
    decided = Lake(other.lake).read(DECISIONS)["decision_id"].to_pylist()
    assert len(decided) == len(set(decided)) == 60


def test_what_is_written_meanwhile_is_in_the_next_one(places: Places, tmp_path: Path) -> None:
    """The lake is copied at the version of the beginning, though it is written to and shipped to meanwhile."""
    version = Lake(places.lake).version(DECISIONS)
    pin = backing._pin

    def and_ship(lake: Lake, table: object) -> object:
        found = pin(lake, table)  # type: ignore[arg-type]
        if table is DECISIONS:
            shipped(places)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backing, "_pin", and_ship)
        made = backup(places, tmp_path / "backup", at=NOW)
    assert Lake(places.lake).version(DECISIONS) > version
    assert made.tables["decisions"].version == version
    other = places_at(tmp_path / "other")
    restore(tmp_path / "backup", other, RING)
    assert Lake(other.lake).read(DECISIONS).num_rows == 36
    assert shipped(other) == 12
    rows = Lake(other.lake).read(ROWS)["decision_id"].to_pylist()
    assert len(rows) == len(set(rows)) == 48


def test_a_journal_that_the_service_writes_is_copied(places: Places, tmp_path: Path) -> None:
    """The service holds the lock and its write-ahead log has entries that the file has not."""
    with Journal(places.journal) as journal:
        fill(journal, first=40, count=10)
        made = backup(places, tmp_path / "backup", at=NOW)
    assert (made.journals["journal.sqlite"].last, made.journals["journal.sqlite"].entries) == (49, 60)


@pytest.mark.parametrize("gone", ["entries", "purchases"])
def test_what_left_a_journal_is_in_the_backup_s_lake(places: Places, tmp_path: Path, gone: str) -> None:
    """A journal that was shortened after the lake was chosen is no part of a backup: what left it would be nowhere."""
    with Journal(places.journal) as journal:
        journal.report([Purchase(f"p{place}", place, None, None, 5, "EUR", place) for place in range(3)])
        everything = {"entries": (Shipped(10**9, 0), 10**9, 0), "purchases": (Shipped(), 0, 2)}
        shipped, held, collected = everything[gone]
        assert journal.shorten(shipped, held=held, before=2**62, most=100, collected=collected) > 0
    with pytest.raises(RecordsError, match=r"journal\.sqlite was shortened while it was copied, beyond what the lake"):
        backup(places, tmp_path / "backup", at=NOW)
    assert not (tmp_path / "backup" / MANIFEST).exists()


def test_places_that_are_in_use_are_refused(places: Places, tmp_path: Path) -> None:
    """Neither a backup nor a restored state is ever mixed with what is there."""
    backup(places, tmp_path / "backup", at=NOW)
    with pytest.raises(RecordsError, match="is not empty; give a folder"):
        backup(places, tmp_path / "backup", at=NOW)
    with pytest.raises(RecordsError, match="is there already"):
        restore(tmp_path / "backup", places, RING)
    other = places_at(tmp_path / "other")
    with Journal(other.journal):
        pass
    with pytest.raises(RecordsError, match=r"journal\.sqlite is there already"):
        restore(tmp_path / "backup", other, RING)


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "manifest", "no manifest", "newer", "outside"])
def test_a_damaged_backup_restores_nothing(places: Places, tmp_path: Path, damage: str) -> None:
    """Whatever was done to a backup is found before anything is written."""
    source = tmp_path / "backup"
    made = backup(places, source, at=NOW)
    file, manifest = source / next(path for path in made.files if path.startswith("lake/rows/day")), source / MANIFEST
    content, said = file.read_bytes(), "is damaged: lake/rows/day"
    if damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "changed":
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "missing":
        file.unlink()
    elif damage == "manifest":
        manifest.write_bytes(manifest.read_bytes()[:-20])
        said = "cannot be read"
    elif damage == "no manifest":
        manifest.unlink()
        said = "is no backup"
    elif damage == "newer":
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
        said = "upgrade slidr"
    else:
        manifest.write_text(manifest.read_text().replace('"lake/rows/day', '"../lake/rows/day'))
        said = "leads out of the backup"
    with pytest.raises(RecordsError, match=said):
        restore(source, places_at(tmp_path / "other"), RING)
    assert not (tmp_path / "other").exists() or not any((tmp_path / "other").rglob("*.parquet"))


def test_a_full_disk_leaves_no_backup(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room is said before, a disk that fills up meanwhile leaves a folder that nothing restores."""
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: usage(10, 10, 10))
        with pytest.raises(RecordsError, match="GB of room"):
            backup(places, tmp_path / "small", at=NOW)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backing, "written", full)
    with pytest.raises(RecordsError, match=r"is no backup, it was not finished: .*No space left"):
        backup(places, tmp_path / "full", at=NOW)
    with pytest.raises(RecordsError, match="is no backup, or one that was not finished"):
        read_manifest(tmp_path / "full")
