"""Checkpoints: the state behind each of the newest days of a backfill, and what it was made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

_KEPT = 3
"""Checkpoints that are kept: clicks of the newest day still arrive, and now and then some of the day before."""


class Checkpoint(NamedTuple):
    """The state behind a day.

    Attributes:
        day: the last day that is folded.
        made_from: a hash of everything that the state was made from, see `chain`.
        state: the file of the state.
        written: hash of what the lake's FEATURES held, for each day whose rows were written.
    """

    day: date
    made_from: str
    state: Path
    written: dict[date, str]


class Checkpoints:
    """The checkpoints of a folder.

    A checkpoint is a state, `<day>-<made from>.npz`, and a note of the same name that is written after it: a state
    without its note does not count.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def found(self, made_from: dict[date, str]) -> list[Checkpoint]:
        """Return the checkpoints of a log, the newest first.

        Args:
            made_from: for each day of the log, what the state behind it is made from.
        """
        files = [(day, made, self.state(day, made)) for day, made in sorted(made_from.items(), reverse=True)]
        return [Checkpoint(day, made, state, _written(state)) for day, made, state in files if _note(state).exists()]

    def state(self, day: date, made_from: str) -> Path:
        """Return where the state behind a day belongs."""
        return self._folder / f"{day.isoformat()}-{made_from}.npz"

    def note(self, checkpoint: Checkpoint) -> None:
        """Make a state that is written a checkpoint, and remove all but the newest days'."""
        note = _note(checkpoint.state)
        part = note.with_suffix(".part")
        with part.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(checkpoint.written), indent=1))
            file.flush()
            os.fsync(file.fileno())
        part.replace(note)
        days = sorted({one.name[:10] for one in self._folder.glob("*.npz")})
        for old in self._folder.iterdir():
            # What was made later than this checkpoint was made from another log.
            if old.name[:10] not in days[-_KEPT:] or old.name[:10] > note.name[:10]:
                old.unlink()


def chain(days: Iterable[tuple[date, str]], first: str) -> dict[date, str]:
    """Return, for each day, a hash of its content and of all before it.

    >>> one, other = (chain([(date(2026, 3, 2), "a"), (date(2026, 3, 3), last)], "catalogue") for last in "bc")
    >>> [one[day] == other[day] for day in one]
    [True, False]
    """
    links = {}
    for day, content in days:
        first = hashlib.sha256(f"{first} {day.isoformat()} {content}".encode()).hexdigest()[:16]
        links[day] = first
    return links


def _note(state: Path) -> Path:
    return state.with_suffix(".json")


def _written(state: Path) -> dict[date, str]:
    return msgspec.json.decode(_note(state).read_bytes(), type=dict[date, str])
