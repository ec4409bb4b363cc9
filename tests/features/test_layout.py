"""The layout: what the fold kernel reads."""

from __future__ import annotations

import numpy as np
import pytest

from slidr.clock import DAY, HOUR, MINUTE
from slidr.errors import FeatureError
from slidr.features.catalogue import (
    AnyFeature,
    Burst,
    Catalogue,
    Clicks,
    Distinct,
    Gap,
    LoggedIn,
    Missing,
    PeakDistinct,
    TimeOfClick,
    Velocity,
    check_catalogue,
)
from slidr.features.layout import (
    BODY,
    BURSTS,
    GAPS,
    HALF_LIVES,
    HEADER,
    HORIZON,
    KEY_ROW,
    RING_WORDS,
    SKETCH_WORDS,
    SKETCHES,
    STRIDE,
    WINDOWS,
    Layout,
    compile_catalogue,
)


def compiled(*features: AnyFeature) -> Layout:
    """Return a catalogue, compiled."""
    return compile_catalogue(check_catalogue(features))


def test_columns_are_in_the_order_of_the_catalogue(catalogue: Catalogue, layout: Layout) -> None:
    """A row has one column a feature, in the catalogue's order, whichever block computes it."""
    assert layout.names == tuple(feature.name for feature in catalogue)


def test_each_column_is_written_once(layout: Layout) -> None:
    """Blocks, clock, missing flags and slow features together name each column of the row exactly once."""
    columns = [column for column in layout.clock.tolist() if column >= 0] + layout.missing[:, 1].tolist()
    columns += [column.column_of_row for column in layout.slow]
    for block in layout.blocks:
        head, at = block.layout, BODY
        for _ in range(head[WINDOWS] + head[HALF_LIVES]):
            columns.append(int(head[at + 1]))
            at += 2
        if head[GAPS]:
            columns += [int(column) for column in head[at : at + 3] if column >= 0]
            at += 3
        for _ in range(head[SKETCHES]):
            windows = int(head[at + 3])
            columns += head[at + 5 : at + 4 + 2 * windows : 2].tolist()
            at += 4 + 2 * windows
        columns += head[at + 2 :: 3].tolist()
        assert at + 3 * head[BURSTS] == len(head)
    assert sorted(columns) == list(range(len(layout.names)))


def test_slow_features_have_no_state() -> None:
    """They have keys and columns, but no block, nor do they change one."""
    peaks = (PeakDistinct("campaign", "network"), PeakDistinct("user", ("ip", "device"), over="7d"))
    layout = compiled(peaks[0], Clicks("ip", "1h"), peaks[1])
    assert [block.key for block in layout.blocks] == [compiled(Clicks("ip", "1h")).blocks[0].key]
    found = [
        (column.column_of_row, layout.keys[column.key_row], layout.keys[column.counted_row]) for column in layout.slow
    ]
    assert found == [(0, ("network",), ("campaign",)), (2, ("ip", "device"), ("user",))]
    assert [column.days for column in layout.slow] == [30, 7]
    assert compiled(*peaks).blocks == ()


def test_user_session_and_ip_lead_the_keys() -> None:
    """These three are always hashed, in this order, since a click without any cannot be measured."""
    assert compiled(LoggedIn()).keys == (("user",), ("session",), ("ip",))
    keys = compiled(Distinct("campaign", ("ip", "device"), "1h"), Missing("user_agent")).keys
    assert keys[:3] == (("user",), ("session",), ("ip",))
    assert set(keys[3:]) == {("device",), ("campaign",), ("user_agent",), ("ip", "device")}
    assert keys[-1] == ("ip", "device")


def test_a_record_has_room_for_its_state() -> None:
    """The stride holds header, rings, rates, gaps and distinct counts, in whole cache lines of 16 words."""
    layout = compiled(Clicks("user", "1h"), Clicks("user", "6h"), Velocity("user", "1m"), Gap("user"),
                      Distinct("ip", "user", "1h"), Distinct("ip", "user", "24h"))  # fmt: skip
    (block,) = layout.blocks
    head = block.layout
    assert [head[place] for place in (WINDOWS, HALF_LIVES, GAPS, SKETCHES)] == [2, 1, 1, 1]
    assert head[STRIDE] % 16 == 0
    assert 0 <= head[STRIDE] - (HEADER + 2 * RING_WORDS + 1 + 3 + SKETCH_WORDS) < 16
    assert layout.keys[int(head[KEY_ROW])] == ("user",)


