"""Checkpoints: which states of a backfill count, and which are kept."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from slidr.features.checkpoints import Checkpoint, Checkpoints, chain

DAYS = [date(2026, 3, 2) + timedelta(days=place) for place in range(6)]


def kept(folder: Path, links: dict[date, str]) -> list[date]:
    """Write a checkpoint behind every day and return those that are found."""
    checkpoints = Checkpoints(folder)
    folder.mkdir(exist_ok=True)
    for day, made_from in links.items():
        state = checkpoints.state(day, made_from)
        state.write_bytes(b"state")
        checkpoints.note(Checkpoint(day, made_from, state, {day: "rows"}))
    return [checkpoint.day for checkpoint in checkpoints.found(links)]


def test_the_newest_three_are_kept(tmp_path: Path) -> None:
    """Only the newest days' states take room, and each tells what was written."""
    links = chain([(day, "a") for day in DAYS], "catalogue")
    assert kept(tmp_path / "states", links) == DAYS[:2:-1]
    assert len(list((tmp_path / "states").iterdir())) == 6
    newest = Checkpoints(tmp_path / "states").found(links)[0]
    assert newest.written == {DAYS[-1]: "rows"}
    assert newest.state.read_bytes() == b"state"


def test_a_state_of_another_log_is_not_found(tmp_path: Path) -> None:
    """A day that changed takes the states behind it and after it with it, and so does another beginning."""
    folder = tmp_path / "states"
    kept(folder, chain([(day, "a") for day in DAYS], "catalogue"))
    changed = chain([(day, "b" if day == DAYS[4] else "a") for day in DAYS], "catalogue")
    assert [found.day for found in Checkpoints(folder).found(changed)] == [DAYS[3]]
    assert Checkpoints(folder).found(chain([(day, "a") for day in DAYS], "another")) == []
    assert Checkpoints(tmp_path / "none").found(changed) == []


def test_a_state_without_its_note_does_not_count(tmp_path: Path) -> None:
    """What was killed while it wrote the state is as if it had not begun, and is cleared away later."""
    links = chain([(day, "a") for day in DAYS[:2]], "catalogue")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.state(DAYS[0], links[DAYS[0]]).write_bytes(b"half a st")
    assert checkpoints.found(links) == []
    assert kept(tmp_path, links) == [DAYS[1], DAYS[0]]


def test_an_older_log_clears_the_newer_ones(tmp_path: Path) -> None:
    """States of days past the checkpoint are of a log that is no longer there."""
    kept(tmp_path, chain([(day, "a") for day in DAYS], "catalogue"))
    shorter = chain([(day, "b") for day in DAYS[:4]], "catalogue")
    assert kept(tmp_path, shorter)[0] == DAYS[3]
    assert all(path.name[:10] <= DAYS[3].isoformat() for path in tmp_path.iterdir())
