from __future__ import annotations

import pandas as pd


def test_sessions_are_short_and_cookies_shorter(log: pd.DataFrame) -> None:
    """No session has more than three clicks, and no user more than one session."""
    clicks = log[log["family"] == "rotating_crawler"]
    assert clicks.groupby("session").size().max() <= 3
    assert clicks.groupby("user")["session"].nunique().max() == 1
    assert 0.3 < clicks["user"].isna().mean() < 0.6


def test_the_address_ties_them_together(log: pd.DataFrame) -> None:
    """A few addresses make all clicks, each with many sessions and user agents."""
    addresses = log[log["family"] == "rotating_crawler"].groupby("ip")
    assert len(addresses) < 50
    assert addresses["session"].nunique().median() > 100
    assert addresses["user_agent"].nunique().median() > 20
