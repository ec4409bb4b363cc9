from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from slidr.cli import slidr
from slidr.clock import DAY, MINUTE
from slidr.collect import Collected, collect
from slidr.errors import JournalError
from slidr.features.keys import KeyRing, Pseudonymiser, Secret
from slidr.journal import Journal, Purchase, Shipped
from slidr.journal.told import told_collected
from slidr.lake.delta import Lake
from slidr.tables import CLICKS, PURCHASES

OLD, NEW = bytes(range(16)), bytes(range(16, 32))
RING = KeyRing((Secret(OLD, 0), Secret(NEW, 1)))
START = int(datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp()) * 1_000_000


def key(user: str, secret: bytes = OLD) -> int:
    """Return the hash of an account as a journal holds it."""
    return int(Pseudonymiser(secret).texts([user]).view("int64")[0])


def purchase(number: int, user: str | None = None, *, secret: bytes = OLD, reported: int = 0) -> Purchase:
    """Return a purchase as a journal holds it."""
    user_key = None if user is None else key(user, secret)
    return Purchase(f"p{number}", START + number * MINUTE, user_key, None, 5_000_000, "EUR", START + DAY + reported)


def report(path: Path, *purchases: Purchase) -> Journal:
    """Return a journal that holds purchases, open to be read."""
    with Journal(path) as journal:
        journal.report(purchases)
    return Journal(path, write=False)


def clicked(lake: Lake, *users: str, day: int = 0) -> None:
    """Write a click for each account on a day of its own."""
    times = pa.array([START + day * DAY] * len(users), pa.timestamp("us", tz="UTC"))
    names = [f"{user}-{day}" for user in users]
    lake.write(CLICKS, pa.table({"click_id": names, "time": times, "user": list(users)}))


def users(lake: Lake) -> dict[str, str | None]:
    """Return whose the purchases of a lake are."""
    found = lake.read(PURCHASES)
    return dict(zip(found["purchase_id"].to_pylist(), found["user"].to_pylist(), strict=True))


def test_purchases_reach_the_lake_once(tmp_path: Path) -> None:
    """A collection puts every purchase of a journal into the lake as it was reported; the next one changes nothing."""
    lake = Lake(str(tmp_path / "lake"))
    clicked(lake, "anna", "bela")
    with report(
        tmp_path / "journal.sqlite", purchase(1, "anna"), purchase(2), purchase(3, "bela", secret=NEW)
    ) as journal:
        assert collect(lake, [journal], RING) == Collected(3, 3, 0, 0)
        version = lake.version(PURCHASES)
        assert collect(lake, [journal], RING) == Collected(0, 0, 0, 0)
    assert lake.version(PURCHASES) == version
    assert users(lake) == {"p1": "anna", "p2": None, "p3": "bela"}
    (first,) = lake.read(PURCHASES).slice(0, 1).to_pylist()
    time = datetime(2026, 3, 2, 8, 1, tzinfo=UTC)
    expected = {"purchase_id": "p1", "time": time, "user": "anna", "click_id": None, "value": 5_000_000}
    assert first == {**expected, "currency": "EUR"}


def test_an_account_gets_its_name_once_its_clicks_are_there(tmp_path: Path) -> None:
    """An account without clicks stands in the lake as its hash, which is one for all its purchases, until then."""
    lake = Lake(str(tmp_path / "lake"))
    with report(tmp_path / "journal.sqlite", purchase(1, "anna"), purchase(2, "anna"), purchase(3, "bela")) as journal:
        assert collect(lake, [journal], RING) == Collected(3, 3, 0, 3)
        before = users(lake)
        assert before["p1"] == before["p2"] != before["p3"]
        assert str(before["p1"]) == f"key:{key('anna') & 2**64 - 1:016x}"
        clicked(lake, "anna", day=1)
        assert collect(lake, [journal], RING) == Collected(0, 0, 2, 1)
        assert users(lake) == {**before, "p1": "anna", "p2": "anna"}
        assert collect(lake, [journal], RING) == Collected(0, 0, 0, 1)


def test_what_the_lake_holds_stays(tmp_path: Path) -> None:
    """A purchase that a log told of is not replaced by a report of it, even where they differ by a day."""
    lake = Lake(str(tmp_path / "lake"))
    times = pa.array([START + 3 * DAY], pa.timestamp("us", tz="UTC"))
    lake.write(PURCHASES, pa.table({"purchase_id": ["p1"], "time": times, "user": ["from the log"]}))
    with report(tmp_path / "journal.sqlite", purchase(1, "anna"), purchase(2, "anna")) as journal:
        assert collect(lake, [journal], RING) == Collected(2, 1, 0, 1)
    assert users(lake)["p1"] == "from the log"
    assert lake.read(PURCHASES).num_rows == 2


def test_the_first_report_of_several_journals_counts(tmp_path: Path) -> None:
    """A purchase that two services were told of is in the lake once, as it was told first."""
    lake = Lake(str(tmp_path / "lake"))
    clicked(lake, "anna", "bela")
    late = report(tmp_path / "late.sqlite", purchase(1, "bela", reported=2))
    early = report(tmp_path / "early.sqlite", purchase(1, "anna", reported=1))
    with late, early:
        assert collect(lake, [late, early], RING).new == 1
    assert users(lake) == {"p1": "anna"}


