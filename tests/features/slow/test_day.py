"""Building tables of slow features: whole or not at all, whatever happens to the files and beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.features.slow.days import EPOCH, KEY, LAYOUT, build_days, click, clicks_of, one_day, random_days

from slidr.clock import DAY, HOUR
from slidr.errors import FeatureError
from slidr.features.catalogue import PeakDistinct, check_catalogue
from slidr.features.layout import compile_catalogue
from slidr.features.slow import NOT_KNOWN, SlowDay, SlowTables, build_slow, built_days
from slidr.features.slow.table import MANIFEST, read_manifest

FILES = ("ip-keys", "ip-values", "ip-day_keys", "ip-day_peaks")


def day_of(number: int) -> str:
    """Return the name of a day's folder."""
    return (EPOCH + timedelta(days=number)).isoformat()


def value(tables: SlowTables, day: int, ip: int = 7) -> float:
    """Return the peak of users that an ip has for a click of a day."""
    rows = np.zeros((1, len(LAYOUT.names)), np.float32)
    tables.fill(LAYOUT, click(day * DAY, ip=ip), rows)
    return float(rows[0, 0])


def the_file(folder: Path, day: int, about: str) -> Path:
    """Return a file of a day's table."""
    (path,) = (folder / day_of(day)).glob(f"{about}-*.npy")
    return path


def test_a_table_does_not_depend_on_the_chunks(tmp_path: Path) -> None:
    """Clicks in any order and in chunks of any size make the same files."""
    history = random_days(3, 400, 3)
    build_days(tmp_path / "one", history, 3, chunk=400)
    backwards = history.take(np.arange(len(history))[::-1])
    build_days(tmp_path / "other", backwards, 3, chunk=7)
    one, other = (
        [p.relative_to(root) for p in sorted(root.rglob("*"))] for root in (tmp_path / "one", tmp_path / "other")
    )
    assert one == other
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "other" / path).read_bytes()
               for path in one if path.suffix)  # fmt: skip


def test_an_hour_is_one_of_the_clock(tmp_path: Path) -> None:
    """Two users on either side of a full hour are not in one hour, and days do not run into each other."""
    times = [DAY + HOUR - 1, DAY + HOUR, 2 * DAY - 1, 2 * DAY]
    history = clicks_of(LAYOUT, times, [[1 + user, 0, 7, 0, 0] for user in range(4)])
    build_days(tmp_path, history, 2)
    assert value(SlowTables(tmp_path, 2 * DAY, KEY), 3) == 1


def test_a_peak_is_forgotten_after_its_days(tmp_path: Path) -> None:
    """A day of five users counts for 30 days after it, and no longer."""
    one_day(tmp_path, 10, 5)
    for day in range(11, 42):
        one_day(tmp_path, day, 1)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    assert [value(tables, day) for day in (11, 40, 41)] == [5, 5, 1]


def test_a_day_without_clicks_has_a_table(tmp_path: Path) -> None:
    """It tells what the days before tell."""
    one_day(tmp_path, 10, 5)
    build_slow(tmp_path, EPOCH + timedelta(days=11), LAYOUT, [], fingerprint=KEY, created=0)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    assert (value(tables, 12), value(tables, 12, ip=8)) == (5, 0)
    build_slow(tmp_path, EPOCH + timedelta(days=20), LAYOUT, [], fingerprint=KEY, created=0)
    tables.refresh()
    assert value(tables, 21) == 5


