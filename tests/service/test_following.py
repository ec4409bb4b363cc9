"""The registry's champion and challenger decide without a restart, and whatever cannot decide does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from tests.service.making import NOW, SECRET, click, make_bundle, make_parts

from slidr.bundle import Bundle
from slidr.clock import HOUR, MINUTE, ManualClock
from slidr.decide import Decider
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.clicks import Click
from slidr.features.keys import KeyRing, Pseudonymiser, Secret
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal, Shadow
from slidr.registry import Registry
from slidr.service.answers import Answer
from slidr.service.following import Follower
from slidr.service.lifecycle import Parts, Service

FEW = check_catalogue((Clicks("user", "1h"),))
MORE = check_catalogue((Clicks("user", "1h"), Clicks("ip", "10m"), Clicks("session", "1h")))


class Shelf(NamedTuple):
    """A registry with three bundles: two of one catalogue, and one with more blocks."""

    registry: Registry
    one: Bundle
    other: Bundle
    more: Bundle

    def promote(self, bundle: Bundle, *, cold: bool = False) -> None:
        """Make a bundle the champion."""
        self.registry.promote(bundle.id, at=1, who="tests", why="because", cold=cold)

    def challenge(self, bundle: Bundle | None) -> None:
        """Make a bundle the challenger."""
        self.registry.challenge(bundle.id if bundle else None, at=1, who="tests", why="because")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Three bundles, of which the first is champion."""
    made = tmp_path / "made"
    bundles = (make_bundle(made, catalogue=FEW), make_bundle(made, catalogue=FEW, seed=7))
    more = make_bundle(made, catalogue=MORE, seed=8)
    registry = Registry(tmp_path / "registry")
    for bundle in (*bundles, more):
        registry.publish(made / bundle.id)
    shelf = Shelf(registry, *bundles, more)
    shelf.promote(shelf.one)
    return shelf


class Followed(NamedTuple):
    """A service at work, what looks at the registry for it, and its clock."""

    service: Service
    follower: Follower
    clock: ManualClock

    async def look(self) -> str:
        """Look at the registry once, and return the bundle that decides then."""
        await self.follower._look()
        return self.service.parts.bundle.id

    async def ask(self, *places: int, at: int | None = None) -> list[Answer]:
        """Have clicks decided, at a time of their own where one is given."""
        clicks = [click(place) | ({} if at is None else {"time": _text(at + place)}) for place in places]
        return await self.service.accept(msgspec.json.encode(clicks))[1]


def _text(time: int) -> str:
    return str(np.datetime64(time, "us")) + "Z"


@asynccontextmanager
async def followed(parts: Parts) -> AsyncIterator[Followed]:
    """Start a service whose registry is looked at by hand."""
    clock = ManualClock(NOW)
    service = Service(parts, clock=clock)
    await service.start()
    try:
        yield Followed(service, Follower(service), clock)
    finally:
        await service.stop()


def journalled(parts: Parts) -> tuple[list[Entry], dict[int, Shadow]]:
    """Return what a journal holds."""
    with Journal(parts.journal_path, write=False) as journal:
        entries = [entry for chunk in journal.entries() for entry in chunk]
        return entries, journal.shadows(entry.sequence for entry in entries)


def remove_journal(parts: Parts) -> None:
    """Remove a journal, so that its clicks are known to the snapshot alone."""
    for name in ("", "-wal", "-shm"):
        Path(f"{parts.journal_path}{name}").unlink(missing_ok=True)


def undisturbed(bundle: Bundle, entries: Sequence[Entry]) -> list[bytes]:
    """Return the rows of journalled clicks over a store that had the bundle's blocks from the beginning."""
    decider = Decider(bundle, EmbeddedStore(compile_catalogue(bundle.catalogue)), Pseudonymiser(SECRET))
    clicks = [msgspec.convert(click(int(entry.click_id.removeprefix("click-"))), Click) for entry in entries]
    return [row.tobytes() for row in decider.decide(clicks).rows]


def test_another_champion_decides_from_the_next_click_on(shelf: Shelf, tmp_path: Path) -> None:
    """A bundle of the same catalogue takes over with the state as it is; looking again changes nothing."""
    parts = make_parts(tmp_path, shelf.one)

    async def main() -> None:
        async with followed(parts) as at:
            store = at.service.batcher.live.store
            before = await at.ask(*range(20))
            assert await at.look() == shelf.one.id
            shelf.promote(shelf.other)
            assert await at.look() == await at.look() == shelf.other.id
            after = await at.ask(*range(20, 40))
            assert at.service.batcher.live.store is store
            assert {answer.bundle for answer in before} == {shelf.one.id}
            assert {answer.bundle for answer in after} == {shelf.other.id}
            assert await at.ask(3) == [before[3]]
            assert b"slidr_swaps_total 1.0" in at.service.metrics.exposition()

    asyncio.run(main())
    entries, shadows = journalled(parts)
    assert shadows == {}
    assert [entry.row for entry in entries] == undisturbed(shelf.one, entries)


