"""What a service journals over a real socket is what backfill gives for the same clicks, bit for bit in float32."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests import small
from tests.service.making import NOW, click
from tests.service.test_server import connect, journalled, running

from slidr.features.backfill import encode_table
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore, Folded
from slidr.journal import Entry
from slidr.lake.door import admit_clicks
from slidr.load import replay
from slidr.service.lifecycle import Parts
from slidr.settings import ClicksSettings

KEY = Pseudonymiser(small.SECRET)
LAYOUT = compile_catalogue(small.CATALOGUE)


def traffic(seed: int) -> list[Click]:
    """Return clicks with nulls, late ones and a burst; many come again at once, within the hour or after it."""
    generator = np.random.default_rng(seed)
    clicks: list[Click] = []
    for one in small.random_clicks(700, seed):
        clicks.append(one)
        while generator.random() < 0.2:
            later = one.time + timedelta(seconds=int(generator.choice([0, 1, 1800, 3600, 3601])))
            clicks.append(msgspec.structs.replace(one, time=later))
    burst = [
        msgspec.structs.replace(one, ip="192.0.2.7", session=f"s{place}", click_id=f"b{place}", time=clicks[400].time)
        for place, one in enumerate(clicks[:200])
    ]
    return [*clicks[:400], *burst, *clicks[400:]]


def backfilled(clicks: list[Click]) -> Folded:
    """Fold clicks that went through the door of the lake, in this order."""
    columns = {name: [getattr(one, name) for one in clicks] for name in Click.__struct_fields__}
    # The lake's door takes a click_id once and the fold tells repeats by itself, so each passes under its own name.
    raw = pa.table(columns | {"click_id": [str(place) for place in range(len(clicks))]})
    admitted, rejections = admit_clicks(raw, settings=ClicksSettings(), now=NOW)
    assert rejections.total == 0
    place = admitted.column_names.index("click_id")
    table = admitted.set_column(place, "click_id", pa.array(columns["click_id"]))
    return EmbeddedStore(LAYOUT).fold(encode_table(table, LAYOUT, KEY))


def assert_journalled(entries: list[Entry], expected: Folded) -> None:
    """Assert that a journal holds exactly the clicks that were folded, each with its row."""
    fresh = ~expected.repeats
    assert [entry.sequence for entry in entries] == expected.sequences[fresh].tolist()
    rows = np.frombuffer(b"".join(entry.row for entry in entries), "<u4").reshape(len(entries), -1)
    np.testing.assert_array_equal(rows, expected.rows[fresh].view(np.uint32))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_requests_of_any_size_are_their_table(parts: Parts, seed: int) -> None:
    """Nulls, repeats, late clicks and bursts, one by one and in arrays of any size, have the rows of their table."""
    clicks, generator = traffic(seed), np.random.default_rng(seed)
    bodies, start = list[bytes](), 0
    while start < len(clicks):
        size = int(generator.choice([1, 1, 2, 7, 64, 300]))
        part = clicks[start : start + size]
        bodies.append(msgspec.json.encode(part[0] if size == 1 else part))
        start += size
    with running(parts) as url:
        sent = replay(f"{url}/v1/decisions", bodies, connections=1)
    assert set(sent.statuses.tolist()) == {200}
    expected = backfilled(clicks)
    assert expected.repeats.sum() > 50
    assert_journalled(journalled(parts.root), expected)


def test_connections_that_race_are_their_table(parts: Parts) -> None:
    """Clicks over eight connections at once have the rows of a table in the order of the journal."""
    clicks = list({one.click_id: one for one in traffic(4)}.values())
    by_id = {one.click_id: one for one in clicks}
    with running(parts) as url:
        sent = replay(f"{url}/v1/decisions", [msgspec.json.encode(one) for one in clicks], connections=8)
    assert set(sent.statuses.tolist()) == {200}
    entries = journalled(parts.root)
    assert len(entries) == len(clicks)
    assert_journalled(entries, backfilled([by_id[entry.click_id] for entry in entries]))


def test_many_sessions_behind_one_ip(parts: Parts) -> None:
    """Twenty thousand sessions of one ip are all decided, counted within 5 %, and journalled as they are folded."""
    sessions = 20_000
    bodies = [
        msgspec.json.encode([click(at, session=f"session-{at}", ip="192.0.2.1") for at in range(start, start + 500)])
        for start in range(0, sessions, 500)
    ]
    with running(parts) as url:
        sent = replay(f"{url}/v1/decisions", bodies, connections=2)
    assert set(sent.statuses.tolist()) == {200}
    entries = journalled(parts.root)
    assert len(entries) == sessions
    row = dict(zip(LAYOUT.names, np.frombuffer(entries[-1].row, "<f4").tolist(), strict=True))
    assert row["clicks_ip_24h"] == sessions
    at_1000 = dict(zip(LAYOUT.names, np.frombuffer(entries[999].row, "<f4").tolist(), strict=True))
    assert at_1000["distinct_session_ip_24h"] == pytest.approx(1000, rel=0.05)
    assert 10_000 < row["distinct_session_ip_24h"] <= 1.05 * sessions


def test_a_huge_user_agent_spoils_no_other_click(parts: Parts) -> None:
    """A user agent of 10 MB is refused with 413, one of 3 MB by its field, and the clicks beside both are decided."""
    huge, large = "x" * 10_000_000, "x" * 3_000_000
    with running(parts) as url:
        connection = connect(url)
        connection.putrequest("POST", "/v1/decisions")
        connection.putheader("content-type", "application/json")
        content = msgspec.json.encode(click(0, user_agent=huge))
        connection.putheader("content-length", str(len(content)))
        connection.endheaders()
        # The service has said so before it read the body, which need not be sent at all.
        answer = connection.getresponse()
        assert answer.status == 413
        assert b"at most 4194304 are taken" in answer.read()
        connection.close()
        sent = replay(
            f"{url}/v1/decisions",
            [msgspec.json.encode(click(1)), msgspec.json.encode([click(2, user_agent=large), click(3)])],
            connections=1,
        )
    assert sent.statuses.tolist() == [200, 200]
    assert [entry.click_id for entry in journalled(parts.root)] == ["click-1", "click-3"]
    assert b'"path":"[0].user_agent"' in sent.bodies[1]


def test_one_client_has_one_key_however_its_address_is_written(parts: Parts) -> None:
    """An IPv4 address and the same one mapped into IPv6 are one ip and one network, alone and in an array."""
    forms = ["192.0.2.7", "::ffff:192.0.2.7", "::FFFF:C000:207", "0:0:0:0:0:ffff:192.0.2.7"]
    with running(parts) as url:
        bodies = [msgspec.json.encode(click(at, ip=form)) for at, form in enumerate(forms)]
        bodies.append(msgspec.json.encode([click(10 + at, ip=form) for at, form in enumerate([*forms, "192.0.2.777"])]))
        sent = replay(f"{url}/v1/decisions", bodies, connections=1)
    assert set(sent.statuses.tolist()) == {200}
    entries = journalled(parts.root)
    columns = [LAYOUT.names.index(name) for name in ("clicks_ip_24h", "clicks_network_24h")]
    rows = [np.frombuffer(entry.row, "<f4")[columns].tolist() for entry in entries]
    assert rows == [[place, place] for place in range(1, 9)]
    assert "192.0.2.777" in sent.bodies[-1].decode()


@pytest.mark.parametrize(
    "time", ["NaN", "Infinity", "-Infinity", "1e999", '"NaN"', '"inf"', "1e300", '"99999-01-01T00:00:00Z"']
)
def test_times_that_are_none(parts: Parts, time: str) -> None:
    """A time that is not a number or has no end is refused with words, and the service decides what comes next."""
    bad = msgspec.json.encode(click(1)).replace(msgspec.json.encode(click(1)["time"]), time.encode())
    with running(parts) as url:
        bodies = [bad, b"[" + msgspec.json.encode(click(0)) + b"," + bad + b"]", msgspec.json.encode(click(2))]
        sent = replay(f"{url}/v1/decisions", bodies, connections=1)
    alone, among, after = sent.statuses.tolist()
    assert (alone in {400, 422}, among, after) == (True, 200, 200)
    assert b'"detail"' in sent.bodies[0]
    decided = [entry.click_id for entry in journalled(parts.root)]
    assert decided == ["click-0", "click-2"]
