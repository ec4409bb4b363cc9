"""Clicks that the user allows, whatever the model thinks of them; a click that another rule finds invalid stays so.

The lists have the form of those of `deny`.
"""

from __future__ import annotations

from slidr.rules import ListRule
from slidr.rules.deny import listing_rule
from slidr.settings import RulesSettings


def prepare(settings: RulesSettings) -> ListRule | None:
    """Return the rule for the lists of the settings, or None where there are none; see `deny.listing_rule`."""
    return listing_rule("allow", settings.allow, "allow")
