from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
from tests.learned import Learned

from slidr.daily.parts import read_part
from slidr.tables import LABELS


def test_purchasers_are_those_of_the_purchasing_clicks(learned: Learned) -> None:
    """Every purchasing click has its buyer's number and no other click has one; a buyer may have several."""
    run = learned.run
    part = read_part(run, run.split.train)
    assert part.purchaser.dtype == np.int64
    assert ((part.purchaser >= 0) == part.purchased).all()
    labels = run.lake.read(LABELS, start=run.split.train[0], end=run.split.train[1])
    known = dict(zip(labels["click_id"].to_pylist(), labels["purchaser"].to_pylist(), strict=True))
    bought = part.clicks["click_id"].filter(pc.greater_equal(part.purchaser, 0)).to_pylist()
    pairs = set(zip(part.purchaser[part.purchased].tolist(), (known[click] for click in bought), strict=True))
    assert len(pairs) == len({number for number, _ in pairs}) == len({name for _, name in pairs}) < len(bought)
