"""Policies: how clicks count, what is not measured, and how figures are corrected and changes controlled."""

from __future__ import annotations

from slidr.evaluation.results import ModelCard
from slidr.report.document import Section
from slidr.report.numerals import percent
from slidr.settings import Settings

_VERDICTS = (
    ("valid", "billed"),
    ("invalid, general", "found by a list rule; not billed"),
    ("invalid, sophisticated", "found by the model; not billed"),
    ("unmeasurable", "not decided for want of information; billed, and shown apart"),
)
_REASONS = (
    ("no identifiers", "the click has no user, no session and no address"),
    ("feature store", "what was counted before could not be read in time, or was lost, or is still too young"),
    ("overload", "the click was not decided before its deadline"),
)


def counting() -> Section:
    """Say what a click is, and what may be said of one."""
    return Section(
        "What is counted",
        (
            (
                "Every click that is logged or asked about counts once; one that comes again under its identifier"
                " within an"
                " hour keeps its decision. A click is flagged, never dropped: gross, net of general and net of all"
                " invalid"
                " traffic are reported side by side, with the share of clicks that got a decision."
            ),
        ),
        _VERDICTS,
    )


def unmeasurable() -> Section:
    """Say what unmeasurable means."""
    return Section(
        "What unmeasurable means",
        (
            (
                "Missing information makes a click unmeasurable, not invalid and not valid: nothing says what it is."
                " It is"
                " billed, lowers the decision rate, and may be decided later by a replay, whose difference is"
                " credited or"
                " charged."
            ),
        ),
        _REASONS,
    )


def limits(card: ModelCard | None) -> Section:
    """Say where it ends."""
    known = () if card is None else card.limits
    return Section(
        "Limits",
        () if card is None else card.use,
        points=(
            *known,
            "Robots that behave as people do, that buy, or that use a person's account are found seldom or not at all.",
            "Impressions, viewability and conversions are not measured, nor who stands behind invalid traffic.",
            "Lists find what they name: they are as complete and as fresh as their versions.",
        ),
    )


def corrections(settings: Settings) -> Section:
    """Say how figures are corrected, how long records are kept, and how changes are controlled."""
    months = settings.lake.keep_months
    return Section(
        "Corrections, records and changes",
        facts=(
            (
                "corrections",
                (
                    f"clicks up to {settings.replay.cut_off_days} days old may be decided again; the new decision"
                    " supersedes"
                    " the old one, which is kept, and the difference is credited or charged by campaign and day"
                ),
            ),
            ("closing", "the invoice report of a month is frozen; what is corrected later is in a later one"),
            (
                "false positives",
                (
                    "reported by slice with their intervals, by clicks and by cost; from"
                    f" {percent(settings.billing.material_fpr)} on they are material and raise an alarm"
                ),
            ),
            ("records", f"decisions are kept for {months} months" if months else "decisions are kept for ever"),
            (
                "changes",
                (
                    "every promotion, rollback, override, replay, review, closing, and every change of settings and"
                    " lists is"
                    " in an audit log whose records are chained, with who did it and why"
                ),
            ),
            ("watch", "rates by slice are compared with what is expected; a sharp deviation raises an alarm"),
        ),
    )
