from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slidr.load.histogram import Histogram

LATENCIES = st.lists(st.floats(1e-6, 3600), min_size=1, max_size=50)


@given(LATENCIES, st.floats(0.001, 1))
def test_a_quantile_is_right_to_three_figures(latencies: list[float], share: float) -> None:
    """The quantile is the latency of its rank, to one part in a thousand and half a microsecond."""
    histogram = Histogram()
    histogram.record(latencies)
    rank = max(1, int(np.ceil(round(share * len(latencies), 6))))
    exact = sorted(latencies)[rank - 1]
    assert histogram.quantile(share) == pytest.approx(exact, rel=1e-3, abs=1e-6)


@given(LATENCIES, LATENCIES)
@example([199.47232710070705] * 3, [199.47232710070705] * 3)
def test_recording_in_parts_is_recording_at_once(first: list[float], second: list[float]) -> None:
    """Counts add up."""
    parts, whole = Histogram(), Histogram()
    parts.record(first)
    parts.record(second)
    whole.record(first + second)
    assert parts.distribution() == whole.distribution()
    assert (parts.count, parts.greatest) == (len(first) + len(second), max(first + second))


def test_what_is_small_is_exact_and_what_is_long_is_bounded() -> None:
    """Whole microseconds have cells of their own; an hour is the longest."""
    histogram = Histogram()
    histogram.record([0.0, 0.000123, 0.002047])
    assert histogram.quantile(0.5) == 0.000123
    histogram.record([1e6])
    assert histogram.quantile(1.0) == pytest.approx(3600, rel=1e-3)
    assert histogram.greatest == 1e6


def test_nothing_has_no_quantiles() -> None:
    """Without latencies, or with unanswered requests alone, quantiles and mean are NaN."""
    histogram = Histogram()
    histogram.record([float("nan")])
    assert (histogram.count, histogram.greatest) == (0, 0.0)
    assert np.isnan([histogram.quantile(0.5), histogram.mean]).all()
    assert histogram.distribution().count("\n") == 5


def test_the_distribution_reads_as_its_tools_want_it() -> None:
    """Shares rise to 1, counts to the total, values are milliseconds, and the feet hold mean and greatest."""
    histogram = Histogram()
    histogram.record(np.arange(1, 10_001) / 1e5)
    text = histogram.distribution()
    assert text.splitlines()[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    rows = [line.split() for line in text.splitlines() if re.match(r" +\d", line)]
    assert rows[0][:2] == ["0.010", "0.000000000000"]
    assert rows[-1] == ["100.000", "1.000000000000", "10000"]
    shares, counts = ([float(row[place]) for row in rows] for place in (1, 2))
    assert shares == sorted(shares)
    assert counts == sorted(counts)
    assert all(count >= share * 10_000 - 1e-6 for share, count in zip(shares, counts, strict=True))
    assert "#[Mean    =       50.005, StdDeviation   =       28.868]" in text
    assert "#[Max     =      100.000, Total count    =        10000]" in text
