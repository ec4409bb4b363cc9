from __future__ import annotations

import asyncio
import gc
import sqlite3
from pathlib import Path

import pytest
from tests.service.making import NOW, SECRET, body, make_parts
from tests.service.running import ask, scores, started

from slidr.bundle import Bundle
from slidr.clock import ManualClock
from slidr.errors import BundleError, FeatureError, JournalError
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.service import lifecycle, upkeep
from slidr.service.answers import Answer
from slidr.service.door import RefusedError
from slidr.service.lifecycle import Parts, Service
from slidr.service.queue import UnavailableError


def test_a_service_is_ready_from_start_to_stop(parts: Parts) -> None:
    """Before the start, and after the end, requests are refused; in between they are decided."""

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        assert service.report() == {
            "state": "starting",
            "bundle": parts.bundle.id,
            "challenger": None,
            "sequence": None,
        }
        with pytest.raises(UnavailableError, match="the service is starting"):
            service.accept(body(1))
        with pytest.raises(UnavailableError):
            await service.history("click-1")
        await service.start()
        assert service.ready.is_set()
        assert [answer.sequence for answer in await ask(service, 1, 2)] == [0, 1]
        assert service.report()["sequence"] == 2
        with pytest.raises(RefusedError):
            service.accept(b"no JSON")
        assert b"slidr_live_entities 0.0" not in service.metrics.exposition()
        await service.stop()
        assert not service.ready.is_set()
        with pytest.raises(UnavailableError, match="the service is stopped"):
            service.accept(body(1))

    asyncio.run(main())


def test_warming_up_leaves_the_state_alone(parts: Parts) -> None:
    """A service that was just started has folded nothing and journalled nothing."""

    async def main() -> None:
        async with started(parts) as service:
            assert service.report()["sequence"] == 0
            assert b"slidr_live_entities 0.0" in service.metrics.exposition()

    asyncio.run(main())
    with Journal(parts.root / "journal.sqlite", write=False) as journal:
        assert journal.last_sequence == -1


def test_stopping_finishes_what_was_accepted(parts: Parts) -> None:
    """A request that was queued when the service is told to stop is decided and journalled, and a snapshot is left."""

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        _, future = service.accept(body(*range(1000)))
        await service.stop()
        assert len(await future) == 1000

    asyncio.run(main())
    assert (parts.root / "state.npz").exists()
    with Journal(parts.root / "journal.sqlite", write=False) as journal:
        assert journal.last_sequence == 999


def test_a_restart_goes_on_where_the_service_stopped(parts: Parts) -> None:
    """With the snapshot, without it, and with an old one, the next clicks are decided as by one long run."""

    async def run(*groups: range) -> list[list[Answer]]:
        async with started(parts) as service:
            return [await ask(service, *group) for group in groups]

    asyncio.run(run(range(50)))
    old = (parts.root / "state.npz").read_bytes()
    asyncio.run(run(range(50, 100)))
    (parts.root / "state.npz").write_bytes(old)
    asyncio.run(run(range(100, 150)))
    (parts.root / "state.npz").unlink()
    (last, again) = asyncio.run(run(range(150, 200), range(10)))
    whole = make_parts(parts.root / "whole", parts.bundle)

    async def undisturbed() -> list[list[Answer]]:
        async with started(whole) as service:
            await ask(service, *range(150))
            return [await ask(service, *range(150, 200)), await ask(service, *range(10))]

    (expected, repeated) = asyncio.run(undisturbed())
    assert [(one.sequence, one.verdict) for one in last] == [(found.sequence, found.verdict) for found in expected]
    assert scores(parts) == scores(whole)
    assert [answer.sequence for answer in again] == list(range(10)) == [answer.sequence for answer in repeated]


@pytest.mark.parametrize("cached", [True, False])
def test_a_decision_is_found_by_its_click(parts: Parts, *, cached: bool) -> None:
    """A click of the last hour is found by its place in the fold, an older one in the journal, an unknown one not."""

    async def main() -> None:
        async with started(parts) as service:
            answers = await ask(service, 1, 2, 3)
            if not cached:
                service.batcher.live.store.recent.table[:] = 0  # type: ignore[attr-defined]
            (entry,) = await service.history("click-2")
            assert entry.decision_id == answers[1].decision_id
            assert await service.history("click-9") == []

    asyncio.run(main())


def test_a_locked_journal_makes_the_service_unready_until_it_is_free(parts: Parts) -> None:
    """Nothing is acknowledged while another process holds the lock; then the state is as if nothing had happened."""

    async def main() -> None:
        async with started(parts) as service:
            await ask(service, *range(20))
            other = sqlite3.connect(parts.root / "journal.sqlite", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError, match="another process is writing"):
                await ask(service, *range(20, 30))
            assert (service.state, service.ready.is_set()) == ("restoring", False)
            with pytest.raises(UnavailableError, match="restoring"):
                service.accept(body(1))
            other.execute("ROLLBACK")
            other.close()
            await asyncio.wait_for(service.ready.wait(), 60)
            answers = await ask(service, *range(25, 30), 3)
            assert [answer.sequence for answer in answers] == [*range(20, 25), 3]
            assert b"slidr_journal_errors_total 1.0" in service.metrics.exposition()

    asyncio.run(main())


