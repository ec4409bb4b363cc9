"""What a user would build instead: FastAPI, Feast's online store in Redis, and onnxruntime; run by Feast's Python.

    .venv-feast/bin/python benchmarks/feast/service.py 127.0.0.1:6379 graph.onnx entities.json [--client redis]

Decides one click a request at /v1/decisions: reads fifteen features of the click's user, session and address, scores
them with the same graph that slidr serves, and answers with the same words. It counts nothing and writes nothing: the
features were written before, and no decision is kept. The graph's further inputs stay 0. Prints `ready URL`.
"""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import uvicorn
from fastapi import FastAPI
from online import ENTITIES, NAMES, WRITTEN, make_store
from pydantic import BaseModel

from feast import FeatureStore

FEATURES = [f"{name}:{name}_{feature}" for name in ENTITIES for feature in NAMES]
COLUMNS = [feature.partition(":")[2] for feature in FEATURES]
THRESHOLD = 0.5


class Click(BaseModel):
    """A click, as slidr takes it."""

    click_id: str
    time: datetime
    user: str
    session: str
    ip: str
    user_agent: str | None = None
    device: str | None = None
    logged_in: bool | None = None
    campaign: str | None = None
    advertiser: str | None = None
    cost: int | None = None
    currency: str | None = None


class Answer(BaseModel):
    """A decision, as slidr tells it."""

    click_id: str
    decision_id: str
    verdict: str
    invalid: bool
    reasons: list[str]
    slice: str
    bundle: str
    sequence: int


def write(store: FeatureStore, entities: Mapping[str, list[str]]) -> None:
    """Write five features of every entity."""
    for name in ENTITIES:
        found = entities[name]
        values = {f"{name}_{feature}": np.arange(len(found), dtype=np.float32) for feature in NAMES}
        rows = pd.DataFrame({name: found, "time": datetime.now(UTC), **values})
        for start in range(0, len(rows), WRITTEN):
            store.write_to_online_store(name, rows.iloc[start : start + WRITTEN])


def make_app(store: FeatureStore, graph: bytes) -> FastAPI:
    """Return the service."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()[0].shape[1]
    app = FastAPI()

    # On one core a pool of threads would only add switches, so the read waits on the event loop's own thread.
    @app.post("/v1/decisions")  # type: ignore[untyped-decorator]
    async def decide(click: Click) -> Answer:
        entity = {"user": click.user, "session": click.session, "ip": click.ip}
        found: dict[str, Any] = store.get_online_features(features=FEATURES, entity_rows=[entity]).to_dict()
        row = np.zeros((1, inputs), np.float32)
        row[0, : len(COLUMNS)] = [found[column][0] for column in COLUMNS]
        (scores,) = session.run(["score"], {"rows": row})
        invalid = bool(scores[0] > THRESHOLD)
        return Answer(
            click_id=click.click_id,
            decision_id=f"peer-{click.click_id}",
            verdict="invalid_sophisticated" if invalid else "valid",
            invalid=invalid,
            reasons=["model"] if invalid else [],
            slice="all",
            bundle="peer",
            sequence=0,
        )

    return app


def main() -> None:
    """Write the features, and serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="host:port of a Redis")
    parser.add_argument("graph", type=Path, help="the network, ONNX")
    parser.add_argument("entities", type=Path, help="JSON: names of the users, sessions and addresses")
    parser.add_argument("--client", default="redis", choices=("redis", "glide"), help="Feast's client of Redis")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        # Feast's quicker writer, whichever client reads.
        writer = make_store(Path(folder) / "writer", chosen.address, "redis")
        write(writer, json.loads(chosen.entities.read_text()))
        store = writer if chosen.client == "redis" else make_store(Path(folder) / "reader", chosen.address, "glide")
        app = make_app(store, chosen.graph.read_bytes())
        config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", access_log=False, log_level="error")
        print("ready", f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
