"""Decisions a second over HTTP and their latency: one server process on one core, the load from another.

    python -m benchmarks.service [--seconds 10] [--connections 32]

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import msgspec
import numpy as np
from benchmarks.budgets import show
from tabulate import tabulate

from slidr.bundle import Contract, read_bundle, write_bundle
from slidr.bundle import Parts as BundleParts
from slidr.features.catalogue import default_catalogue
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.load import Replay, replay
from slidr.model.graph import Layer, layers_graph
from slidr.model.scaling import Scaling
from slidr.rules import prepare_rules
from slidr.service.lifecycle import Parts
from slidr.service.server import serve
from slidr.settings import RulesSettings, Settings, parse_settings
from slidr.tables import Threshold, ThresholdSource

SECRET = bytes(range(16))
WIDTHS = (256, 128, 64, 1)
BATCH = 64
BODIES = 100_000


def make_bundle(folder: Path) -> None:
    """Write a bundle with the default catalogue and a network of the default size, untrained: it costs the same."""
    catalogue = default_catalogue(Settings().features)
    names = compile_catalogue(catalogue).names
    generator = np.random.default_rng(1)
    layers, inputs = [], len(names)
    for width in WIDTHS:
        weight = (generator.normal(size=(inputs, width)) / np.sqrt(inputs)).astype(np.float32)
        layers.append(Layer(weight, np.zeros(width, np.float32)))
        inputs = width
    scaling = Scaling(np.zeros(len(names), np.float32), np.ones(len(names), np.float32))
    graph = layers_graph(tuple(layers), scaling, names, "untrained")
    thresholds = (Threshold("all", 0.5, 0.5, None, None, 0, 0, ThresholdSource.OWN),)
    contract = Contract(("device", "logged_in"), "address", Pseudonymiser(SECRET).fingerprint)
    parts = BundleParts(catalogue=catalogue, graph=graph, thresholds=thresholds, contract=contract)
    write_bundle(folder, parts, created_at=0, version="0")


def serve_here(root: Path) -> None:
    """Serve the bundle of a folder; the address is printed when ready."""
    (place,) = (root / "bundles").iterdir()
    settings = parse_settings({"service": {"port": 0}})
    parts = Parts(settings, read_bundle(place), Pseudonymiser(SECRET), prepare_rules(RulesSettings()), root)
    serve(
        parts,
        announce=lambda state, url: print(state, url, file=sys.stdout if state == "ready" else sys.stderr, flush=True),
    )


def make_clicks(count: int) -> list[bytes]:
    """Return clicks as JSON: users, sessions and addresses as skewed as traffic is, times from an hour ago on."""
    generator = np.random.default_rng(2)
    start = datetime.now(UTC) - timedelta(hours=1)
    ranks = generator.zipf(1.2, (2, count)) % 1_000_000
    offsets = np.sort(generator.integers(0, 3_600_000_000, count))
    devices = generator.integers(0, 3, count)
    return [
        msgspec.json.encode(
            {
                "click_id": f"{place:08x}-{generator.integers(1 << 63):016x}",
                "time": start + timedelta(microseconds=int(offsets[place])),
                "user": f"user-{ranks[0, place]}",
                "session": f"session-{ranks[0, place]}-{place % 3}",
                "ip": f"10.{ranks[1, place] >> 16 & 255}.{ranks[1, place] >> 8 & 255}.{ranks[1, place] & 255}",
                "user_agent": f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/1{place % 20}.0.0.0",
                "device": ("desktop", "mobile", "app")[devices[place]],
                "logged_in": bool(place % 2),
                "campaign": f"campaign-{place % 50}",
                "advertiser": f"advertiser-{place % 9}",
                "cost": 250_000,
                "currency": "EUR",
            }
        )
        for place in range(count)
    ]


def row(name: str, run: Replay, clicks: int) -> list[object]:
    """Return a line of the table, and insist that every answer was a decision."""
    assert (run.statuses == HTTPStatus.OK).all(), set(run.statuses.tolist())
    return [name, round(run.rate * clicks), *(round(run.quantile(share), 3) for share in (0.5, 0.99, 0.999))]


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has used, which a busy neighbour does not lengthen; 0 if unknown."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(url: str, server: int, seconds: float, connections: int) -> None:
    """Drive the server and print what came out."""
    clicks = make_clicks(BODIES)
    at = 0

    def take(count: int) -> list[bytes]:
        nonlocal at
        at += count
        part = clicks[at - count : at]
        if len(part) < count:
            clicks.extend(make_clicks(BODIES))
            part = clicks[at - count : at]
        return part

    rate = replay(url, take(5_000), connections=connections).rate
    before = processor_seconds(server)
    single = replay(url, take(int(rate * seconds)), connections=connections)
    used = processor_seconds(server) - before
    half = single.rate / 2
    opened = replay(url, take(int(half * seconds)), connections=4 * connections, rate=half)
    groups = [b"[%b]" % b",".join(take(BATCH)) for _ in range(int(200 * seconds))]
    batches = replay(url, groups, connections=8)
    lines = [
        row(f"one click a request, closed loop, {connections} connections", single, 1),
        row(f"one click a request, open loop at {half:.0f}/s", opened, 1),
        row(f"{BATCH} clicks a request, closed loop, 8 connections", batches, BATCH),
    ]
    print(tabulate(lines, headers=["load", "decisions/s", "p50 ms", "p99 ms", "p99.9 ms"]))
    figures = {
        "embedded_single_rps": round(single.rate),
        "embedded_batch64_cps": round(batches.rate * BATCH),
        "server_cpu_us_per_request": round(used / len(single.bodies) * 1e6, 1),
        "open_loop_rps": round(half),
        "p50_ms": round(opened.quantile(0.5), 3),
        "p99_ms": round(opened.quantile(0.99), 3),
        "p999_ms": round(opened.quantile(0.999), 3),
    }
    show("service", figures)


def main() -> None:
    """Start the server in a process of its own, on a core of its own where there are two, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each run")
    parser.add_argument("--connections", type=int, default=32, help="connections of the closed loop")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if chosen.serve:
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[0]})
        serve_here(chosen.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_bundle(Path(folder) / "bundles")
        command = [sys.executable, "-m", "benchmarks.service", "--serve", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 this very script
            assert server.stdout is not None
            _, url = server.stdout.readline().split()
            if len(cores) > 1:
                os.sched_setaffinity(0, {cores[1]})
            try:
                measure(f"{url}/v1/decisions", server.pid, chosen.seconds, chosen.connections)
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
