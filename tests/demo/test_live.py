"""Live: a service as a process of its own, requests from a table, and differences that are found."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests import small
from tests.learned import Learned

from slidr.demo.live import Service, compare, requests_of, running_service, send
from slidr.errors import ServiceError
from slidr.features.clicks import Click, click_type, microseconds


def silent(clicks: int) -> None:
    """Show no progress."""
    del clicks


@pytest.fixture
def clicks(learned: Learned) -> pa.Table:
    """The first clicks of the judging day."""
    times = learned.log.clicks["time"].cast(pa.int64())
    return learned.log.clicks.filter(pc.greater_equal(times, learned.run.split.judge[0])).slice(0, 300)


@pytest.fixture
def served(learned: Learned, clicks: pa.Table, tmp_path: Path) -> tuple[Path, pa.Table]:
    """A journal in which a service has decided the clicks."""
    files = Service(Path(shutil.copy(learned.before, tmp_path / "state.npz")), tmp_path / "journal.sqlite")
    with running_service(learned.folder / "slidr.toml", files) as url:
        with urlopen(f"{url}/ready") as answer:  # noqa: S310 our own service
            assert answer.status == 200
        sent = send(url, requests_of(clicks, ("device", "logged_in")), rate=None, progress=silent)
    decided = [json.loads(body) for body in sent.bodies]
    assert [one["click_id"] for one in decided] == clicks["click_id"].to_pylist()
    return files.journal, clicks


def test_a_request_says_what_the_table_says() -> None:
    """Each body is one click with every value of its row, to the microsecond, further columns included."""
    kind = click_type(("tier",))
    made = small.random_clicks(50, seed=6)
    table = small.table_of(made).append_column("tier", pa.array(range(50))).append_column("idle", pa.array(range(50)))
    bodies = requests_of(table, ("device", "tier"))
    for place, (body, click) in enumerate(zip(bodies, made, strict=True)):
        assert "idle" not in json.loads(body)
        found = msgspec.json.decode(body, type=kind)
        assert microseconds(found.time) == microseconds(click.time)
        assert msgspec.structs.asdict(found) == {**msgspec.structs.asdict(click), "time": found.time, "tier": place}
    assert isinstance(made[0], Click)
    assert isinstance(msgspec.json.decode(bodies[0], type=kind).time, datetime)


def test_live_equals_batch(learned: Learned, served: tuple[Path, pa.Table]) -> None:
    """What a service journalled is what the batch decides, in the journal's order."""
    journal, clicks = served
    told: list[int] = []
    found = compare(learned.settings, learned.before, journal, clicks, told.append)
    assert (found.decisions, found.differences) == (300, 0)
    assert sum(told) == 300


def test_differences_are_found(learned: Learned, served: tuple[Path, pa.Table]) -> None:
    """Another past, or a click that was never decided, shows as differences."""
    journal, clicks = served
    state = Path(learned.settings.storage.seed)
    assert compare(learned.settings, state, journal, clicks, silent).differences == 300
    times = learned.log.clicks["time"].cast(pa.int64())
    more = learned.log.clicks.filter(pc.greater_equal(times, learned.run.split.judge[0])).slice(0, 307)
    assert compare(learned.settings, learned.before, journal, more, silent).differences == 7


def test_a_refused_request_is_told(learned: Learned, tmp_path: Path) -> None:
    """A request that the service refuses ends the demo with the status and the service's words."""
    files = Service(Path(shutil.copy(learned.before, tmp_path / "state.npz")), tmp_path / "journal.sqlite")
    with (
        running_service(learned.folder / "slidr.toml", files) as url,
        pytest.raises(ServiceError, match=r"of 1 requests some were refused, by status \{422: 1\}: .*click_id"),
    ):
        send(url, [b"{}"], rate=None, progress=silent)


def test_a_service_that_does_not_start_says_why(learned: Learned, tmp_path: Path) -> None:
    """What the process said on its standard error is in the message."""
    (tmp_path / "state.npz").write_bytes(b"no snapshot")
    files = Service(tmp_path / "state.npz", tmp_path / "journal.sqlite")
    with (
        pytest.raises(ServiceError, match=r"the service did not start: slidr: .*not a snapshot"),
        running_service(learned.folder / "slidr.toml", files),
    ):
        pass
