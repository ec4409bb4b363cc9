from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import DAY, HOUR
from slidr.errors import LabelError
from slidr.evaluation.results import Caught, FamilyCaught
from slidr.evaluation.truth import Truth, catch, catch_at_true_fpr, level_at, missed, read_truth, sparse_hours

TABLE = pa.table({"click_id": ["a", "b", "c", "d"], "family": ["human", "burst", "human", "botnet"]})


def test_the_truth_follows_the_clicks() -> None:
    """Families come in the order of the clicks asked for, people first among the names."""
    truth = read_truth(TABLE, ["d", "a", "b"])
    assert truth.families == ("human", "botnet", "burst")
    assert truth.family.tolist() == [1, 0, 2]
    assert truth.robot.tolist() == [True, False, True]


def test_a_truth_of_another_log_is_refused() -> None:
    """A click without a truth names how many there are."""
    with pytest.raises(LabelError, match="lacks 1 of 2"):
        read_truth(TABLE, ["a", "z"])


def test_people_alone_have_no_recall() -> None:
    """Without a robot there is nothing to catch, and without a mark nothing is precise."""
    found = catch(np.zeros(2, np.bool_), Truth(np.zeros(2, np.int32), ("human",)))
    assert (found.recall, found.precision, found.true_fpr, found.families) == (None, None, 0.0, ())


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=60).filter(
        lambda rows: any(family == 0 for _, family in rows)
    ),
    st.floats(0, 0.99),
)
def test_a_level_keeps_the_true_limit_and_none_lower_does(rows: list[tuple[int, int]], limit: float) -> None:
    """At the level at most the limit of people is marked; one step lower it would be more."""
    u, family = (np.array(column) for column in zip(*rows, strict=True))
    truth = Truth(family.astype(np.int32), ("human", "one", "two"))
    level = level_at(u, ~truth.robot, limit)
    people = u[~truth.robot]
    most = int(limit * len(people))
    assert (people > level).sum() <= most
    assert (people >= level).sum() > most
    found = catch_at_true_fpr(u, truth, limit)
    assert found.true_fpr is not None
    assert found.true_fpr <= limit


def test_families_under_one_half_are_missed_the_worst_first() -> None:
    """A family of which half is caught is not missed; one that the simulator lacks has no signal."""
    families = tuple(FamilyCaught(*row) for row in (("burst", 9, 0.5), ("mimic", 9, 0.2), ("other", 9, 0.1)))
    found = missed(Caught(0.3, 1.0, 0.0, families))
    assert [one.family for one in found] == ["other", "mimic"]
    assert found[0].signal == ""
    assert found[1].signal


def test_sparse_hours_are_those_with_the_fewest_clicks() -> None:
    """Six hours of the local day are sparse, wherever they lie."""
    hours = np.concatenate([np.repeat(np.arange(24), 5), np.repeat(np.arange(6, 24), 5)])
    times = hours * HOUR + 300 * DAY
    assert np.array_equal(sparse_hours(times, "UTC"), hours < 6)
