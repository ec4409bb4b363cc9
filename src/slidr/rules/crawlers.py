"""Crawlers that say so: user agents that match a list of patterns.

The list is a text file with one regular expression a line, or the JSON of the COUNTER robots list (an array of objects
with `pattern`). Without a file, a short list of what robots call themselves is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from slidr.errors import SettingsError
from slidr.rules import Columns, ListRule
from slidr.settings import RulesSettings

_BUILT_IN = (
    "bot", "crawl", "spider", "slurp", "scrap", "fetch", "archiver", "headless", "phantomjs", "monitor", "validator",
    "^curl/", "^wget/", "^python-", "^java/", "^go-http-client", "^libwww", "^okhttp", "httpclient", "feed",
)  # fmt: skip


def prepare(settings: RulesSettings) -> ListRule:
    """Return the rule for the list of the settings.

    Raises:
        SettingsError: the file cannot be read, or a pattern is not a regular expression.
    """
    patterns = _read(Path(settings.crawlers)) if settings.crawlers else _BUILT_IN
    search = _compiled(patterns, settings.crawlers).search

    @lru_cache(maxsize=1 << 16)
    def names_a_crawler(user_agent: str) -> bool:
        return search(user_agent) is not None

    def hits(columns: Columns) -> list[int]:
        return [
            place
            for place, agent in enumerate(columns["user_agent"])
            if isinstance(agent, str) and names_a_crawler(agent)
        ]

    version = hashlib.sha256("\n".join(patterns).encode()).hexdigest()[:12]
    return ListRule("crawlers", version, ("user_agent",), hits)


def _compiled(patterns: tuple[str, ...], path: str) -> re.Pattern[str]:
    """Return one expression that matches where any of the patterns does."""
    for number, pattern in enumerate(patterns, 1):
        try:
            # Alone, for `a)|(b` is one only in brackets; and in brackets, where no flags may stand.
            for written in (pattern, f"(?:{pattern})"):
                re.compile(written, re.IGNORECASE)
        except re.error as fault:
            raise SettingsError(
                f"rules.crawlers = {path!r}: pattern {number}, {pattern!r}, is not one: {fault}"
            ) from None
    if not all(patterns):
        # An empty pattern, and a list without one, match every user agent.
        raise SettingsError(f"rules.crawlers = {path!r}: pattern {patterns.index('') + 1} is empty; remove it")
    if not patterns:
        raise SettingsError(f"rules.crawlers = {path!r} holds no pattern; leave the key out for the built-in list")
    try:
        return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
    except re.error as fault:
        raise SettingsError(f"rules.crawlers = {path!r}: the patterns cannot stand side by side: {fault}") from None


def _read(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
        document: list[dict[str, Any]] = json.loads(text)
        return tuple(str(entry["pattern"]) for entry in document)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise SettingsError(f"rules.crawlers = {str(path)!r} cannot be read: {fault}") from None
