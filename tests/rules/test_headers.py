"""Request headers: what standards and browsers send, patterns of the settings, and what is no header."""

from __future__ import annotations

import pytest

from slidr.errors import SettingsError
from slidr.rules import ListRule, headers
from slidr.settings import RulesSettings


def prepared(**further: str) -> ListRule:
    """Return the rule with further headers."""
    rule = headers.prepare(RulesSettings(headers={name.replace("_", "-"): text for name, text in further.items()}))
    assert rule is not None
    return rule


def hit(rule: ListRule, name: str, value: str) -> bool:
    """Return whether the rule hits a click with this header among those of every browser."""
    return bool(rule.hits({"headers": [{"accept": "text/html", "sec-fetch-dest": "document", name: value}]}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sec-Purpose", "prefetch;prerender"),
        ("sec-purpose", "prefetch;anonymous-client-ip"),
        ("Purpose", "prefetch"),
        ("X-Purpose", "preview"),
        ("X-Purpose", "instant"),
        ("X-Moz", "prefetch"),
        ("X-MOZ", "Prefetch"),
        ("From", "googlebot(at)googlebot.com"),
        ("from", "bingbot@microsoft.com"),
        ("Signature-Agent", '"https://agent.example"'),
        ("X-Scanner", "Netsparker"),
    ],
)
def test_what_nobody_looked_at_is_hit(name: str, value: str) -> None:
    """Each of the headers says that no person asked for the page, whatever the case it is written in."""
    assert hit(prepared(), name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Purpose", "navigate"),
        ("Sec-Purpose", ""),
        ("Sec-Fetch-Dest", "prefetch"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("From", ""),
        ("Referer", "https://example.org/?prefetch"),
        ("x-acme", "robot"),
    ],
)
def test_what_people_send_is_spared(name: str, value: str) -> None:
    """Other values, and other headers of any value, are nothing to the rule."""
    assert not hit(prepared(), name, value)


def test_headers_of_the_settings() -> None:
    """A header adds to the built-in ones, takes the place of its like, or takes it out with an empty pattern."""
    rule = prepared(X_Acme="^robot$", PURPOSE="acme", X_Scanner="")
    assert hit(rule, "x-acme", "Robot")
    assert not hit(rule, "x-acme", "robots")
    assert hit(rule, "purpose", "acme")
    assert not hit(rule, "purpose", "prefetch")
    assert not hit(rule, "x-scanner", "any")
    assert hit(rule, "sec-purpose", "prefetch")
    assert rule.version != prepared().version
    assert [listed.entries for listed in rule.lists] == [7]


def test_a_long_value_is_looked_at_in_part() -> None:
    """A value of a megabyte takes no longer than one of half a kilobyte."""
    assert not hit(prepared(), "purpose", " " * 1_000_000 + "prefetch")


@pytest.mark.parametrize(
    ("name", "pattern", "message"),
    [
        ("X Acme", "a", "'X Acme' is no name of a header"),
        ("", "a", "'' is no name of a header"),
        ("X-Acme", "(", r"rules.headers: x-acme = '\(' is not a regular expression"),
    ],
)
def test_what_is_no_header_is_refused(name: str, pattern: str, message: str) -> None:
    """A name that no request can carry, and a pattern that is none, are refused."""
    with pytest.raises(SettingsError, match=message):
        headers.prepare(RulesSettings(headers={name: pattern}))


def test_a_header_stands_once() -> None:
    """Two cases of one name would hide one pattern."""
    with pytest.raises(SettingsError, match="'x-acme' stands twice"):
        headers.prepare(RulesSettings(headers={"X-Acme": "a", "x-acme": "b"}))
