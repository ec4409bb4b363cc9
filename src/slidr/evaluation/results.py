"""Results: everything that an evaluation measured, as plain numbers that a report renders and a bundle keeps."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from slidr.calibration.certificate import Certificate
from slidr.evaluation.change import Change
from slidr.evaluation.proxy import ProxyCheck
from slidr.labels.diagnostics import LabelHealth
from slidr.model.training import Curve
from slidr.tables import ThresholdSource


class Interval(msgspec.Struct, frozen=True):
    """A share with its 95 % interval, clicks of one person counted together; all None where nothing was measured."""

    value: float | None
    low: float | None
    high: float | None


class SliceResult(msgspec.Struct, frozen=True):
    """What a slice's threshold did on the judging day; `recall` and `true_fpr` are known in simulation only."""

    slice: str
    threshold: float
    source: ThresholdSource
    clicks: int
    purchases: int
    ivr: Interval
    fpr: Interval
    coverage: Interval
    recall: float | None = None
    true_fpr: float | None = None


class FamilyCaught(msgspec.Struct, frozen=True):
    """How many clicks of a robot family there were, and which share of them was marked."""

    family: str
    clicks: int
    recall: float


class Caught(msgspec.Struct, frozen=True):
    """What marks are worth, in truth.

    `recall` is the share of robots' clicks that were marked, `precision` the share of marked clicks that were robots',
    `true_fpr` the share of people's clicks that were marked. A share of nothing is None.
    """

    recall: float | None
    precision: float | None
    true_fpr: float | None
    families: tuple[FamilyCaught, ...]


class NetworkResult(msgspec.Struct, frozen=True):
    """A network on the judging day, with the thresholds that the calibration day gave it.

    `ivr_at_budget` is read off the judging day's own curve where its FPR meets the budget: it compares networks at
    equal FPR and can be known only afterwards; None where no click led to a purchase. In simulation `caught` is what
    the thresholds are worth in truth, and `caught_at_budget` what one threshold on the score would catch where it marks
    as large a share of people's clicks as the budget is: it compares networks at equal true FPR.
    """

    network: str
    calibration: str
    ivr: Interval
    fpr: Interval
    coverage: Interval
    ivr_at_budget: float | None
    caught: Caught | None = None
    caught_at_budget: Caught | None = None


class DrawnCurve(msgspec.Struct, frozen=True):
    """An IVR-FPR curve for drawing, and the point that the threshold gives on it."""

    name: str
    fpr: list[float]
    ivr: list[float]
    point: tuple[float, float] | None


class Span(msgspec.Struct, frozen=True):
    """A part of the log: from and until, in microseconds UTC, and what it holds."""

    start: int
    end: int
    clicks: int
    purchases: int


class KeptOut(NamedTuple):
    """Clicks that one reason keeps from the model, and how many of them led to a purchase."""

    clicks: int
    purchases: int


class Totals(msgspec.Struct, frozen=True):
    """All clicks of the judging part whose labels are ripe, those that never reach the model included.

    `listed` were invalidated by list rules, and `unmeasurable` have no identifier, so that nothing invalidates them;
    the rest reached the deciding network. `ivr` and `fpr` are the shares that list rules or the network invalidated, of
    all clicks and of all purchasing clicks.
    """

    clicks: int
    purchases: int
    listed: int
    listed_purchases: int
    unmeasurable: int
    unmeasurable_purchases: int
    ivr: float
    fpr: Interval

    @property
    def reached(self) -> int:
        """Clicks that reached the deciding network."""
        return self.clicks - self.listed - self.unmeasurable

    @property
    def reached_purchases(self) -> int:
        """Purchasing clicks that reached the deciding network."""
        return self.purchases - self.listed_purchases - self.unmeasurable_purchases


class MissedFamily(msgspec.Struct, frozen=True):
    """A robot family of which less than half is caught at equal true FPR, and what would give it away."""

    family: str
    clicks: int
    recall: float
    signal: str


class Assurance(msgspec.Struct, frozen=True):
    """What is promised of the thresholds.

    Attributes:
        method: the method that ranked the clicks.
        certificate: None where nothing is promised.
        needed: how many purchasers the smallest certificate of this budget needs.
        purchasers: how many the calibration part has.
        risk: chance that a certificate promises too much.
    """

    method: str
    certificate: Certificate | None
    needed: int
    purchasers: int
    risk: float


class Learning(msgspec.Struct, frozen=True):
    """How a network learnt, the features that never varied while it did, and how far its graph is from it."""

    network: str
    curve: Curve
    constant: tuple[str, ...] = ()
    difference: float = 0.0


class ModelCard(msgspec.Struct, frozen=True):
    """What a bundle's model is, for whom, and where it ends: names with what is said of each, in order."""

    facts: tuple[tuple[str, str], ...]
    features: tuple[str, ...]
    use: tuple[str, ...]
    limits: tuple[str, ...]


class Override(msgspec.Struct, frozen=True):
    """Who let a bundle pass a guardrail that refused it, when (microseconds UTC) and why."""

    who: str
    why: str
    at: int


class Finding(msgspec.Struct, frozen=True):
    """What a guardrail found.

    Attributes:
        name: the guardrail's.
        kind: whether it looks at the `data`, before anything is learnt from them, or at the `model`.
        passed: whether its limits are kept.
        numbers: what it counted, by name.
        limit: the settings of the section `guardrails` that limit it, with their values.
        message: what it found, in a sentence; where it refuses, the limit and how to override it too.
        override: who let it pass all the same; None where nobody did.
    """

    name: str
    kind: Literal["data", "model"]
    passed: bool
    numbers: dict[str, float | int | str | None]
    limit: dict[str, float | int | str]
    message: str
    override: Override | None = None

    @property
    def refuses(self) -> bool:
        """Whether nothing may be published because of it."""
        return not self.passed and self.override is None


class Evaluation(msgspec.Struct, frozen=True):
    """Everything that the report shows, as plain numbers.

    Shares of networks, slices and curves are of the clicks that reached the model; those of `totals` are of all clicks.
    The first of `networks` is the one that decides; `slices` and `slice_curves` are its own. A network can stand there
    once more with another calibration. `curves` and `slice_curves` hold no entry where no click led to a purchase, and
    `slice_curves` only the largest slices, in order.

    What follows `notes` is None or empty where it is not known: `health` of the training part's labels, with people's
    share estimated on the judging part; `proxy`, `change` and `missed` of the deciding network on the judging part,
    where `change` is a sentence if there is no champion to compare with; `missed` in simulation only; `guardrails`
    where the run was guarded.
    """

    title: str
    budget: float
    train: Span
    calibrate: Span
    judge: Span
    networks: tuple[NetworkResult, ...]
    totals: Totals
    slices: tuple[SliceResult, ...]
    curves: tuple[DrawnCurve, ...]
    slice_curves: tuple[DrawnCurve, ...]
    timezone: str
    notes: tuple[str, ...]
    health: LabelHealth | None = None
    proxy: ProxyCheck | None = None
    change: Change | str = ""
    assurance: Assurance | None = None
    learning: tuple[Learning, ...] = ()
    missed: tuple[MissedFamily, ...] = ()
    card: ModelCard | None = None
    guardrails: tuple[Finding, ...] = ()