def test_a_journal_is_read_on_where_it_was_collected(tmp_path: Path) -> None:
    """What was collected is not read again, the lake keeps its days, and what is reported twice is told as not new."""
    lake, path = Lake(str(tmp_path / "lake")), tmp_path / "journal.sqlite"
    clicked(lake, "anna")
    found = []
    for numbers in ((1, 2), (), (2, 3), (4,)):
        with report(path, *(purchase(number, "anna") for number in numbers)) as journal:
            found.append(collect(lake, [journal], RING))
    assert found == [Collected(2, 2, 0, 0), Collected(0, 0, 0, 0), Collected(1, 1, 0, 0), Collected(1, 1, 0, 0)]
    assert users(lake) == dict.fromkeys(("p1", "p2", "p3", "p4"), "anna")
    assert [str(day) for day in lake.days(PURCHASES)] == ["2026-03-02"]
    assert [content.rows for content in lake.contents(PURCHASES).values()] == [4]


def test_a_collection_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    """A journal whose purchases are in the lake, and which is not known to be collected, adds nothing."""
    lake, path = Lake(str(tmp_path / "lake")), tmp_path / "journal.sqlite"
    clicked(lake, "anna")
    with report(path, purchase(1, "anna"), purchase(2, "bela")) as journal:
        collect(lake, [journal], RING)
        before = lake.read(PURCHASES)
        again = Lake(str(tmp_path / "other"))
        clicked(again, "anna")
        again.merge(PURCHASES, before)
        assert collect(again, [journal], RING) == Collected(2, 0, 0, 1)
    assert again.read(PURCHASES).equals(before)


def test_what_is_collected_may_leave_the_journal(tmp_path: Path) -> None:
    """The journal is told how far it was collected, though an earlier collection could not; the next goes on there."""
    lake, path = Lake(str(tmp_path / "lake")), tmp_path / "journal.sqlite"
    clicked(lake, "anna")
    for told in (False, True):
        with report(path, purchase(1, "anna"), purchase(2, "anna")) as journal:
            collect(lake, [journal], RING)
            assert told_collected(path, journal.id) == 2
        if not told:
            path.with_name(f"{path.name}.collected").unlink()
    with Journal(path) as journal:
        assert journal.shorten(Shipped(), held=0, before=START + 9 * DAY, most=9, collected=2) == 2
    with report(path, purchase(1, "bela"), purchase(3, "anna")) as journal:
        assert collect(lake, [journal], RING) == Collected(2, 1, 0, 0), "the lake knows who was told of again"
        assert collect(lake, [journal], RING) == Collected(0, 0, 0, 0)
    assert users(lake) == dict.fromkeys(("p1", "p2", "p3"), "anna")


def test_accounts_of_a_log_that_look_like_hashes_stay(tmp_path: Path) -> None:
    """An account that a log names `key:` and something else is no hash: it is neither waited for nor in the way."""
    lake = Lake(str(tmp_path / "lake"))
    times = pa.array([START], pa.timestamp("us", tz="UTC"))
    lake.write(PURCHASES, pa.table({"purchase_id": ["p1"], "time": times, "user": ["key:anna"]}))
    with report(tmp_path / "journal.sqlite", purchase(2, "bela")) as journal:
        assert collect(lake, [journal], RING) == Collected(1, 1, 0, 1)
    assert users(lake)["p1"] == "key:anna"


def test_an_older_copy_of_a_journal_is_refused(tmp_path: Path) -> None:
    """What it is told now would have numbers that were collected: it is named, and nothing is lost unseen."""
    lake, path, copy = Lake(str(tmp_path / "lake")), tmp_path / "journal.sqlite", tmp_path / "copy.sqlite"
    with report(path, purchase(1)):
        shutil.copyfile(path, copy)
    with report(path, purchase(2)) as journal:
        collect(lake, [journal], RING)
    with (
        Journal(copy, write=False) as older,
        pytest.raises(JournalError, match="has them up to number 2: this is an older"),
    ):
        collect(lake, [older], RING)


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=4))
def test_collecting_in_parts_is_as_collecting_at_once(reports: list[list[int]]) -> None:
    """However reports are spread over journals and collections, the lake holds each purchase once."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        lake = Lake(str(folder / "lake"))
        for place, numbers in enumerate(reports):
            with report(folder / f"{place}.sqlite", *(purchase(number) for number in numbers)) as journal:
                collect(lake, [journal], RING)
        wanted = sorted({f"p{number}" for numbers in reports for number in numbers})
        found = lake.read(PURCHASES)["purchase_id"].to_pylist() if wanted else []
        assert sorted(found) == wanted


def test_the_command_collects(tmp_path: Path) -> None:
    """`slidr collect` reads the settings' journal, or those named, and says what it did."""
    (tmp_path / "slidr.toml").write_text(f'storage.lake = "{tmp_path}/lake"\nstorage.journal = "{tmp_path}/j.sqlite"\n')
    with report(tmp_path / "j.sqlite", purchase(1, "anna")), report(tmp_path / "k.sqlite", purchase(2)):
        options = ["collect", "--settings", str(tmp_path / "slidr.toml")]
        first = CliRunner().invoke(slidr, options, catch_exceptions=False)
        assert first.output.startswith("1 new of 1 purchases reported")
        assert "1 are of accounts without a click" in first.output
        named = [*options, "--json", "--journal", f"{tmp_path}/j.sqlite", "--journal", f"{tmp_path}/k.sqlite"]
        second = json.loads(CliRunner().invoke(slidr, named, catch_exceptions=False).output)
        assert second == {"reported": 1, "new": 1, "named": 0, "unnamed": 1}
