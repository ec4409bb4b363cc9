"""Backfill of a lake by day: the same rows, tables and state however often it is stopped, and only new days again."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests import small

from slidr.clock import DAY, HOUR, midnight
from slidr.errors import TableError
from slidr.features import backfill as chunks
from slidr.features.backfill import backfill, encode_table, fold_log
from slidr.features.catalogue import Catalogue, PeakDistinct, check_catalogue, default_catalogue
from slidr.features.days import Backfill, Backfilled, Moment
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.lake.delta import Lake
from slidr.lake.schema import conform
from slidr.settings import FeaturesSettings, located, parse_settings
from slidr.tables import CLICKS, FEATURES

MONDAY = dt.date(2026, 3, 2)
PEAK = PeakDistinct("session", by="ip")
CATALOGUE: Catalogue = check_catalogue(
    (*(feature for feature in default_catalogue(FeaturesSettings()) if not isinstance(feature, PeakDistinct)), PEAK)
)
CLICKS_A_DAY = 150


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks a day, though the days are small."""
    monkeypatch.setattr(chunks, "_CHUNK", 40)


def day_of_clicks(place: int, seed: int = 1) -> pa.Table:
    """Return the clicks of one day, so that a log of more days begins with those of a log of fewer."""
    clicks = small.table_of(small.random_clicks(CLICKS_A_DAY, seed + place))
    steps = np.sort(np.random.default_rng([seed, place]).integers(0, DAY, CLICKS_A_DAY))
    times = pa.array(midnight(MONDAY) + place * DAY + steps).cast(pa.timestamp("us", "UTC"))
    names = [f"{place}-{row * 7 % CLICKS_A_DAY}" for row in range(CLICKS_A_DAY)]
    return conform(CLICKS, clicks.set_column(0, "click_id", pa.array(names)).set_column(1, "time", times))


def prepared(folder: Path, days: int = 5, features: dict[str, Any] | None = None) -> Backfill:
    """Return a backfill of a lake that holds so many days of clicks."""
    settings = located(parse_settings({"features": features or {}}), folder)
    lake = Lake(settings.storage.lake)
    for place in range(days):
        lake.write(CLICKS, day_of_clicks(place))
    return Backfill(lake, settings, CATALOGUE, Pseudonymiser(small.SECRET), now=0)


def silent(done: int, total: int) -> None:
    """Show no progress."""
    assert done <= total


def made(of: Backfill) -> tuple[pa.Table, bytes, dict[str, bytes]]:
    """Return what a backfill leaves: rows, seed, and the tables of slow features."""
    slow = Path(of.settings.storage.slow)
    tables = {str(path.relative_to(slow)): path.read_bytes() for path in sorted(slow.rglob("*")) if path.is_file()}
    return of.lake.read(FEATURES), Path(of.settings.storage.seed).read_bytes(), tables


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Backfill:
    """A backfill of five days that ran from its start to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_CHUNK", 40)
        whole = prepared(tmp_path_factory.mktemp("undisturbed"))
        whole.run(silent)
    return whole


def test_by_day_as_in_one(undisturbed: Backfill) -> None:
    """Day by day gives the rows of one fold over the whole log; it reads the clicks in the lake's order."""
    clicks = undisturbed.lake.read(CLICKS)
    fast = [feature.name for feature in CATALOGUE if feature != PEAK]
    names = [*FEATURES.names, *fast]
    whole = backfill(clicks, CATALOGUE, undisturbed.pseudonymiser)
    assert made(undisturbed)[0].select(names).to_pydict() == whole.select(names).to_pydict()
    store = EmbeddedStore(compile_catalogue(CATALOGUE))
    store.restore(Path(undisturbed.settings.storage.seed), fingerprint=undisturbed.pseudonymiser.fingerprint)
    assert store.sequence == clicks.num_rows


