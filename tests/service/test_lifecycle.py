from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.service.making import NOW, SECRET, body, click, make_parts

from slidr.bundle import Bundle
from slidr.clock import DAY, HOUR, SECOND, ManualClock
from slidr.errors import BundleError, FeatureError, JournalError, ServiceError
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.clicks import Click, encode_clicks
from slidr.features.keys import KeyRing, Pseudonymiser, Secret
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.service import lifecycle
from slidr.service.batching import Answer, UnavailableError
from slidr.service.door import RefusedError
from slidr.service.lifecycle import Parts, Service
from slidr.service.recovery import recover


@asynccontextmanager
async def started(parts: Parts) -> AsyncIterator[Service]:
    """Start a service, and stop it at the end."""
    service = Service(parts, clock=ManualClock(NOW))
    try:
        await service.start()
        yield service
    finally:
        await service.stop()


async def ask(service: Service, *places: int) -> list[Answer]:
    """Have clicks decided, an array at a time."""
    _, future = service.accept(body(*places))
    return await future


def scores(parts: Parts) -> list[float | None]:
    """Return the journalled scores of a service."""
    with Journal(parts.root / parts.settings.storage.journal, write=False) as journal:
        return [entry.score for entries in journal.entries() for entry in entries]


def test_a_service_is_ready_from_start_to_stop(parts: Parts) -> None:
    """Before the start, and after the end, requests are refused; in between they are decided."""

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        assert service.report() == {"state": "starting", "bundle": parts.bundle.id, "sequence": None}
        with pytest.raises(UnavailableError, match="the service is starting"):
            service.accept(body(1))
        with pytest.raises(UnavailableError):
            await service.find("click-1")
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
                service._batcher.decider.store.recent.table[:] = 0  # type: ignore[union-attr]
            entry = await service.find("click-2")
            assert entry is not None
            assert entry.decision_id == answers[1].decision_id
            assert await service.find("click-9") is None

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


def test_a_new_service_starts_from_the_last_backfill(parts: Parts) -> None:
    """Without state and journal of its own a service goes on from the seed; later seeds leave it alone."""

    async def run(*places: int) -> list[Answer]:
        async with started(parts) as service:
            return await ask(service, *places)

    seed = parts.root / parts.settings.storage.seed
    store = EmbeddedStore(compile_catalogue(parts.bundle.catalogue))
    clicks = [msgspec.json.decode(body(place), type=Click) for place in range(30)]
    store.fold(encode_clicks(clicks, store.layout, parts.pseudonymiser))
    store.snapshot(seed, fingerprint=parts.pseudonymiser.fingerprint)
    assert [answer.sequence for answer in asyncio.run(run(100, 101))] == [30, 31]
    seed.write_bytes(b"a newer backfill")
    assert [answer.sequence for answer in asyncio.run(run(102))] == [32]
    (parts.root / parts.settings.storage.state).unlink()
    with pytest.raises(ServiceError, match="the snapshot is missing or too old"):
        asyncio.run(run(103))


def test_another_catalogue_needs_no_new_start(parts: Parts) -> None:
    """A state of other features is completed from the journal, and the rows are those of an undisturbed service."""

    async def run(which: Parts, *groups: range) -> None:
        async with started(which) as service:
            for group in groups:
                await ask(service, *group)

    whole = make_parts(parts.root / "whole", parts.bundle)
    asyncio.run(run(whole, range(50), range(50, 80)))
    asyncio.run(run(parts, range(50)))
    other = EmbeddedStore(compile_catalogue(check_catalogue((Clicks("ip", "7m"),))))
    state = parts.root / parts.settings.storage.state
    with Journal(parts.root / parts.settings.storage.journal) as journal:
        recover(other, journal, state.with_name("none"), fingerprint=parts.pseudonymiser.fingerprint)
    other.snapshot(state, fingerprint=parts.pseudonymiser.fingerprint)
    asyncio.run(run(parts, range(50, 80)))
    assert scores(parts) == scores(whole)


def test_a_block_that_nothing_tells_of_makes_clicks_unmeasurable(parts: Parts) -> None:
    """Blocks that neither snapshot nor journal hold are cold: no click is decided by them, and none is lost."""

    async def run(*places: int) -> list[Answer]:
        async with started(parts) as service:
            return await ask(service, *places)

    other = EmbeddedStore(compile_catalogue(check_catalogue((Clicks("ip", "7m"),))))
    clicks = [msgspec.json.decode(body(place), type=Click) for place in range(30)]
    other.fold(encode_clicks(clicks, other.layout, parts.pseudonymiser))
    other.snapshot(parts.root / parts.settings.storage.seed, fingerprint=parts.pseudonymiser.fingerprint)
    answers = asyncio.run(run(100, 101))
    assert [answer.sequence for answer in answers] == [30, 31]
    assert {(answer.verdict, answer.reasons) for answer in answers} == {("unmeasurable", ("state_cold",))}


def at(clock: int, *places: int) -> bytes:
    """Return a request of clicks made at a time."""
    time = datetime.fromtimestamp(clock / SECOND, UTC).isoformat()
    return msgspec.json.encode([click(place, time=time) for place in places])


