"""Slices: paths such as `device=mobile/logged_in=true`, from the root `all` down, one level a column."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from urllib.parse import quote

from slidr.errors import SettingsError

_MISSING = "null"
_BOOLEANS = {"true", "false"}
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
ROOT = "all"
"""The slice that holds every click."""


def slice_path(columns: Sequence[str], values: Sequence[object]) -> str:
    """Return the deepest slice of a click from its values of the slice columns, coarse to fine.

    A value reads the same whether it came from CSV, where all is text, from Parquet or from JSON: a boolean, or its
    text in any case, reads `true` or `false`; a whole number has no decimals; a missing value, an empty text and NaN
    read `null`. Other values are percent-encoded, so that a path can be split again, and so is the text "null".

    >>> slice_path(["device", "logged_in"], ["mobile", True])
    'device=mobile/logged_in=true'
    >>> slice_path(["device", "logged_in"], ["7.0", "True"])
    'device=7/logged_in=true'
    >>> slice_path([], [])
    'all'

    Raises:
        SettingsError: a value is a list or a struct.
    """
    return "/".join(f"{column}={_text(column, value)}" for column, value in zip(columns, values, strict=True)) or ROOT


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


def _text(column: str, value: object) -> str:
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return _MISSING
    if isinstance(value, Collection) and not isinstance(value, str):
        raise SettingsError(
            f"slices.columns: column {column!r} holds {value!r}, and a slice takes one value; name another column"
        )
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if text.lower() in _BOOLEANS:
        return text.lower()
    if whole := _WHOLE.fullmatch(text):
        text = whole[1] if whole[1] != "-0" else "0"
    return "%6Eull" if text == _MISSING else quote(text, safe=" .:+-_")