def test_slow_features_know_the_days_before_alone(undisturbed: Backfill) -> None:
    """A click reads the peak of its address over the days before its own; on the first day there is no table."""
    clicks, values = undisturbed.lake.read(CLICKS), made(undisturbed)[0][PEAK.name].to_pylist()
    hours: dict[tuple[str, int], set[str]] = {}
    columns = (clicks["ip"], clicks["session"], clicks["time"].cast(pa.int64()))
    rows = list(zip(*(column.to_pylist() for column in columns), strict=True))
    for ip, session, time in rows:
        if ip and session:
            hours.setdefault((ip, time // HOUR), set()).add(session)
    for (ip, _, time), found in zip(rows, values, strict=True):
        today = time // DAY
        peaks = [len(seen) for (who, hour), seen in hours.items() if who == ip and hour // 24 < today]
        if today == midnight(MONDAY) // DAY:
            assert found == -1
        elif ip:
            assert found == max(peaks, default=0)
    assert max(values) > 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same_bits(undisturbed: Backfill, tmp_path: Path, threads: int) -> None:
    """Rows, seed and tables do not depend on how many threads fold."""
    other = prepared(tmp_path, features={"threads": threads})
    other.run(silent)
    assert made(other) == made(undisturbed)


@pytest.mark.parametrize("stop", [1, 4, 7, 10, 13, 16, 19, 21])
def test_a_run_that_fails_goes_on_as_if_it_had_not(undisturbed: Backfill, tmp_path: Path, stop: int) -> None:
    """Whichever chunk is the last, no half day is in the lake, and the next run ends with the same bits."""
    other = prepared(tmp_path)
    calls = 0

    def failing(done: int, total: int) -> None:
        nonlocal calls
        silent(done, total)
        calls += 1
        if calls == stop:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        other.run(failing)
    expected = {day: content.rows for day, content in undisturbed.lake.contents(FEATURES).items()}
    assert all(content.rows == expected[day] for day, content in other.lake.contents(FEATURES).items())
    again = other.run(silent)
    assert made(other) == made(undisturbed)
    # Four chunks a day, and one call at the start.
    assert again.days == 5 - max(stop - 2, 0) // 4


CHILD = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.features import test_days as of
of.chunks._CHUNK = 40
def tell(done, total):
    print(done, flush=True)
of.prepared(Path(sys.argv[1]), days=0).run(tell)
"""


def test_a_killed_process_goes_on_as_if_it_had_not(undisturbed: Backfill, tmp_path: Path) -> None:
    """SIGKILL at random chunks of real processes: the last one ends with the bits of an undisturbed run."""
    other = prepared(tmp_path)
    generator = np.random.default_rng(11)
    kept = 0
    for lines in (*generator.integers(3, 9, 3).tolist(), 10**6):
        command = [sys.executable, "-c", CHILD, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - this very Python
            assert child.stdout is not None
            for place, line in enumerate(child.stdout, start=1):
                if place == 1:
                    assert int(line) >= kept, "a finished day was folded again"
                    kept = int(line)
                if place == lines:
                    child.kill()
                    break
            child.stdout.read()
    assert child.returncode == 0
    assert kept > 0
    assert made(other) == made(undisturbed)


def test_one_more_day_folds_one_more_day(undisturbed: Backfill, tmp_path: Path) -> None:
    """A lake that has grown by a day costs that day; a lake that has not grown costs nothing."""
    other = prepared(tmp_path, days=4)
    assert other.run(silent) == Backfilled(4 * CLICKS_A_DAY, 4 * CLICKS_A_DAY, 4, 0)
    other.lake.write(CLICKS, day_of_clicks(4))
    assert other.run(silent) == Backfilled(5 * CLICKS_A_DAY, CLICKS_A_DAY, 1, 0)
    assert made(other) == made(undisturbed)
    version = other.lake.version(FEATURES)
    Path(other.settings.storage.seed).unlink()
    assert other.run(silent) == Backfilled(5 * CLICKS_A_DAY, 0, 0, 0)
    assert other.lake.version(FEATURES) == version
    assert made(other) == made(undisturbed)
    assert len(list(Path(other.settings.storage.backfill).iterdir())) == 6


def test_a_changed_day_is_folded_again_with_those_after_it(tmp_path: Path) -> None:
    """Clicks that come late to the newest day cost that day; a change further back costs the whole log."""
    other = prepared(tmp_path)
    other.run(silent)
    other.lake.merge(CLICKS, day_of_clicks(4, seed=50).slice(0, 5))
    assert other.run(silent).days == 1
    other.lake.merge(CLICKS, day_of_clicks(4, seed=50).slice(0, 5))
    assert other.run(silent).days == 0
    other.lake.merge(CLICKS, day_of_clicks(0, seed=50).slice(0, 5))
    assert other.run(silent).days == 5
    fresh = prepared(tmp_path / "fresh", days=0)
    fresh.lake.write(CLICKS, other.lake.read(CLICKS))
    fresh.run(silent)
    assert made(other) == made(fresh)


def test_another_catalogue_or_key_begins_anew(undisturbed: Backfill, tmp_path: Path) -> None:
    """State of another catalogue or key is not taken over, and coming back gives what was there before."""
    other = prepared(tmp_path)
    other.run(silent)
    strangers = (
        Backfill(other.lake, other.settings, CATALOGUE[:-1], other.pseudonymiser, now=0),
        Backfill(other.lake, other.settings, CATALOGUE, Pseudonymiser(bytes(16)), now=0),
        other,
    )
    for stranger in strangers:
        assert stranger.run(silent).days == 5
    assert made(other) == made(undisturbed)


def test_what_is_lost_is_made_again(undisturbed: Backfill, tmp_path: Path) -> None:
    """Rows that were replaced, a table that is gone, a damaged state: each is noticed and made again."""
    other = prepared(tmp_path)
    other.run(silent)
    rows = other.lake.read(FEATURES)
    other.lake.write(FEATURES, rows.slice(0, 7))
    assert other.run(silent).days == 5
    shutil.rmtree(next(path for path in sorted(Path(other.settings.storage.slow).iterdir()) if path.is_dir()))
    assert other.run(silent).days == 5
    for state in Path(other.settings.storage.backfill).glob("*.npz"):
        state.write_bytes(state.read_bytes()[:-100])
    assert other.run(silent).days == 5
    assert made(other) == made(undisturbed)


def test_rows_before_the_wanted_ones_are_not_written(undisturbed: Backfill, tmp_path: Path) -> None:
    """Days that end before the wanted rows only warm the state; wanting them later folds the log again."""
    other = prepared(tmp_path)
    since = midnight(MONDAY) + 2 * DAY
    other.run(silent, since=since)
    rows, seed, tables = made(undisturbed)
    assert made(other) == (undisturbed.lake.read(FEATURES, start=since), seed, tables)
    assert other.run(silent, since=since + DAY).days == 0
    assert other.run(silent).days == 5
    assert made(other) == (rows, seed, tables)


@pytest.mark.parametrize("place", [0, 2 * DAY, 2 * DAY + 7 * HOUR, 9 * DAY])
def test_the_state_at_a_moment(undisturbed: Backfill, tmp_path: Path, place: int) -> None:
    """The state before an instant is that of the clicks before it, wherever in the log the instant lies."""
    other = prepared(tmp_path)
    other.run(silent)
    moment = Moment(midnight(MONDAY) + place, tmp_path / "moment.npz")
    other.run(silent, moment=moment)
    layout = compile_catalogue(CATALOGUE)
    store = EmbeddedStore(layout)
    store.restore(moment.state, fingerprint=other.pseudonymiser.fingerprint)
    rest = other.lake.read(CLICKS, start=moment.instant)
    parts = [part.folded.rows for part in fold_log([rest], layout, other.pseudonymiser, store)]
    fast = [column for column, feature in enumerate(CATALOGUE) if feature != PEAK]
    names = [CATALOGUE[column].name for column in fast]
    expected = np.array([made(undisturbed)[0][name].to_numpy() for name in names]).T[CLICKS_A_DAY * 5 - rest.num_rows :]
    found = np.concatenate([*parts, np.empty((0, len(CATALOGUE)), np.float32)])
    np.testing.assert_array_equal(found[:, fast], expected)
    assert made(other)[0] == made(undisturbed)[0]


def test_chunks_ahead_are_the_same_chunks(undisturbed: Backfill) -> None:
    """Encoding ahead on another thread changes neither the chunks nor their order, and may be left in the middle."""
    layout = compile_catalogue(CATALOGUE)
    tables = [undisturbed.lake.read(CLICKS).slice(0, 100), undisturbed.lake.read(CLICKS).slice(100, 100)]

    def folded(threads: int) -> list[Any]:
        return list(fold_log(tables, layout, undisturbed.pseudonymiser, EmbeddedStore(layout), threads=threads))

    for one, other in zip(folded(1), folded(2), strict=True):
        assert one.clicks.equals(other.clicks)
        np.testing.assert_array_equal(one.folded.rows, other.folded.rows)
        np.testing.assert_array_equal(one.batch.keys, encode_table(one.clicks, layout, undisturbed.pseudonymiser).keys)
    parts = fold_log(tables, layout, undisturbed.pseudonymiser, EmbeddedStore(layout), threads=2)
    assert next(parts).clicks.num_rows == 40
    del parts


def test_a_lake_without_clicks_is_named(tmp_path: Path) -> None:
    """Where nothing was ingested, the error names the table; a table without clicks leaves an empty state."""
    other = prepared(tmp_path, days=0)
    with pytest.raises(TableError, match="no table 'clicks'"):
        other.run(silent)
    other.lake.write(CLICKS, day_of_clicks(0).slice(0, 0))
    assert other.run(silent) == Backfilled(0, 0, 0, 0)
    store = EmbeddedStore(compile_catalogue(CATALOGUE))
    store.restore(Path(other.settings.storage.seed), fingerprint=other.pseudonymiser.fingerprint)
    assert store.sequence == 0
