"""RFM: a click is human if its account ranks high in recency, frequency and monetary value of its purchases.

Over the purchases of `rfm_history` before the time of labelling, each account gets a rank from 1 to q, the number of
quantiles, in each of R (time of the last purchase), F (number of purchases) and M (their sum): one more than the whole
number of q-ths of all accounts that lie strictly below it. Accounts that are equal rank equal, and low: where half of
the accounts bought once, all of these rank 1, and a rank that they skip stays empty. The account is human if the three
ranks add up to `rfm_minimum`.

Money is compared within one currency; an account that pays in several takes its best M.

Source: RFM is used for labels in Real-Time Detection of Robotic Traffic in Online Advertising, IAAI 2023; the paper
does not say how it ranks, so the quantiles, the minimum and the treatment of ties are our choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.labels.times import microseconds
from slidr.settings import LabelsSettings, duration


class Segment(NamedTuple):
    """The accounts that share three ranks, and whether the rule calls them human."""

    recency: int
    frequency: int
    monetary: int
    accounts: int
    human: bool


def human(clicks: pa.Table, purchases: pa.Table, *, as_of: int, settings: LabelsSettings) -> NDArray[np.bool_]:
    """Return which clicks were made by accounts with a high RFM score, bool[n].

    Args:
        clicks: n rows of CLICKS, in any order.
        purchases: rows of PURCHASES, in any order.
        as_of: microseconds since 1970, UTC; purchases in (as_of - rfm_history, as_of] count.
        settings: `rfm` (False: no click is human by this rule), `rfm_quantiles`, `rfm_minimum`, `rfm_history`.
    """
    if not settings.rfm:
        return np.zeros(clicks.num_rows, np.bool_)
    users, ranks = scores(purchases, as_of=as_of, settings=settings)
    high = users.filter(pa.array(ranks.sum(axis=1) >= settings.rfm_minimum))
    found = pc.call_function("is_in", [clicks["user"]], pc.SetLookupOptions(high, skip_nulls=True))
    return np.asarray(found.to_numpy(), dtype=np.bool_)


def scores(
    purchases: pa.Table, *, as_of: int, settings: LabelsSettings
) -> tuple[pa.Array[pa.StringScalar], NDArray[np.int64]]:
    """Return the m accounts that bought and their ranks, int64[m, 3] in the order R, F, M; see the module."""
    times = microseconds(purchases)
    since = as_of - duration(settings.rfm_history)
    counted = pc.and_(pc.greater(times, pa.scalar(since)), pc.less_equal(times, pa.scalar(as_of)))
    known = purchases.filter(pc.and_(counted, pc.is_valid(purchases["user"])))
    encoded = known["user"].combine_chunks().dictionary_encode()
    accounts = _whole(encoded.indices)
    number = len(encoded.dictionary)
    recency = np.full(number, since, np.int64)
    np.maximum.at(recency, accounts, microseconds(known).to_numpy())
    frequency = np.bincount(accounts, minlength=number)
    quantiles = settings.rfm_quantiles
    ranks = [_ranks(recency, quantiles), _ranks(frequency, quantiles), _money(known, accounts, number, quantiles)]
    return encoded.dictionary, np.stack(ranks, axis=1)


def segments(ranks: NDArray[np.int64], settings: LabelsSettings) -> tuple[Segment, ...]:
    """Return the segments that hold an account, highest ranks first.

    Args:
        ranks: int64[m, 3], what `scores` returns.
        settings: `rfm_minimum`.

    >>> [tuple(one) for one in segments(np.array([[1, 1, 1], [5, 5, 4], [1, 1, 1]]), LabelsSettings())]
    [(5, 5, 4, 1, True), (1, 1, 1, 2, False)]
    """
    cells, accounts = np.unique(ranks, axis=0, return_counts=True)
    rows = zip(*cells[::-1].T.tolist(), accounts[::-1].tolist(), strict=True)
    return tuple(Segment(r, f, m, count, r + f + m >= settings.rfm_minimum) for r, f, m, count in rows)


def _money(known: pa.Table, accounts: NDArray[np.int64], number: int, quantiles: int) -> NDArray[np.int64]:
    """Rank the accounts by what they spent, within each currency; a purchase without a value counts as zero."""
    values = known["value"].fill_null(0).to_numpy()
    currencies = _whole(known["currency"].combine_chunks().dictionary_encode(null_encoding="encode").indices)
    best = np.ones(number, np.int64)
    for currency in np.unique(currencies):
        paid = currencies == currency
        spenders, place = np.unique(accounts[paid], return_inverse=True)
        spent = np.zeros(len(spenders), np.int64)
        np.add.at(spent, place, values[paid])
        best[spenders] = np.maximum(best[spenders], _ranks(spent, quantiles))
    return best


def _ranks(values: NDArray[np.int64], quantiles: int) -> NDArray[np.int64]:
    """Return ranks from 1 to `quantiles`, one more than the whole quantiles of values strictly below.

    >>> _ranks(np.array([10, 10, 30, 40]), 4)
    array([1, 1, 3, 4])
    """
    below = np.searchsorted(np.sort(values), values, side="left")
    return np.asarray(1 + quantiles * below // max(len(values), 1), dtype=np.int64)


def _whole(indices: pa.Array[pa.Int32Scalar]) -> NDArray[np.int64]:
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)
