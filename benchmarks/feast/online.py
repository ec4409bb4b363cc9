"""Feast reading 15 features of three entities from Redis; run by the Python of Feast's own environment.

    .venv-feast/bin/python benchmarks/feast/online.py 127.0.0.1:6379 [--seconds 5] [--entities 100000]

Nothing is computed and nothing written while the clock runs: these are reads alone, of rows written before, without
the time to take the values out of Feast's answer. Feast has two clients for Redis, and both are measured. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from feast.types import Float32

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType

ENTITIES = ("user", "session", "ip")
NAMES = ("clicks_10m", "clicks_24h", "velocity", "gap", "distinct")
CLIENTS = ("redis", "glide")
BATCHES = (1, 16, 64)
WRITTEN = 10_000


def make_store(folder: Path, address: str, client: str) -> FeatureStore:
    """Declare three entities with five features each, in a registry of its own."""
    folder.mkdir()
    settings = {
        "project": "clicks",
        "provider": "local",
        "registry": {"registry_type": "file", "path": str(folder / "registry.db"), "cache_ttl_seconds": 0},
        "online_store": {"type": "redis", "client": client, "connection_string": address, "skip_dedup": True},
        "offline_store": {"type": "file"},
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(json.dumps(settings))
    store = FeatureStore(repo_path=str(folder))
    for name in ENTITIES:
        entity = Entity(name=name, join_keys=[name], value_type=ValueType.STRING)
        source = FileSource(path=str(folder / f"{name}.parquet"), timestamp_field="time")
        make_rows(name, 1).to_parquet(folder / f"{name}.parquet")
        fields = [Field(name=f"{name}_{feature}", dtype=Float32) for feature in NAMES]
        store.apply([entity, FeatureView(name=name, entities=[entity], schema=fields, source=source)])
    return store


def make_rows(name: str, entities: int) -> pd.DataFrame:
    """Return features of so many entities; each value tells its entity and its feature."""
    numbers = np.arange(entities)
    values = {f"{name}_{feature}": (numbers + place).astype(np.float32) for place, feature in enumerate(NAMES)}
    return pd.DataFrame({name: keys(name, numbers), "time": datetime.now(UTC), **values})


def keys(name: str, numbers: np.ndarray) -> list[str]:
    """Return the keys of entities by their numbers."""
    return [f"{name}-{number:012x}" for number in numbers.tolist()]


def measure(store: FeatureStore, batch: int, entities: int, seconds: float) -> np.ndarray:
    """Return the seconds of each call that reads the features of so many clicks."""
    generator = np.random.default_rng(1)
    features = [f"{name}:{name}_{feature}" for name in ENTITIES for feature in NAMES]
    taken: list[float] = []
    while sum(taken) < seconds:
        numbers = {name: generator.integers(0, entities, batch) for name in ENTITIES}
        rows = {name: keys(name, numbers[name]) for name in ENTITIES}
        start = time.perf_counter()
        answer = store.get_online_features(features=features, entity_rows=rows)
        taken.append(time.perf_counter() - start)
        if len(taken) == 1:
            check(answer.to_dict(), numbers)
    return np.array(taken)


def check(answer: dict[str, list[float]], numbers: dict[str, np.ndarray]) -> None:
    """Insist that an answer holds what was written."""
    for name in ENTITIES:
        for place, feature in enumerate(NAMES):
            assert answer[f"{name}_{feature}"] == (numbers[name] + place).tolist(), (name, feature)


def main() -> None:
    """Write, read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="host:port of a Redis")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--entities", type=int, default=100_000, help="of each kind")
    chosen = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        stores = {client: make_store(Path(folder) / client, chosen.address, client) for client in CLIENTS}
        for name in ENTITIES:
            rows = make_rows(name, chosen.entities)
            for start in range(0, len(rows), WRITTEN):
                stores["redis"].write_to_online_store(name, rows.iloc[start : start + WRITTEN])
        for client, store in stores.items():
            measure(store, 64, chosen.entities, 1.0)
            for batch in BATCHES:
                taken = measure(store, batch, chosen.entities, chosen.seconds)
                figures[f"{client}_cps_batch{batch}"] = round(batch * len(taken) / taken.sum())
                if batch == 1:
                    for share, name in ((0.5, "p50_ms"), (0.99, "p99_ms"), (0.999, "p999_ms")):
                        figures[f"{client}_{name}"] = round(float(np.quantile(taken, share)) * 1000, 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
