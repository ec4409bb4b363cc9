"""A small world and its log, drawn once for all tests of the simulator."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from slidr.simulate import Phase, Plan, SimulatedDay, World, build_world, simulate

PLAN = Plan(clicks=180_000)
SEED = 20260302


@pytest.fixture(scope="session")
def world() -> World:
    """Return the world of the small plan."""
    return build_world(PLAN, np.random.default_rng(SEED))


@pytest.fixture(scope="session")
def days() -> list[SimulatedDay]:
    """Return every day of the small plan."""
    return list(simulate(PLAN, np.random.default_rng(SEED)))


@pytest.fixture(scope="session")
def log(days: list[SimulatedDay]) -> pd.DataFrame:
    """Return the clicks of the counted days joined with their truth, as only evaluation may."""
    counted = [day for day in days if day.phase is Phase.COUNTED]
    clicks = pa.concat_tables([day.clicks for day in counted]).to_pandas()
    truth = pa.concat_tables([day.truth for day in counted]).to_pandas().drop(columns="time")
    return clicks.merge(truth, on="click_id", validate="one_to_one")


@pytest.fixture(scope="session")
def bought(days: list[SimulatedDay]) -> pd.DataFrame:
    """Return every purchase."""
    return pa.concat_tables([day.purchases for day in days]).to_pandas()
