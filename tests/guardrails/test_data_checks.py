"""Guardrails of the data: each refuses what it is there for, and says so in numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.guardrails.seeing import day, found, good, good_hours, with_hours

from slidr.clock import HOUR
from slidr.guardrails.seen import ColumnSeen, Drift, Seen, SliceSeen


def refused(name: str, seen: Seen, *words: str, **limits: Any) -> None:
    """Check that a guardrail refuses, naming itself, its numbers, its limits and how to override it."""
    finding = found(name, seen, **limits)
    assert finding.refuses
    for word in (f"guardrail {name} refuses", f"--override {name} --why TEXT", *finding.limit, *words):
        assert word in finding.message
    assert finding.numbers


def test_missing_purchase_labels_are_seen() -> None:
    """Six hours of one day in which hardly a click led to a purchase are named; so is a run without any."""
    hours = good_hours()
    gap = slice(24 * 9 + 8, 24 * 9 + 14)
    refused(
        "human_density",
        good(hours=replace(hours, bought=with_hours(hours.bought, gap, 0.1))),
        "purchase labels in the 6 hours from 2026-03-11 08:00 (UTC)",
        "(0.08 of it)",
    )
    refused("human_density", good(hours=replace(hours, human=with_hours(hours.human, day(9), 0.2))), "human labels")
    refused("human_density", good(hours=replace(hours, bought=hours.bought * 0)), "led to a purchase")


def test_a_burst_of_robots_is_no_gap_in_the_labels() -> None:
    """Ten times the clicks of an hour lower the share of human labels, and no guardrail minds."""
    hours = good_hours()
    burst = with_hours(hours.clicks, slice(220, 221), 10)
    seen = good(hours=replace(hours, clicks=burst, labelled=burst))
    for name in ("human_density", "click_volume", "purchase_volume"):
        assert found(name, seen).passed


def test_lost_and_repeated_clicks_are_seen() -> None:
    """An hour, six hours or a day without clicks, a day of four times as many, and an empty day are named."""
    hours = good_hours()
    for gap, words in ((slice(230, 231), "the hour from"), (slice(230, 236), "the 6 hours"), (day(9), "24 hours")):
        spoilt = good(hours=replace(hours, clicks=with_hours(hours.clicks, gap, 0.05)))
        refused("click_volume", spoilt, words)
    refused("click_volume", good(hours=replace(hours, clicks=with_hours(hours.clicks, day(12), 4.0))), "24 hours")
    refused("click_volume", good(empty_days=("2026-03-09",)), "no click at all on 2026-03-09")


def test_lost_purchases_are_seen() -> None:
    """Six hours without purchases are named, and a run without any; hours before the first purchase are not."""
    hours = good_hours()
    lost = with_hours(hours.purchases, slice(230, 236), 0)
    refused("purchase_volume", good(hours=replace(hours, purchases=lost)), "0 purchases in the 6 hours", "(0.00 of it)")
    refused("purchase_volume", good(hours=replace(hours, purchases=hours.purchases * 0)), "no purchase of these days")
    late = with_hours(hours.purchases, slice(0, 120), 0)
    assert found("purchase_volume", good(hours=replace(hours, purchases=late))).passed


def test_few_clicks_are_not_taken_for_a_gap() -> None:
    """On a log of a few clicks an hour, an hour without any is chance."""
    generator = np.random.default_rng(3)
    names = ("clicks", "purchases", "bought", "human", "labelled")
    few: dict[str, Any] = {name: generator.poisson(1.5, len(good_hours().clicks)) for name in names}
    hours = replace(good_hours(), **few)
    for name in ("human_density", "click_volume", "purchase_volume", "label_lag"):
        assert found(name, good(hours=hours)).passed


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
def test_a_night_on_which_clocks_change_is_a_night_like_others(zone: str) -> None:
    """An hour that the clocks leave out or repeat makes no gap and no burst, and a real gap there is still seen."""
    start = 1_774_224_000_000_000  # 2026-03-23, the week in which Berlin's clocks go forward
    for begin in (start, start + 217 * 24 * HOUR):  # ... and the one in which they go back
        hours = good_hours(begin, zone)
        for name in ("human_density", "click_volume", "purchase_volume", "label_lag"):
            assert found(name, good(hours=hours)).passed
        gap = replace(hours, clicks=with_hours(hours.clicks, slice(24 * 6, 24 * 6 + 6), 0))
        refused("click_volume", good(hours=gap), str(ZoneInfo(zone)))


def test_old_and_broken_off_days_are_seen() -> None:
    """A day that was mature long ago, unless somebody asked for it, and a day that ends hours before midnight."""
    refused("freshness", good(age=80 * HOUR), "mature 80 h ago", "--day")
    refused("freshness", good(silence=7 * HOUR), "ends with 7.0 h without a click")
    assert found("freshness", good(age=None)).passed


def test_labels_that_are_not_known_yet_are_seen() -> None:
    """Open attribution windows, and a purchase log that ends hours before it must, are named."""
    refused("label_lag", good(unripe=0.02), "2 % of the clicks may still lead to a purchase")
    hours = good_hours()
    ends = with_hours(hours.purchases, slice(-9, None), 0)
    refused("label_lag", good(hours=replace(hours, purchases=ends)), "no purchase is known of the last 9 h")


def test_columns_that_change_are_seen() -> None:
    """A column that is suddenly null, or never null, and one with many times more or fewer values are named."""
    refused("nulls", good(columns={"user": ColumnSeen(0.2, 0.9, 9.0, 9)}), "90 % of user are null, and 20 %")
    refused("cardinality", good(columns={"ip": ColumnSeen(0, 0, 9_000.0, 120)}), "ip has 120 values, and had 9,000")
    refused("cardinality", good(columns={"ip": ColumnSeen(0, 0, 0.0, 1200)}), "ip has 1,200 values")


def test_repeated_and_refused_rows_are_seen() -> None:
    """Clicks that came twice under new names, and a log of which the door refused a part, are named."""
    refused("duplicates", good(duplicates=0.2), "20 % of the judged clicks repeat another one")
    refused("rejected", good(rejected=5_000), "5,000 of 100,000 rows of the logs were refused")
    assert found("rejected", good(read=None)).message.startswith("this run read no logs")


def test_features_that_drift_are_seen() -> None:
    """A feature whose values are spread otherwise is named with its index, and whose training it left."""
    drift = Drift("the champion abc", {"clicks_user_1h": 0.02, "gap_ip": 3.0})
    refused("feature_drift", good(drift=drift), "the champion abc", "gap_ip 3.00")
    assert found("feature_drift", good(drift=None)).passed


def test_slices_that_go_missing_are_seen() -> None:
    """A large slice without clicks, or without purchases, is named; a tiny one is not."""
    refused("slices", good(slices={"device=app": SliceSeen(0.4, 0, 0)}), "no click of device=app", "40 %")
    refused("slices", good(slices={"device=app": SliceSeen(0.4, 900, 0)}), "0 purchasing clicks in device=app, of 900")
