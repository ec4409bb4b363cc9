"""Words: what a judged run has to say for itself, the same in every command that judges."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from tabulate import tabulate

from slidr.clock import SECOND
from slidr.evaluation.results import Evaluation, Span
from slidr.report.summary import comparison


def judgement(evaluation: Evaluation, *facts: str) -> str:
    """Return the parts of the log with their dates and sizes, further facts, the notes, and the comparison.

    The notes stand before the numbers, for they say how far those can be believed.
    """
    rows = [
        (name, _moment(span.start), _moment(span.end), span.clicks, span.purchases)
        for name, span in _spans(evaluation).items()
    ]
    headers = ("part", "from (UTC)", "until (UTC)", "clicks", "purchasing clicks")
    table = tabulate(rows, headers=headers, intfmt=",")
    notes = "\n".join(f"note: {note}" for note in evaluation.notes)
    return "\n\n".join(part for part in (table, "\n".join(facts), notes, comparison(evaluation)) if part)


def judgement_document(evaluation: Evaluation) -> dict[str, object]:
    """Return the same for machines; the dates are ISO 8601, in UTC."""
    return {
        "parts": {
            name: {
                "from": _time(span.start).isoformat(),
                "until": _time(span.end).isoformat(),
                "clicks": span.clicks,
                "purchasing_clicks": span.purchases,
            }
            for name, span in _spans(evaluation).items()
        },
        "notes": evaluation.notes,
        "networks": msgspec.to_builtins(evaluation.networks),
        "totals": msgspec.to_builtins(evaluation.totals),
        "assurance": msgspec.to_builtins(evaluation.assurance),
        "proxy": msgspec.to_builtins(evaluation.proxy),
        "change": msgspec.to_builtins(evaluation.change),
        "missed": msgspec.to_builtins(evaluation.missed),
    }


def _spans(evaluation: Evaluation) -> dict[str, Span]:
    return {"train": evaluation.train, "calibrate": evaluation.calibrate, "judge": evaluation.judge}


def _moment(time: int) -> str:
    return f"{_time(time):%Y-%m-%d %H:%M:%S}"


def _time(time: int) -> datetime:
    return datetime.fromtimestamp(time // SECOND, UTC)
