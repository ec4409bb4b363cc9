from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidr.calibration.grouping import group
from slidr.calibration.sample import CalibrationSample
from slidr.slices import ROOT, ancestors

PATHS = ("a=1/b=1", "a=1/b=2", "a=1/b=3", "a=2/b=1", "a=3/b=1")


def sample(*purchases: int) -> CalibrationSample:
    """Make a sample with this many purchasing clicks in each of the five slices."""
    codes = np.repeat(np.arange(5), purchases).astype(np.int32)
    scores = np.ones(len(codes), dtype=np.float32)
    return CalibrationSample(scores, np.arange(len(codes)), scores > 0, codes, PATHS)


def test_small_slices_merge_into_the_rest_of_their_parent() -> None:
    """Two small siblings together reach the minimum as their parent's rest."""
    found = group(sample(10, 3, 3, 10, 10), 5)
    assert found.paths == ("a=1", "a=1/b=1", "a=2/b=1", "a=3/b=1", ROOT)
    assert [found.paths[place] for place in found.of_code] == ["a=1/b=1", "a=1", "a=1", "a=2/b=1", "a=3/b=1"]
    assert found.purchases.tolist() == [6, 10, 10, 10, 0]


def test_a_rest_that_is_still_small_moves_on_up() -> None:
    """What stays below the minimum at every level ends at the root."""
    found = group(sample(10, 2, 0, 2, 10), 5)
    assert found.of_path["a=1/b=2"] == found.of_path["a=1"] == found.of_path["a=2"] == found.of_path[ROOT]
    assert found.purchases[-1] == 4


def test_what_is_left_at_the_root_borrows_when_it_is_little() -> None:
    """A rest of the root below the minimum takes the curve of the whole traffic."""
    assert group(sample(10, 2, 0, 2, 10), 5).root_borrows
    assert not group(sample(10, 2, 1, 2, 10), 5).root_borrows


@given(st.lists(st.integers(0, 20), min_size=5, max_size=5).filter(any), st.integers(1, 30))
def test_every_purchase_is_in_one_group(purchases: list[int], minimum: int) -> None:
    """Groups split the purchases, all but the root's reach the minimum, and each lies on its slices' way up."""
    found = group(sample(*purchases), minimum)
    assert found.purchases.sum() == sum(purchases)
    assert (found.purchases[:-1] >= minimum).all()
    assert all(found.paths[place] in ancestors(path) for path, place in found.of_path.items())