@pytest.mark.parametrize("restarts", [False, True])
def test_keys_rotate_without_a_gap(parts: Parts, *, restarts: bool) -> None:
    """Before, during and after the overlap counts and last gaps are those of one key, and restarts change nothing."""
    clock, horizon = ManualClock(NOW), compile_catalogue(parts.bundle.catalogue).horizon
    ring = KeyRing((Secret(SECRET, 0), Secret(SECRET[::-1], NOW + DAY)))
    turning = parts._replace(ring=ring)
    whole = make_parts(parts.root / "whole", parts.bundle)
    steps = [NOW + step * 2 * HOUR for step in range((2 * DAY + horizon) // (2 * HOUR))]

    async def run(which: Parts, times: list[int]) -> list[str]:
        clock.advance(times[0] - clock.now())
        service, serving = Service(which, clock=clock), []
        await service.start()
        for time in times:
            step = (time - NOW) // (2 * HOUR)
            clock.advance(time - clock.now())
            service._tick()
            await asyncio.wait_for(service.ready.wait(), 60)
            _, future = service.accept(at(time, *range(7 * step, 7 * step + 30)))
            await future
            serving.append(service._batcher.decider.pseudonymiser.fingerprint)  # type: ignore[union-attr]
        await service.stop()
        return serving

    expected = asyncio.run(run(whole, steps))
    length = 5 if restarts else len(steps)
    found = [
        name
        for start in range(0, len(steps), length)
        for name in asyncio.run(run(turning, steps[start : start + length]))
    ]
    old, new = (Pseudonymiser(key.secret).fingerprint for key in ring.keys)
    served = sum(time < NOW + DAY + horizon + HOUR for time in steps)
    assert set(expected) == {old}
    assert found == [old] * served + [new] * (len(steps) - served)
    rows, whole_rows = journalled(turning), journalled(whole)
    # A running mean of gaps goes back further than any window: it is of the clicks since its key came into use.
    names = compile_catalogue(parts.bundle.catalogue).names
    told = [column for column, name in enumerate(names) if not name.endswith(("_mean", "_variation"))]
    np.testing.assert_array_equal(rows[:, told], whole_rows[:, told])
    assert [path.name for path in parts.root.glob("state*")] == ["state.npz"]


def journalled(parts: Parts) -> NDArray[np.float32]:
    """Return the rows that a service has journalled, none of them cold."""
    with Journal(parts.root / parts.settings.storage.journal, write=False) as journal:
        entries = [entry for chunk in journal.entries() for entry in chunk]
    assert not any("state_cold" in entry.reasons for entry in entries)
    return np.stack([np.frombuffer(entry.row, "<f4") for entry in entries])


def test_a_seed_of_the_next_key_is_served_with_it(parts: Parts) -> None:
    """A new service whose backfill was made with the newest key uses it at once, for only its state is there."""
    ring = KeyRing((Secret(SECRET, 0), Secret(SECRET[::-1], NOW - HOUR)))
    store = EmbeddedStore(compile_catalogue(parts.bundle.catalogue))
    clicks = [msgspec.json.decode(body(place), type=Click) for place in range(30)]
    store.fold(encode_clicks(clicks, store.layout, ring.newest))
    store.snapshot(parts.root / parts.settings.storage.seed, fingerprint=ring.newest.fingerprint)

    async def main() -> None:
        async with started(parts._replace(ring=ring)) as service:
            (answer,) = await ask(service, 100)
            assert (answer.sequence, answer.reasons) in {(30, ()), (30, ("model",))}
            assert service._batcher.decider.pseudonymiser.fingerprint == ring.newest.fingerprint  # type: ignore[union-attr]

    asyncio.run(main())


def test_idle_time_is_used_for_checkpoints_and_garbage(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once no request comes, the journal's log is moved into the database, off the thread that answers."""
    monkeypatch.setattr(lifecycle, "_FEW", 10)

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
            monkeypatch.setattr(lifecycle, "_LONGEST_LOG", 0)
            monkeypatch.setattr(lifecycle, "_FEW", 1000)
            await ask(service, 99)
            service._tick()
            assert journal.waiting == 0

    asyncio.run(main())


def test_a_long_tail_is_folded_once(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a start that folded much of the journal a snapshot saves the next start the work."""

    async def run(*places: int) -> None:
        async with started(parts) as service:
            if places:
                await ask(service, *places)

    asyncio.run(run(*range(30)))
    (parts.root / "state.npz").unlink()
    monkeypatch.setattr(lifecycle, "_LONG_TAIL", 30)

    async def crash() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        assert (parts.root / "state.npz").exists()
        await service.stop()

    asyncio.run(crash())


def test_a_snapshot_is_written_while_the_service_runs(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes after many clicks, the state is written without a stop, so that a crash folds few again."""
    monkeypatch.setattr(lifecycle, "_LONG_TAIL", 50)

    async def main() -> None:
        async with started(parts) as service:
            await ask(service, *range(50))
            service._tick()
            assert not service.snapshot_path.exists()
            service._tick()
            await asyncio.gather(*service._tasks)
            assert service.snapshot_path.exists()
            service.snapshot_path.rename(parts.root / "kept")
            service._tick()
            await asyncio.gather(*service._tasks)
            assert not service.snapshot_path.exists()

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
