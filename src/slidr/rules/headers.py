"""Request headers that say nobody looked: prefetch, prerender, preview, and robots that name themselves in one.

Read from `headers` of a click, which a request has and a log has not: the rule finds nothing in a batch.

Sources of the built-in patterns: `Sec-Purpose` of the Fetch standard, `Purpose`, `X-Purpose` and `X-Moz` of browsers
before it, `From` of RFC 9110 section 10.1.2, which robots should send and browsers do not, `Signature-Agent` of the
IETF's draft on signed robots (web-bot-auth), and `X-Scanner`, which security scanners send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from slidr.errors import SettingsError
from slidr.lists import Listed, built_in, version_of
from slidr.rules import Columns, ListRule
from slidr.settings import RulesSettings

_KEY = "rules.headers"
_UNSEEN = "prefetch|prerender|preview"
_BUILT_IN = {
    "sec-purpose": _UNSEEN,
    "purpose": _UNSEEN,
    "x-purpose": f"{_UNSEEN}|instant",
    "x-moz": _UNSEEN,
    "from": "@|\\(at\\)",
    "signature-agent": ".",
    "x-scanner": ".",
}
_LONGEST = 512
"""Letters of a value that are looked at, so that none takes long."""


def prepare(settings: RulesSettings) -> ListRule | None:
    """Return the rule for the built-in patterns and those of the settings, or None where none is left.

    A header of the settings adds to the built-in ones, or takes the place of the one of its name; an empty pattern
    takes it out.

    Raises:
        SettingsError: a name is no name of a header, or a pattern no regular expression.
    """
    patterns = {**_BUILT_IN, **_named(settings.headers)}
    searches = {name: _compiled(name, pattern) for name, pattern in sorted(patterns.items()) if pattern}
    if not searches:
        return None

    def is_hit(headers: object) -> bool:
        if not isinstance(headers, Mapping):
            return False
        for name, value in headers.items():
            search = searches.get(name.lower()) if isinstance(name, str) else None
            if search is not None and isinstance(value, str) and search.search(value[:_LONGEST]):
                return True
        return False

    def hits(columns: Columns) -> list[int]:
        return [place for place, headers in enumerate(columns["headers"]) if headers and is_hit(headers)]

    text = "\n".join(f"{name}: {search.pattern}" for name, search in searches.items())
    listed = built_in(_KEY, "built-in" if patterns == _BUILT_IN else "built-in and settings", text)
    version = version_of(text.encode())
    lists = (Listed(listed.name, version, None, len(searches)),)
    return ListRule("headers", version, ("headers",), hits, lists=lists)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the settings' headers in lower case."""
    named: dict[str, str] = {}
    for name, pattern in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise SettingsError(f"{_KEY}: {name!r} is no name of a header; write one such as 'Sec-Purpose'")
        if name.lower() in named:
            raise SettingsError(f"{_KEY}: {name!r} stands twice, in another case; join the patterns with |")
        named[name.lower()] = pattern
    return named


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as fault:
        raise SettingsError(f"{_KEY}: {name} = {pattern!r} is not a regular expression: {fault}") from None
