"""slidr decides in real time whether an ad click was made by a human or by a robot.

Everything public is here. A name is imported when it is first used, so that serving needs no training packages and
importing slidr does nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from slidr.errors import MissingExtraError

if TYPE_CHECKING:
    from slidr.bundle import Bundle, read_bundle
    from slidr.decide import Decider, Decision, Decisions
    from slidr.errors import SlidrError
    from slidr.features.catalogue import Catalogue, default_catalogue
    from slidr.features.clicks import Click
    from slidr.notebook import backfill, calibrate, decide_clicks, decider, fit, label, make_bundle, read_log, split
    from slidr.registry import Registry
    from slidr.settings import Settings, read_settings
    from slidr.tables import Threshold, Verdict

__all__ = [
    "Bundle",
    "Catalogue",
    "Click",
    "Decider",
    "Decision",
    "Decisions",
    "Registry",
    "Settings",
    "SlidrError",
    "Threshold",
    "Verdict",
    "backfill",
    "calibrate",
    "decide_clicks",
    "decider",
    "default_catalogue",
    "fit",
    "label",
    "make_bundle",
    "read_bundle",
    "read_log",
    "read_settings",
    "split",
]

_HOMES = {
    "slidr.bundle": ("Bundle", "read_bundle"),
    "slidr.decide": ("Decider", "Decision", "Decisions"),
    "slidr.errors": ("SlidrError",),
    "slidr.features.catalogue": ("Catalogue", "default_catalogue"),
    "slidr.features.clicks": ("Click",),
    "slidr.notebook": (
        "backfill",
        "calibrate",
        "decide_clicks",
        "decider",
        "fit",
        "label",
        "make_bundle",
        "read_log",
        "split",
    ),
    "slidr.registry": ("Registry",),
    "slidr.settings": ("Settings", "read_settings"),
    "slidr.tables": ("Threshold", "Verdict"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module 'slidr' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as fault:
        if (fault.name or "").startswith("slidr"):
            raise
        raise MissingExtraError(f"slidr.{name}", "all") from None


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)