def test_restoring_is_tried_until_it_works(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the journal stays unusable for several attempts, the service comes back with the first that works."""
    monkeypatch.setattr(lifecycle, "_PAUSES", (0.0,))
    journal = parts.root / "journal.sqlite"

    async def main() -> None:
        async with started(parts) as service:
            await ask(service, 1)
            service._batcher.journal._connection.execute("PRAGMA query_only=ON")  # type: ignore[union-attr]
            refused = service.accept(body(2))[1]
            holder = sqlite3.connect(journal, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError):
                await refused
            attempts = 0
            while attempts < 3:
                with pytest.raises(JournalError):
                    await asyncio.get_running_loop().run_in_executor(None, service._restore)
                attempts += 1
            holder.close()
            await asyncio.wait_for(service.ready.wait(), 60)
            assert [answer.sequence for answer in await ask(service, 2, 1)] == [1, 0]

    asyncio.run(main())


def test_a_service_that_is_told_to_stop_while_it_restores_stops(parts: Parts) -> None:
    """A stop does not wait for the journal to become usable, and writes no snapshot of a state that is ahead."""

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        holder = sqlite3.connect(parts.root / "journal.sqlite", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError):
            await ask(service, 1)
        await service.stop()
        holder.close()
        assert service.state == "stopped"

    asyncio.run(main())
    assert not (parts.root / "state.npz").exists()
    Journal(parts.root / "journal.sqlite").close()


def test_idle_time_is_used_for_checkpoints_and_garbage(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once no request comes, the journal's log is moved into the database, off the thread that answers."""
    monkeypatch.setattr(upkeep, "_FEW", 10)

    async def main() -> None:
        async with started(parts) as service:
            await ask(service, *range(50))
            journal = service._batcher.journal  # type: ignore[union-attr]
            size = journal.path.stat().st_size
            gc.disable()
            try:
                service._tick()
                assert journal.waiting == 50  # This tick saw the batch; the next one sees that nothing came.
                service._tick()
            finally:
                gc.enable()
            await asyncio.gather(*service._tasks)
            assert journal.waiting == 0
            assert journal.path.stat().st_size > size

    asyncio.run(main())


def test_a_log_that_never_rests_starts_over(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where clicks come during every move of the log, the few that came during the last one are moved in between."""
    monkeypatch.setattr(upkeep, "_MANY", 10)
    monkeypatch.setattr(upkeep, "_LONG_LOG", 1)

    async def main() -> None:
        async with started(parts) as service:
            await ask(service, *range(50))
            journal = service._batcher.journal  # type: ignore[union-attr]
            service._tick()
            await ask(service, *range(50, 60))
            await asyncio.gather(*service._tasks)
            assert journal.waiting == 0
            moved = journal.log_bytes
            await ask(service, 99)
            journal.checkpoint()
            assert journal.log_bytes < moved

    asyncio.run(main())


def test_a_long_tail_is_folded_once(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a start that folded much of the journal a snapshot saves the next start the work."""

    async def run(*places: int) -> None:
        async with started(parts) as service:
            if places:
                await ask(service, *places)

    asyncio.run(run(*range(30)))
    (parts.root / "state.npz").unlink()
    monkeypatch.setattr(upkeep, "_LONG_TAIL", 30)

    async def crash() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        assert (parts.root / "state.npz").exists()
        await service.stop()

    asyncio.run(crash())


def test_a_snapshot_is_written_while_the_service_runs(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes after many clicks, the state is written without a stop, so that a crash folds few again."""
    monkeypatch.setattr(upkeep, "_LONG_TAIL", 50)

    async def main() -> None:
        async with started(parts) as service:
            await ask(service, *range(50))
            service._tick()
            assert not service._tasks, "it has not been calm for long enough"
            for _ in range(upkeep._CALM_TICKS):
                service._tick()
            await asyncio.gather(*service._tasks)
            assert service.parts.snapshot_path.exists()
            service.parts.snapshot_path.rename(parts.root / "kept")
            service._tick()
            await asyncio.gather(*service._tasks)
            assert not service.parts.snapshot_path.exists()

    asyncio.run(main())
    store = EmbeddedStore(compile_catalogue(parts.bundle.catalogue))
    store.restore(parts.root / "kept", fingerprint=parts.pseudonymiser.fingerprint)
    assert store.sequence == 50


def test_a_start_that_cannot_work_says_why(parts: Parts, bundle: Bundle, tmp_path: Path) -> None:
    """A damaged snapshot, a journal in use, and the wrong secret key stop the start, and leave nothing locked."""

    async def start(which: Parts) -> None:
        service = Service(which)
        try:
            await service.start()
        finally:
            await service.stop()

    with pytest.raises(BundleError, match="secret key"):
        asyncio.run(start(parts._replace(pseudonymiser=Pseudonymiser(SECRET[::-1]))))
    with Journal(tmp_path / "journal.sqlite"), pytest.raises(JournalError, match="in use by another service"):
        asyncio.run(start(parts))
    (tmp_path / "state.npz").write_bytes(b"")
    with pytest.raises(FeatureError, match="is not a snapshot"):
        asyncio.run(start(parts))
    (tmp_path / "state.npz").unlink()
    asyncio.run(start(make_parts(tmp_path, bundle, durability="power")))
