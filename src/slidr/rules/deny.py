"""Clicks that the user denies: by address, user agent, user, session, device, campaign or advertiser.

A list is text with `column,value` a line, and may be written by a spreadsheet. An `ip` is an address or a network; in
a `user_agent` the sign `*` stands for any text; every other value is compared as it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal

from slidr.addresses import LONGEST, Networks, parse_span
from slidr.errors import nearest
from slidr.lists import Listed, oldest, read_list, version_of
from slidr.rules import Columns, ListRule
from slidr.settings import RulesSettings

COLUMNS = ("ip", "user_agent", "user", "session", "device", "campaign", "advertiser")
_HEADER = ("column", "value")
_REMEMBERED = 1 << 14
_LONGEST = 512
_Entry = tuple[str, str]


def prepare(settings: RulesSettings) -> ListRule | None:
    """Return the rule for the lists of the settings, or None where there are none; see `listing_rule`."""
    return listing_rule("deny", settings.deny, "invalid")


def listing_rule(name: str, paths: tuple[str, ...], action: Literal["invalid", "allow"]) -> ListRule | None:
    """Return a rule that hits the clicks that lists of columns and values name, or None where there are no lists.

    Raises:
        SettingsError: a list cannot be read, is empty, or a line is no `column,value`.
    """
    if not paths:
        return None
    lists: list[Listed] = []
    values: dict[str, list[str]] = {}
    for path in paths:
        file = read_list(f"rules.{name}", path)
        entries = [entry for entry in file.parsed(_entry) if entry != _HEADER]
        if not entries:
            raise file.fault("the list is empty but for its header; fill it, or take it out of the setting")
        for column, value in entries:
            values.setdefault(column, []).append(value)
        lists.append(Listed(file.name, file.version, file.updated, len(entries)))
    tests = tuple((column, _test(column, values[column])) for column in COLUMNS if column in values)

    def hits(columns: Columns) -> list[int]:
        found = [
            place
            for column, is_listed in tests
            for place, value in enumerate(columns[column])
            if isinstance(value, str) and is_listed(value)
        ]
        return found if len(tests) == 1 else sorted(set(found))

    version = version_of(*(listed.version.encode() for listed in lists))
    columns = tuple(column for column, _ in tests)
    return ListRule(name, version, columns, hits, updated=oldest(tuple(lists)), action=action, lists=tuple(lists))


def _entry(line: str) -> _Entry:
    """Return the column and the value of a line."""
    try:
        fields = next(csv.reader([line], strict=True, skipinitialspace=True))
    except csv.Error as fault:
        raise ValueError(f"is no `column,value`: {fault}") from None
    if len(fields) != 2:  # noqa: PLR2004 a column and a value
        raise ValueError('is no `column,value`, such as ip,192.0.2.0/24; write a value that has a comma in "quotes"')
    column, value = (field.strip() for field in fields)
    if (column, value) == _HEADER:
        return _HEADER
    if column not in COLUMNS:
        raise ValueError(f"names no column that a list can have: {nearest(column, COLUMNS)}")
    if not value or not value.strip("*"):
        raise ValueError("names every click; write what is meant")
    if column == "ip":
        parse_span(value)
    return column, value


def _test(column: str, values: Iterable[str]) -> Callable[[str], bool]:
    """Return what tells whether a value is listed."""
    if column == "ip":
        held = lru_cache(_REMEMBERED)(Networks(map(parse_span, values)).__contains__)
        return lambda address: len(address) <= LONGEST and held(address)
    exact = frozenset(values)
    globs = [value for value in exact if "*" in value] if column == "user_agent" else []
    if not globs:
        return exact.__contains__
    match = re.compile("|".join(".*".join(map(re.escape, glob.split("*"))) for glob in globs), re.DOTALL).fullmatch

    @lru_cache(_REMEMBERED)
    def is_listed(user_agent: str) -> bool:
        return user_agent in exact or match(user_agent) is not None

    return lambda user_agent: is_listed(user_agent[:_LONGEST])
