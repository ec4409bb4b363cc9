"""Decisions a second over HTTP, their latency, a soak, and beside them what a user would build instead.

    python -m benchmarks.service [--seconds 60] [--soak 600] [--feast .venv-feast/bin/python]

One process serves on one core; the load, and Redis where there is one, have the other. Every click is new, happens now
and is scored by a network of the default size over the default 76 features; its decision is journalled on disk before
it is answered. The closed loop has 64 connections with one click a request and 8 with 64; the open loop has 128, sends
half of what the closed loop had, evenly and for at least 200,000 requests, and then half of what the budget asks for;
latency counts from the time at which a request was due. The peer is FastAPI with Feast and onnxruntime on the same core
over the same Redis: it reads fifteen features of three entities and scores them with the same graph, and neither counts
nor journals anything. `ratio_peer_…` compares slidr over Redis with it: the closed loop, and p99.9 at half of the rate
that the peer has in a closed loop.

The idle gaps say what a request waits on this machine for nothing: one in a thousand waits `p999_ms` on a core where
nothing is done. `% held up` is how long the service could have run and was not let, `sender late` what is the sender's
own fault. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.budgets import show
from benchmarks.redis import server as redis_server
from benchmarks.service import gaps
from benchmarks.service.measuring import HEADERS, Measured, drive, figures
from benchmarks.service.serving import CORES, LOAD, Running, announced, graph, make_bundle, served, warm_redis
from benchmarks.service.soak import lost, soak
from benchmarks.service.traffic import Traffic
from tabulate import tabulate

BATCH = 64
EMBEDDED_BUDGET, REDIS_BUDGET = 10_000, 5_000
"""Single clicks a second that are asked for; half of them is a load of its own, beside half of what there are."""
WARM = 5_000
REQUESTS = 200_000
WHOLE = 60.0
"""Seconds of an open loop, below which the benchmark is a short one that need not send all requests."""
CONNECTIONS, BATCH_CONNECTIONS, OPEN_CONNECTIONS = 64, 8, 128
PATIENT = {"service": {"deadline_ms": 5000}}
"""A benchmark reports a slow answer instead of giving it up."""
PEER = Path(__file__).parents[1] / "feast" / "service.py"


class Bench:
    """The lines of the table so far, and the figures."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.traffic = Traffic()
        self.rows: list[list[object]] = []
        self.figures: dict[str, Any] = {}

    def add(self, name: str, measured: Measured) -> Measured:
        """Put a load into the table."""
        self.rows.append([name, *measured.row])
        print(tabulate(self.rows[-1:], tablefmt="plain"), flush=True)
        return measured

    def closed(self, name: str, running: Running, batch: int = 1) -> Measured:
        """Send the next request when an answer comes."""
        connections = CONNECTIONS if batch == 1 else BATCH_CONNECTIONS
        drive(running, self.traffic.requests(batch, WARM), batch=batch, connections=connections, insist=False)
        seconds = self.seconds / 4
        requests = self.traffic.requests(batch, None)
        found = drive(running, requests, batch=batch, connections=connections, seconds=seconds)
        return self.add(f"{name}, closed loop, {batch} a request", found)

    def open(self, name: str, running: Running, rate: float, batch: int = 1, *, all_requests: bool = True) -> Measured:
        """Send clicks at a rate; at that of the peer, all requests would take a quarter of an hour."""
        least = REQUESTS / rate if batch == 1 and all_requests and self.seconds >= WHOLE else 0.0
        requests = self.traffic.requests(batch, None, rate)
        seconds = max(self.seconds, least)
        found = drive(running, requests, batch=batch, connections=OPEN_CONNECTIONS, seconds=seconds)
        return self.add(f"{name}, open loop at {rate:.0f}/s, {batch} a request", found)


def measure_embedded(bench: Bench, root: Path) -> None:
    """Throughput and latency of the embedded store."""
    make_bundle(root / "bundles")
    with served(root, PATIENT) as running:
        single = bench.closed("embedded", running)
        opened = bench.open("embedded", running, single.rate / 2)
        asked = bench.open("embedded", running, EMBEDDED_BUDGET / 2)
        many = bench.closed("embedded", running, BATCH)
        half = bench.open("embedded", running, many.clicks / 2, BATCH)
    bench.figures |= {"embedded_single_rps": round(single.rate), "embedded_batch64_cps": round(many.clicks)}
    bench.figures |= {**figures("embedded", opened), **figures("embedded_batch64", half)}
    bench.figures |= {"embedded_open_rps": round(single.rate / 2), **figures("embedded_asked", asked)}


