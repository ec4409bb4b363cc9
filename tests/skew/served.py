"""Journals as a service writes them, and the lake that backfill makes of the same clicks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tests import small

from slidr.bundle import Bundle, write_bundle
from slidr.decide import Decider
from slidr.features.backfill import backfill
from slidr.features.catalogue import Catalogue
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Context, Entry, Journal
from slidr.lake.delta import Lake
from slidr.service.answers import Recorder
from slidr.tables import FEATURES

KEY = Pseudonymiser(small.SECRET)
LAYOUT = compile_catalogue(small.CATALOGUE)


class Served(NamedTuple):
    """Clicks, each click_id once, and their entries in the order in which they were decided."""

    clicks: list[Click]
    entries: list[Entry]
    context: Context


def serve(folder: Path, clicks: Sequence[Click], *, batch: int = 7) -> Served:
    """Decide clicks in batches, as a service does."""
    bundle: Bundle = write_bundle(folder / "bundles", small.parts(), created_at=0, version="0")
    decider = Decider(bundle, EmbeddedStore(LAYOUT), KEY)
    entries: list[Entry] = []
    for start in range(0, len(clicks), batch):
        part = list(clicks[start : start + batch])
        entries += Recorder("j").entries(decider.decide(part), part, 1)
    return Served(list(clicks), entries, decider.context)


def clicks_once(count: int, seed: int) -> list[Click]:
    """Return clicks in the order of time, some late, each click_id once, as the lake has them."""
    known = set[str]()
    return [
        click
        for click in small.random_clicks(count, seed)
        if not (click.click_id in known or known.add(click.click_id))  # type: ignore[func-returns-value]
    ]


def journal_of(path: Path, entries: Sequence[Entry], context: Context) -> Path:
    """Write entries to a journal."""
    with Journal(path) as journal:
        journal.declare(context)
        journal.append(entries)
    return path


def lake_of(folder: Path, clicks: Sequence[Click], catalogue: Catalogue = small.CATALOGUE) -> Lake:
    """Write the features that backfill gives for clicks in this order to a lake."""
    lake = Lake(str(folder / "lake"))
    lake.write(FEATURES, backfill(small.table_of(clicks), catalogue, KEY))
    return lake


def changed(entry: Entry, feature: str, value: float) -> Entry:
    """Return an entry with another value of a feature in its row."""
    row = np.frombuffer(entry.row, "<f4").copy()
    row[LAYOUT.names.index(feature)] = value
    return entry._replace(row=row.tobytes())


def value_of(entry: Entry, feature: str) -> float:
    """Return the journalled value of a feature."""
    return float(np.frombuffer(entry.row, "<f4")[LAYOUT.names.index(feature)])
