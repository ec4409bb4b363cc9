"""Side by side: several catalogues over one fold, each with its own rows and its own soundness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.features.batches import START, random_batch

from slidr.clock import DAY, HOUR
from slidr.features.catalogue import (
    AnyFeature,
    Catalogue,
    Clicks,
    Distinct,
    Gap,
    LoggedIn,
    Missing,
    Velocity,
    check_catalogue,
)
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.side_by_side import SideBySide, side_by_side
from slidr.features.store import EmbeddedStore, Soundness


def layout_of(*features: AnyFeature) -> Layout:
    """Return a compiled catalogue."""
    return compile_catalogue(check_catalogue(features))


CHAMPION = layout_of(
    Clicks("user", "1h"), Gap("user", "last"), Distinct("session", "ip", "1h"), LoggedIn(), Missing("session")
)
CHALLENGER = layout_of(
    Missing("user_agent"),
    Distinct("session", "ip", "60m"),
    Clicks("user", "60m"),
    Gap("user", "mean"),
    Velocity("session", "10m"),
    Distinct("session", ("ip", "user_agent"), "24h"),
)
ROLLBACK = layout_of(Clicks("user", "6h"), Distinct("session", "ip", "24h"))


def of(layout: Layout, batch: ClickBatch, union: Layout) -> ClickBatch:
    """Return a batch of the union as one catalogue encodes it."""
    return replace(batch, keys=np.ascontiguousarray(batch.keys[[union.keys.index(key) for key in layout.keys]]))


def test_every_catalogue_gets_the_rows_that_it_gets_alone() -> None:
    """Rows, sequences, repeats and soundness of each view are those of a store of its own, batch after batch."""
    layouts = (CHAMPION, CHALLENGER, ROLLBACK)
    union, _ = side_by_side(layouts)
    store = EmbeddedStore(union)
    views = SideBySide(layouts, store).views
    alone = [EmbeddedStore(layout) for layout in layouts]
    whole = random_batch(union, 3000, seed=3, repeats=True)
    for start in (0, 1000, 2000):
        batch = whole.take(slice(start, start + 1000))
        for view, own, layout in zip(views, alone, layouts, strict=True):
            found, expected = view.fold(batch), own.fold(of(layout, batch, union))
            np.testing.assert_array_equal(found.rows, expected.rows)
            np.testing.assert_array_equal(found.sequences, expected.sequences)
            np.testing.assert_array_equal(found.repeats, expected.repeats)
            np.testing.assert_array_equal(found.soundness, expected.soundness)
    assert store.sequence == alone[0].sequence


def test_blocks_of_equal_state_are_folded_once() -> None:
    """Shared blocks stand once in the union, also where one catalogue reads more of them or writes 1h as 60m."""
    union, columns = side_by_side((CHAMPION, CHALLENGER))
    keys = [block.key for block in union.blocks]
    assert len(set(keys)) == len(keys) == 4
    assert {block.key for layout in (CHAMPION, CHALLENGER) for block in layout.blocks} == set(keys)
    assert columns[0][0] == columns[1][2]
    assert [union.names[column] for column in columns[0]] == list(CHAMPION.names)


@given(data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_catalogues_share_what_is_equal(catalogue: Catalogue, data: st.DataObject) -> None:
    """Whatever two catalogues ask for, the union has the blocks of both, each once, and a column for every feature."""
    chosen = st.lists(st.sampled_from(catalogue), unique=True, min_size=1)
    layouts = [compile_catalogue(tuple(data.draw(chosen))) for _ in range(2)]
    union, columns = side_by_side(layouts)
    keys = [block.key for block in union.blocks]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {block.key for layout in layouts for block in layout.blocks}
    for layout, mine in zip(layouts, columns, strict=True):
        assert [union.names[column] for column in mine] == list(layout.names)


def test_one_catalogue_beside_itself_changes_nothing(layout: Layout) -> None:
    """The union of the default catalogue with itself is the default catalogue, its slow features included."""
    union, columns = side_by_side((layout, layout))
    assert union.names == layout.names
    assert union.keys == layout.keys
    assert [block.key for block in union.blocks] == [block.key for block in layout.blocks]
    for one, other in zip(union.blocks, layout.blocks, strict=True):
        np.testing.assert_array_equal(one.layout, other.layout)
    np.testing.assert_array_equal(columns[1], np.arange(len(layout.names)))


def test_a_batch_is_folded_once_for_all_views() -> None:
    """The second view reads what the first had folded; a view that comes again with a batch repeats it."""
    store = EmbeddedStore(side_by_side((CHAMPION, ROLLBACK))[0])
    champion, rollback = SideBySide((CHAMPION, ROLLBACK), store).views
    batch = random_batch(store.layout, 10, seed=5)
    batch.times[:] = START + np.arange(10)
    assert not champion.fold(batch).repeats.any()
    assert not rollback.fold(batch).repeats.any()
    assert store.sequence == 10
    assert champion.fold(batch).repeats.all()


def test_a_cold_block_makes_only_its_readers_cold(tmp_path: Path) -> None:
    """A challenger with a block that the state lacks is cold until it is as old as its horizon; the champion is not."""
    layouts = (layout_of(Clicks("user", "1h")), layout_of(Clicks("user", "1h"), Clicks("ip", "6h")))
    champion = EmbeddedStore(layouts[0])
    batch = random_batch(layouts[0], 100, seed=7)
    batch.times[:] = START + np.arange(100)
    champion.fold(batch)
    champion.snapshot(tmp_path / "state.npz", fingerprint="f")
    store = EmbeddedStore(side_by_side(layouts)[0])
    store.restore(tmp_path / "state.npz", fingerprint="f")
    views = SideBySide(layouts, store).views
    later = random_batch(store.layout, 3, seed=8)
    later.times[:] = START + np.array([HOUR, 6 * HOUR - 1, 7 * HOUR])
    assert views[0].fold(later).soundness.tolist() == [Soundness.SOUND] * 3
    assert views[1].fold(later).soundness.tolist() == [Soundness.STATE_COLD, Soundness.STATE_COLD, Soundness.SOUND]
    assert store.cold_blocks(layouts[0], START) == ()
    assert [block.entity for block in store.cold_blocks(layouts[1], START + HOUR)] == [("ip",)]
    assert store.cold_blocks(layouts[1], START + DAY) == ()
    assert [block.entity for block in store.cold_blocks(ROLLBACK, START + DAY)] == [("user",), ("ip",)]
