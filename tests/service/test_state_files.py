"""Where the state of a service comes from: backfill, its own snapshots, other catalogues and secret keys."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.service.making import NOW, SECRET, body, click, make_parts
from tests.service.running import ask, scores, started

from slidr.clock import DAY, HOUR, SECOND, ManualClock
from slidr.errors import ServiceError
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.clicks import Click, encode_clicks
from slidr.features.keys import KeyRing, Pseudonymiser, Secret
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.service.answers import Answer
from slidr.service.lifecycle import Parts, Service
from slidr.service.recovery import recover
from slidr.service.state_files import StateFiles, kept_states


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
            serving.append(service.batcher.live.champion.pseudonymiser.fingerprint)
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
    assert set(parts.root.glob("state*")) == set(kept_states(parts.snapshot_path))


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
            assert service.batcher.live.champion.pseudonymiser.fingerprint == ring.newest.fingerprint

    asyncio.run(main())


def test_the_first_state_of_each_day_is_kept(tmp_path: Path) -> None:
    """A replay finds the state from before the newest days; older ones, and what is not a state, leave no trace."""
    own = tmp_path / "state.npz"
    files = StateFiles(own, tmp_path / "seed.npz", None, days=2)
    files.keep(NOW)
    assert kept_states(own) == [own]
    for hours in (0, 1, 24, 48):
        own.with_suffix(".part").write_text(str(hours))
        own.with_suffix(".part").replace(own)
        files.keep(NOW + hours * HOUR)
    assert [path.read_text() for path in kept_states(own)] == ["48", "24", "48"]
