"""A service in a process of its own, on a core of its own: a bundle with an untrained network, which costs the same.

    python -m benchmarks.service.serving FOLDER '{"store": {"redis": ["redis://127.0.0.1:6379"]}}'

serves the bundle in FOLDER/bundles with these settings, and prints its address when it is ready.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slidr.bundle import Bundle, Contract, read_bundle, write_bundle
from slidr.bundle import Parts as BundleParts
from slidr.clock import SECOND, SystemClock
from slidr.features.catalogue import default_catalogue
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.redis.seeding import seed
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.model.graph import Layer, layers_graph
from slidr.model.scaling import Scaling
from slidr.rules import prepare_rules
from slidr.service.lifecycle import Parts
from slidr.service.server import serve
from slidr.settings import Settings, parse_settings
from slidr.tables import Threshold, ThresholdSource

SECRET = bytes(range(16))
WIDTHS = (256, 128, 64, 1)
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
SERVICE, LOAD = CORES[0], CORES[-1]
"""The service's core; and that of the load, of Redis and of whatever else runs."""


def graph(seed_: int = 1) -> bytes:
    """Return an untrained network of the default size over the default catalogue, as ONNX."""
    names = compile_catalogue(default_catalogue(Settings().features)).names
    generator = np.random.default_rng(seed_)
    layers, inputs = [], len(names)
    for width in WIDTHS:
        weight = (generator.normal(size=(inputs, width)) / np.sqrt(inputs)).astype(np.float32)
        layers.append(Layer(weight, np.zeros(width, np.float32)))
        inputs = width
    scaling = Scaling(np.zeros(len(names), np.float32), np.full(len(names), 100, np.float32))
    return layers_graph(tuple(layers), scaling, names, "untrained")


def make_bundle(folder: Path, seed_: int = 1) -> Bundle:
    """Write a bundle; another seed gives another network."""
    thresholds = (Threshold("all", 0.5, 0.5, None, None, 0, 0, ThresholdSource.OWN),)
    contract = Contract(("device", "logged_in"), "address", Pseudonymiser(SECRET).fingerprint)
    catalogue = default_catalogue(Settings().features)
    parts = BundleParts(catalogue=catalogue, graph=graph(seed_), thresholds=thresholds, contract=contract)
    return write_bundle(folder, parts, created_at=0, version="0")


def warm_redis(url: str, journal: Path | None = None) -> None:
    """Give Redis an empty state, and have its sequence go on behind that of a journal.

    `slidr seed` would fold the journal too; a benchmark of faults has no need of what it counted.
    """
    source = EmbeddedStore(compile_catalogue(default_catalogue(Settings().features)))
    if journal is not None:
        with Journal(journal, write=False) as opened:
            source.recent.skip(opened.last_sequence + 1, SystemClock().now())
    seed([url], source, secret=Pseudonymiser(SECRET).fingerprint)


class Shifted:
    """The machine's clock, and what a file says in seconds beside it; read again twenty times a second.

    Args:
        path: holds a number; where it is missing, the clock is the machine's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clock = SystemClock()
        self._ahead, self._looks = 0, 0.0

    def now(self) -> int:
        """Return microseconds since 1970."""
        if time.monotonic() >= self._looks:
            self._looks = time.monotonic() + 0.05
            try:
                self._ahead = int(float(self._path.read_text()) * SECOND)
            except FileNotFoundError:
                self._ahead = 0
        return self._clock.now() + self._ahead


class Running(NamedTuple):
    """A process that serves: its address, and the process."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def served(root: Path, settings: Mapping[str, Any] | None = None, *, largest: int = 0) -> Iterator[Running]:
    """Serve a folder on the service's core; yields once it is ready, and ends the process with its work done.

    Args:
        root: has the bundle in its folder `bundles`.
        settings: beside the defaults.
        largest: bytes that a file of the process may have, which is how a disk is full; 0 for any number.
    """
    command = [sys.executable, "-m", "benchmarks.service.serving", str(root), json.dumps(settings or {}), str(largest)]
    with announced(command) as running:
        yield running


@contextmanager
def announced(command: list[str]) -> Iterator[Running]:
    """Start a process on the service's core that prints `ready URL`, and end it with SIGTERM."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 our own command
        assert process.stdout is not None
        try:
            if len(CORES) > 1:
                os.sched_setaffinity(process.pid, {SERVICE})
            said = ""
            while not said.startswith("ready "):
                said = process.stdout.readline()
                assert said, f"{command} ended before it was ready"
            yield Running(said.split()[1], process)
        finally:
            process.terminate()
            process.communicate()


def main() -> None:
    """Serve the bundle of a folder until SIGTERM."""
    root, settings, largest = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
    if len(CORES) > 1:
        os.sched_setaffinity(0, {SERVICE})
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    (place,) = (root / "bundles").iterdir()
    settings.setdefault("service", {})["port"] = 0
    parsed = parse_settings(settings)
    # Features of an empty store are young; the benchmark has them decide all the same, as after an hour or a day.
    rules, follow = prepare_rules(parsed.rules), "registry" in settings.get("storage", {})
    parts = Parts(parsed, read_bundle(place), Pseudonymiser(SECRET), rules, root, cold=True, follow=follow)
    serve(parts, announce=lambda state, url: print(state, url, flush=True), clock=Shifted(root / "clock"))


if __name__ == "__main__":
    main()
