"""Clicks a second through one Redis core, and beside it Feast reading 15 features of three entities from that Redis.

    python -m benchmarks.redis [--seconds 5] [--feast .venv-feast/bin/python]

Redis has one core and one client, on the other core, that waits for every answer, Feast's likewise. A click is encoded
from its strings, added to its entities and answered with its row of the default catalogue; off the clock, every row is
compared with that of the embedded store. `redis_us_batch…` is processor time of Redis for a click. The latency is that
of a single click.

`ratio_feast` is slidr with its default catalogue and 64 clicks a call, as its service batches what is queued, over the
quicker of Feast's two clients reading fifteen features for one click a call, as a request reads them.
`ratio_feast_batch64` gives both 64 clicks a call and fifteen features of the same three entities, which slidr counts
and reads and Feast reads; `ratio_feast_batch64_default` is the default catalogue, with 76 features of six entities,
over that.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from benchmarks.budgets import show
from benchmarks.log import streamed
from benchmarks.machine import seconds_of
from numpy.typing import NDArray

import redis
from slidr.errors import ServiceError
from slidr.features.backfill import encode_table
from slidr.features.catalogue import Catalogue, Clicks, default_catalogue
from slidr.features.clicks import Click, ClickBatch, encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.redis.seeding import seed
from slidr.features.redis.store import RedisStore
from slidr.features.store import EmbeddedStore, Folded, Soundness
from slidr.settings import FeaturesSettings

LOG = 1_000_000
SEEDED_CHUNKS = 3
"""Chunks of the log that the state begins with."""
BATCHES = (1, 16, 64)
SAME_WORK: Catalogue = tuple(
    Clicks(entity, window) for entity in ("user", "session", "ip") for window in ("1m", "10m", "1h", "6h", "24h")
)
"""Fifteen features of three entities, as Feast reads them, but counted too."""
PATIENCE = 5.0
"""Seconds that an answer may take: a benchmark reports a slow one instead of giving it up."""
FEAST = Path(__file__).parent / "feast" / "online.py"


class Way(NamedTuple):
    """How a click gets its row.

    Attributes:
        layout: the compiled default catalogue.
        pseudonymiser: hashes the strings.
        store: in Redis.
        embedded: the same state in this process, which the rows are compared with.
    """

    layout: Layout
    pseudonymiser: Pseudonymiser
    store: RedisStore
    embedded: EmbeddedStore


@contextmanager
def server() -> Iterator[tuple[str, redis.Redis]]:
    """Run a Redis that keeps nothing on disk, on the last core; yields its address and a client."""
    # `make setup` unpacks one beside this Python where the machine has none.
    program = shutil.which("redis-server", path=os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)]))
    if program is None:
        raise ServiceError("no redis-server; run `make setup`, or install Redis 7 or newer, or Valkey")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
        command = [program, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 our own options
            try:
                assert process.stdout is not None
                said = []
                while not (line := process.stdout.readline()).rstrip().endswith("Ready to accept connections"):
                    said.append(line)
                    if not line:
                        raise ServiceError(f"redis-server ended: {''.join(said)}")
                pin_two(process.pid)
                with redis.Redis(port=port) as client:
                    yield f"127.0.0.1:{port}", client
            finally:
                process.terminate()


def pin_two(process: int) -> None:
    """Give a process the last core, and this one, with all that it starts, the first."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process, {cores[-1]})
        os.sched_setaffinity(0, {cores[0]})


def clicks_of(table_chunks: Iterator[object]) -> Iterator[Click]:
    """Yield the clicks of a log as a request gives them."""
    for chunk in table_chunks:
        yield from msgspec.convert(chunk.to_pylist(), list[Click])  # type: ignore[attr-defined]


def answer(way: Way, clicks: list[Click]) -> tuple[ClickBatch, Folded]:
    """Encode clicks and fold them: what is measured."""
    batch = encode_clicks(clicks, way.layout, way.pseudonymiser)
    return batch, way.store.fold(batch)


