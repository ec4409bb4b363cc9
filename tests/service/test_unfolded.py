"""Clicks that the store could not fold: answered in time, journalled, and answered the same again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.redis_servers import Server
from tests.service.making import NOW, click
from tests.service.running import ask
from tests.service.sharing import held, seed_empty, shared_parts, sharing
from tests.service.test_recovery import FINGERPRINT, fresh, store_of
from tests.test_journal import CONTEXT, entry

from slidr.bundle import Bundle
from slidr.clock import HOUR, ManualClock
from slidr.features.clicks import Click
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.journals import Journals
from slidr.service.answers import LATE, Answer
from slidr.service.lifecycle import Service
from slidr.service.recovery import recover_shared
from slidr.service.unfolded import Unfolded


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, since it is stopped and killed."""
    server = Server(tmp_path / "redis")
    yield server
    server.kill()


@contextmanager
def paused(server: Server) -> Iterator[None]:
    """Stop a server's process without ending it."""
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server._process.pid, signal.SIGCONT)


def reasons(answers: list[Answer]) -> set[tuple[str, str | None]]:
    """Return verdicts and first reasons, but those of the model."""
    return {(answer.verdict, answer.reasons[0]) for answer in answers if answer.verdict == "unmeasurable"}


async def recovered(service: Service, *places: int) -> list[Answer]:
    """Ask with new clicks until they are measured again."""
    async with asyncio.timeout(60):
        for start in range(10_000, 1_000_000, 10):
            answers = await ask(service, *(start + place for place in places))
            if not reasons(answers):
                return answers
    raise AssertionError


def test_a_store_that_does_not_answer(bundle: Bundle, server: Server, tmp_path: Path) -> None:
    """Redis paused: answers come by the deadline, are journalled, and hold for repeats and after a restart."""
    seed_empty(bundle, server)
    patient = shared_parts(tmp_path / "a", bundle, server)
    hasty = shared_parts(tmp_path / "a", bundle, server, deadline_ms=30, timeout_ms=5000, batch=4)

    async def main() -> None:
        async with sharing(patient) as (service,):
            assert not reasons(await ask(service, *range(10)))
        async with sharing(hasty) as (service,):
            with paused(server):
                answers = await asyncio.wait_for(ask(service, 20, 21, 20, *range(22, 40)), 4)
                assert reasons(answers) == {("unmeasurable", "deadline")}
                assert answers[2] == answers[0]
                assert [answer.click_id for answer in answers] == [
                    f"click-{place}" for place in (20, 21, 20, *range(22, 40))
                ]
                assert await asyncio.wait_for(ask(service, 21, 20), 4) == [answers[1], answers[0]]
        async with sharing(patient) as (service,):
            assert await ask(service, 20) == [answers[0]]
            assert not reasons(await recovered(service, 1, 2, 3))
            assert await ask(service, 25) == [answers[6]]

    asyncio.run(main())
    folded, unfolded = held(patient)
    # What was on its way is folded when Redis goes on: its place and row are kept, and its answer stays what it was.
    assert [entry.sequence for entry in folded] == list(range(len(folded)))
    late = [entry for entry in folded if entry.cause == LATE]
    assert {(entry.verdict, entry.reasons) for entry in late} == {("unmeasurable", ("deadline",))}
    assert all(entry.row for entry in late)
    assert sorted(entry.click_id for entry in unfolded) == sorted(f"click-{place}" for place in range(20, 40))
    assert {entry.sequence for entry in unfolded} == set(range(-20, 0))
    assert {entry.row for entry in unfolded} == {b""}


def test_a_store_that_is_gone(bundle: Bundle, server: Server, tmp_path: Path) -> None:
    """Redis killed: store_unavailable, one decision for twins; started empty: state_cold until it is seeded."""
    seed_empty(bundle, server)
    parts = shared_parts(tmp_path / "a", bundle, server)

    async def main() -> None:
        async with sharing(parts) as (service,):
            assert not reasons(await ask(service, *range(10)))
            server.kill()
            gone = await ask(service, 10, 11, 10)
            assert reasons(gone) == {("unmeasurable", "store_unavailable")}
            assert gone[2] == gone[0]
            assert await ask(service, 11) == [gone[1]]
            assert await ask(service, 3) != [gone[0]]
            server.start()
            assert reasons(await ask(service, 12)) == {("unmeasurable", "state_cold")}
            seed_empty(bundle, server, _restored(bundle, parts.journal_path))
            after = await ask(service, *range(13, 20))
            assert not reasons(after)
            assert [answer.sequence for answer in after] == list(range(10, 17))
            server.flush()
            assert reasons(await ask(service, 20)) == {("unmeasurable", "state_cold")}
            assert service.ready.is_set()

    asyncio.run(main())
    folded, unfolded = held(parts)
    assert [entry.sequence for entry in folded] == list(range(17))
    assert len({entry.decision_id for entry in (*folded, *unfolded)}) == 17 + len(unfolded)


def _restored(bundle: Bundle, path: Path) -> EmbeddedStore:
    """Return the state behind a journal."""
    store = store_of(fresh(bundle))
    with Journal(path, write=False) as journal:
        recover_shared(store, Journals([journal]), path.with_name("none"), fingerprint=FINGERPRINT)
    return store


def test_they_are_remembered_for_an_hour(tmp_path: Path) -> None:
    """What was answered unfolded is answered again within the hour, by a process that started since too."""
    clock = ManualClock(NOW)
    entries = [
        entry(at)._replace(sequence=-at, decision_id=f"d{at}", click_id=f"c{at}", decided_at=NOW + at) for at in (1, 2)
    ]
    clicks = [msgspec.convert(click(0, click_id=name), Click) for name in ("c2", "c3", "c1")]
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.declare(CONTEXT)
        unfolded = Unfolded(journal, clock)
        assert unfolded.among(clicks) == {}
        journal.append([*entries, entry(5)])
        unfolded.note([*entries, entry(5)])
        for one in (unfolded, Unfolded(journal, clock)):
            assert {place: found.sequence for place, found in one.among(clicks).items()} == {0: -2, 2: -1}
        clock.advance(HOUR + 2)
        for one in (unfolded, Unfolded(journal, clock)):
            assert list(one.among(clicks)) == [0]
        clock.advance(-2 * HOUR)
        assert list(unfolded.among(clicks)) == [0]
        clock.advance(2 * HOUR + 1)
        assert unfolded.among(clicks) == {}
