"""Diagnostics: how far labels can be trusted, as plain numbers that a report renders."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.errors import LabelError
from slidr.labels import mature
from slidr.labels.times import microseconds
from slidr.metrics import Bools, Float32s, clopper_pearson, human_density
from slidr.tables import LabelReason

ASSUMPTION = (
    "purchasing clicks are scored as people's clicks are, and hardly any robot scores as low as most of them do"
)


class Overlap(msgspec.Struct, frozen=True):
    """Clicks that two rules call human; `by_chance` would be both if the rules had nothing to do with each other."""

    first: str
    second: str
    first_clicks: int
    second_clicks: int
    both: int
    by_chance: float


class DayCount(msgspec.Struct, frozen=True):
    """The mature labels of a local day."""

    day: str
    clicks: int
    human: int
    purchases: int


class MissingClass(msgspec.Struct, frozen=True):
    """A local day whose mature labels lack a class: `human`, `purchase` or `unlabelled`."""

    day: str
    missing: str
    clicks: int


class HumanShare(msgspec.Struct, frozen=True):
    """An estimate of how many clicks are people's, as shares, with the assumption that it stands on.

    Attributes:
        of_clicks: people's clicks of all clicks.
        low: lower end of its 95 % interval, for sampling alone: the assumption may be off by more.
        high: upper end.
        of_unlabelled: people's clicks of the clicks without a human label; None where all have one.
        level: share of purchasing clicks that score no higher than where it was read.
        purchases: purchasing clicks that it stands on.
        assumption: what must hold.
    """

    of_clicks: float
    low: float
    high: float
    of_unlabelled: float | None
    level: float
    purchases: int
    assumption: str = ASSUMPTION


class LabelHealth(msgspec.Struct, frozen=True):
    """What is known of the labels of a span.

    Attributes:
        clicks: labels.
        mature: those whose attribution window had closed; only these count below.
        human: labelled human.
        purchases: labelled human by a purchase.
        purchasers: buyers behind them.
        density: share labelled human by local weekday (7, Monday first) and hour (24); None for an hour without clicks.
        timezone: whose clock gives hours and days.
        days: counts of each day.
        missing: days that lack a class.
        overlap: of every two rules; empty where the rules were not given.
        human_share: the estimate; None where no scores were given.
    """

    clicks: int
    mature: int
    human: int
    purchases: int
    purchasers: int
    density: tuple[tuple[float | None, ...], ...]
    timezone: str
    days: tuple[DayCount, ...]
    missing: tuple[MissingClass, ...]
    overlap: tuple[Overlap, ...] = ()
    human_share: HumanShare | None = None

    def summary(self) -> str:
        """Say in plain words, in one paragraph, what a reader must know before trusting the labels."""
        told = [
            (
                f"{_percent(self.mature, self.clicks)} of {self.clicks} labels are mature; of these"
                f" {_percent(self.human, self.mature)} are labelled human, {_percent(self.purchases, self.mature)} by a"
                f" purchase, by {self.purchasers} buyers."
            )
        ]
        hours = [share for day in self.density for share in day if share is not None]
        if hours:
            bare = sum(share == 0 for share in hours)
            told.append(
                f"The share of human labels runs from {100 * min(hours):.2g} % to {100 * max(hours):.2g} % over the"
                f" hours of the week{f', and {bare} hours with clicks have none' if bare else ''}."
            )
        told += [
            f"On {lack.day} the {lack.clicks} clicks have no {lack.missing} label: look for a gap in the purchase log"
            " before training on that day."
            for lack in self.missing
        ]
        told += [
            f"{pair.both} clicks are human by both {pair.first} and {pair.second}, where chance would give"
            f" {pair.by_chance:.0f}."
            for pair in self.overlap
        ]
        if self.human_share:
            found = self.human_share
            told.append(
                f"About {100 * found.of_clicks:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f}) of clicks are"
                f" people's if {found.assumption}."
            )
        return " ".join(told)


def diagnose(
    labels: pa.Table, *, zone: str, hits: Mapping[str, Bools] | None = None, human_share: HumanShare | None = None
) -> LabelHealth:
    """Return what can be said of labels.

    Args:
        labels: n rows of LABELS.
        zone: time zone whose clock gives hours and days.
        hits: by rule, bool[n], what `slidr.labels.rule_hits` returned for the same clicks.
        human_share: what `estimate_human_share` returned for scored clicks among them.
    """
    ripe = mature(labels)
    table = labels.filter(pa.array(ripe))
    human = table["human"].to_numpy()
    purchased = pc.equal(table["reason"], LabelReason.PURCHASE.value).to_numpy()
    times = microseconds(table).to_numpy()
    days = _days(table, human, purchased, zone)
    density = human_density(times, human, zone).tolist()
    return LabelHealth(
        clicks=labels.num_rows,
        mature=table.num_rows,
        human=int(human.sum()),
        purchases=int(purchased.sum()),
        purchasers=pc.call_function("count_distinct", [table["purchaser"]]).as_py(),
        density=tuple(tuple(None if np.isnan(share) else share for share in day) for day in density),
        timezone=zone,
        days=days,
        missing=tuple(lack for day in days for lack in _lacks(day)),
        overlap=_overlap({name: found[ripe] for name, found in (hits or {}).items()}, table.num_rows),
        human_share=human_share,
    )


def estimate_human_share(scores: Float32s, purchased: Bools, labelled: Bools) -> HumanShare:
    """Return how many of some scored clicks are people's.

    If purchasing clicks are scored as people's are, a share F of people's clicks lies below the level that has F of the
    purchasing clicks below it. All clicks there, over F, are then at least the clicks of people, and exactly these
    where no robot lies there. The least of it over the levels with half of the purchases and more below them is taken:
    below fewer, it would rest on those who buy most readily. Scores need not be probabilities.

    Args:
        scores: float32[n], of clicks that training has not seen.
        purchased: the click led to a purchase, bool[n].
        labelled: labelled human by any rule, bool[n].

    Raises:
        LabelError: no click led to a purchase.

    Source: Blanchard, Lee and Scott, "Semi-supervised novelty detection", 2010; Elkan and Noto, "Learning classifiers
    from only positive and unlabeled data", 2008, would need scores that are probabilities.
    """
    bought, everything = np.sort(scores[purchased]), np.sort(scores)
    purchases, clicks = len(bought), len(everything)
    if not purchases:
        raise LabelError(
            f"none of {clicks} scored clicks led to a purchase, so the share of people cannot be estimated; check the"
            " purchase log of these days"
        )
    levels = bought[(purchases - 1) // 2 :]
    below = np.searchsorted(bought, levels, side="right")
    share_below = np.searchsorted(everything, levels, side="right") / clicks
    least = int(np.argmin(share_below / below))
    count, share = int(below[least]), float(share_below[least])
    narrow, wide = clopper_pearson(count, purchases)
    human, known = min(share * purchases / count, 1.0), float(labelled.mean())
    return HumanShare(
        of_clicks=human,
        low=min(share / wide, 1.0),
        high=min(share / narrow, 1.0),
        of_unlabelled=max(human - known, 0.0) / (1 - known) if known < 1 else None,
        level=count / purchases,
        purchases=purchases,
    )


def _days(table: pa.Table, human: NDArray[np.bool_], purchased: NDArray[np.bool_], zone: str) -> tuple[DayCount, ...]:
    local = pc.call_function("local_timestamp", [table["time"].cast(pa.timestamp("us", zone))])
    dates, place = np.unique(local.cast(pa.date32()).cast(pa.int32()).to_numpy(), return_inverse=True)
    counts = [np.bincount(place, which, len(dates)) for which in (np.ones(len(place)), human, purchased)]
    names = np.datetime_as_string(dates.astype("datetime64[D]"))
    rows = zip(names.tolist(), *(count.astype(np.int64).tolist() for count in counts), strict=True)
    return tuple(DayCount(*row) for row in rows)


def _lacks(day: DayCount) -> tuple[MissingClass, ...]:
    lacking = {
        "human": day.human == 0,
        "purchase": day.human > 0 and day.purchases == 0,
        "unlabelled": day.human == day.clicks,
    }
    return tuple(MissingClass(day.day, name, day.clicks) for name, lacks in lacking.items() if lacks)


def _overlap(hits: Mapping[str, Bools], clicks: int) -> tuple[Overlap, ...]:
    pairs = []
    for first, second in combinations(hits, 2):
        one, other = int(hits[first].sum()), int(hits[second].sum())
        both = int((hits[first] & hits[second]).sum())
        pairs.append(Overlap(first, second, one, other, both, one * other / clicks if clicks else 0.0))
    return tuple(pairs)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %" if whole else "none"
