"""Warming: every kernel that a request may need is compiled before the first one, on state that is thrown away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from slidr.decide import union_layout
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout
from slidr.features.store import EmbeddedStore
from slidr.service.opening import Parts, open_live

_START = datetime(2026, 1, 1, tzinfo=UTC)
_CLICKS = 4096  # more than a fresh store has room for, so that growth is compiled too


def warm_up(parts: Parts) -> None:
    """Decide made-up clicks over a store of its own: alone, in twos and in full batches, repeats among them."""
    layout, pseudonymiser = union_layout(parts.bundles, parts.rules), parts.pseudonymiser
    store = EmbeddedStore(layout)
    store.fold(_strangers(layout))
    for block in store.blocks:
        block.evict(2**62)
    if pseudonymiser.beside is not None:
        store.accompany(EmbeddedStore(layout))
    live = open_live(parts, pseudonymiser, lambda _layout: store)
    for size in (1, 2, parts.settings.service.batch, 1):
        live.decide(
            [
                live.click(
                    click_id=f"warm-up {place}",
                    time=_START + timedelta(seconds=place),
                    user=f"user {place % 7}",
                    session=f"session {place % 5}",
                    ip=f"192.0.2.{place % 200}",
                    user_agent="warm-up",
                    logged_in=place % 2 == 0,
                )
                for place in range(size)
            ]
        )


def _strangers(layout: Layout) -> ClickBatch:
    """Return clicks of which every one is of new entities, but for the first one's, which see many values."""
    numbers = np.arange(1, _CLICKS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keys = np.tile(numbers, (len(layout.keys), 1))
    for row in range(len(layout.keys)):
        keys[row, row :: len(layout.keys) + 1] = numbers[0]
    times = np.arange(_CLICKS, dtype=np.int64) * 1_000_000 + 1
    return ClickBatch(numbers, times, np.zeros(_CLICKS, np.int8), keys)
