"""Sections of the settings that the daily flow reads: logs, labels, features, networks, thresholds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from slidr.settings.section import Section, Share


class ClicksSettings(Section, frozen=True):
    """Where the clicks are, and how their columns are called."""

    source: Annotated[str, Meta(description="adapter that reads the logs; see `slidr ingest --help`")] = "table"
    path: Annotated[str, Meta(description="the click log: a file, a folder or an address")] = ""
    columns: Annotated[
        dict[str, str], Meta(description="our column = your column; columns of one name need no entry")
    ] = msgspec.field(default_factory=dict)
    timezone: Annotated[str, Meta(description="time zone of times that carry none; empty: such times are refused")] = ""
    ip: Annotated[
        Literal["address", "opaque"],
        Meta(
            description="'address': IPv4 or IPv6, others are rejected; "
            "'opaque': any string, with a network only where it parses as an address"
        ),
    ] = "address"


class PurchasesSettings(Section, frozen=True):
    """Where the purchases are, and how their columns are called."""

    path: Annotated[str, Meta(description="the purchase log; empty where the click log tells of purchases")] = ""
    columns: Annotated[dict[str, str], Meta(description="our column = your column")] = msgspec.field(
        default_factory=dict
    )


class LabelsSettings(Section, frozen=True):
    """How clicks are labelled human."""

    attribution_window: Annotated[
        str, Meta(description="a purchase this long after a click makes the click human; labels mature after it")
    ] = "24h"
    rfm: Annotated[bool, Meta(description="also label clicks of accounts with a high RFM score")] = True
    rfm_quantiles: Annotated[int, Meta(ge=2, le=10, description="parts that each of R, F and M is cut into")] = 5
    rfm_minimum: Annotated[
        int, Meta(ge=3, description="smallest sum of the three quantile ranks that makes an account human")
    ] = 13
    rfm_history: Annotated[str, Meta(description="purchases this far back count for RFM")] = "90d"


class SlicesSettings(Section, frozen=True):
    """What the traffic is sliced by."""

    columns: Annotated[
        tuple[str, ...], Meta(description="columns of the clicks, coarse to fine; each adds a level to the slices")
    ] = ("device", "logged_in")


class FeaturesSettings(Section, frozen=True):
    """Windows and half-lives of the default catalogue, and features added to it."""

    windows: Annotated[tuple[str, ...], Meta(min_length=1, description="windows of the click counts")] = (
        "1m",
        "10m",
        "1h",
        "6h",
        "24h",
    )
    half_lives: Annotated[tuple[str, ...], Meta(description="half-lives of the click rates")] = ("1m", "10m", "1h")
    distinct_windows: Annotated[tuple[str, ...], Meta(description="windows of the distinct counts")] = ("1h", "24h")
    campaign_windows: Annotated[
        tuple[str, ...], Meta(description="windows of the counts of a user's clicks on one campaign")
    ] = ("1h", "24h")
    most_entities: Annotated[
        int, Meta(ge=1024, description="entities of one kind with state at most; beyond them the oldest are dropped")
    ] = 10_000_000
    slow_age: Annotated[
        str, Meta(description="a table of slow features serves until this long after the end of its day; at least 24h")
    ] = "48h"
    threads: Annotated[
        int, Meta(ge=0, description="threads of the backfill; 0: as many as cores that the process may use")
    ] = 0
    add: Annotated[
        tuple[dict[str, Any], ...],
        Meta(description="further features, such as {kind='Clicks', by='user', window='30m'}"),
    ] = ()


class ModelSettings(Section, frozen=True):
    """The networks and their training."""

    network: Annotated[str, Meta(description="the network that decides; one of docs/model.md")] = "three_layer"
    peers: Annotated[
        tuple[str, ...], Meta(description="networks trained and judged beside it, such as 'lightgbm'; none decides")
    ] = ("logistic", "velocity")
    widths: Annotated[tuple[int, ...], Meta(min_length=1, description="nodes of the hidden layers")] = (256, 128, 64)
    l2: Annotated[float, Meta(ge=0, description="L2 penalty on the weights of the intermediate layers")] = 1e-5
    learning_rate: Annotated[float, Meta(gt=0, description="step of the optimiser at its peak")] = 6e-3
    batch_size: Annotated[int, Meta(ge=1, description="clicks a step; fewer where the log is small")] = 1024
    weight_cap: Annotated[float, Meta(ge=1, description="largest sample weight, in medians")] = 100.0
    device: Annotated[
        Literal["cpu", "cuda"], Meta(description="where layers are trained; 'cuda' needs a build of PyTorch with CUDA")
    ] = "cpu"
    threads: Annotated[
        int, Meta(ge=1, description="threads of the training on the CPU; layers come out the same with any number")
    ] = 1
    checkpoint_every: Annotated[
        int, Meta(ge=1, description="clicks between checkpoints, from the last of which a stopped training goes on")
    ] = 1_000_000
    seed: Annotated[int, Meta(ge=0, description="seed of the initial weights and of the order of the clicks")] = 1


class CalibrationSettings(Section, frozen=True):
    """How thresholds are set."""

    method: Annotated[
        Literal["knee", "one_threshold", "quadratic", "envelope", "neyman_pearson", "human_weighted"],
        Meta(description="how clicks are ranked; docs/calibration.md compares them"),
    ] = "neyman_pearson"
    fpr_budget: Annotated[Share, Meta(description="share of purchasing clicks that may be marked robotic")] = 0.005
    certificate: Annotated[
        Literal["required", "optional", "off"],
        Meta(
            description="'required': no thresholds without a certificate of the budget; 'optional': uncertified where"
            " too few people bought; 'off': the budget is kept on the calibration's own clicks alone"
        ),
    ] = "required"
    risk: Annotated[Share, Meta(description="chance that a certificate promises too much")] = 0.05
    fit_to_fpr: Annotated[Share, Meta(description="the curves of 'quadratic' are fitted up to this FPR")] = 0.05
    minimum_purchases: Annotated[
        int, Meta(ge=1, description="purchasing clicks below which 'quadratic' gives a slice its parent's curve")
    ] = 500
    minimum_coverage: Annotated[
        float, Meta(ge=0, lt=1, description="share of clicks in busy sessions that every slice must mark")
    ] = 0.0
    most_ivr_change: Annotated[
        float, Meta(gt=0, le=1, description="most that a slice's IVR may differ from the champion's; 1: any")
    ] = 1.0
    most_fpr_change: Annotated[
        float, Meta(gt=0, le=1, description="most that a slice's FPR may differ from the champion's; 1: any")
    ] = 1.0
    most_flips: Annotated[
        float, Meta(gt=0, le=1, description="share of a slice's clicks that may be decided otherwise; 1: any")
    ] = 1.0
    busy_clicks: Annotated[int, Meta(ge=1, description="a session with more clicks than this in an hour is busy")] = 50
