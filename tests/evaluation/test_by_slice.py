from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidr.evaluation.by_slice import rows_by_slice


@given(st.lists(st.integers(0, 9), max_size=60))
def test_every_click_stands_in_its_slice_once(codes: list[int]) -> None:
    """Slices come by name, each with its clicks in order; those without clicks do not come."""
    paths = [f"device={name}" for name in "jihgfedcba"]
    found = dict(rows_by_slice(np.array(codes, np.int32), paths))
    assert list(found) == sorted({paths[code] for code in codes})
    for name, rows in found.items():
        assert rows.tolist() == [row for row, code in enumerate(codes) if paths[code] == name]
