"""Sections of the settings that operations read: the registry, and what watches over the service and its records."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from slidr.settings.section import Section, Share


class GuardrailsSettings(Section, frozen=True):
    """Limits of the guardrails, which a day must keep before its bundle is published; docs/guardrails.md tells why."""

    least_human_density: Annotated[
        Share,
        Meta(description="fewest human labels of an hour, as a share of what the same hour of other days lets expect"),
    ] = 0.5
    least_volume: Annotated[
        Share,
        Meta(
            description="fewest clicks or purchases of an hour, six or a day, as a share of those hours on other days"
        ),
    ] = 0.3
    most_volume: Annotated[
        float, Meta(gt=1, description="most clicks or purchases of 24 hours, in multiples of those of other days")
    ] = 3.0
    baseline_days: Annotated[
        int, Meta(ge=3, le=366, description="days of the log, back from the judged one, that volumes are held against")
    ] = 14
    most_age: Annotated[
        str,
        Meta(
            description="longest time from the judged day's maturity to the run, where the run chose the day itself and"
            " a champion decides already"
        ),
    ] = "3d"
    most_silence: Annotated[
        str, Meta(description="longest end of the judged day without clicks, or of the known purchases without any")
    ] = "6h"
    most_unripe: Annotated[
        float, Meta(ge=0, lt=1, description="most clicks whose attribution window is still open, as a share")
    ] = 0.0
    most_null_change: Annotated[
        Share, Meta(description="most that a column's share of nulls may differ from that of the training part")
    ] = 0.1
    most_cardinality_change: Annotated[
        float, Meta(gt=1, description="most that a column's number of values a day may grow or shrink, as a factor")
    ] = 3.0
    most_duplicates: Annotated[
        Share,
        Meta(description="most that the share of clicks which repeat another one in all but the click_id may grow"),
    ] = 0.02
    most_rejected: Annotated[
        Share, Meta(description="most rows of the logs that may be refused on their way in, as a share")
    ] = 0.01
    most_feature_drift: Annotated[
        float, Meta(gt=0, description="largest population stability index of a feature against the champion's training")
    ] = 0.5
    most_score_drift: Annotated[
        float, Meta(gt=0, description="largest population stability index of the scores from calibration to judging")
    ] = 0.25
    least_slice_share: Annotated[
        Share, Meta(description="share of the clicks from which on a slice must be there and have purchases")
    ] = 0.02
    least_slice_purchases: Annotated[
        int, Meta(ge=0, description="fewest purchasing clicks, in calibration and judging together, of such a slice")
    ] = 1
    least_loss_fall: Annotated[
        float, Meta(ge=0, lt=1, description="least share by which the loss must fall from its first to its last point")
    ] = 0.02
    most_fpr: Annotated[
        float, Meta(ge=1, description="most that the lower bound of the judged FPR may be, in budgets")
    ] = 1.0
    most_ivr_change: Annotated[
        float, Meta(gt=0, le=1, description="most that the IVR may differ from the champion's on the same clicks")
    ] = 0.1
    most_coverage_change: Annotated[
        float, Meta(gt=0, le=1, description="most that the robotic coverage may differ from the champion's")
    ] = 0.25
    most_slice_change: Annotated[
        float, Meta(gt=0, le=1, description="most that the IVR of one slice may differ from the champion's")
    ] = 0.25
    most_flips: Annotated[
        float,
        Meta(gt=0, le=1, description="most clicks that may be decided otherwise than by the champion, as a share"),
    ] = 0.15
    golden_clicks: Annotated[
        int, Meta(ge=0, le=10_000, description="known humans, and known robots, that a bundle hands on to the next one")
    ] = 200
    most_golden_humans: Annotated[
        Share, Meta(description="most of the champion's known humans that may be marked, as a share")
    ] = 0.05
    least_golden_robots: Annotated[
        Share, Meta(description="fewest of the champion's known robots that must be marked, as a share")
    ] = 0.8
    most_graph_difference: Annotated[
        float, Meta(gt=0, description="largest difference of a score by the ONNX graph from the one by PyTorch")
    ] = 1e-5
    most_latency_ms: Annotated[
        float, Meta(gt=0, description="most milliseconds that nine in ten clicks, scored one by one, may take")
    ] = 5.0


class LakeSettings(Section, frozen=True):
    """What is kept, and for how long; docs/lake.md tells how decisions get there."""

    keep_months: Annotated[
        int,
        Meta(ge=0, le=120, description="calendar months that days stay in the lake's tables; 0: for ever"),
    ] = 13
    journal_keep: Annotated[
        str, Meta(description="age from which a shipped decision may leave the journal; at least 2h, for repeats")
    ] = "25h"
    vacuum_hours: Annotated[
        int, Meta(ge=1, description="hours that files which were replaced stay, for those who still read them")
    ] = 168


class RegistrySettings(Section, frozen=True):
    """The registry of bundles."""

    stable_after: Annotated[
        str, Meta(description="time as champion without an alarm after which a rollback may go to a bundle")
    ] = "20h"


class ReplaySettings(Section, frozen=True):
    """Decisions that are made again, and what is owed for them; docs/replay.md tells how."""

    cut_off_days: Annotated[
        int, Meta(ge=1, le=400, description="days that a click may lie back, by its billing day, to be corrected")
    ] = 31
    webhook: Annotated[
        str,
        Meta(
            description="address that superseding decisions are posted to; SLIDR_REPLAY_WEBHOOK overrides it; empty:"
            " none"
        ),
    ] = ""
    webhook_batch: Annotated[
        int, Meta(ge=1, le=100_000, description="superseding decisions that are posted at once")
    ] = 1000


class BillingSettings(Section, frozen=True):
    """What is reported for billing; docs/billing.md tells how."""

    material_fpr: Annotated[
        Share, Meta(description="false-positive rate of a slice from which on the report raises an alarm")
    ] = 0.05


class MonitorSettings(Section, frozen=True):
    """What watches over the decisions; docs/monitor.md tells how its limits work together."""

    every_seconds: Annotated[float, Meta(gt=0, le=60, description="seconds between two looks at the journals")] = 10.0
    change: Annotated[
        float, Meta(gt=0, description="sharp: the IVR differs by this share of what is expected, or more")
    ] = 0.5
    least_change: Annotated[Share, Meta(description="sharp: but not below this difference of the IVR")] = 0.05
    volume_change: Annotated[
        float, Meta(gt=0, description="sharp: clicks a minute that are more than expected by this share")
    ] = 1.0
    least_unmeasurable: Annotated[
        Share, Meta(description="sharp: a share of unmeasurable clicks that is higher than expected by this")
    ] = 0.02
    least_trusted: Annotated[
        Share, Meta(description="sharp: a share of trusted accounts' clicks that is invalid, beyond the FPR budget")
    ] = 0.05
    most_score_change: Annotated[
        float, Meta(gt=0, description="sharp: a population stability index of the scores of the last hour above this")
    ] = 0.5
    days_between_false_alarms: Annotated[
        float,
        Meta(gt=0, description="mean days of undisturbed traffic to a false alarm, of all that is watched, at least"),
    ] = 365.0
    least_clicks: Annotated[
        int, Meta(ge=1, description="fewest clicks, of a deviation, that an alarm or a rollback may rest on")
    ] = 200
    least_purchases: Annotated[
        int, Meta(ge=1, description="fewest purchasing or trusted clicks, of a deviation, that either may rest on")
    ] = 30
    slices: Annotated[int, Meta(ge=1, le=1000, description="slices that are watched, the first ones seen")] = 50
    hold_minutes: Annotated[
        int, Meta(ge=1, le=60, description="minutes in a row with clicks that a deviation must last before a rollback")
    ] = 3
    rollback: Annotated[
        bool, Meta(description="roll back by itself where people are found invalid, or a young champion's IVR deviates")
    ] = False
    quiet: Annotated[str, Meta(description="least time between two rollbacks of its own")] = "6h"
    webhook: Annotated[
        str, Meta(description="address that alarms are posted to as JSON; SLIDR_WEBHOOK overrides it; empty: none")
    ] = ""
    kept_clicks: Annotated[
        int,
        Meta(ge=1000, description="clicks kept for their purchases; where there are more, those of a share of users"),
    ] = 1_000_000
    trusted_accounts: Annotated[
        int, Meta(ge=0, description="accounts with the most days of purchase that are trusted")
    ] = 10_000
    trusted_days: Annotated[
        int, Meta(ge=1, description="fewest days of purchase, in labels.rfm_history, of a trusted account")
    ] = 3
