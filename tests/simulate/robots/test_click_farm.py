from __future__ import annotations

import pandas as pd


def test_shifts_keep_business_hours(log: pd.DataFrame) -> None:
    """Clicks fall between nine and six local time (seven and four UTC), some minutes over, never on Sunday."""
    times = log.loc[log["family"] == "click_farm", "time"]
    hour = times.dt.hour + times.dt.minute / 60
    assert hour.between(7, 17).all()
    assert hour.between(7, 16).mean() > 0.97
    assert set(times.dt.day_of_week) == {0, 1, 2, 3, 4, 5}


def test_phones_share_a_few_addresses(log: pd.DataFrame) -> None:
    """All devices are phones, several behind each address, each clicking far more than a person does."""
    clicks = log[log["family"] == "click_farm"]
    assert set(clicks["device"]) == {"mobile", "app"}
    assert clicks.groupby("ip")["user"].nunique().max() >= 8
    assert clicks.groupby([clicks["user"], clicks["time"].dt.date]).size().median() > 20
    assert 0.05 < clicks["logged_in"].mean() < 0.5
