"""Advertisers, their campaigns and what a click costs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_ADVERTISERS = 40
_CAMPAIGNS = 160
_CURRENCIES = ("EUR", "USD", "GBP")
_CURRENCY_SHARES = (0.7, 0.2, 0.1)
_MEDIAN_COST = 350_000
_LEAST_COST = 10_000
_TICK = 100


@dataclass(frozen=True)
class Market:
    """Campaigns and advertisers; one advertiser pays in one currency.

    Attributes:
        campaign: names, string[campaigns].
        advertiser: name of each campaign's advertiser, string[campaigns].
        currency: each campaign's currency, string[campaigns].
        price: typical cost of a click, float64[campaigns], micros.
        cumulative: running popularity among people, float64[campaigns].
    """

    campaign: pa.Array
    advertiser: pa.Array
    currency: pa.Array
    price: NDArray[np.float64]
    cumulative: NDArray[np.float64]

    def draw(self, size: int, generator: np.random.Generator) -> NDArray[np.int32]:
        """Draw campaigns as people click them, int32[size]."""
        return np.searchsorted(self.cumulative, generator.random(size), side="right").astype(np.int32)

    def draw_targets(self, size: int, generator: np.random.Generator) -> NDArray[np.int32]:
        """Draw campaigns that somebody wants to harm, dear ones more often, int32[size]."""
        share = self.price / self.price.sum()
        return generator.choice(len(share), size=size, p=share).astype(np.int32)

    def costs(self, campaign: NDArray[np.int32], generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw what clicks on these campaigns cost, as an auction would set it, int64[n], micros."""
        cost = self.price[campaign] * np.exp(0.25 * generator.standard_normal(len(campaign)))
        ticks = np.rint(np.maximum(cost, _LEAST_COST) / _TICK).astype(np.int64)
        return ticks * _TICK


def open_market(generator: np.random.Generator) -> Market:
    """Draw the advertisers, their campaigns, prices and popularity."""
    advertiser = generator.integers(0, _ADVERTISERS, _CAMPAIGNS)
    currency = generator.choice(len(_CURRENCIES), size=_ADVERTISERS, p=_CURRENCY_SHARES)
    popularity = 1.0 / (3.0 + generator.permutation(_CAMPAIGNS))
    return Market(
        campaign=pa.array([f"campaign-{number:03d}" for number in range(_CAMPAIGNS)]),
        advertiser=pa.array([f"advertiser-{number:02d}" for number in advertiser]),
        currency=pa.array([_CURRENCIES[code] for code in currency[advertiser]]),
        price=_MEDIAN_COST * np.exp(0.6 * generator.standard_normal(_CAMPAIGNS)),
        cumulative=np.cumsum(popularity) / popularity.sum(),
    )
