"""Services over one Redis: a click is decided once, and catalogues change one process after another."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.redis_servers import Server
from tests.service.making import NOW, SECRET, click, make_bundle
from tests.service.running import ask
from tests.service.sharing import FINGERPRINT, held, seed_empty, shared_parts, sharing

from slidr.bundle import Bundle
from slidr.clock import ManualClock
from slidr.decide import Decider
from slidr.errors import ServiceError, StoreError
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import TERM, EmbeddedStore
from slidr.journal import Journal
from slidr.journals import Journals
from slidr.service import lifecycle
from slidr.service.answers import Answer
from slidr.service.lifecycle import Service
from slidr.service.queue import UnavailableError
from slidr.service.recovery import recover_shared

FEW = check_catalogue((Clicks("user", "1h"),))
OTHER = check_catalogue((Clicks("ip", "1h"),))
BOTH = check_catalogue((Clicks("user", "1h"), Clicks("ip", "1h")))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of one block."""
    return make_bundle(tmp_path_factory.mktemp("few"), catalogue=FEW)


def unmeasured(answers: list[Answer]) -> set[tuple[str, ...]]:
    """Return the reasons of unmeasurable answers."""
    return {answer.reasons for answer in answers if answer.verdict == "unmeasurable"}


def test_a_click_is_decided_once(few: Bundle, server: Server, tmp_path: Path) -> None:
    """A repeat gets its first answer from any process, idle or stopped ones' too; both journals give the state."""
    seed_empty(few, server)
    one, two = (shared_parts(tmp_path / name, few, server) for name in ("one", "two"))

    async def main() -> None:
        async with sharing(one, two) as (a, b):
            first = await ask(a, *range(10))
            assert await ask(b, 3, *range(10, 15), 9) == [first[3], *await ask(a, *range(10, 15)), first[9]]
            assert await ask(a, 0, 15, 15) == [first[0], *([(await ask(b, 15))[0]] * 2)]
            last = await ask(b, 16)
            await b.stop()
            assert await ask(a, 16) == last

    asyncio.run(main())
    entries = sorted((*held(one)[0], *held(two)[0]), key=lambda entry: entry.sequence)
    assert [entry.sequence for entry in entries] == list(range(17))
    assert len({entry.click_id for entry in entries}) == 17
    clicks = [msgspec.convert(click(int(entry.click_id[6:])), Click) for entry in entries]
    alone = Decider(few, EmbeddedStore(compile_catalogue(FEW)), Pseudonymiser(SECRET)).decide(clicks)
    assert b"".join(entry.row for entry in entries) == alone.rows.tobytes()


