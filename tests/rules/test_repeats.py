"""Repeated clicks on one impression, counted by the features that decide everything else."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from tests import small

from slidr.errors import SettingsError
from slidr.features.catalogue import parse_features
from slidr.features.clicks import Click, encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.rules import ListRule, repeats
from slidr.settings import RulesSettings

PSEUDONYMISER = Pseudonymiser(small.SECRET)


def prepared(window: str) -> ListRule:
    """Return the rule with a window."""
    rule = repeats.prepare(RulesSettings(repeats=window))
    assert rule is not None
    return rule


def hits(rule: ListRule, *clicks: tuple[str | None, float]) -> list[int]:
    """Fold clicks, each an impression and an hour, and return the places that the rule hits."""
    layout = compile_catalogue(parse_features(rule.features))
    made = [
        Click(click_id=f"c{place}", time=small.START + timedelta(hours=hour), impression=impression)
        for place, (impression, hour) in enumerate(clicks)
    ]
    rows = EmbeddedStore(layout).fold(encode_clicks(made, layout, PSEUDONYMISER)).rows
    columns = dict(zip(layout.names, np.ascontiguousarray(rows.T).tolist(), strict=True))
    return rule.hits({"impression": [click.impression for click in made], **columns})


def test_the_first_click_counts_and_further_ones_do_not() -> None:
    """The second and third click of an impression are hit; other impressions, and none, are their own."""
    clicks = (("a", 0), ("b", 0.1), ("a", 0.2), (None, 0.3), (None, 0.4), ("a", 0.5), ("c", 0.6))
    assert hits(prepared("24h"), *clicks) == [2, 5]


def test_the_window_ends() -> None:
    """A click is a repeat while the one before lies within the window, and the first again once that is past."""
    assert hits(prepared("1h"), ("a", 0), ("a", 0.5), ("b", 0), ("b", 1.1)) == [1]
    assert hits(prepared("24h"), ("a", 0), ("a", 20), ("b", 0), ("b", 25)) == [1]


def test_without_a_window_the_rule_is_off() -> None:
    """Nothing is counted by impression unless it is asked for."""
    assert repeats.prepare(RulesSettings()) is None


def test_the_window_is_the_version() -> None:
    """Another window is another rule; a window written in another unit is another column."""
    assert prepared("1h").version != prepared("2h").version
    assert prepared("1h").features == ({"kind": "Clicks", "by": "impression", "window": "1h"},)


def test_a_window_beyond_the_state_is_refused() -> None:
    """State looks back thirty days."""
    with pytest.raises(SettingsError, match=r"rules.repeats = '31d' is longer than 30d"):
        repeats.prepare(RulesSettings(repeats="31d"))
