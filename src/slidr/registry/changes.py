"""Changes: what settings and lists a service started with, or a bundle was made with, where they are other ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from slidr.audit import Audit, Record
from slidr.rules import ListRule
from slidr.settings import Settings

_SECRET = re.compile(r"://[^@/]*@")
_PLACES = ("storage",)
"""Sections that say where things are and not what is done: they differ from machine to machine."""


def record_changes(
    audit: Audit, settings: Settings, rules: Sequence[ListRule], *, subject: str, at: int, who: str, why: str
) -> tuple[Record, ...]:
    """Record settings and lists in the audit log, each only where it differs from what was recorded last.

    Args:
        audit: the log.
        settings: as they are; passwords in addresses are left out.
        rules: the list rules, made of the settings, with the versions of their lists.
        subject: what goes by them: `service`, or `daily`.
        at: when, microseconds UTC.
        who: who started it.
        why: the reason, such as `start of the service`.

    Returns:
        The records; none where nothing has changed.

    Raises:
        RegistryError: the log cannot be read or written.
    """
    found = (
        audit.changed("settings", subject, settings_document(settings), at=at, who=who, why=why),
        record_lists(audit, rules, subject=subject, at=at, who=who, why=why),
    )
    return tuple(record for record in found if record is not None)


def record_lists(
    audit: Audit, rules: Sequence[ListRule], *, subject: str, at: int, who: str, why: str
) -> Record | None:
    """Record lists alone, where they differ from what was recorded last; see `record_changes`."""
    return audit.changed("lists", subject, lists_document(rules), at=at, who=who, why=why)


def settings_document(settings: Settings) -> dict[str, Any]:
    """Return what settings do, as the audit log keeps it.

    >>> settings_document(Settings())["calibration"]["fpr_budget"]
    0.005
    """
    document: dict[str, Any] = msgspec.to_builtins(settings)
    return {name: _bare(value) for name, value in document.items() if name not in _PLACES}


def _bare(value: Any) -> Any:
    """Return a value without the passwords of the addresses in it."""
    if isinstance(value, dict):
        return {name: _bare(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(one) for one in value]
    return _SECRET.sub("://", value) if isinstance(value, str) else value


def lists_document(rules: Sequence[ListRule]) -> dict[str, Any]:
    """Return the list rules and the versions of their lists, as the audit log keeps them."""
    return {
        rule.name: {
            "version": rule.version,
            "action": rule.action,
            "lists": {one.name: {"version": one.version, "entries": one.entries} for one in rule.lists},
        }
        for rule in rules
    }
