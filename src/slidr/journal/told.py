"""Told: files beside a journal that say what of it is elsewhere, so that the service that holds it may shorten it.

`slidr ship` tells up to where the lake has the entries (`JOURNAL.shipped`), `slidr collect` up to where it has the
purchases (`JOURNAL.collected`), and `slidr fold`, where processes share a store, up to where the state of all of their
journals has the clicks (`JOURNAL.held`). A file names its journal and carries a check, and is believed only as it was
written.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from slidr.errors import JournalError
from slidr.journal.shortening import Shipped

_COMMANDS = {"shipped": "slidr ship", "held": "slidr fold", "collected": "slidr collect"}


def beside(journal: Path, kind: str) -> Path:
    """Return the file that tells something of a journal.

    >>> beside(Path("journal.sqlite"), "shipped").name
    'journal.sqlite.shipped'
    """
    return journal.with_name(f"{journal.name}.{kind}")


def tell_shipped(journal: Path, name: str, shipped: Shipped) -> None:
    """Write down what of a journal, with this id, is shipped; whole or not at all."""
    _tell(journal, name, "shipped", shipped._asdict())


def told_shipped(journal: Path, name: str) -> Shipped:
    """Return what of a journal, with this id, was told to be shipped; nothing where nothing was.

    Raises:
        JournalError: the file was changed by another hand, or tells of another journal.
    """
    told = _told(journal, name, "shipped")
    return Shipped(told["sequence"], told["number"]) if told else Shipped()


def tell_held(journal: Path, name: str, clicks: int) -> None:
    """Write down how many clicks the state of all journals of a store holds; whole or not at all."""
    _tell(journal, name, "held", {"clicks": clicks})


def told_held(journal: Path, name: str) -> int:
    """Return how many clicks the state of all journals was told to hold; zero where nothing was.

    Raises:
        JournalError: the file was changed by another hand, or tells of another journal.
    """
    return _told(journal, name, "held").get("clicks", 0)


def tell_collected(journal: Path, name: str, number: int) -> None:
    """Write down up to which number a journal's purchases are in the lake; whole or not at all."""
    _tell(journal, name, "collected", {"number": number})


def told_collected(journal: Path, name: str) -> int:
    """Return up to which number a journal's purchases were told to be in the lake; zero where nothing was.

    Raises:
        JournalError: the file was changed by another hand, or tells of another journal.
    """
    return _told(journal, name, "collected").get("number", 0)


def _tell(journal: Path, name: str, kind: str, numbers: Mapping[str, int]) -> None:
    told = {"journal": name, **numbers}
    path = beside(journal, kind)
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.write_text(json.dumps({**told, "check": _check(told)}) + "\n")
    part.replace(path)


def _told(journal: Path, name: str, kind: str) -> dict[str, int]:
    """Return the numbers that were written down; none where none were."""
    path, command = beside(journal, kind), _COMMANDS[kind]
    try:
        told = json.loads(path.read_bytes())
        check = told.pop("check")
        whose = told["journal"]
        numbers = {key: int(value) for key, value in told.items() if key != "journal"}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        check = whose = told = None
        numbers = {}
    if told is None or check != _check(told):
        raise JournalError(f"{path} is not as `{command}` wrote it; delete it, and the next `{command}` writes it anew")
    if whose != name:
        raise JournalError(f"{path} tells of journal {whose}, {journal} is {name}; delete it")
    return numbers


def _check(told: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