def test_what_could_not_be_journalled_is_decided_when_it_comes_again(
    few: Bundle, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A locked journal: 503, nothing acknowledged; a retry is read, not counted again, and decided once."""
    monkeypatch.setattr(lifecycle, "_PAUSES", (0.0,))
    seed_empty(few, server)
    parts = shared_parts(tmp_path / "one", few, server)

    async def main() -> None:
        async with sharing(parts) as (service,):
            await ask(service, *range(5))
            holder = sqlite3.connect(parts.journal_path, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError, match="not decided"):
                await ask(service, *range(5, 10))
            holder.close()
            await asyncio.wait_for(service.ready.wait(), 60)
            again = await ask(service, *range(10))
            assert [answer.sequence for answer in again] == list(range(10))
            assert await ask(service, *range(10)) == again
            assert [answer.sequence for answer in await ask(service, 10)] == [10]

    asyncio.run(main())
    entries, unfolded = held(parts)
    clicks = [msgspec.convert(click(place), Click) for place in range(11)]
    alone = Decider(few, EmbeddedStore(compile_catalogue(FEW)), Pseudonymiser(SECRET)).decide(clicks)
    assert [entry.row for entry in entries] == [row.tobytes() for row in alone.rows]
    assert unfolded == []


def test_stopping_finishes_what_was_accepted(few: Bundle, server: Server, tmp_path: Path) -> None:
    """Requests that wait behind a batch on its way are decided and journalled before the end."""
    seed_empty(few, server)
    parts = shared_parts(tmp_path / "one", few, server, batch=8)

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        waiting = [
            service.batcher.submit([msgspec.convert(click(place), service.batcher.live.click)]) for place in range(100)
        ]
        await service.stop()
        assert [(await one)[0].sequence for one in waiting] == list(range(100))

    asyncio.run(main())
    assert len(held(parts)[0]) == 100


def test_a_redis_that_would_give_sequences_twice_is_refused(
    few: Bundle, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Seeded behind its back, a service says so and what to do, at work and at its start, and then goes on."""
    parts = shared_parts(tmp_path / "one", few, server)
    seed_empty(few, server)
    behind = EmbeddedStore(compile_catalogue(few.catalogue))
    behind.recent.skip(TERM, 0)

    async def main() -> None:
        async with sharing(parts) as (service,):
            first = await ask(service, *range(10))
            seed_empty(few, server)
            with pytest.raises(UnavailableError):
                await ask(service, 10)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(service.ready.wait(), 0.5)
            seed_empty(few, server, behind)
            await asyncio.wait_for(service.ready.wait(), 30)
            (answer,) = await ask(service, 10)
            assert answer.sequence == TERM
            assert [one.sequence for one in first] == list(range(10))
        seed_empty(few, server)
        with pytest.raises(StoreError, match=f"next click sequence 0, .* up to {TERM:,}: .*run `slidr seed`"):
            await Service(parts, clock=ManualClock(NOW)).start()

    with caplog.at_level(logging.WARNING, "slidr.service"):
        asyncio.run(main())
    assert "redis was seeded without this journal; run `slidr seed`" in caplog.text


def test_a_refused_catalogue_harms_nobody(few: Bundle, server: Server, tmp_path: Path) -> None:
    """A bundle whose blocks are cold is refused before anything is agreed on: what decides stays measurable."""
    seed_empty(few, server)
    other = make_bundle(tmp_path / "bundles", catalogue=OTHER)
    one, two = (shared_parts(tmp_path / name, few, server) for name in ("one", "two"))

    async def main() -> None:
        async with sharing(one, two) as (a, b):
            await ask(a, *range(10))
            with pytest.raises(ServiceError, match="the state of ip is younger than its longest window"):
                await a.swap(a.parts._replace(bundle=other))
            assert not unmeasured([*await ask(a, *range(10, 20)), *await ask(b, *range(20, 30))])
            await a.swap(a.parts._replace(bundle=other, cold=True))
            assert unmeasured(await ask(a, 30)) == {("state_cold",)}
            assert unmeasured(await ask(b, 31)) == {("state_cold",)}

    asyncio.run(main())


def test_a_challenger_joins_beside_a_champion_that_stays_warm(few: Bundle, server: Server, tmp_path: Path) -> None:
    """Processes take up a challenger's blocks one after another; the champion's clicks are measured all the while."""
    seed_empty(few, server)
    both = make_bundle(tmp_path / "bundles", catalogue=BOTH)
    one, two = (shared_parts(tmp_path / name, few, server) for name in ("one", "two"))

    async def main() -> None:
        async with sharing(one, two) as (a, b):
            answers = await ask(a, *range(10))
            for place, service in enumerate((a, b)):
                await service.swap(service.parts._replace(challenger=both))
                for at, asked in enumerate((a, b)):
                    for _ in range(2):
                        start = 1000 * place + 100 * at + len(answers)
                        answers += await ask(asked, *range(start, start + 5))
            assert not unmeasured(answers)

    asyncio.run(main())
    for parts in (one, two):
        entries, _ = held(parts)
        with Journal(parts.journal_path, write=False) as journal:
            shadows = journal.shadows([entry.sequence for entry in entries])
        assert {shadow.reasons for shadow in shadows.values()} == {("state_cold",)}
    with Journal(one.journal_path, write=False) as a, Journal(two.journal_path, write=False) as b:
        store = EmbeddedStore(compile_catalogue(FEW))
        found = recover_shared(store, Journals([a, b]), tmp_path / "none", fingerprint=FINGERPRINT)
    assert found.missing == 0
