from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.asking import JSON, LINES, PURCHASES, answer, run
from tests.service.making import NOW, SECRET, START, body, make_parts

from slidr.bundle import Bundle
from slidr.clock import ManualClock
from slidr.collect import collect
from slidr.features.keys import KeyRing, Pseudonymiser, Secret
from slidr.journal import Journal, Purchase
from slidr.lake.delta import Lake
from slidr.service.app import App
from slidr.service.intake import RefusedError
from slidr.service.lifecycle import Parts, Service
from slidr.service.purchases import PurchaseDoor
from slidr.tables import PURCHASES as TABLE

DOOR = PurchaseDoor(100, ManualClock(NOW))


def purchase(number: int, **changes: Any) -> dict[str, Any]:
    """Return a purchase as JSON has it."""
    return {
        "purchase_id": f"order-{number}",
        "time": START.isoformat(),
        "user": f"user-{number % 3}",
        "click_id": f"click-{number}",
        "value": 49_900_000,
        "currency": "EUR",
        **changes,
    }


def encode(*purchases: object) -> bytes:
    """Return an array of purchases as JSON."""
    return msgspec.json.encode(purchases)


def journalled(root: Path) -> list[Purchase]:
    """Return the purchases of a journal."""
    with Journal(root / "journal.sqlite", write=False) as journal:
        return [one for chunk in journal.purchases() for _, one in chunk]


def test_a_purchase_is_journalled_once(parts: Parts) -> None:
    """Each purchase is acknowledged as new or as known; what was said first holds, and accounts are hashed."""

    async def work(app: App) -> None:
        one = await answer(app, "POST", PURCHASES, msgspec.json.encode(purchase(1)))
        assert (one.status, one.document) == (200, {"purchase_id": "order-1", "new": True})
        again = await answer(app, "POST", PURCHASES, encode(purchase(1, value=1), purchase(2, user=""), purchase(2)))
        assert [found["new"] for found in again.document] == [False, True, False]
        first, second = journalled(parts.root)
        key = int(Pseudonymiser(SECRET).texts(["user-1"]).view("int64")[0])
        time = int(START.timestamp()) * 1_000_000
        assert first == Purchase("order-1", time, key, "click-1", 49_900_000, "EUR", NOW)
        assert second.user_key is None
        assert b"user-1" not in (parts.root / "journal.sqlite-wal").read_bytes()

    run(parts, work)


def test_a_malformed_purchase_of_many_spoils_only_itself(parts: Parts) -> None:
    """In arrays and lines the malformed stand as errors between receipts; alone one is refused with 422."""

    async def work(app: App) -> None:
        many = [purchase(1), purchase(2, value=-1), 5, purchase(4)]
        told = (await answer(app, "POST", PURCHASES, encode(*many))).document
        assert [one.get("new") for one in told] == [True, None, None, True]
        assert [one["error"]["path"] for one in told[1:3]] == ["[1].value", "[2]"]
        lines = b"\n".join([*map(msgspec.json.encode, many), b"{"])
        found = await answer(app, "POST", PURCHASES, lines, headers=LINES)
        assert found.headers["content-type"] == LINES["content-type"]
        told = [msgspec.json.decode(line) for line in found.body.splitlines()]
        assert [one.get("new") for one in told] == [False, None, None, False, None]
        alone = await answer(app, "POST", PURCHASES, msgspec.json.encode(many[1]))
        assert (alone.status, alone.document["title"], alone.document["path"]) == (422, "malformed purchase", "value")
        counted = (await answer(app, "GET", "/metrics")).body.decode()
        for outcome, count in (("new", 2), ("known", 2), ("malformed", 5)):
            assert f'slidr_purchases_total{{outcome="{outcome}"}} {count}.0' in counted

    run(parts, work)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"purchase_id": ""}, "str of length >= 1"),
        ({"purchase_id": "x" * 257}, "str of length <= 256"),
        ({"time": "2999-01-01T00:00:00Z"}, "5 minutes ahead of the clock"),
        ({"time": "1969-12-31T00:00:00Z"}, "later than 1970"),
        ({"value": 2**63}, "int <= 9223372036854775807"),
        ({"value": 1e300}, "got float"),
        ({"value": "5"}, "got str"),
        ({"user": "x" * 8193}, "str of length <= 8192"),
        ({"click_id": "x" * 257}, "str of length <= 256"),
    ],
)
def test_a_purchase_that_is_none_is_told_why(change: dict[str, Any], words: str) -> None:
    """A wrong value is refused by its field, with what is expected."""
    with pytest.raises(RefusedError) as caught:
        DOOR.admit(msgspec.json.encode(purchase(1, **change)))
    assert caught.value.problem.path in change
    assert words in caught.value.problem.detail


