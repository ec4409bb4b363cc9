"""What decides at a moment: champion and challenger, in time or not, whatever clock and disk do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.service.making import NOW, click, make_bundle, make_parts
from tests.service.running import ask

from slidr.bundle import Bundle
from slidr.clock import HOUR, ManualClock
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.journal import Journal
from slidr.service import lifecycle
from slidr.service.lifecycle import Parts, Service
from slidr.service.queue import UnavailableError

NARROW = check_catalogue((Clicks("user", "1h"), Clicks("ip", "10m")))


def test_a_challenger_is_journalled_and_never_answered(parts: Parts, tmp_path: Path) -> None:
    """Answers are those of the champion alone; the shadow of each click is kept, and where both differ is counted."""
    rival = make_bundle(tmp_path / "bundles", catalogue=NARROW, seed=9)

    async def run(which: Parts) -> tuple[list[tuple[str, ...]], bytes]:
        service = Service(which, clock=ManualClock(NOW))
        await service.start()
        answers = [*await ask(service, *range(30)), *await ask(service, 3, *range(30, 60), 31)]
        metrics = service.metrics.exposition()
        await service.stop()
        return [(one.click_id, one.verdict, *one.reasons, one.bundle) for one in answers], metrics

    alone, _ = asyncio.run(run(make_parts(tmp_path / "alone", parts.bundle)))
    both, metrics = asyncio.run(run(parts._replace(challenger=rival)))
    assert both == alone
    with Journal(parts.journal_path, write=False) as journal:
        entries = [entry for chunk in journal.entries() for entry in chunk]
        shadows = journal.shadows(range(100))
        assert sorted(shadows) == [entry.sequence for entry in entries] == list(range(60))
        (context,) = {shadow.context for shadow in shadows.values()}
        assert journal.context(context).features == ("clicks_user_1h", "clicks_ip_10m")
    assert {shadow.bundle for shadow in shadows.values()} == {rival.id}
    assert {np.frombuffer(shadow.row or b"", "<f4").size for shadow in shadows.values()} == {2}
    differing = sum(shadows[entry.sequence].verdict != entry.verdict for entry in entries)
    assert differing
    assert f"slidr_shadow_disagreements_total {float(differing)}".encode() in metrics


def test_what_cannot_be_decided_in_time_is_said_so(parts: Parts, bundle: Bundle) -> None:
    """A click that waited too long is unmeasurable, journalled, never folded, and stays so when it comes again."""

    async def run(deadline: float) -> list[tuple[str, tuple[str, ...], int, str | None]]:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        batcher = service.batcher
        batcher._queue._limits = batcher._limits = batcher._limits._replace(deadline=deadline)
        answers = await ask(service, 1, 2, 1)
        await service.stop()
        return [(one.verdict, one.reasons, one.sequence, one.decision_id) for one in answers]

    late = asyncio.run(run(-1.0))
    assert [one[:3] for one in late] == [("unmeasurable", ("deadline",), place) for place in (-1, -2, -1)]
    assert asyncio.run(run(1000.0)) == late
    with Journal(parts.journal_path, write=False) as journal:
        assert journal.last_sequence == -1
        assert [entry.click_id for entry in journal.unfolded(0)] == ["click-1", "click-2"]
    assert parts.bundle is bundle


def test_a_full_disk_is_waited_for(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged that could not be written; with room again the service goes on where it was."""
    monkeypatch.setattr(lifecycle, "_PAUSES", (0.0,))

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        first = await ask(service, *range(20))
        pages = service.batcher.journal._connection.execute("PRAGMA page_count").fetchone()[0]
        service.batcher.journal._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(UnavailableError, match="the disk is full; make room"):
            await ask(service, *range(20, 220))
        await asyncio.wait_for(service.ready.wait(), 60)
        again = await ask(service, *range(220))
        assert again[:20] == first
        assert [answer.sequence for answer in again] == list(range(220))
        await service.stop()

    asyncio.run(main())
    with Journal(parts.journal_path, write=False) as journal:
        assert journal.last_sequence == 219


def test_a_clock_that_is_set_changes_no_row(parts: Parts, tmp_path: Path) -> None:
    """Stepped forth and back, the clock dates decisions and nothing else; what it puts into the future is refused."""
    steps = (0, 3 * HOUR, -3 * HOUR, 30 * 24 * HOUR, -30 * 24 * HOUR)

    async def run(which: Parts, moves: tuple[int, ...]) -> list[tuple[int, bytes]]:
        clock = ManualClock(NOW)
        service = Service(which, clock=clock)
        await service.start()
        for place, step in enumerate(moves):
            clock.advance(step)
            assert len(await ask(service, *range(20 * place, 20 * place + 20))) == 20
            service._tick()
        clock.advance(-5 * HOUR)
        admitted, future = service.accept(msgspec.json.encode([click(500)]))
        assert (await future, len(admitted.faults)) == ([], 1)
        clock.advance(5 * HOUR)
        await ask(service, 500)
        await service.stop()
        with Journal(which.journal_path, write=False) as journal:
            return [(entry.sequence, entry.row) for chunk in journal.entries() for entry in chunk]

    steady = asyncio.run(run(make_parts(tmp_path / "steady", parts.bundle), (0,) * 5))
    assert asyncio.run(run(parts, steps)) == steady
    assert len(steady) == 101
