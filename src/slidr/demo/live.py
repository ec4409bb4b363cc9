"""Live: the judging part sent to a running service over HTTP, and compared with the batch."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.batch import decide_table
from slidr.contest import read_champion
from slidr.decide import deciders, union_layout
from slidr.errors import ServiceError
from slidr.features.clicks import Click
from slidr.features.keys import read_secrets
from slidr.features.slow import SlowTables
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.load import Replay, replay
from slidr.rules import prepare_rules
from slidr.settings import Settings, duration

_OK = 200
_CONNECTIONS = 8


class Service(NamedTuple):
    """The files of a service: the state that it goes on from, and its journal."""

    state: Path
    journal: Path


@contextmanager
def running_service(settings: Path, files: Service) -> Iterator[str]:
    """Start `slidr serve` as a process of its own on a free port, give its address, and end it in order.

    Raises:
        ServiceError: it did not become ready; the message has what it said.
    """
    command = [sys.executable, "-m", "slidr", "serve", "--settings", str(settings), "--port", "0"]
    command += ["--state", str(files.state), "--journal", str(files.journal)]
    log = files.journal.with_suffix(".log")
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,  # noqa: S603 our own command
    ):
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.communicate()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    for line in process.stdout or ():
        words = line.split()
        if words[:2] == ["slidr", "ready"]:
            return words[2]
    process.wait()
    raise ServiceError(f"the service did not start: {log.read_text().strip()}")


def requests_of(clicks: pa.Table, columns: tuple[str, ...]) -> list[bytes]:
    """Return a JSON body for each click, with the fields of a request and the further columns named."""
    names = [name for name in dict.fromkeys([*Click.__struct_fields__, *columns]) if name in clicks.column_names]
    encoder = msgspec.json.Encoder()
    rows = clicks.select(names).set_column(names.index("time"), "time", pc.cast(clicks["time"], pa.int64())).to_pylist()
    for row in rows:
        row["time"] = datetime.fromtimestamp(row["time"] // 1_000_000, UTC).replace(microsecond=row["time"] % 1_000_000)
    return [encoder.encode(row) for row in rows]


def send(url: str, bodies: list[bytes], *, rate: float | None, progress: Callable[[int], None]) -> Replay:
    """Send every body as a request of its own, at a rate or as fast as the answers come.

    Raises:
        ServiceError: a request was not answered with a decision.
    """
    sent = replay(f"{url}/v1/decisions", bodies, connections=_CONNECTIONS, rate=rate, progress=progress)
    refused = Counter(sent.statuses[sent.statuses != _OK].tolist())
    if refused:
        example = sent.bodies[int(np.flatnonzero(sent.statuses != _OK)[0])].decode(errors="replace")
        raise ServiceError(f"of {len(bodies)} requests some were refused, by status {dict(refused)}: {example}")
    return sent


class Comparison(NamedTuple):
    """How many decisions over HTTP there were, and how many differ from the batch in any bit."""

    decisions: int
    differences: int
    verdicts: dict[str, int]


def compare(
    settings: Settings, before: Path, journalled: Path, clicks: pa.Table, progress: Callable[[int], None]
) -> Comparison:
    """Decide the journalled clicks again, in batch and in the journal's order, and count the differences.

    Args:
        settings: name registry, bundles, secret key and lists.
        before: snapshot of the state as it was before the first of these clicks.
        journalled: the journal of the service that decided them.
        clicks: rows of CLICKS, in any order.
        progress: called with the number of clicks after each chunk.

    A decision differs where verdict, reasons, slice, score, threshold, sequence or any feature of the row does.
    """
    bundle = read_champion(settings.storage.registry, Path(settings.storage.bundles))
    pseudonymiser = read_secrets(Path(settings.storage.key_file)).newest
    age = duration(settings.features.slow_age)
    slow = SlowTables(Path(settings.storage.slow), age, pseudonymiser.fingerprint)
    rules = prepare_rules(settings.rules)
    store = EmbeddedStore(union_layout([bundle], rules), slow=slow)
    store.restore(before, fingerprint=pseudonymiser.fingerprint)
    (decider,) = deciders([bundle], lambda _layout: store, pseudonymiser, rules)
    with Journal(journalled, write=False) as journal:
        entries = [entry for chunk in journal.entries() for entry in chunk]
    places = pc.index_in(pa.array([entry.click_id for entry in entries]), clicks["click_id"].combine_chunks())
    ordered = clicks.take(places)
    differences, start = 0, 0
    for decisions in decide_table(decider, ordered, progress):
        part = entries[start : start + len(decisions.click_ids)]
        rows = np.ascontiguousarray(decisions.rows, "<f4")
        for place, entry in enumerate(part):
            decided = decisions.at(place)
            differences += (
                decided.verdict != entry.verdict
                or decided.reasons != entry.reasons
                or decided.slice != entry.slice
                or decided.score != entry.score
                or decided.threshold != entry.threshold
                or decided.sequence != entry.sequence
                or rows[place].tobytes() != entry.row
            )
        start += len(part)
    differences += clicks.num_rows - len(entries)
    return Comparison(len(entries), differences, _count(entries))


def _count(entries: list[Entry]) -> dict[str, int]:
    return dict(Counter(entry.verdict for entry in entries).most_common())
