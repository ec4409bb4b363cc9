"""List files: what a list rule reads, whole or not at all, with a version and an age."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple, TypeVar

from slidr.errors import SettingsError

_Entry = TypeVar("_Entry")
_SHOWN = 80


class ListFile(NamedTuple):
    """A list as it was read.

    Attributes:
        key: the setting that names it.
        name: its path, or what a list that comes with slidr is called.
        text: what it says.
        version: hash of its bytes.
        updated: when it was last changed, microseconds UTC; None for one that comes with slidr and has no date.
    """

    key: str
    name: str
    text: str
    version: str
    updated: int | None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the numbers of the lines, from one, and what they say; comments and empty lines are left out."""
        for number, line in enumerate(self.text.splitlines(), 1):
            said = line.strip()
            if said and not said.startswith("#"):
                yield number, said

    def parsed(self, parse: Callable[[str], _Entry]) -> list[_Entry]:
        """Return what each line says.

        Args:
            parse: reads one line; raises ValueError with the reason where it cannot.

        Raises:
            SettingsError: a line cannot be read, or there is none.
        """
        entries: list[_Entry] = []
        faults: list[tuple[int, str, str]] = []
        for number, line in self.lines():
            try:
                entries.append(parse(line))
            except ValueError as fault:
                faults.append((number, line, str(fault)))
        if faults:
            number, line, reason = faults[0]
            raise self.fault(f"line {number}, {line[:_SHOWN]!r}, {reason}{_others(len(faults) - 1)}")
        if not entries:
            raise self.fault("the list is empty; fill it, or take it out of the setting")
        return entries

    def fault(self, reason: str) -> SettingsError:
        """Return the error that the list cannot be used."""
        return SettingsError(f"{self.key}: {self.name}: {reason}")


class Listed(NamedTuple):
    """One list that a rule reads, in a word.

    Attributes:
        name: its path, or what a list that comes with slidr is called.
        version: hash of its content.
        updated: when it was last changed, microseconds UTC; None where it has no date.
        entries: how many it has.
    """

    name: str
    version: str
    updated: int | None
    entries: int


def read_list(key: str, path: str) -> ListFile:
    """Read a list of the settings; its file's time of change is its date.

    Raises:
        SettingsError: it is no file that can be read as UTF-8 text.
    """
    if "://" in path:
        raise SettingsError(f"{key}: {path} is an address; fetch the list to a file, and name the file")
    place = Path(path)
    try:
        updated = place.stat().st_mtime_ns // 1000
    except (OSError, ValueError) as fault:
        raise SettingsError(f"{key}: {path} cannot be read: {fault}; correct the path, or take it out") from None
    return _read(key, path, place, updated)


def read_packaged(key: str, name: str, place: Traversable, updated: int | None = None) -> ListFile:
    """Read a list that is installed with slidr; see `read_list`."""
    return _read(key, name, place, updated)


def built_in(key: str, name: str, text: str) -> ListFile:
    """Return a list that stands in the code."""
    return ListFile(key, name, text, version_of(text.encode()), None)


def version_of(*contents: bytes) -> str:
    """Return the version of lists together: a hash that changes with any of them.

    >>> version_of(b"bot") != version_of(b"bots") != version_of(b"bot", b"s")
    True
    """
    one = contents[0] if len(contents) == 1 else b"".join(hashlib.sha256(content).digest() for content in contents)
    return hashlib.sha256(one).hexdigest()[:12]


def oldest(lists: tuple[Listed, ...]) -> int | None:
    """Return when the list that has waited longest was changed; None where none has a date."""
    return min((listed.updated for listed in lists if listed.updated is not None), default=None)


def _read(key: str, name: str, place: Path | Traversable, updated: int | None) -> ListFile:
    try:
        content = place.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as fault:
        raise SettingsError(f"{key}: {name} cannot be read: {fault}; correct the path, or take it out") from None
    except UnicodeDecodeError as fault:
        line = content[: fault.start].count(b"\n") + 1
        raise SettingsError(f"{key}: {name}: line {line} is not UTF-8 text: {fault}; save the list as UTF-8") from None
    return ListFile(key, name, text, version_of(content), updated)


def _others(count: int) -> str:
    return "" if count == 0 else f"; {count} more line{'s' if count > 1 else ''} cannot be read either"
