from __future__ import annotations

import pandas as pd


def test_gaps_are_regular(log: pd.DataFrame) -> None:
    """Within a run the gaps vary by a few percent, more as the campaign goes on, at 15 to 90 seconds."""
    clicks = log[(log["family"] == "clockwork") & log["session"].notna()]
    gaps = clicks.groupby("session")["time"].diff().dt.total_seconds().groupby(clicks["session"])
    assert gaps.median().between(14, 95).all()
    # A lost header takes a click out of its session and leaves one double gap: quartiles do not mind.
    spread = (gaps.quantile(0.75) - gaps.quantile(0.25)) / gaps.median()
    assert spread.max() < 0.3
    assert spread.min() < 0.05


def test_runs_last_long(log: pd.DataFrame) -> None:
    """A run has dozens of clicks in one session of one user."""
    runs = log[log["family"] == "clockwork"].groupby("session")
    assert runs.size().min() > 50
    assert runs["user"].nunique().max() == 1


def test_some_machines_say_what_they_are(log: pd.DataFrame) -> None:
    """A small part of the clicks has the user agent of a declared crawler; nobody else's click has."""
    declared = log["user_agent"].str.contains(r"bot|crawler|requests|curl", case=False, na=False)
    assert set(log.loc[declared, "family"]) == {"clockwork"}
    assert 0 < declared.sum() < 0.2 * (log["family"] == "clockwork").sum()