def measure_redis(bench: Bench, root: Path, feast: Path) -> None:
    """Throughput and latency over Redis, and beside it the peer's."""
    make_bundle(root / "bundles")
    with redis_server() as (address, client):
        os.sched_setaffinity(0, {LOAD})
        entities, model = root / "entities.json", root / "graph.onnx"
        entities.write_text(json.dumps({name: sorted(found) for name, found in bench.traffic.entities.items()}))
        model.write_bytes(graph())
        with announced([str(feast), str(PEER), address, str(model), str(entities)]) as running:
            peer = bench.closed("FastAPI + Feast", running)
            peer_rate = peer.rate / 2
            peer_opened = bench.open("FastAPI + Feast", running, peer_rate, all_requests=False)
        client.flushall()
        warm_redis(f"redis://{address}")
        settings = {"store": {"redis": [f"redis://{address}"], "timeout_ms": 5000}, **PATIENT}
        with served(root, settings) as running:
            single = bench.closed("Redis", running)
            opened = bench.open("Redis", running, single.rate / 2)
            asked = bench.open("Redis", running, REDIS_BUDGET / 2)
            same = bench.open("Redis", running, peer_rate, all_requests=False)
            many = bench.closed("Redis", running, BATCH)
    bench.figures |= {"redis_single_rps": round(single.rate), "redis_batch64_cps": round(many.clicks)}
    bench.figures |= {"redis_open_rps": round(single.rate / 2), **figures("redis", opened)}
    bench.figures |= figures("redis_asked", asked)
    bench.figures |= {
        "peer_rps": round(peer.rate),
        "peer_open_rps": round(peer_rate),
        "peer_p999_ms": peer_opened.quantile(0.999),
        "redis_p999_ms_at_peer_rate": same.quantile(0.999),
        "ratio_peer_rps": round(single.rate / peer.rate, 2),
        "ratio_peer_p999": round(peer_opened.quantile(0.999) / same.quantile(0.999), 2),
        "ratio_peer_rps_embedded": round(bench.figures["embedded_single_rps"] / peer.rate, 2),
    }


def measure_soak(bench: Bench, root: Path, seconds: float) -> None:
    """Half load for long: memory, errors, and the journal beside what was acknowledged."""
    rate = bench.figures["embedded_open_rps"]
    make_bundle(root / "bundles")
    with served(root, PATIENT) as running:
        soaked = soak(running, bench.traffic, rate, seconds, OPEN_CONNECTIONS)
    bench.add(f"embedded, soak at {rate:.0f}/s for {seconds:.0f} s", soaked.measured)
    tenth = max(1, len(soaked.memory) // 10)
    print("resident MB, ten times:", [round(value) for value in soaked.memory[::tenth]], flush=True)
    bench.figures |= {
        "soak_seconds": round(soaked.measured.sent.seconds),
        "soak_decisions": len(soaked.acknowledged),
        "soak_rss_growth_mb": soaked.growth,
        "soak_errors": sum(soaked.measured.tally.statuses.values()) - soaked.measured.tally.statuses[200],
        "lost": lost(root / "journal.sqlite", soaked.acknowledged),
        **figures("soak", soaked.measured),
    }


def main() -> None:
    """Measure one after the other, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each open loop; a closed one has a quarter")
    parser.add_argument("--soak", type=float, default=600.0, help="seconds of the soak; 0 leaves it out")
    parser.add_argument("--feast", type=Path, default=Path(".venv-feast/bin/python"), help="Python that has Feast")
    chosen = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {len(CORES)} cores, Linux {platform.release()}", flush=True)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {LOAD})
    bench = Bench(chosen.seconds)
    before = gaps.measure(chosen.seconds / 12)
    with tempfile.TemporaryDirectory() as folder:
        measure_embedded(bench, Path(folder) / "embedded")
    with tempfile.TemporaryDirectory() as folder:
        measure_redis(bench, Path(folder), chosen.feast)
    if chosen.soak:
        with tempfile.TemporaryDirectory() as folder:
            measure_soak(bench, Path(folder), chosen.soak)
    after = gaps.measure(chosen.seconds / 12)
    print(tabulate(bench.rows, headers=HEADERS))
    idle = [
        (f"{name}, {when}", *found.values())
        for when, cores in (("before", before), ("after", after))
        for name, found in cores.items()
    ]
    headers = ("idle gaps", "p50 ms", "p99 ms", "p99.9 ms", "p99.99 ms", "max ms", "% lost")
    print(tabulate(idle, headers=headers))
    bench.figures["idle_p999_ms"] = max(found["p999_ms"] for cores in (before, after) for found in cores.values())
    show("service", bench.figures)


if __name__ == "__main__":
    main()
