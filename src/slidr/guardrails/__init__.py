"""Guardrails: what a day's data and its model must keep before the bundle may decide.

Each file of `slidr.guardrails.checks` is one guardrail, found by its name: its docstring says what it prevents, `KIND`
whether it looks at the `data` or at the `model`, and `check(seen, limits)` what it finds. All of them are asked, so
that a refusal names everything that is wrong at once. Where one refuses, the champion stays.
"""

from __future__ import annotations

from typing import Literal

from slidr import extensions
from slidr.evaluation.results import Finding
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

CHECKS = "slidr.guardrails.checks"

Kind = Literal["data", "model"]


def guardrails(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the names of the guardrails of a kind, or of all where None, sorted.

    >>> "human_density" in guardrails("data"), "human_density" in guardrails("model")
    (True, False)
    """
    return tuple(name for name in extensions.names(CHECKS) if kind in {None, extensions.load(CHECKS, name).KIND})


def guard(seen: Seen, limits: GuardrailsSettings, kind: Kind) -> tuple[Finding, ...]:
    """Return what every guardrail of a kind finds, in the order of their names."""
    return tuple(extensions.load(CHECKS, name).check(seen, limits) for name in guardrails(kind))
