"""Crawlers that say so: user agents that match a list of patterns.

Lists stand side by side. `crawler-user-agents` is the package of that name, which is kept up to date by its community;
`words` is what robots call themselves, for those that no list knows yet. Others are files: a regular expression a
line, or JSON as COUNTER publishes its robots list (an array of objects with `pattern`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from itertools import groupby
from typing import Any

import msgspec

from slidr.clock import SECOND
from slidr.lists import Listed, ListFile, built_in, oldest, read_list, read_packaged, version_of
from slidr.rules import Columns, ListRule
from slidr.settings import RulesSettings
from slidr.settings.serving import PACKAGED_CRAWLERS, WORDS

_KEY = "rules.crawlers"
_WORDS = r"""
# CUBOT makes telephones.
(?<!cu)bots?(?![a-z])
crawl
spider
slurp
scrap(er|y|ing)
headless
phantomjs
^(curl|wget|python|java|go-http-client|libwww|okhttp|axios|node)\b
"""
_REMEMBERED = 1 << 16
_LONGEST = 512
"""Letters of a user agent that are looked at: one that is longer must not take longer."""
_LITERAL = re.compile(r"(?:[^\\.^$*+?{}\[\]|()]|\\[^A-Za-z0-9])+")
_LONGEST_LITERAL = 64


def prepare(settings: RulesSettings) -> ListRule | None:
    """Return the rule for the lists of the settings, or None where there are none.

    The patterns of the package match as they are written, those of files and `words` in any case.

    Raises:
        SettingsError: a list cannot be read, is empty, or holds a pattern that is no regular expression, or one that
            every user agent matches.
    """
    lists: list[Listed] = []
    searches: list[Callable[[str], object]] = []
    for name in settings.crawlers:
        file = _read(name)
        patterns = _patterns(file)
        flags = re.NOFLAG if name == PACKAGED_CRAWLERS else re.IGNORECASE
        searches += _compiled(file, patterns, flags)
        lists.append(Listed(file.name, file.version, file.updated, len(patterns)))
    if not lists:
        return None

    @lru_cache(_REMEMBERED)
    def names_a_crawler(user_agent: str) -> bool:
        return any(search(user_agent) is not None for search in searches)

    def hits(columns: Columns) -> list[int]:
        return [
            place
            for place, agent in enumerate(columns["user_agent"])
            if isinstance(agent, str) and names_a_crawler(agent[:_LONGEST])
        ]

    found = tuple(lists)
    version = version_of(*(listed.version.encode() for listed in found))
    return ListRule("crawlers", version, ("user_agent",), hits, updated=oldest(found), lists=found)


def _read(name: str) -> ListFile:
    if name == WORDS:
        return built_in(_KEY, WORDS, _WORDS)
    if name != PACKAGED_CRAWLERS:
        return read_list(_KEY, name)
    place = files("crawleruseragents") / "crawler-user-agents.json"
    file = read_packaged(_KEY, PACKAGED_CRAWLERS, place)
    # Installing a package dates its files anew; the newest pattern tells how old the list is.
    newest = max((str(entry.get("addition_date", "")) for entry in _entries(file)), default="")
    try:
        day = datetime.strptime(newest, "%Y/%m/%d").replace(tzinfo=UTC)
    except ValueError:
        return file
    return file._replace(updated=int(day.timestamp()) * SECOND)


def _entries(file: ListFile) -> list[dict[str, Any]]:
    """Return the entries of a JSON list."""
    try:
        entries = msgspec.json.decode(file.text, type=list[dict[str, Any]])
    except msgspec.DecodeError as fault:
        raise file.fault(f"is not an array of objects with `pattern`: {fault}") from None
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry.get("pattern"), str):
            raise file.fault(f"entry {number}, {entry!r:.80}, has no text `pattern`; correct it, or take it out")
    if not entries:
        raise file.fault("the list is empty; fill it, or take it out of the setting")
    return entries


def _patterns(file: ListFile) -> list[str]:
    """Return the patterns of a list; each is a regular expression."""
    if not file.name.endswith(".json") and file.name != PACKAGED_CRAWLERS:
        return file.parsed(_checked)
    patterns = [str(entry["pattern"]) for entry in _entries(file)]
    for number, pattern in enumerate(patterns, 1):
        try:
            _checked(pattern)
        except ValueError as fault:
            raise file.fault(f"pattern {number}, {pattern[:80]!r}, {fault}") from None
    return patterns


def _checked(pattern: str) -> str:
    if _LITERAL.fullmatch(pattern):
        return pattern
    try:
        # Alone, for `a)|(b` is one only in brackets; and in brackets, where no flags may stand.
        alone, _ = (re.compile(written, re.IGNORECASE) for written in (pattern, f"(?:{pattern})"))
    except (re.error, RecursionError, OverflowError) as fault:
        raise ValueError(f"is not a regular expression: {fault}; correct it, or take it out") from None
    if alone.search("\0\0") is not None:
        raise ValueError("matches every user agent; take it out")
    return pattern


def _compiled(file: ListFile, patterns: list[str], flags: re.RegexFlag) -> list[Callable[[str], object]]:
    """Return searches that find, together, whatever one of the patterns finds.

    Of a thousand patterns nearly all are plain words. Side by side, each would be tried at each letter; as a tree, a
    letter rules most of them out at once.
    """
    words = {pattern for pattern in patterns if len(pattern) <= _LONGEST_LITERAL and _LITERAL.fullmatch(pattern)}
    others = [pattern for pattern in patterns if pattern not in words]
    searches: list[Callable[[str], object]] = []
    if words:
        plain = {re.sub(r"\\(.)", r"\1", word) for word in words}
        searches.append(_word_search(plain, flags))
    if others:
        try:
            searches.append(re.compile("|".join(f"(?:{pattern})" for pattern in others), flags).search)
        except (re.error, RecursionError, OverflowError) as fault:
            raise file.fault(f"the patterns cannot stand side by side: {fault}") from None
    return searches


def _word_search(words: set[str], flags: re.RegexFlag) -> Callable[[str], object]:
    if flags & re.IGNORECASE:
        # To lower both once is several times faster than to ignore the case letter by letter.
        lowered = re.compile(_tree(sorted({word.lower() for word in words}), 0)).search
        return lambda user_agent: lowered(user_agent.lower())
    return re.compile(_tree(sorted(words), 0)).search


def _tree(words: list[str], depth: int) -> str:
    """Return an expression for sorted words that agree up to a depth, from there on.

    >>> _tree(["bot", "both", "bow", "crawl"], 0)
    '(?:bo(?:t|w)|crawl)'
    """
    if len(words[0]) == depth:
        # The others only go on, and it is found wherever they are.
        return ""
    branches = []
    for _, group in groupby(words, key=lambda word: word[depth]):
        below = list(group)
        end = depth + 1
        while len(below[0]) > end and all(word[end : end + 1] == below[0][end] for word in below[1:]):
            end += 1
        branches.append(re.escape(below[0][depth:end]) + (_tree(below, end) if len(below) > 1 else ""))
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
