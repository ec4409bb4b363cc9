"""Repeated clicks on one impression: the first click of a showing counts, further ones within a window do not.

Off without `rules.repeats`: how long two clicks on one ad are one click is a matter of what is sold.
"""

from __future__ import annotations

from slidr.clock import DAY
from slidr.errors import SettingsError
from slidr.lists import version_of
from slidr.rules import Columns, ListRule
from slidr.settings import RulesSettings, duration

_KEY = "rules.repeats"
_LONGEST = 30 * DAY


def prepare(settings: RulesSettings) -> ListRule | None:
    """Return the rule for the window of the settings, or None where there is none.

    The feature counts the clicks of the impression within the window, this one included. A window is a ring of hops: a
    click counts at least for the window less one hop, and at most for the window.

    Raises:
        SettingsError: the window is no duration, or longer than state looks back.
    """
    window = settings.repeats
    if not window:
        return None
    if duration(window) > _LONGEST:
        raise SettingsError(f"{_KEY} = {window!r} is longer than 30d, as far as state looks back; shorten it")
    feature = f"clicks_impression_{window}"

    def hits(columns: Columns) -> list[int]:
        found = zip(columns["impression"], columns[feature], strict=True)
        return [
            place
            for place, (impression, clicks) in enumerate(found)
            if impression is not None and isinstance(clicks, int | float) and clicks > 1
        ]

    declared = {"kind": "Clicks", "by": "impression", "window": window}
    return ListRule("repeats", version_of(window.encode()), ("impression",), hits, (declared,))
