"""The list of features: what each costs, summed, is what a record takes."""

from __future__ import annotations

from collections import Counter

import pytest

from slidr.features.catalogue import (
    Burst,
    Catalogue,
    Clicks,
    Distinct,
    Gap,
    PeakDistinct,
    Velocity,
    check_catalogue,
    default_catalogue,
)
from slidr.features.layout import STRIDE, compile_catalogue
from slidr.features.listing import HEADER_BYTES, listed
from slidr.settings import FeaturesSettings

ODD = (
    Burst("user", "1m", "1h"),
    Clicks("user", "1h"),
    Clicks("user", "60m"),
    Burst("user", "1m", "2h"),
    Distinct("ip", "user", "1h"),
    Distinct("ip", "user", "2h"),
    Distinct("device", "user", "1h"),
    Gap("ip", "mean"),
    Velocity("ip", "1h"),
    PeakDistinct("user", "device"),
)


@pytest.mark.parametrize("catalogue", [default_catalogue(FeaturesSettings()), ODD])
def test_bytes_add_up_to_the_record(catalogue: Catalogue) -> None:
    """With the header, and rounded up to cache lines, the bytes of an entity's features are its record."""
    added: Counter[str] = Counter()
    for feature in listed(check_catalogue(catalogue)):
        added[feature.entity] += feature.bytes
    for block in compile_catalogue(catalogue).blocks:
        if block.entity:
            own = HEADER_BYTES + added.pop(" + ".join(block.entity))
            assert -(-own // 64) * 64 == 4 * block.layout[STRIDE]
    assert set(added.values()) <= {0}


def test_a_feature_is_listed_with_its_window() -> None:
    """Whatever a kind calls how far it looks back stands under one heading."""
    found = {feature.name: feature.window for feature in listed(ODD)}
    assert found == {
        "burst_user_1m_1h": "1m, 1h",
        "clicks_user_1h": "1h",
        "clicks_user_60m": "60m",
        "burst_user_1m_2h": "1m, 2h",
        "distinct_ip_user_1h": "1h",
        "distinct_ip_user_2h": "2h",
        "distinct_device_user_1h": "1h",
        "gap_ip_mean": "",
        "velocity_ip_1h": "1h",
        "peak_distinct_user_device_1h_30d": "30d",
    }
