"""The catalogue as a list that people read: what each feature means, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from slidr.features.catalogue import AnyFeature, Burst, Catalogue, Clicks, Distinct, Entity, Gap, PeakDistinct, Velocity
from slidr.features.layout import HEADER, RING_WORDS, SKETCH_WORDS
from slidr.settings import duration

_WORD = 4


class Listed(NamedTuple):
    """A feature as it is listed.

    Attributes:
        name: of the column.
        meaning: what it says.
        unit: of the value.
        entity: whose clicks it is of.
        window: how far it looks back: a window, a half-life, or two windows.
        bytes: of state that it adds to the record of its entity; what several features read counts with the first.
    """

    name: str
    meaning: str
    unit: str
    entity: str
    window: str
    bytes: int


HEADER_BYTES = _WORD * HEADER
"""Bytes of a record before any feature's."""


def listed(catalogue: Catalogue) -> Iterator[Listed]:
    """Yield the features of a catalogue in its order."""
    counted = {(feature.entity, duration(feature.window)) for feature in catalogue if isinstance(feature, Clicks)}
    known: set[tuple[Entity, str]] = set()
    for feature in catalogue:
        words = 0
        for state, size in _states(feature, counted):
            words += size * ((feature.entity, state) not in known)
            known.add((feature.entity, state))
        entity = " + ".join(feature.entity)
        yield Listed(feature.name, feature.meaning, feature.unit, entity, _window(feature), _WORD * words)


def _states(feature: AnyFeature, counted: set[tuple[Entity, int]]) -> list[tuple[str, int]]:
    """Return what a feature reads of its entity's record besides the counts of other features: name and words."""
    match feature:
        case Clicks() | Velocity():
            return [(feature.name, RING_WORDS if isinstance(feature, Clicks) else 1)]
        case Burst():
            spans = [duration(window) for window in (feature.short, feature.long)]
            return [(str(span), RING_WORDS) for span in spans if (feature.entity, span) not in counted]
        case Gap():
            return [("gaps", 3)]
        case Distinct():
            return [(f"values of {feature.column}", SKETCH_WORDS)]
        case _:
            return []


def _window(feature: AnyFeature) -> str:
    match feature:
        case Burst():
            return f"{feature.short}, {feature.long}"
        case PeakDistinct():
            return feature.over
        case _:
            return str(getattr(feature, "window", getattr(feature, "half_life", "")))
