"""Data centres: clicks from networks where servers stand, and people do not.

Without a list, the rule is off: which networks are data centres changes by the week, and no list comes with slidr.
"""

from __future__ import annotations

from functools import lru_cache

from slidr.addresses import LONGEST, Networks, parse_span
from slidr.lists import Listed, oldest, read_list, version_of
from slidr.rules import Columns, ListRule
from slidr.settings import RulesSettings

_KEY = "rules.data_centres"
_REMEMBERED = 1 << 16


def prepare(settings: RulesSettings) -> ListRule | None:
    """Return the rule for the lists of the settings, or None where there are none.

    A list has a network a line (`192.0.2.0/24`, `2001:db8::/32`), an address, or `first,last` and whatever follows, as
    the ipcat list has it; `#` begins a comment.

    Raises:
        SettingsError: a list cannot be read, or a line of it is none of these.
    """
    files = [read_list(_KEY, path) for path in settings.data_centres]
    if not files:
        return None
    parts = [file.parsed(parse_span) for file in files]
    lists = tuple(
        Listed(file.name, file.version, file.updated, len(spans)) for file, spans in zip(files, parts, strict=True)
    )
    names = lru_cache(_REMEMBERED)(Networks(span for spans in parts for span in spans).__contains__)

    def hits(columns: Columns) -> list[int]:
        # What is longer than any address is none, and would only fill the memory.
        return [
            place
            for place, address in enumerate(columns["ip"])
            if isinstance(address, str) and len(address) <= LONGEST and names(address)
        ]

    version = version_of(*(listed.version.encode() for listed in lists))
    return ListRule("data_centres", version, ("ip",), hits, updated=oldest(lists), lists=lists)
