"""Upkeep: a state is written while clicks are decided, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.service.making import NOW
from tests.service.running import ask, started

from slidr.clock import HOUR, ManualClock
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal, Purchase, Shipped
from slidr.journal.told import beside, tell_collected, tell_held, tell_shipped
from slidr.service import upkeep as upkeep_module
from slidr.service.answers import Answer
from slidr.service.lifecycle import Parts, Service
from slidr.service.state_files import StateFiles
from slidr.service.upkeep import Upkeep


def _upkeep(parts: Parts, service: Service) -> Upkeep:
    seed = parts.root / parts.settings.storage.seed
    return Upkeep(StateFiles(parts.snapshot_path, seed, parts.ring), service.spawn)


def _left(parts: Parts) -> list[Path]:
    return [path for path in parts.snapshot_path.parent.iterdir() if path.suffix in {".new", ".part"}]


def test_a_state_is_written_beside_the_requests(parts: Parts) -> None:
    """The snapshot has the clicks up to its beginning, whatever is folded meanwhile, and no file is left over."""

    async def run() -> None:
        async with started(parts) as service:
            await ask(service, *range(20))
            upkeep = _upkeep(parts, service)
            writing = asyncio.ensure_future(upkeep.write(service.batcher.live, service.batcher.journal))
            await asyncio.sleep(0)
            await ask(service, *range(20, 30))
            await writing
            upkeep.close()
            held = EmbeddedStore(compile_catalogue(parts.bundle.catalogue))
            held.restore(parts.snapshot_path, fingerprint=parts.pseudonymiser.fingerprint)
            assert held.sequence == 20
            assert _left(parts) == []

    asyncio.run(run())


def test_moments_are_left_while_work_goes_on_beside(parts: Parts) -> None:
    """As long as a process that yields has work, the core is left to it now and then, and not any longer."""

    async def run() -> None:
        async with started(parts) as service:
            upkeep = _upkeep(parts, service)
            moments = 0
            with upkeep._work_beside():
                while moments < 3:
                    handle = upkeep._leaving
                    assert handle is not None
                    moments += handle.when() <= asyncio.get_running_loop().time()
                    await asyncio.sleep(0)
            for _ in range(1_000_000):
                if upkeep._leaving is None:
                    break
                await asyncio.sleep(0)
            assert upkeep._leaving is None
            upkeep.close()

    asyncio.run(run())


def test_a_state_that_took_too_long_is_written_with_a_share_of_the_core(parts: Parts) -> None:
    """The process that writes the next one does not wait for a core that nobody else wants, and the one after does."""

    async def run() -> None:
        async with started(parts) as service:
            await ask(service, 1)
            upkeep = _upkeep(parts, service)
            folder = parts.snapshot_path.parent
            moved = folder.rename(folder.with_name("away"))
            folder.touch()  # A file where a folder must be.
            yielding = []
            await upkeep.write(service.batcher.live, service.batcher.journal)
            yielding.append(upkeep._yielding)
            folder.unlink()
            moved.rename(folder)
            await upkeep.write(service.batcher.live, service.batcher.journal)
            yielding.append(upkeep._yielding)
            assert yielding == [False, True]
            upkeep.close()

    asyncio.run(run())


def test_a_state_that_is_no_longer_wanted_is_given_up(parts: Parts) -> None:
    """The last snapshot stays, no file is left, and the next one is due as if none had been begun."""

    async def run() -> None:
        async with started(parts) as service:
            upkeep = _upkeep(parts, service)
            await ask(service, *range(20))
            await upkeep.write(service.batcher.live, service.batcher.journal)
            before = parts.snapshot_path.read_bytes()
            await ask(service, *range(20, 30))
            await upkeep.write(service.batcher.live, service.batcher.journal, lambda: False)
            assert (upkeep._snapshotted, upkeep._held) == (20, 20)
            assert parts.snapshot_path.read_bytes() == before
            assert _left(parts) == []
            upkeep.close()

    asyncio.run(run())


def test_a_state_is_written_once_it_has_been_calm(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few requests since the last looks begin a snapshot, and many more of them end it."""
    monkeypatch.setattr(upkeep_module, "_LONG_TAIL", 20)
    monkeypatch.setattr(upkeep_module, "_BUSY", 1_000)
    begun: list[Callable[[], bool]] = []

    async def run() -> None:
        async with started(parts) as service:
            upkeep, batcher = _upkeep(parts, service), service.batcher
            monkeypatch.setattr(upkeep, "write", lambda _live, _journal, wanted: _record(begun, wanted))
            for place in range(20):
                await ask(service, place)
            for _ in range(upkeep_module._CALM_TICKS):
                upkeep.tick(batcher)
                await asyncio.sleep(0)
            assert begun == [], "twenty batches were decided before the first look"
            await ask(service, 20)
            upkeep.tick(batcher)
            await asyncio.sleep(0)
            (wanted,) = begun
            await ask(service, 21)
            assert wanted()
            for place in range(22, 34):
                await ask(service, place)
            assert not wanted()
            upkeep.close()

    asyncio.run(run())


