"""Slices: paths such as `device=mobile/logged_in=true`, from the root `all` down, one level a column."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

ROOT = "all"
"""The slice that holds every click."""


def slice_path(columns: Sequence[str], values: Sequence[object]) -> str:
    """Return the deepest slice of a click from its values of the slice columns, coarse to fine.

    Booleans read `true` and `false`, a missing value reads `null`; other values are percent-encoded, so that a path
    can be split again.

    >>> slice_path(["device", "logged_in"], ["mobile", True])
    'device=mobile/logged_in=true'
    >>> slice_path([], [])
    'all'
    """
    return "/".join(f"{column}={_text(value)}" for column, value in zip(columns, values, strict=True)) or ROOT


def ancestors(path: str) -> tuple[str, ...]:
    """Return the slice itself and everything above it, deepest first; the last is the root.

    >>> ancestors("device=mobile/logged_in=true")
    ('device=mobile/logged_in=true', 'device=mobile', 'all')
    """
    if path == ROOT:
        return (ROOT,)
    parts = path.split("/")
    return (*("/".join(parts[:depth]) for depth in range(len(parts), 0, -1)), ROOT)


def parent(path: str) -> str | None:
    """Return the slice directly above, or None for the root."""
    above = ancestors(path)[1:]
    return above[0] if above else None


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(str(value), safe=" .:+-_") or "''"