@pytest.mark.parametrize("about", FILES[:2])
@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "gone"])
def test_a_damaged_table_is_not_used(tmp_path: Path, about: str, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is not what the manifest says: the table is left aside with a warning, an older one serves."""
    one_day(tmp_path, 10, 5)
    one_day(tmp_path, 11, 6)
    path = the_file(tmp_path, 11, about)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"changed": content[:-1] + b"\x7f", "cut": content[:-3], "empty": b""}[damage])
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    assert value(tables, 12) == 5
    assert tables.newest == 11 * DAY
    assert f"{day_of(11)}/{about}" in caplog.text
    shutil.rmtree(tmp_path / day_of(10))
    tables.refresh()
    assert value(tables, 12) == NOT_KNOWN


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 1', b"\xff"])
def test_a_damaged_manifest_is_no_table(tmp_path: Path, content: bytes) -> None:
    """Nothing is read of a table whose manifest cannot be, and the days after are rolled without it."""
    one_day(tmp_path, 10, 5)
    (tmp_path / day_of(10) / MANIFEST).write_bytes(content)
    assert value(SlowTables(tmp_path, 2 * DAY, KEY), 11) == NOT_KNOWN
    assert built_days(tmp_path, LAYOUT, KEY) == frozenset()
    one_day(tmp_path, 11, 2)
    assert value(SlowTables(tmp_path, 2 * DAY, KEY), 12) == 2


def test_a_version_of_the_future_is_refused(tmp_path: Path) -> None:
    """A table of another version names both versions and what to do."""
    one_day(tmp_path, 10, 5)
    path = tmp_path / day_of(10) / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(FeatureError, match="has version 2 and key 00000000000000aa; this process reads version 1"):
        read_manifest(path.parent, KEY)


@pytest.mark.parametrize("about", FILES[2:])
def test_a_damaged_day_is_left_out_of_the_next(tmp_path: Path, about: str, caplog: pytest.LogCaptureFixture) -> None:
    """The peaks of a day that cannot be read are missing from the tables that are rolled from it."""
    one_day(tmp_path, 10, 5)
    the_file(tmp_path, 10, about).write_bytes(b"x")
    one_day(tmp_path, 11, 2)
    assert value(SlowTables(tmp_path, 2 * DAY, KEY), 12) == 2
    assert f"rolled without that of {day_of(10)}" in caplog.text


def test_a_new_table_is_taken_up(tmp_path: Path) -> None:
    """A table that is built while a process reads is used from the next refresh on."""
    one_day(tmp_path, 10, 2)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    one_day(tmp_path, 11, 5)
    assert value(tables, 12) == 2
    tables.refresh()
    assert (value(tables, 12), tables.newest) == (5, 12 * DAY)


def test_a_table_is_replaced_under_its_readers(tmp_path: Path) -> None:
    """A reader goes on with the table that it opened until it refreshes; the old files are gone by then."""
    one_day(tmp_path, 10, 2)
    old, before = SlowTables(tmp_path, 2 * DAY, KEY), the_file(tmp_path, 10, "ip-values")
    one_day(tmp_path, 10, 5)
    assert not before.exists()
    assert len(list((tmp_path / day_of(10)).iterdir())) == 1 + 8
    assert (value(old, 11), value(SlowTables(tmp_path, 2 * DAY, KEY), 11)) == (2, 5)
    old.refresh()
    assert value(old, 11) == 5
    shutil.rmtree(tmp_path / day_of(10))
    assert value(old, 11) == 5
    old.refresh()
    assert (value(old, 11), old.newest) == (NOT_KNOWN, None)


_REBUILD = """
import sys
from pathlib import Path
from tests.features.slow.days import one_day
for users in range(1, 30):
    one_day(Path(sys.argv[1]), 10, users)
"""


def test_two_processes(tmp_path: Path) -> None:
    """While one process builds a table again and again, every look of another finds it whole, newer each time."""
    one_day(tmp_path, 10, 1)
    tables, seen = SlowTables(tmp_path, 2 * DAY, KEY), [1.0]
    command = [sys.executable, "-c", _REBUILD, str(tmp_path)]
    with subprocess.Popen(command) as builder:  # noqa: S603 ours
        while builder.poll() is None:
            tables.refresh()
            seen.append(value(tables, 11))
    tables.refresh()
    assert seen == sorted(seen)
    assert (value(tables, 11), builder.returncode) == (29, 0)


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Where the clicks break off, there is no table and no leftover, and an older table of the day stays."""
    one_day(tmp_path, 10, 2)

    def broken() -> object:
        yield click(10 * DAY, user=1, ip=7)
        raise RuntimeError("the log broke off")

    for day in (10, 11):
        with pytest.raises(RuntimeError):
            build_slow(tmp_path, EPOCH + timedelta(days=day), LAYOUT, broken(), fingerprint=KEY, created=0)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == [day_of(10)]
    assert value(SlowTables(tmp_path, 2 * DAY, KEY), 11) == 2


def test_what_a_killed_build_left_is_cleared(tmp_path: Path) -> None:
    """The next build of the day drops it, and one that still ran says so."""
    killed = SlowDay(tmp_path, EPOCH, LAYOUT, KEY)
    killed.add(click(0, user=1, ip=7))
    (left,) = tmp_path.iterdir()
    with SlowDay(tmp_path, EPOCH, LAYOUT, KEY) as again:
        assert not left.exists()
        again.add(click(0, user=2, ip=7))
        again.write(0)
    with pytest.raises(FeatureError, match=r"1970-01-01 cannot be written .* nothing else builds that day"):
        killed.add(click(0, user=1, ip=7))
    with pytest.raises(FeatureError, match="cannot be written"):
        killed.write(0)
    assert [path.name for path in tmp_path.iterdir()] == [day_of(0)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where the folder should be is an error with the key to change, not a traceback."""
    (tmp_path / "slow").write_text("")
    with pytest.raises(FeatureError, match=r"slow: the table .*\(storage\.slow\)"):
        SlowDay(tmp_path / "slow", EPOCH, LAYOUT, KEY)


def test_built_days_are_those_with_every_feature(tmp_path: Path) -> None:
    """A day counts as built where its table is of the key and holds all that the catalogue asks for."""
    one_day(tmp_path, 10, 2)
    one_day(tmp_path, 11, 2)
    days = {EPOCH + timedelta(days=day) for day in (10, 11)}
    more = compile_catalogue(check_catalogue((PeakDistinct("device", by="ip"), PeakDistinct("user", by="ip"))))
    assert built_days(tmp_path, LAYOUT, KEY) == days
    assert built_days(tmp_path, LAYOUT, "bb") == built_days(tmp_path, more, KEY) == frozenset()
    assert built_days(tmp_path / "none", LAYOUT, KEY) == frozenset()
