from __future__ import annotations

import numpy as np
import pandas as pd

from slidr.simulate.market import open_market


def test_an_advertiser_pays_in_one_currency(log: pd.DataFrame) -> None:
    """Each campaign has one advertiser, and each advertiser one currency."""
    assert log.groupby("campaign")["advertiser"].nunique().max() == 1
    assert log.groupby("advertiser")["currency"].nunique().max() == 1
    assert log["campaign"].nunique() > 100
    assert log["advertiser"].nunique() > 20


def test_costs_are_whole_positive_micros(log: pd.DataFrame) -> None:
    """A click costs a positive whole number of micros, between a cent and some units of currency."""
    assert log["cost"].dtype == np.int64
    assert log["cost"].between(10_000, 20_000_000).all()
    assert (log["cost"] % 100 == 0).all()


def test_targets_are_dear() -> None:
    """Campaigns that somebody wants to harm cost more than those that people click."""
    generator = np.random.default_rng(2)
    market = open_market(generator)
    targets = market.price[market.draw_targets(5_000, generator)].mean()
    assert targets > market.price[market.draw(5_000, generator)].mean()