@pytest.mark.parametrize(
    ("features", "horizon"),
    [
        ((Clicks("user", "6h"), Clicks("user", "10m")), 6 * HOUR),
        ((Velocity("user", "1h"),), 24 * HOUR),
        ((Velocity("user", "1h"), Clicks("user", "3d")), 3 * DAY),
        ((Distinct("ip", "user", "2h"),), 2 * HOUR),
        ((Gap("user"),), DAY),
        ((LoggedIn(),), DAY),
    ],
)
def test_the_horizon_is_the_longest_memory(features: tuple[AnyFeature, ...], horizon: int) -> None:
    """An entity is remembered for its longest window, or for as long as its slowest rate can be told from zero."""
    assert compiled(*features).horizon == horizon


def test_blocks_are_named_by_what_they_hold() -> None:
    """Entity and layout name a block; the columns of the row and the other blocks do not."""
    alone = compiled(Clicks("user", "1h"), Gap("user")).blocks[0]
    among = compiled(LoggedIn(), Clicks("ip", "1h"), Clicks("user", "1h"), Gap("user")).blocks[1]
    assert alone.key == among.key
    others = [
        compiled(Clicks("ip", "1h"), Gap("ip")),
        compiled(Clicks("user", "2h"), Gap("user")),
        compiled(Clicks("user", "1h")),
        compiled(Clicks("user", "1h"), Gap("user"), Velocity("user", "1m")),
        compiled(Clicks("user", "1h"), Gap("user"), Distinct("ip", "user", "1h")),
        compiled(Clicks("user", "1h"), Gap("user"), Distinct("session", "user", "1h")),
    ]
    assert len({alone.key, *(layout.blocks[0].key for layout in others)}) == 7


def test_windows_of_a_burst() -> None:
    """A burst reads the rings of its windows; a window that no count asks for has a ring and no column."""
    (block,) = compiled(Clicks("user", "1h"), Burst("user", "10m", "1h"), Burst("user", "10m", "24h")).blocks
    head = block.layout
    assert (head[WINDOWS], head[BURSTS]) == (3, 2)
    rings = {int(span) * 6: int(column) for span, column in head[BODY : BODY + 6].reshape(-1, 2)}
    assert rings == {HOUR: 0, 10 * MINUTE: -1, DAY: -1}
    np.testing.assert_array_equal(head[BODY + 6 :].reshape(-1, 3), [[1, 0, 1], [1, 2, 2]])
    assert head[HORIZON] == DAY
    assert block.key == compiled(*(Clicks("user", window) for window in ("1h", "10m", "24h"))).blocks[0].key


def test_windows_of_a_distinct_count_share_a_ring() -> None:
    """The unit of time is a sixth of the shortest window, and the ring spans the longest."""
    head = compiled(Distinct("ip", "user", "24h"), Distinct("ip", "user", "1h")).blocks[0].layout
    unit, units = head[BODY + 1 : BODY + 3]
    assert (unit, units) == (10 * MINUTE, 144)


@pytest.mark.parametrize("windows", [("1m", "24h"), ("1h", "61m"), ("7m", "1h")])
def test_windows_of_a_distinct_count_that_share_no_ring(windows: tuple[str, ...]) -> None:
    """Windows too far apart, or no multiples of one unit, are refused by the names of the features."""
    with pytest.raises(FeatureError, match=f"distinct_ip_user_{windows[-1]}: the windows of one distinct count"):
        compiled(*(Distinct("ip", "user", window) for window in windows))


def test_what_reads_the_click_alone_needs_no_block() -> None:
    """Time, login and missing flags have no state."""
    layout = compiled(TimeOfClick("hour_cos"), Missing("logged_in"), LoggedIn(), Missing("session"))
    assert layout.blocks == ()
    np.testing.assert_array_equal(layout.clock, [0, -1, -1, -1, 2])
    np.testing.assert_array_equal(layout.missing, [[-1, 1], [1, 3]])
