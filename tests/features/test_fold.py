"""The fold against a slow, obvious reference."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.reference import Entity

from slidr.clock import DAY, HOUR, MINUTE, SECOND
from slidr.features.catalogue import Burst, Catalogue, Clicks, Distinct, Gap, Velocity, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.layout import HORIZON, compile_catalogue
from slidr.features.store import EmbeddedStore

CATALOGUE: Catalogue = check_catalogue((
    Clicks("user", "1m"),
    Clicks("user", "1h"),
    Clicks("user", "24h"),
    Velocity("user", "10m"),
    Velocity("user", "1h"),
    Burst("user", "1m", "24h"),
    Burst("user", "10m", "1h"),
    Gap("user", "last"),
    Gap("user", "mean"),
    Gap("user", "variation"),
    Distinct("session", "user", "1h"),
    Distinct("session", "user", "24h"),
))  # fmt: skip
LAYOUT = compile_catalogue(CATALOGUE)
HORIZON_OF_USER = int(LAYOUT.blocks[0].layout[HORIZON])
WINDOWS = {"clicks_user_1m": MINUTE, "clicks_user_1h": HOUR, "clicks_user_24h": DAY}
START = 1_700_000_000_000_000

steps = st.lists(
    st.tuples(
        st.sampled_from(
            [0, 1, 7, 59, 61, 599, 3601, 20_000, 86_399, 86_401, 31_536_000, -1, -30, -3601, -90_000, -31_536_000]
        ),
        st.integers(0, SECOND - 1),
        st.integers(1, 3),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=80,
)


def make_batch(clicks: list[tuple[int, int, int, int]]) -> ClickBatch:
    """Return a batch of (seconds since the click before, microseconds, user, session)."""
    times, newest = [], START
    for seconds, micros, _, _ in clicks:
        times.append(newest + seconds * SECOND + micros)
        newest = max(newest, times[-1])
    keys = np.zeros((len(LAYOUT.keys), len(clicks)), np.uint64)
    for row, field in ((LAYOUT.keys.index(("user",)), 2), (LAYOUT.keys.index(("session",)), 3)):
        # Spread, as hashes are: the fold reads both ends of a key.
        keys[row] = [click[field] * 0x9E3779B97F4A7C15 % 2**64 for click in clicks]
    ids = np.arange(1, len(clicks) + 1, dtype=np.uint64)
    return ClickBatch(ids, np.array(times, np.int64), np.zeros(len(clicks), np.int8), keys)


def folded(batch: ClickBatch) -> dict[str, np.ndarray]:
    """Return the rows of a cold store, by feature."""
    rows = EmbeddedStore(LAYOUT).fold(batch).rows
    return dict(zip(LAYOUT.names, rows.T, strict=True))


@settings(deadline=None, max_examples=150)
@given(steps)
def test_rows_equal_reference(clicks: list[tuple[int, int, int, int]]) -> None:
    """Windows lie between exact counts, and every other feature equals the reference."""
    batch = make_batch(clicks)
    rows = folded(batch)
    users: dict[int, Entity] = {}
    user_row, session_row = LAYOUT.keys.index(("user",)), LAYOUT.keys.index(("session",))
    for place in range(len(batch)):
        user = users.setdefault(int(batch.keys[user_row, place]), Entity(HORIZON_OF_USER))
        user.join(int(batch.times[place]), int(batch.keys[session_row, place]))
        for name, window in WINDOWS.items():
            assert user.exact(window - window // 6) <= rows[name][place] <= user.exact(window)
            assert rows[name][place] == user.hops(window)
        for name, short, long in (("burst_user_1m_24h", MINUTE, DAY), ("burst_user_10m_1h", 10 * MINUTE, HOUR)):
            even = user.hops(long) * short / long
            np.testing.assert_allclose(rows[name][place], user.hops(short) / even, rtol=1e-6)
        for name, half_life in (("velocity_user_10m", 10 * MINUTE), ("velocity_user_1h", HOUR)):
            np.testing.assert_allclose(rows[name][place], user.rate(half_life), rtol=1e-4, atol=1e-6)
        assert rows["gap_user_last"][place] == np.float32(user.gap)
        if not user.gaps:
            assert rows["gap_user_mean"][place] == np.float32(HORIZON_OF_USER / SECOND)
            assert rows["gap_user_variation"][place] == 1.0
        elif len(user.gaps) <= 16:
            np.testing.assert_allclose(rows["gap_user_mean"][place], np.mean(user.gaps), rtol=1e-4, atol=1e-4)
        for name, window in (("distinct_session_user_1h", HOUR), ("distinct_session_user_24h", DAY)):
            assert rows[name][place] == user.distinct(window, 10 * MINUTE)


def test_clockwork_has_no_variation() -> None:
    """Clicks at equal distances have a coefficient of variation of zero, and random ones do not."""
    regular = folded(make_batch([(30, 0, 1, 1)] * 60))
    random = np.random.default_rng(1).exponential(30, 60).astype(int)
    irregular = folded(make_batch([(int(gap), 0, 1, 1) for gap in random]))
    assert regular["gap_user_variation"][-1] == 0
    assert irregular["gap_user_variation"][-1] > 0.5


def test_idle_entity_reads_as_new() -> None:
    """A click later than the horizon after the one before has the row of a first click."""
    rows = folded(make_batch([(0, 0, 1, 1), (5, 0, 1, 2), (HORIZON_OF_USER // SECOND + 1, 0, 1, 3)]))
    for values in rows.values():
        assert values[2] == values[0]


def test_null_entity_counts_nothing() -> None:
    """A click without the entity has no clicks, and gaps as of a first click."""
    batch = make_batch([(0, 0, 1, 1), (1, 0, 1, 1)])
    batch.keys[LAYOUT.keys.index(("user",)), 1] = 0
    rows = folded(batch)
    assert rows["clicks_user_24h"].tolist() == [1, 0]
    assert rows["velocity_user_1h"][1] == 0
    assert rows["burst_user_1m_24h"].tolist() == [1440, 0]
    assert rows["gap_user_last"][1] == rows["gap_user_last"][0]
    assert rows["distinct_session_user_24h"][1] == 0


def test_late_clicks_are_counted() -> None:
    """A click too late for a ring is not added, and the store says how many there were."""
    store = EmbeddedStore(LAYOUT)
    rows = store.fold(make_batch([(0, 0, 1, 1), (-3 * 3600, 0, 1, 1)])).rows
    assert store.late == 1
    assert rows[1, LAYOUT.names.index("clicks_user_1h")] == 1
    assert rows[1, LAYOUT.names.index("clicks_user_24h")] == 2