async def _record(begun: list[Callable[[], bool]], wanted: Callable[[], bool]) -> None:
    begun.append(wanted)


def test_a_state_that_cannot_be_written_is_told(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """The service goes on, and the log says why the next start folds more."""

    async def run() -> None:
        async with started(parts) as service:
            await ask(service, 1)
            upkeep = Upkeep(StateFiles(parts.root / "missing" / "\0" / "state.npz", parts.root, None), service.spawn)
            await upkeep.write(service.batcher.live, service.batcher.journal)
            upkeep.close()
            assert (await ask(service, 2))[0].sequence == 1

    asyncio.run(run())
    assert "no snapshot was written" in caplog.text


def test_what_a_killed_process_left_is_cleared(parts: Parts) -> None:
    """Half a snapshot of a process that is gone does not stay, and is never read."""

    async def run() -> list[Answer]:
        async with started(parts) as service:
            return await ask(service, 1)

    left = parts.snapshot_path.with_name(f"{parts.snapshot_path.name}.123.new.part")
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    assert [answer.sequence for answer in asyncio.run(run())] == [0]
    assert _left(parts) == []


def test_what_the_state_of_all_journals_holds_leaves_this_one(parts: Parts) -> None:
    """A service without snapshots of its own is told up to where entries may leave, and up to where purchases."""

    async def run() -> None:
        async with started(parts) as service:
            await ask(service, *range(20))
            files = StateFiles(parts.snapshot_path, parts.root / parts.settings.storage.seed, parts.ring)
            upkeep = Upkeep(files, service.spawn, 25 * HOUR, ManualClock(NOW + 26 * HOUR))
            journal = service.batcher.journal
            tell_shipped(journal.path, journal.id, Shipped(14, 0))
            tell_held(journal.path, journal.id, 10)
            journal.report([Purchase(f"p{place}", NOW, None, None, None, None, NOW) for place in range(5)])
            tell_collected(journal.path, journal.id, 3)
            upkeep.tick(service.batcher)
            assert [entry.sequence for entry in next(journal.entries())] == list(range(9, 20))
            assert [number for number, _ in next(journal.purchases())] == [4, 5]
            upkeep.close()

    asyncio.run(run())


def test_shipped_entries_leave_the_journal_while_it_is_idle(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """What is in the lake and in a snapshot goes, and not before it is told; a file that was changed is only told."""

    async def run() -> None:
        async with started(parts) as service:
            await ask(service, *range(20))
            batcher, clock = service.batcher, ManualClock(NOW + 26 * HOUR)
            files = StateFiles(parts.snapshot_path, parts.root / parts.settings.storage.seed, parts.ring)
            upkeep = Upkeep(files, service.spawn, 25 * HOUR, clock)
            journal = batcher.journal
            tell_shipped(journal.path, journal.id, Shipped(14, 0))
            upkeep.tick(batcher)
            assert len(next(journal.entries())) == 20, "no snapshot holds them yet"
            await upkeep.write(batcher.live, journal)
            upkeep.tick(batcher)
            assert [entry.sequence for entry in next(journal.entries())] == [15, 16, 17, 18, 19]
            beside(journal.path, "shipped").write_text("{}")
            for _ in range(100):
                upkeep.tick(batcher)
            assert len(next(journal.entries())) == 5
            upkeep.close()

    asyncio.run(run())
    assert "the journal keeps what is shipped" in caplog.text


def test_a_service_starts_again_over_a_shortened_journal(parts: Parts) -> None:
    """The state comes back whole from the snapshot and the entries that are left, and the fold goes on."""

    async def run() -> None:
        async with started(parts) as service:
            await ask(service, *range(20))
        with Journal(parts.journal_path) as journal:
            removed = journal.shorten(Shipped(99, 99), held=20, before=2**62, most=100)
            assert removed == 19
        async with started(parts) as service:
            assert (await ask(service, 20))[0].sequence == 20
            assert (await ask(service, 3))[0].sequence == 3

    asyncio.run(run())
