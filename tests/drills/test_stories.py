"""Every story that is found, played once on a small day: it leaves no trace in decisions or in money."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from slidr.drills import play, stories
from slidr.drills.clock import SharedClock
from slidr.drills.stage import Stage, prepare
from slidr.drills.timeline import Event, Timeline

CLICKS = 5000


@pytest.fixture(scope="module")
def prepared(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A project whose champion is learnt, and in it what its day comes to undisturbed."""

    def make(folder: Path) -> None:
        undisturbed = prepare(folder, CLICKS, 1, lambda _event: None).undisturbed()
        undisturbed.folder.rename(folder / "undisturbed")

    return once("drills", make)


@pytest.mark.parametrize("name", stories())
def test_a_story_leaves_no_trace(name: str, prepared: Path, tmp_path: Path) -> None:
    """What was decided wrongly is settled as if nothing had happened, and adjusted to the cent."""
    folder = tmp_path / "project"
    shutil.copytree(prepared, folder)
    clock, events = SharedClock(folder / "clock"), list[Event]()
    (clicks,) = (folder / "later" / "clicks").glob("*.parquet")
    figures = play(name, Stage(folder, pq.read_table(clicks), clock, Timeline(clock, events.append)))
    assert figures["settled_differences"] == 0
    assert figures["adjustment_error_cents"] == 0
    assert events
    assert [one.seconds for one in events] == sorted(one.seconds for one in events)


def test_every_story_says_what_happens() -> None:
    """The first line of each story's docstring is one sentence."""
    assert all(line.endswith(".") for line in stories().values())