def test_a_long_request_lets_clicks_through(tmp_path: Path, bundle: Bundle) -> None:
    """Purchases are journalled some hundreds at a time, and clicks that come meanwhile are decided between them."""
    parts = make_parts(tmp_path, bundle)

    async def work(app: App) -> None:
        done: list[str] = []

        async def send(name: str, path: str, content: bytes) -> None:
            assert (await answer(app, "POST", path, content)).status == 200
            done.append(name)

        many = encode(*map(purchase, range(2000)))
        await asyncio.gather(send("purchases", PURCHASES, many), send("click", "/v1/decisions", body(1)))
        assert done == ["click", "purchases"]
        assert len(journalled(tmp_path)) == 2000

    run(parts, work)


def test_nothing_is_acknowledged_that_is_not_journalled(parts: Parts) -> None:
    """Where the journal cannot be written, or the service is not ready, 503; a retry is no second purchase."""

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        app, content = App(service, 1 << 20), msgspec.json.encode(purchase(1))
        assert (await answer(app, "POST", PURCHASES, content)).status == 503
        await service.start()
        blocker = sqlite3.connect(parts.root / "journal.sqlite", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        refused = await answer(app, "POST", PURCHASES, content)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        blocker.execute("ROLLBACK")
        blocker.close()
        assert (await answer(app, "POST", PURCHASES, content)).document["new"] is True
        assert (await answer(app, "POST", PURCHASES, content)).document["new"] is False
        await service.stop()

    asyncio.run(main())


def test_too_many_purchases_and_other_bodies_are_refused(tmp_path: Path, bundle: Bundle) -> None:
    """Purchases have the limits of clicks."""

    async def work(app: App) -> None:
        found = await answer(app, "POST", PURCHASES, encode(*map(purchase, range(3))))
        assert (found.status, found.document["title"]) == (413, "too many purchases")
        assert (await answer(app, "POST", PURCHASES, b"x", headers=JSON)).status == 400
        assert (await answer(app, "POST", PURCHASES, b"x", headers={})).status == 415
        assert (await answer(app, "GET", PURCHASES)).headers["allow"] == "POST, OPTIONS"

    run(make_parts(tmp_path, bundle, batch_limit=2), work)


def test_reported_purchases_reach_the_lake(parts: Parts) -> None:
    """What was acknowledged over HTTP is in the lake's PURCHASES after a collection, beside the running service."""
    lake = Lake(str(parts.root / "lake"))

    async def work(app: App) -> None:
        await answer(app, "POST", PURCHASES, encode(purchase(1), purchase(2), purchase(1)))
        with Journal(parts.root / "journal.sqlite", write=False) as journal:
            assert collect(lake, [journal], KeyRing((Secret(SECRET, 0),))).new == 2

    run(parts, work)
    found = lake.read(TABLE)
    assert found["purchase_id"].to_pylist() == ["order-1", "order-2"]
    assert found["click_id"].to_pylist() == ["click-1", "click-2"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(purchase(0))), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.lists(st.one_of(JSON_VALUES, JSON_VALUES.map(lambda value: purchase(1, user=value))), max_size=5), st.booleans()
)
def test_every_purchase_is_admitted_or_named(values: list[object], lines: bool) -> None:  # noqa: FBT001 drawn
    """Whatever stands in a request, each place is either a purchase or a problem."""
    parts = [msgspec.json.encode(value) for value in values]
    found = DOOR.admit(b"\n".join(parts) if lines else b"[" + b",".join(parts) + b"]", lines=lines)
    assert len(found.items) + len(found.faults) == len(values)


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_admitted_or_refused(content: bytes, lines: bool) -> None:  # noqa: FBT001 drawn
    """No body gets anything but purchases or a problem."""
    try:
        DOOR.admit(content, lines=lines)
    except RefusedError as fault:
        assert fault.problem.status in {400, 413, 422}  # noqa: PT017 both outcomes are fine