def measure(way: Way, clicks: Iterator[Click], batch: int, seconds: float) -> NDArray[np.float64]:
    """Return the seconds of each call with so many clicks; every row is checked off the clock."""
    taken: list[float] = []
    total = 0.0
    while total < seconds:
        elapsed, (encoded, folded) = seconds_of(answer, way, list(islice(clicks, batch)))
        taken.append(elapsed)
        total += elapsed
        assert (folded.soundness == Soundness.SOUND).all(), f"{set(folded.soundness.tolist())}: {way.store.fault}"
        assert folded.rows.tobytes() == way.embedded.fold(encoded).rows.tobytes(), "the rows of the two stores differ"
    return np.array(taken)


def processor_seconds(client: redis.Redis) -> float:
    """Return the processor time that Redis has used."""
    information = client.info("cpu")
    return float(information["used_cpu_user"] + information["used_cpu_sys"])


def measure_slidr(
    address: str, client: redis.Redis, seconds: float, catalogue: Catalogue, batches: tuple[int, ...]
) -> dict[str, float]:
    """Seed Redis with the beginning of a log and send it the rest, batch by batch."""
    layout, pseudonymiser = compile_catalogue(catalogue), Pseudonymiser(bytes(16))
    embedded, urls = EmbeddedStore(layout), [f"redis://{address}"]
    figures: dict[str, float] = {}
    with streamed(LOG) as chunks:
        for chunk in islice(chunks, SEEDED_CHUNKS):
            embedded.fold(encode_table(chunk, layout, pseudonymiser))
        empty = client.info("memory")["used_memory"]
        figures["entities"] = seed(urls, embedded)
        held = client.info("memory")["used_memory"] - empty
        figures["redis_bytes_per_entity"] = round(held / figures["entities"])
        way = Way(layout, pseudonymiser, RedisStore(layout, urls, timeout=PATIENCE), embedded)
        clicks = clicks_of(chunks)
        measure(way, clicks, max(BATCHES), 1.0)
        for batch in batches:
            before = processor_seconds(client)
            taken = measure(way, clicks, batch, seconds)
            used = processor_seconds(client) - before
            figures[f"cps_batch{batch}"] = round(batch * len(taken) / taken.sum())
            figures[f"redis_us_batch{batch}"] = round(1e6 * used / (batch * len(taken)), 1)
            if batch == 1:
                for share, name in ((0.5, "p50_ms"), (0.99, "p99_ms"), (0.999, "p999_ms")):
                    figures[name] = round(float(np.quantile(taken, share)) * 1000, 3)
        way.store.close()
    return figures


def measure_feast(address: str, python: Path, seconds: float) -> dict[str, float]:
    """Return what Feast measured in its own environment."""
    if not python.exists():
        raise ServiceError(f"{python} is missing: `make bench-redis` installs Feast, or name its Python with --feast")
    command = [str(python), str(FEAST), address, "--seconds", str(seconds)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 our own script
    figures: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--feast", type=Path, default=Path(".venv-feast/bin/python"), help="Python that has Feast")
    chosen = parser.parse_args()
    with server() as (address, client):
        ours = measure_slidr(address, client, chosen.seconds, default_catalogue(FeaturesSettings()), BATCHES)
        client.flushall()
        same = measure_slidr(address, client, chosen.seconds, SAME_WORK, (max(BATCHES),))
        client.flushall()
        feast = measure_feast(address, chosen.feast, chosen.seconds)
    single, batched = (max(rate for name, rate in feast.items() if name.endswith(f"_cps_batch{n}")) for n in (1, 64))
    ratios = {
        "same_work_cps_batch64": same["cps_batch64"],
        "ratio_feast": round(ours["cps_batch64"] / single, 2),
        "ratio_feast_batch64": round(same["cps_batch64"] / batched, 2),
        "ratio_feast_batch64_default": round(ours["cps_batch64"] / batched, 2),
    }
    show("redis", {**ours, **ratios, "feast": feast})


if __name__ == "__main__":
    main()
