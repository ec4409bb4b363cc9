"""Advisories: which versions of packages have known holes, read from a file of the OSV database without a network.

The file is `PyPI/all.zip` of the database's export (https://google.github.io/osv.dev/data/), one advisory in JSON a
member, in the schema https://ossf.github.io/osv-schema/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


def read_advisories(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the advisories of a file that were not withdrawn."""
    with ZipFile(path) as held:
        for name in held.namelist():
            advisory = msgspec.json.decode(held.read(name))
            if "withdrawn" not in advisory:
                yield advisory


def holes(advisories: Iterable[Mapping[str, Any]], packages: Mapping[str, str]) -> list[str]:
    """Return which packages have known holes, a line each: name, version, advisory.

    Args:
        advisories: in OSV's schema.
        packages: versions by canonical name.
    """
    found = set()
    for advisory in advisories:
        for affected in advisory.get("affected", ()):
            about = affected.get("package", {})
            name = canonicalize_name(about.get("name", ""))
            if about.get("ecosystem") == "PyPI" and name in packages and is_affected(affected, packages[name]):
                found.add(f"{name} {packages[name]}: {advisory['id']}")
    return sorted(found)


def is_affected(affected: Mapping[str, Any], version: str) -> bool:
    """Return whether a version is one of those that an advisory names, or lies in one of its ranges."""
    return version in affected.get("versions", ()) or any(
        _within(span["events"], Version(version))
        for span in affected.get("ranges", ())
        if span.get("type") == "ECOSYSTEM"
    )


def _within(events: Iterable[Mapping[str, str]], version: Version) -> bool:
    """Return whether a version lies between a version that introduced a hole and the one that closed it."""
    ordered = sorted(((_version(text), kind) for event in events for kind, text in event.items()), key=lambda at: at[0])
    inside = False
    for at, kind in ordered:
        if kind == "introduced" and at <= version:
            inside = True
        elif (kind == "fixed" and at <= version) or (kind == "last_affected" and at < version):
            inside = False
    return inside


def _version(text: str) -> Version:
    """Return a version; one that is none is taken as newer than all, so that a hole stays open."""
    try:
        return Version(text)
    except InvalidVersion:
        return Version("999999")