def test_another_catalogue_is_recovered_from_snapshot_and_journal(shelf: Shelf, tmp_path: Path) -> None:
    """Rows after the swap are, bit for bit, those of a store that had all blocks from the beginning, and back again."""
    parts = make_parts(tmp_path, shelf.one)

    async def main() -> None:
        async with followed(parts) as at:
            await at.ask(*range(50))
            shelf.promote(shelf.more)
            assert await at.look() == shelf.more.id
            await at.ask(*range(50, 100))
            shelf.promote(shelf.other)
            assert await at.look() == shelf.other.id
            await at.ask(*range(100, 130))
        async with followed(at.service.parts) as again:
            await again.ask(*range(130, 150))

    asyncio.run(main())
    entries, _ = journalled(parts)
    few, more = undisturbed(shelf.one, entries), undisturbed(shelf.more, entries)
    assert [entry.row for entry in entries] == [*few[:50], *more[50:100], *few[100:]]
    assert {entry.verdict for entry in entries} == {"valid", "invalid_sophisticated"}


def test_a_cold_champion_is_refused(shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Blocks that have missed clicks are too young: told once, unless it is wanted; a challenger's grow warm."""
    parts = make_parts(tmp_path, shelf.one)
    later = NOW + 2 * HOUR

    async def main() -> None:
        async with followed(parts) as at:
            await at.ask(*range(30))
        # The state of a backfill: its clicks are in no journal.
        remove_journal(parts)
        async with followed(parts) as at:
            await at.ask(*range(30, 40))
            shelf.promote(shelf.more)
            with caplog.at_level(logging.ERROR, "slidr.service"):
                assert await at.look() == await at.look() == shelf.one.id
                at.clock.advance(11 * MINUTE)
                assert await at.look() == shelf.one.id
            assert b"slidr_swap_errors_total 2.0" in at.service.metrics.exposition()
            shelf.promote(shelf.one)
            shelf.challenge(shelf.more)
            assert await at.look() == shelf.one.id
            assert at.service.report()["challenger"] == shelf.more.id
            await at.ask(*range(40, 50))
            at.clock.advance(2 * HOUR)
            answers = await at.ask(*range(50, 60), at=later)
            shelf.promote(shelf.more)
            assert await at.look() == shelf.more.id
            assert at.service.report()["challenger"] is None
            answers += await at.ask(*range(60, 70), at=later)
            assert "unmeasurable" not in {answer.verdict for answer in answers}

    asyncio.run(main())
    (told,) = (record.getMessage() for record in caplog.records)
    assert "make it the challenger until the state is as old, or promote it with --cold" in told
    _, shadows = journalled(parts)
    assert {at for at in shadows if shadows[at].verdict == "unmeasurable"} == set(range(40, 50))
    assert [shadows[at].reasons for at in (40, 49)] == [("state_cold",)] * 2
    assert min(shadows) == 40
    assert max(shadows) == 59


def test_a_cold_champion_decides_where_that_is_wanted(shelf: Shelf, tmp_path: Path) -> None:
    """Promoted with --cold it takes over, and clicks are unmeasurable rather than wrong."""
    parts = make_parts(tmp_path, shelf.one)

    async def main() -> None:
        async with followed(parts) as at:
            await at.ask(*range(30))
        remove_journal(parts)
        async with followed(parts) as at:
            shelf.promote(shelf.more)
            assert await at.look() == shelf.one.id
            shelf.promote(shelf.more, cold=True)
            assert await at.look() == shelf.more.id
            answers = await at.ask(*range(30, 40))
            assert {answer.reasons for answer in answers} == {("state_cold",)}

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["corrupt", "missing", "newer", "no bundle"])
def test_what_cannot_be_loaded_does_not_decide(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """The last good bundle goes on, the fault is told once and tried again later; the next good one is taken."""
    parts = make_parts(tmp_path, shelf.one)
    folder = tmp_path / "registry" / "bundles" / shelf.other.id
    held = {file: file.read_bytes() for file in folder.iterdir()}
    shelf.promote(shelf.other)
    graph, manifest = folder / "network.onnx", folder / "manifest.json"
    if fault == "corrupt":
        graph.write_bytes(graph.read_bytes()[:-1])
    elif fault == "missing":
        manifest.unlink()
    elif fault == "newer":
        document = msgspec.json.decode(manifest.read_bytes())
        manifest.write_bytes(msgspec.json.encode(document | {"format": 99}))
    else:
        graph.unlink()

    async def main() -> None:
        async with followed(parts) as at:
            with caplog.at_level(logging.ERROR, "slidr.service"):
                for _ in range(3):
                    assert await at.look() == shelf.one.id
            assert [answer.bundle for answer in await at.ask(1)] == [shelf.one.id]
            for file, content in held.items():
                file.write_bytes(content)
            for fetched in (tmp_path / "bundles").glob(f"{shelf.other.id}/*"):
                fetched.unlink()
            assert await at.look() == shelf.one.id
            at.clock.advance(-HOUR)
            at.clock.advance(HOUR + 11 * MINUTE)
            assert await at.look() == shelf.other.id

    asyncio.run(main())
    assert len([record for record in caplog.records if "goes on deciding" in record.getMessage()]) == 1


def test_a_hundred_swaps_under_load_fail_no_request(shelf: Shelf, tmp_path: Path) -> None:
    """Every click is answered by one of the bundles, and every row is that of its bundle's undisturbed store."""
    parts = make_parts(tmp_path, shelf.one, batch=16)
    bundles = (shelf.one, shelf.other, shelf.more)

    async def main() -> None:
        async with followed(parts) as at:
            done, sent = False, 0
            answers: list[Answer] = []

            async def load() -> None:
                nonlocal sent
                while not done:
                    places = range(sent, sent + 7)
                    sent += 7
                    answers.extend(await at.ask(*places))

            loads = [asyncio.create_task(load()) for _ in range(3)]
            swaps = [1, *([0, 1] * 46), 2, 1, 0, 2, 0, 1, 0]
            for swap in swaps:
                await at.service.swap(at.service.parts._replace(bundle=bundles[swap]))
            done = True
            await asyncio.gather(*loads)
            assert len(swaps) == 100
            assert len(answers) == sent
            assert [answer.bundle for answer in await at.ask(0)] == [answers[0].bundle]

    asyncio.run(main())
    entries, _ = journalled(parts)
    rows = {bundle.id: undisturbed(bundle, entries) for bundle in bundles}
    assert [entry.sequence for entry in entries] == list(range(len(entries)))
    assert [entry.row for entry in entries] == [rows[entry.bundle][at] for at, entry in enumerate(entries)]
    assert {entry.bundle for entry in entries} == set(rows)


def test_while_keys_rotate_the_catalogue_stays(shelf: Shelf, tmp_path: Path) -> None:
    """With two secret keys at work a bundle of the same catalogue is taken over, and one of another is not."""
    now = NOW - MINUTE
    ring = KeyRing((Secret(SECRET, 0), Secret(SECRET[::-1], now)))
    parts = make_parts(tmp_path, shelf.one)._replace(ring=ring, pseudonymiser=ring.at(NOW, HOUR))
    assert parts.pseudonymiser.beside is not None

    async def main() -> None:
        async with followed(parts) as at:
            await at.ask(*range(10))
            shelf.promote(shelf.more)
            assert await at.look() == shelf.one.id
            assert "while secret keys rotate" in at.follower._fault
            shelf.promote(shelf.other)
            assert await at.look() == shelf.other.id
            await at.ask(*range(10, 20))
            store = at.service.batcher.live.store
            assert isinstance(store, EmbeddedStore)
            assert store.beside is not None
            assert store.beside.sequence == 20

    asyncio.run(main())


def test_a_registry_that_cannot_be_read_is_no_end(shelf: Shelf, tmp_path: Path) -> None:
    """While an entry of the history is damaged the service goes on; once it is mended, it follows."""
    parts = make_parts(tmp_path, shelf.one)
    shelf.promote(shelf.other)
    entry = tmp_path / "registry" / "champions" / "00000002.json"
    held = entry.read_bytes()

    async def main() -> None:
        async with followed(parts) as at:
            entry.write_bytes(b"no entry")
            assert await at.look() == shelf.one.id
            entry.write_bytes(held)
            assert await at.look() == shelf.other.id

    asyncio.run(main())


def test_the_registry_is_looked_at_until_the_end(shelf: Shelf, tmp_path: Path) -> None:
    """A follower looks by itself, and ends with the service."""
    parts = make_parts(tmp_path, shelf.one, follow_seconds=0.01)

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        service.spawn(Follower(service).run(service.stopping))
        shelf.promote(shelf.other)
        async with asyncio.timeout(60):
            while service.parts.bundle.id != shelf.other.id:  # noqa: ASYNC110 nobody says when
                await asyncio.sleep(0.01)
        await service.stop()
        assert not service._tasks

    asyncio.run(main())
