from __future__ import annotations

import numpy as np

from slidr.clock import SECOND
from slidr.simulate.columns import NOBODY, ClickColumns, join, space_out


def _columns(session: list[int]) -> ClickColumns:
    size = len(session)
    whole, small = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int8)
    return ClickColumns(
        time=np.arange(size),
        user=np.full(size, NOBODY),
        session=np.array(session, dtype=np.int64),
        address=whole.astype(np.uint64),
        agent=whole.astype(np.int32),
        device=small,
        region=small,
        logged_in=np.zeros(size, dtype=np.bool_),
        campaign=whole.astype(np.int32),
        person=whole,
    )


def test_joined_parts_share_no_session() -> None:
    """Sessions are numbered on from part to part, and clicks of one session stay together."""
    joined = join([_columns([0, 0, 2]), _columns([]), _columns([1, 0])])
    assert joined.session.tolist() == [0, 0, 2, 4, 3]
    assert len(joined.take(joined.session > 2)) == 2


def test_space_out_starts_each_visit_at_its_start() -> None:
    """A visit's first click is its start, later ones follow at the gaps drawn."""
    starts = np.array([100, 5_000_000, 0], dtype=np.int64)
    visit, time = space_out(starts, np.array([3, 1, 2]), (2.0, 0.0), np.random.default_rng(1))
    assert visit.tolist() == [0, 0, 0, 1, 2, 2]
    assert time.tolist() == [100, 100 + 2 * SECOND, 100 + 4 * SECOND, 5_000_000, 0, 2 * SECOND]


def test_gaps_are_lognormal() -> None:
    """The logarithms of the gaps have the median and deviation asked for."""
    _, time = space_out(np.zeros(1, dtype=np.int64), np.array([20_000]), (25.0, 1.1), np.random.default_rng(1))
    logs = np.log(np.diff(time) / SECOND)
    assert abs(np.median(logs) - np.log(25.0)) < 0.05
    assert abs(logs.std() - 1.1) < 0.05
