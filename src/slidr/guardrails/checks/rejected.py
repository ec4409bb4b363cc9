"""Prevents that a log is learnt from of which a good part was refused on its way in: the rest is no fair part of it."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding, nothing_seen
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "data"
_KEYS = ("most_rejected",)


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where too many rows of the logs were refused."""
    if not seen.read:
        return nothing_seen(__name__, limits, _KEYS, "this run read no logs: its lake is filled otherwise")
    share = seen.rejected / seen.read
    fault = ""
    if share > limits.most_rejected:
        fault = f"{seen.rejected:,} of {seen.read:,} rows of the logs were refused; `slidr ingest` names them"
    return data_finding(__name__, limits, _KEYS, {"rows": seen.read, "rejected": seen.rejected, "share": share}, fault)
