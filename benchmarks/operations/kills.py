"""Kill -9 at random moments of a daily run, a promotion and a replay: is anything half, twice, or lost?

    python -m benchmarks.operations.kills [--clicks 100000] [--kills 50]

Each command is a process of its own, killed after a time drawn between nothing and what it takes undisturbed, and
started again; where it ends before its kill, the next one begins from a fresh copy. In the end its tables are compared
with those of a run that nobody killed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from benchmarks.budgets import show
from benchmarks.log import days
from benchmarks.operations.replays import CATALOGUE, KEY, differing, plan_of, said, served
from benchmarks.service.serving import make_bundle

from slidr.bundle import Bundle, Parts, read_bundle, write_bundle
from slidr.clock import ManualClock
from slidr.daily.flow import Request, run_daily
from slidr.decide import Decider
from slidr.features.clicks import Click
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.guardrails import guardrails
from slidr.lake.delta import Lake
from slidr.registry import Registry
from slidr.replay.rescore import rescore
from slidr.replay.running import publish
from slidr.settings import Settings, located, parse_settings
from slidr.simulate.files import write_traffic
from slidr.simulate.plan import Plan
from slidr.tables import ADJUSTMENTS, CLICKS, DECISIONS, FEATURES, LABELS, PURCHASES, Table

NOW = 1_773_360_000_000_000  # 2026-03-13: all nine days are mature
SHARES = {"daily": 0.4, "promote": 0.3, "replay": 0.3}
_DOCUMENT: dict[str, dict[str, Any]] = {
    "clicks": {"path": "logs/clicks"},
    "purchases": {"path": "logs/purchases"},
    "model": {"peers": []},
    "calibration": {"fpr_budget": 0.02, "certificate": "off"},
}


def main() -> None:
    """Kill and compare; or, for the processes that are killed, do one of the works."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        WORKS[arguments.work[0]](Path(arguments.work[1]))
    else:
        show("operations", measured(arguments.clicks, arguments.kills, arguments.seed))


def measured(clicks: int, kills: int, seed: int) -> dict[str, float]:
    """Return how often each command was killed, and what differs in the end."""
    folder = Path(tempfile.mkdtemp(prefix="slidr-kills-"))
    generator = np.random.default_rng(seed)
    done, differences = {}, 0
    try:
        for what, prepare, found in (
            ("daily", prepare_daily, daily_tables),
            ("promote", prepare_promotion, promotion),
            ("replay", prepare_replay, replayed),
        ):
            start = folder / what
            prepare(start, clicks)
            wanted = shutil.copytree(start, folder / f"{what}-undisturbed")
            began = time.perf_counter()
            subprocess.run(_command(what, wanted), check=True)  # noqa: S603 our own command
            seconds = time.perf_counter() - began
            count = round(kills * SHARES[what])
            ended = killed(what, start, folder / f"{what}-killed", count, generator, seconds)
            differs = found(ended) != found(wanted)
            done[f"kills_{what}"], differences = count, differences + differs
            print(f"{what}: {seconds:.1f} s undisturbed, killed {count} times, {'differs' if differs else 'the same'}")
    finally:
        shutil.rmtree(folder)
    return {"clicks": clicks, "kills": sum(done.values()), **done, "kill_differences": differences}


