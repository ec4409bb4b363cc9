"""Slow features in the service: tables that are built while it runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.service.making import NOW, body

from slidr.clock import SECOND, ManualClock
from slidr.features.layout import compile_catalogue
from slidr.features.slow import build_slow
from slidr.service.lifecycle import Parts, Service


def test_a_new_table_is_taken_up(parts: Parts) -> None:
    """A table that is built while the service runs tells the next clicks; until then they count as not told."""
    layout, now = compile_catalogue(parts.bundle.catalogue), datetime.fromtimestamp(NOW // SECOND, UTC)
    yesterday, slow = now.date() - timedelta(days=1), parts.root / parts.settings.storage.slow

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        await service.start()
        await service.accept(body(1, 2))[1]
        assert b"slidr_slow_age_seconds NaN" in service.metrics.exposition()
        build_slow(slow, yesterday, layout, [], fingerprint=parts.pseudonymiser.fingerprint, created=NOW)
        service._look_for_tables()
        await asyncio.gather(*service._tasks)
        await service.accept(body(3))[1]
        shown = service.metrics.exposition().decode()
        assert f"slidr_slow_age_seconds {NOW // SECOND % 86400}.0" in shown
        assert 'slidr_slow_unknown_total{cause="missing"} 2.0' in shown
        await service.stop()

    asyncio.run(main())
