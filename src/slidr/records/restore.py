"""Restore: a backup is checked file by file, put in place, and what is then there is verified.

Nothing is written before every file has the size and the hash that the manifest names, and unless every place that is
written to is empty. The journals and the champions' history come last, so that no service starts on half of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from slidr.audit import Audit, Verified
from slidr.datasets import dataset_of
from slidr.errors import RecordsError
from slidr.features.keys import KeyRing
from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.records.backup import FORMAT, MANIFEST, Manifest, journal_held
from slidr.records.places import Places, Tree, empty, parts, read_held, written
from slidr.tables import DECISIONS, TABLES


class Restored(NamedTuple):
    """What was restored.

    Attributes:
        manifest: of the backup.
        audit: what the audit log is now.
    """

    manifest: Manifest
    audit: Verified


def read_manifest(source: Path) -> Manifest:
    """Return what a backup says that it holds.

    Raises:
        RecordsError: it is none, was not finished, or is of a newer slidr.
    """
    path = source / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise RecordsError(f"{source} is no backup, or one that was not finished: it has no {MANIFEST}") from None
    except (OSError, msgspec.MsgspecError) as fault:
        raise RecordsError(f"{path} cannot be read: {fault}; take another backup") from fault
    if manifest.format > FORMAT:
        raise RecordsError(f"{source} has format {manifest.format}; this slidr reads up to {FORMAT}: upgrade slidr")
    return manifest


def check_backup(source: Path) -> Manifest:
    """Return what a backup holds, once every file of it has been read and is as it was written.

    Raises:
        RecordsError: a file is missing, cut short or changed.
    """
    manifest = read_manifest(source)
    faults = []
    for path, held in manifest.files.items():
        if Path(path).is_absolute() or ".." in Path(path).parts:
            faults.append(f"{path} leads out of the backup")
        elif not (source / path).is_file():
            faults.append(f"{path} is missing")
        elif (found := read_held(source / path)) != held:
            what = "changed" if found.bytes == held.bytes else f"{found.bytes:,} bytes long instead of {held.bytes:,}"
            faults.append(f"{path} is {what}")
    if faults:
        more = f" and {len(faults) - 1:,} more" if len(faults) > 1 else ""
        raise RecordsError(f"{source} is damaged: {faults[0]}{more}; nothing was restored: take another backup")
    return manifest


def restore(source: Path, places: Places, ring: KeyRing | None) -> Restored:
    """Put a backup in place and verify what is then there.

    Args:
        source: the backup.
        places: where to; all of them empty.
        ring: the secret keys that are there; None where there are none.

    Raises:
        RecordsError: a place is not empty, the backup is damaged, its secret keys are not there, or what was restored
            is not what was backed up.
    """
    _refuse_used(places)
    manifest = check_backup(source)
    if "files/key" not in manifest.files:
        _refuse_other_keys(manifest, places, ring)
    lake, registry = Tree(places.lake), Tree(places.registry)
    try:
        for path in sorted(manifest.files, key=lambda path: (_rank(path), path)):
            area, _, rest = path.partition("/")
            file = source / path
            if area == "lake":
                lake.copy_in(file, rest)
            elif area == "registry":
                registry.copy_in(file, rest)
            elif (target := _target(places, area, rest)) is not None:
                written(target, parts(file))
    except OSError as fault:
        raise RecordsError(
            f"the backup is not restored: {fault}; delete what was written and run this again"
        ) from fault
    return Restored(manifest, _verify(manifest, places, ring))


def _rank(path: str) -> int:
    """Return when a file is put in place: what lets a service start last."""
    first = ("lake/", "slow/", "backfill/", "files/", "state/", "registry/bundles/", "registry/audit/", "journals/")
    return next((rank for rank, begin in enumerate(first) if path.startswith(begin)), len(first))


def _target(places: Places, area: str, rest: str) -> Path | None:
    if area in places.folders:
        return places.folders[area] / rest
    if area == "journals":
        return places.journal.parent / rest
    if area == "state":
        return places.state.parent / rest
    return places.key_file if (area, rest) == ("files", "key") else places.files.get(rest)


def _refuse_used(places: Places) -> None:
    used = [
        f"{place} ({len(found):,} files)" for place in (places.lake, places.registry) if (found := Tree(place).paths())
    ]
    used += [str(folder) for folder in places.folders.values() if not empty(folder)]
    used += [str(path) for path in (*places.journals(), *places.states(), *places.files.values()) if path.exists()]
    if used:
        raise RecordsError(
            f"{used[0]} is there already, and so {len(used) - 1:,} other places: a backup is restored to where nothing"
            " is; move them away, or name other places in the settings"
        )


def _refuse_other_keys(manifest: Manifest, places: Places, ring: KeyRing | None) -> None:
    missing = [name for name in manifest.keys if ring is None or ring.of(name) is None]
    if missing:
        raise RecordsError(
            f"the state of this backup is hashed with the secret key {missing[0]}, which is not in {places.key_file}:"
            f" put the key file, which was {manifest.key_file} and is not part of a backup, there first"
        )


def _verify(manifest: Manifest, places: Places, ring: KeyRing | None) -> Verified:
    """Check that what was restored is what was backed up, part by part."""
    lake = Lake(places.lake)
    for table in TABLES:
        held = manifest.tables.get(table.name)
        if held is None:
            continue
        rows = dataset_of(lake.open(table)).count_rows()
        if (lake.version(table), rows) != (held.version, held.rows):
            raise RecordsError(
                f"{lake.address(table)} has {rows:,} rows at version {lake.version(table)}, and not {held.rows:,} at"
                f" {held.version}, as it was backed up"
            )
    for name, held_journal in manifest.journals.items():
        path = places.journal.parent / name
        if journal_held(path) != held_journal:
            raise RecordsError(f"{path} is not as it was backed up")
        with Journal(path, write=False) as journal:
            ahead = (lake.transaction(DECISIONS, f"{journal.id}:order") or 0) - 1
            if ahead > journal.last_sequence:
                raise RecordsError(f"{path} ends at click {journal.last_sequence}, the lake has it up to {ahead}")
    verified = Audit(places.registry, ring).verify(manifest.audit)
    if verified.faults:
        number, reason = verified.faults[0]
        raise RecordsError(f"record {number} of the restored audit log: {reason}")
    return verified
