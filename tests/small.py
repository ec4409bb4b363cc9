"""A small bundle with an untrained network, and clicks drawn from seeds: what tests of decisions share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from slidr.bundle import Contract, Parts
from slidr.features.catalogue import Catalogue, default_catalogue
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.lake.schema import conform
from slidr.model.graph import Layer, layers_graph
from slidr.model.reference import Reference, Usual
from slidr.model.scaling import Scaling
from slidr.settings import FeaturesSettings
from slidr.tables import CLICKS, Threshold, ThresholdSource

SECRET = bytes(range(16))
START = datetime(2026, 3, 2, tzinfo=UTC)
CATALOGUE = default_catalogue(FeaturesSettings())
BROWSER = "Mozilla/5.0 (X11; Linux x86_64)"


def threshold(path: str, value: float) -> Threshold:
    """Return a slice's threshold, of which only the value matters here."""
    return Threshold(path, value, 0.5, None, None, 0, 0, ThresholdSource.OWN)


def graph(catalogue: Catalogue = CATALOGUE, *, seed: int = 5) -> bytes:
    """Return a network with random weights that reads the features of a catalogue."""
    generator = np.random.default_rng(seed)
    names = compile_catalogue(catalogue).names
    # Small enough for the largest feature, the gap of a first click in seconds, to leave scores between 0 and 1.
    inside = generator.normal(scale=1e-5, size=(len(names), 8)).astype(np.float32)
    outside = generator.normal(size=(8, 1)).astype(np.float32)
    layers = (Layer(inside, np.zeros(8, np.float32)), Layer(outside, np.zeros(1, np.float32)))
    scaling = Scaling(np.zeros(len(names), np.float32), np.ones(len(names), np.float32))
    return layers_graph(layers, scaling, names, "untrained")


def reference(catalogue: Catalogue = CATALOGUE) -> Reference:
    """Return a reference click that is 1 in every feature."""
    return Reference(100, {feature.name: Usual(0.0, 1.0, 4.0) for feature in catalogue})


def parts(
    thresholds: Sequence[Threshold] = (threshold("all", 0.5), threshold("device=mobile", 0.25)),
    columns: tuple[str, ...] = ("device", "logged_in"),
) -> Parts:
    """Return the parts of a bundle whose network marks some clicks and not others."""
    contract = Contract(columns, "address", Pseudonymiser(SECRET).fingerprint)
    return Parts(
        catalogue=CATALOGUE,
        graph=graph(),
        thresholds=tuple(thresholds),
        contract=contract,
        data={"as_of": 1},
        guardrails=({"name": "none"},),
        metrics={"ivr": 0.1},
        reference=reference(),
    )


def random_clicks(count: int, seed: int) -> list[Click]:
    """Return clicks in the order of time: nulls, crawlers, repeats, IPv6, words that are not ASCII, late ones."""
    generator = np.random.default_rng(seed)
    agents = [BROWSER, "Googlebot/2.1", "curl/8.5", "Browser für alle", None]
    addresses = ["192.0.2.7", "192.0.2.9", "198.51.100.1", "2001:db8::1", "2001:db8:0:1::2", "::ffff:192.0.2.7", None]
    clicks: list[Click] = []
    for place in range(count):
        seconds = place * 7 - (generator.random() < 0.05) * 4000
        clicks.append(
            Click(
                click_id=f"click-{place if generator.random() > 0.05 else place // 2}",
                time=START + timedelta(seconds=float(seconds), microseconds=int(generator.integers(0, 1_000_000))),
                user=_one(generator, ["ada", "björn", "chen", None]),
                session=_one(generator, ["s1", "s2", None]),
                ip=_one(generator, addresses),
                user_agent=_one(generator, agents),
                device=_one(generator, ["mobile", "desktop", "app", None]),
                logged_in=_one(generator, [True, False, None]),
                campaign=_one(generator, ["c1", "c2"]),
            )
        )
    return clicks


def _one(generator: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(generator.integers(0, len(values)))]


def table_of(clicks: Sequence[Click]) -> pa.Table:
    """Return clicks as a CLICKS table, further columns of theirs included."""
    names = clicks[0].__struct_fields__
    return conform(CLICKS, pa.table({name: [getattr(click, name) for click in clicks] for name in names}))
