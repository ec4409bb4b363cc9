from __future__ import annotations

import pandas as pd

from slidr.simulate import HUMAN, TRUTH, SimulatedDay
from slidr.simulate.robots import families
from slidr.tables import CLICKS, PURCHASES, TABLES


def test_truth_is_no_table_of_the_flow() -> None:
    """No stage finds the truth among the tables, and the log has no column of it."""
    assert TRUTH not in TABLES
    assert not {"robot", "family"} & {*CLICKS.names, *PURCHASES.names, "region"}


def test_truth_covers_every_click(days: list[SimulatedDay]) -> None:
    """Each click of each day has one row of truth, in the same order and of the declared types."""
    for day in days:
        assert day.truth["click_id"].equals(day.clicks["click_id"])
        assert [(field.name, str(field.type)) for field in day.truth.schema] == [
            (column.name, column.type) for column in TRUTH.columns
        ]


def test_truth_names_a_known_family(log: pd.DataFrame) -> None:
    """A click is of people or of a discovered family, and is a robot's exactly when it is not of people."""
    assert set(log["family"]) == {HUMAN, *families()}
    assert ((log["family"] != HUMAN) == log["robot"]).all()
