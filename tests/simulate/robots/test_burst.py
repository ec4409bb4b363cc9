from __future__ import annotations

import pandas as pd


def test_a_burst_is_one_address_within_minutes(log: pd.DataFrame) -> None:
    """An address makes hundreds of clicks of one campaign within half an hour, with one user agent."""
    addresses = log[log["family"] == "burst"].groupby("ip")
    assert addresses.size().median() > 300
    assert (addresses["time"].max() - addresses["time"].min()).dt.total_seconds().median() < 1_800
    assert addresses["campaign"].nunique().median() == 1
    assert addresses["user_agent"].nunique().median() == 1


def test_bursts_keep_or_drop_their_cookie(log: pd.DataFrame) -> None:
    """Some bursts keep one user and session, the others have neither a user nor a lasting session."""
    bursts = log[log["family"] == "burst"]
    each = bursts.groupby(["ip", bursts["time"].dt.date, "campaign"])
    users, sessions = each["user"].nunique(), each["session"].nunique()
    assert set(users) == {0, 1}
    assert sessions[users == 1].max() == 1
    assert sessions[users == 0].min() > 10
