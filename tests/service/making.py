"""A small bundle, clicks as requests give them, and a service made of both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from slidr.bundle import Bundle, Contract, Parts, write_bundle
from slidr.features.catalogue import Catalogue, default_catalogue
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.model.graph import Layer, layers_graph
from slidr.model.scaling import Scaling
from slidr.rules import prepare_rules
from slidr.service.lifecycle import Parts as ServiceParts
from slidr.settings import RulesSettings, Settings, parse_settings
from slidr.tables import Threshold, ThresholdSource

SECRET = bytes(range(16))
START = datetime(2026, 3, 2, 8, tzinfo=UTC)
NOW = int(START.timestamp()) * 1_000_000 + 3_600_000_000
"""A clock's time at which every click made here has happened."""


def make_bundle(folder: Path, *, ip: str = "address", catalogue: Catalogue | None = None, seed: int = 6) -> Bundle:
    """Write a bundle with an untrained network that marks about half of the clicks."""
    catalogue = default_catalogue(Settings().features) if catalogue is None else catalogue
    names = compile_catalogue(catalogue).names
    generator = np.random.default_rng(seed)
    weight = generator.normal(scale=0.05, size=(len(names), 8)).astype(np.float32)
    layers = (
        Layer(weight, np.zeros(8, np.float32)),
        Layer(generator.normal(size=(8, 1)).astype(np.float32), np.zeros(1, np.float32)),
    )
    scaling = Scaling(np.zeros(len(names), np.float32), np.ones(len(names), np.float32))
    graph = layers_graph(layers, scaling, names, "untrained")
    parts = Parts(
        catalogue=catalogue,
        graph=graph,
        thresholds=tuple(
            Threshold(where, value, 0.5, None, None, 0, 0, ThresholdSource.OWN)
            for where, value in (("all", 0.45), ("device=mobile", 0.4))
        ),
        contract=Contract(("device", "logged_in"), ip, Pseudonymiser(SECRET).fingerprint),
    )
    return write_bundle(folder, parts, created_at=0, version="0")


def make_parts(root: Path, bundle: Bundle, **service: Any) -> ServiceParts:
    """Return what a service in this folder is made of, on a free port."""
    settings = parse_settings({"service": {"port": 0, "entities": 1024, "deadline_ms": 60_000, **service}})
    return ServiceParts(settings, bundle, Pseudonymiser(SECRET), prepare_rules(RulesSettings()), root)


def click(place: int, **changes: Any) -> dict[str, Any]:
    """Return a click as JSON has it; neighbours share users, sessions and addresses."""
    return {
        "click_id": f"click-{place}",
        "time": (START + timedelta(seconds=place % 3000, microseconds=place)).isoformat(),
        "user": f"user-{place % 7}",
        "session": f"session-{place % 11}",
        "ip": f"192.0.2.{place % 5}",
        "user_agent": "Mozilla/5.0",
        "device": ("mobile", "desktop")[place % 2],
        "logged_in": place % 3 == 0,
        "campaign": "c1",
        "advertiser": "a1",
        "cost": 250_000,
        "currency": "EUR",
        **changes,
    }


def body(*places: int) -> bytes:
    """Return the request body of one click, or of several as an array."""
    clicks = [click(place) for place in places]
    return msgspec.json.encode(clicks[0] if len(clicks) == 1 else clicks)
