"""Guards: what the guardrails found, as rows of the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from slidr.clock import SECOND
from slidr.evaluation.results import Finding


class FindingRow(NamedTuple):
    """A guardrail on the page: refusing ones stand first, then overridden ones."""

    name: str
    kind: str
    state: str
    said: str
    numbers: str
    warn: bool


def finding_rows(findings: Sequence[Finding]) -> list[FindingRow]:
    """Return a row for each finding, what refuses first."""
    ranked = sorted(findings, key=lambda one: (not one.refuses, one.passed))
    return [FindingRow(one.name, one.kind, _state(one), _said(one), _numbers(one), not one.passed) for one in ranked]


def _state(finding: Finding) -> str:
    if finding.passed:
        return "passed"
    return "refused" if finding.override is None else "overridden"


def _said(finding: Finding) -> str:
    if finding.override is None:
        return finding.message
    at = datetime.fromtimestamp(finding.override.at // SECOND, UTC)
    return f"{finding.message}. Let pass by {finding.override.who} at {at:%Y-%m-%d %H:%M} UTC: {finding.override.why}"


def _numbers(finding: Finding) -> str:
    told = {**finding.numbers, **finding.limit}
    return ", ".join(f"{name} {_number(value)}" for name, value in told.items() if value is not None)


def _number(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
