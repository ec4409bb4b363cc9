"""A service's past for replays: clicks, the bundles that decided them, and the lake that they were shipped to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from tests import small

from slidr.bundle import Bundle, write_bundle
from slidr.clock import DAY, HOUR, SECOND, ManualClock
from slidr.decide import Decider
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.lake.settled import settled
from slidr.replay.plan import Plan
from slidr.rules import prepare_rules
from slidr.service.answers import Recorder
from slidr.settings import RulesSettings
from slidr.ship import ship
from slidr.tables import ADJUSTMENTS, CLICKS, DECISIONS, ROWS

START = int(small.START.timestamp()) * SECOND
NOW = START + 3 * DAY
KEY = Pseudonymiser(small.SECRET)
SAID = ("verdict", "reasons", "score", "threshold", "slice", "bundle", "lists", "campaign", "cost")


def bundles(folder: Path) -> tuple[Bundle, Bundle]:
    """Return a bundle and one that finds every click invalid that it is asked about."""
    good = write_bundle(folder / "bundles", small.parts(), created_at=0, version="0")
    bad = write_bundle(folder / "bundles", small.parts((small.threshold("all", -1.0),)), created_at=1, version="0")
    return good, bad


def clicks_of(count: int) -> list[Click]:
    """Return clicks with a cost, each click_id once."""
    known = {one.click_id: one for one in small.random_clicks(count, seed=4)}
    found = sorted(known.values(), key=lambda one: one.time)
    return [
        msgspec.structs.replace(one, cost=1_000_000 + 37 * place, currency="EUR", advertiser="a")
        for place, one in enumerate(found)
    ]


def served(folder: Path, clicks: Sequence[Click], deciding: Sequence[Bundle]) -> Lake:
    """Return the lake of a service in which each bundle has decided its share of the clicks."""
    lake, store = Lake(str(folder / "lake")), EmbeddedStore(compile_catalogue(small.CATALOGUE))
    lake.write(CLICKS, small.table_of(clicks))
    with Journal(folder / "journal.sqlite") as journal:
        share = -(-len(clicks) // len(deciding))
        recorder = Recorder("j")
        for number, bundle in enumerate(deciding):
            decider = Decider(bundle, store, KEY, prepare_rules(RulesSettings()))
            journal.declare(decider.context)
            part = list(clicks[number * share : (number + 1) * share])
            journal.append(recorder.entries(decider.decide(part), part, NOW - DAY))
        ship(lake, [journal], clock=ManualClock(NOW), keep=25 * HOUR)
    return lake


def plan_of(lake: Lake, bundle: Bundle, **more: object) -> Plan:
    """Return the plan of a replay over everything."""
    asked = {"id": "one", "method": "rescore", "bundle": bundle.id, "start": START - DAY, "end": START + DAY}
    return Plan(**{**asked, "rows": lake.version(ROWS), "at": NOW, **more})  # type: ignore[arg-type]


def decider_of(bundle: Bundle) -> Decider:
    """Return what decides by a bundle."""
    return Decider(bundle, EmbeddedStore(compile_catalogue(bundle.catalogue)), KEY)


def holding(lake: Lake) -> list[tuple[object, ...]]:
    """Return what the decisions that hold say, by click."""
    found = settled(lake.read(DECISIONS)).sort_by("click_id")
    return list(zip(*(found[name].to_pylist() for name in ("click_id", *SAID)), strict=True))


def billed(lake: Lake) -> int:
    """Return what the clicks cost that are to be billed by the decisions that hold."""
    found = settled(lake.read(DECISIONS)).to_pylist()
    return sum(one["cost"] for one in found if not one["verdict"].startswith("invalid"))


def owed(lake: Lake) -> int:
    """Return the sum of all adjustments."""
    return sum(lake.read(ADJUSTMENTS)["cost"].to_pylist())
