"""Seen: what guardrails look at, counted once by the daily flow; plain numbers, so that each is tested with few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slidr.evaluation.change import Change
from slidr.evaluation.results import Interval, Learning
from slidr.metrics import Int64s


@dataclass(frozen=True, eq=False)
class Hours:
    """Counts of each UTC hour of a log, one entry an hour, int64[n].

    Hours are counted in UTC, where each is as long as the next; the time zone only says which of them are the same hour
    of another day.

    Attributes:
        start: the instant at which the first hour begins, microseconds UTC.
        zone: the time zone of the log's days.
        clicks: clicks made in it.
        purchases: purchases made in it.
        labelled: clicks of the run's parts that have a mature label.
        human: those labelled human.
        bought: those labelled human by a purchase.
        first: place of the first hour that the run reads.
        last: place after the last whole hour of the run's clicks.
        last_purchases: place after the last whole hour up to which purchases must be known.
    """

    start: int
    zone: str
    clicks: Int64s
    purchases: Int64s
    labelled: Int64s
    human: Int64s
    bought: Int64s
    first: int
    last: int
    last_purchases: int


@dataclass(frozen=True)
class ColumnSeen:
    """A column of the clicks: share of nulls and number of values a day, in the training part and in the judged one.

    The number of values before is the mean over the days of the training part.
    """

    nulls_before: float
    nulls: float
    values_before: float
    values: int


@dataclass(frozen=True)
class SliceSeen:
    """A slice: its share of the training part's clicks, its clicks in the judged part, and its purchasing clicks.

    Purchasing clicks are those of the calibration and of the judged part.
    """

    share_before: float
    clicks: int
    purchases: int


@dataclass(frozen=True)
class Drift:
    """Population stability index of each feature of the judged part, and whose training it is held against."""

    against: str
    features: Mapping[str, float]


@dataclass(frozen=True)
class GoldenSeen:
    """The champion's golden clicks that the run's parts hold, and how many of them the new thresholds mark."""

    humans: int
    humans_marked: int
    robots: int
    robots_marked: int


@dataclass(frozen=True)
class ModelSeen:
    """What the new bundle does on the judged part.

    Attributes:
        budget: share of purchasing clicks that may be marked.
        fpr: the share that is, with its interval.
        learning: how the deciding network learnt; None where it was kept and not trained.
        difference: largest difference between a score by the exported graph and one by what trained it.
        score_drift: population stability index of the scores, from the calibration part to the judged one.
        change: what is decided otherwise than by the champion, or a sentence that says why nothing can be compared.
        coverage: robotic coverage; None without busy sessions.
        coverage_before: the champion's.
        golden: None where there is no champion, or its golden clicks are not among the run's.
        latency_ms: milliseconds within which nine in ten clicks are scored one by one.
    """

    budget: float
    fpr: Interval
    learning: Learning | None
    difference: float
    score_drift: float
    change: Change | str
    coverage: float | None
    coverage_before: float | None
    golden: GoldenSeen | None
    latency_ms: float


@dataclass(frozen=True, eq=False)
class Seen:
    """Everything that guardrails look at.

    Attributes:
        hours: counts by hour.
        age: microseconds since the judged day's labels matured; None where somebody asked for that day, or nothing
            decides yet that could grow old.
        silence: microseconds from the last click of the judged part to its end.
        unripe: share of the run's clicks whose attribution window is still open.
        empty_days: UTC days within the run without any click.
        columns: the clicks' columns by name.
        duplicates: share of judged clicks that repeat another one in all but the click_id.
        duplicates_before: the same share of the training part.
        read: rows of the logs that were read for this run; None where it read none.
        rejected: those of them that were refused.
        slices: by path.
        drift: of the features.
        model: None until a model was judged.
    """

    hours: Hours
    age: int | None
    silence: int
    unripe: float
    empty_days: tuple[str, ...]
    columns: Mapping[str, ColumnSeen]
    duplicates: float
    duplicates_before: float
    read: int | None
    rejected: int
    slices: Mapping[str, SliceSeen]
    drift: Drift | None
    model: ModelSeen | None = None