def _command(what: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.operations.kills", "--work", what, str(folder)]


def killed(what: str, start: Path, folder: Path, kills: int, generator: np.random.Generator, seconds: float) -> Path:
    """Kill a work so many times, and then let it end; returns its folder."""
    left = kills
    shutil.copytree(start, folder)
    while left:
        process = subprocess.Popen(_command(what, folder))  # noqa: S603 our own command
        try:
            process.wait(seconds * generator.random())
        except subprocess.TimeoutExpired:
            process.kill()
            left -= 1
        if process.wait() == 0 and left:
            shutil.rmtree(folder)
            shutil.copytree(start, folder)
    subprocess.run(_command(what, folder), check=True)  # noqa: S603 our own command
    return folder


def settings_in(folder: Path) -> Settings:
    """Return the settings of a project in a folder."""
    return located(parse_settings(_DOCUMENT), folder)


def prepare_daily(folder: Path, clicks: int) -> None:
    """Write a log of nine days."""
    write_traffic(Plan(clicks=clicks), np.random.default_rng(3), folder / "logs", lambda _stage, _share: None)
    Path(settings_in(folder).storage.key_file).write_text(bytes(16).hex())


def daily(folder: Path) -> None:
    """Run the newest day."""
    asked = Request("benchmark", overrides=guardrails(), why="a small log")
    run_daily(settings_in(folder), ManualClock(NOW), asked, lambda _stage, _share: None)


def daily_tables(folder: Path) -> list[str]:
    """Return hashes of the tables and the bundles; every bundle loads exactly, and the champion is one of them."""
    settings = settings_in(folder)
    lake, registry = Lake(settings.storage.lake), Registry(settings.storage.registry)
    history = registry.history()
    for one in registry.ids():
        read_bundle(registry.fetch(one, Path(settings.storage.bundles)))
    assert not registry.audit.verify().faults, "the audit log holds"
    return [
        *(content(lake, table) for table in (CLICKS, PURCHASES, LABELS, FEATURES)),
        *(one.bundle for one in history),
    ]


def content(lake: Lake, table: Table) -> str:
    """Return a hash of a table's rows, in an order of their own."""
    rows = lake.read(table)
    rows = rows.sort_by([(name, "ascending") for name in (table.columns[0].name, "time") if name in rows.column_names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema.remove_metadata()) as stream:
        stream.write_table(rows.replace_schema_metadata(None).combine_chunks(), max_chunksize=65_536)
    return f"{table.name} {rows.num_rows} {hashlib.sha256(sink.getvalue()).hexdigest()[:12]}"


def prepare_promotion(folder: Path, clicks: int) -> None:
    """Publish two bundles, of which the first one is champion."""
    del clicks
    registry = Registry(str(folder / "registry"))
    made = [make_bundle(folder / "bundles", seed) for seed in (1, 2)]
    for one in made:
        registry.publish(folder / "bundles" / one.id)
    registry.promote(made[0].id, at=NOW, who="benchmark", why="to begin with", cold=True)
    (folder / "wanted").write_text(made[1].id)


def promote(folder: Path) -> None:
    """Promote the second one, unless it is champion."""
    registry = Registry(str(folder / "registry"))
    wanted = (folder / "wanted").read_text()
    registry.promote(wanted, at=NOW + 1, who="benchmark", why="it is better", cold=True, once=True)


def promotion(folder: Path) -> list[str]:
    """Return the champions in their order; the audit log must tell of each, once."""
    registry = Registry(str(folder / "registry"))
    records = [(one.kind, one.subject) for one in registry.audit.records()]
    assert not registry.audit.verify().faults, "the audit log holds"
    return [*(one.bundle for one in registry.history()), *map(str, records)]


def prepare_replay(folder: Path, clicks: int) -> None:
    """Have a bad bundle decide a third of a log."""
    log = pa.concat_tables(days(clicks))
    log = log.select([name for name in Click.__struct_fields__ if name in log.column_names])
    good = make_bundle(folder / "bundles")
    parts = {name: getattr(good, name) for name in Parts.__struct_fields__}
    strict = tuple(msgspec.structs.replace(one, threshold=0.01) for one in good.thresholds)
    bad = write_bundle(folder / "bundles", Parts(**{**parts, "thresholds": strict}), created_at=0, version="0")
    served(folder, log, [(0.0, good), (0.4, bad), (0.7, good)])
    (folder / "wanted").write_text(good.id)


def replay(folder: Path) -> None:
    """Rescore it by the good one."""
    good: Bundle = read_bundle(folder / "bundles" / (folder / "wanted").read_text())
    lake = Lake(str(folder / "lake"))
    mark = folder / "plan"
    plan = plan_of(lake, good, "rescore")
    if not mark.exists():
        mark.write_text(str(plan.rows))
    plan = msgspec.structs.replace(plan, rows=int(mark.read_text() or plan.rows))
    decider = Decider(good, EmbeddedStore(compile_catalogue(CATALOGUE)), KEY)
    publish(lake, plan, rescore(lake, plan, decider), "UTC")


def replayed(folder: Path) -> Sequence[object]:
    """Return what holds, and what is adjusted; no decision is there twice."""
    lake = Lake(str(folder / "lake"))
    ids = lake.read(DECISIONS, columns=["decision_id"])["decision_id"].to_pylist()
    assert len(ids) == len(set(ids)), "no decision is there twice"
    held = said(lake)
    assert not differing(held, held, ("verdict",))
    return [
        held.select(["click_id", "verdict", "score", "bundle", "cause"]),
        lake.read(ADJUSTMENTS).sort_by("campaign"),
    ]


WORKS: dict[str, Callable[[Path], None]] = {"daily": daily, "promote": promote, "replay": replay}

if __name__ == "__main__":
    main()
