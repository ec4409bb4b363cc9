"""Services that share a Redis, in processes of their own: `python -m tests.service.scaling FOLDER SETTINGS` runs one.

FOLDER has one bundle in its folder `bundles`; SETTINGS are sections of the settings in JSON.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest
from tests.redis_servers import Server, free_port, wait_until
from tests.service.killing import body
from tests.service.making import NOW, SECRET, make_parts

from slidr.bundle import read_bundle
from slidr.clock import ManualClock
from slidr.features.clicks import Click, ClickBatch, encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.redis.seeding import seed
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.journals import Journals
from slidr.load.sending import Answer, Limits, Request, Target, send
from slidr.rules import prepare_rules
from slidr.service.opening import Parts
from slidr.service.recovery import recover_shared
from slidr.service.server import serve
from slidr.service.workers import serve_workers
from slidr.settings import parse_settings

ROOT = Path(__file__).parents[2]
FINGERPRINT = Pseudonymiser(SECRET).fingerprint
SEEDED = 300
"""Clicks that the state of Redis holds from the start; those that are sent follow them."""


def open_parts(root: Path, sections: dict[str, dict[str, Any]]) -> Parts:
    """Return what a service in a folder is made of."""
    (place,) = (root / "bundles").iterdir()
    settings = parse_settings(sections)
    return make_parts(root, read_bundle(place))._replace(settings=settings, rules=prepare_rules(settings.rules))


def main() -> None:
    """Serve until told to stop, and print what happens."""
    opening = partial(open_parts, Path(sys.argv[1]), msgspec.json.decode(sys.argv[2]))
    parts, clock = opening(), ManualClock(NOW)

    def announce(state: str, url: str) -> None:
        print(state, url, flush=True)  # noqa: T201 whoever started it reads this

    if parts.settings.service.workers > 1:
        serve_workers(parts, opening, announce=announce, clock=clock)
    else:
        serve(parts, announce=announce, clock=clock)


class Running:
    """A service in a process, on the same port whenever it is started.

    Args:
        root: its folder.
        server: the Redis.
        storage: settings of `storage`.
        rules: settings of `rules`.
        service: settings of `service`.
    """

    def __init__(
        self,
        root: Path,
        server: Server,
        storage: dict[str, Any] | None = None,
        rules: dict[str, Any] | None = None,
        **service: Any,
    ) -> None:
        self._root = root
        self._sections = {
            # What slow test machines do to a decision is no matter of these tests.
            "service": {"port": 0, "entities": 1024, "deadline_ms": 20_000, **service},
            "store": {"redis": [server.url], "timeout_ms": 5_000},
            "storage": storage or {},
            "rules": rules or {},
        }
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        command = [sys.executable, "-m", "tests.service.scaling", str(self._root)]
        command.append(msgspec.json.encode(self._sections).decode())
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 ours

    def wait(self) -> None:
        """Wait until it is ready."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("listening ")
        state, self.url = self.process.stdout.readline().split()
        assert state == "ready"
        self._sections["service"]["port"] = int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """End it in order, and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()
        assert self.process.returncode == 0

    def workers(self) -> set[int]:
        """Return the processes of its workers."""
        pid, found = self.process.pid, set()
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):  # It has just ended.
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.add(int(child))
        return found

    def close(self) -> None:
        """Kill it where it still runs; workers end with their parent."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Load:
    """Clicks sent at a rate to a URL, in a thread, until they are enough.

    Args:
        url: of the service or of the balancer.
        first: number of the first click.
        rate: requests a second; every tenth repeats an earlier click.
    """

    def __init__(self, url: str, first: int, rate: float) -> None:
        self.sent: list[int] = []
        self.answers: dict[int, Answer] = {}
        self._enough = threading.Event()
        self._first, self._rate = first, rate
        self._target = Target(f"{url}/v1/decisions")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, count: int) -> None:
        """Wait until there are so many answers."""
        wait_until(lambda: len(self.answers) >= count, f"{count} answers")

    def end(self) -> list[tuple[int, Answer]]:
        """Send no more, and return the clicks sent with their answers."""
        self._enough.set()
        self._thread.join()
        return [(number, self.answers[place]) for place, number in enumerate(self.sent) if place in self.answers]

    def _run(self) -> None:
        def take(answer: Answer) -> None:
            self.answers[answer.number] = answer

        send(self._target, self._requests(), take, Limits(connections=8))

    def _requests(self) -> Iterator[Request]:
        number = self._first
        while not self._enough.is_set():
            place = len(self.sent)
            again = place % 10 == 9 and place - 50 in self.answers
            self.sent.append(self.sent[place - 50] if again else number)
            number += not again
            yield Request(body(self.sent[-1]), place / self._rate)


def seeded(root: Path, server: Server) -> None:
    """Fold some clicks, and make that the state of Redis and of the folder's seed; the folder has a bundle already."""
    store = EmbeddedStore(_layout(root))
    store.fold(_batch(root, range(SEEDED)))
    store.snapshot(root / "seed.npz", fingerprint=FINGERPRINT)
    seed([server.url], store, secret=FINGERPRINT)


def check_replay(
    root: Path, journals: Sequence[Path], answered: Sequence[tuple[int, Answer]], *, killed: bool = False
) -> None:
    """Compare the journals of services that share a Redis with one store that folds their clicks, and with the answers.

    Every click was decided once, whoever decided it, unless a process was killed meanwhile, and every row is, bit for
    bit, what a single process makes of the clicks in the order of their sequences.
    """
    state = root / "seed.npz"
    with ExitStack() as stack:
        opened = Journals([stack.enter_context(Journal(path, write=False)) for path in journals])
        entries = [entry for kept in opened.kept() for entry, _ in kept]
        journalled = [entry for journal in opened.journals for chunk in journal.entries() for entry in chunk]
        store = EmbeddedStore(_layout(root))
        found = recover_shared(store, opened, state, fingerprint=FINGERPRINT)
        assert all(journal.last_sequence >= SEEDED for journal in opened.journals), "each process has decided some"
    assert [entry.sequence for entry in entries] == list(range(SEEDED, SEEDED + len(entries))), "one unbroken fold"
    assert (found.folded, found.missing, found.twice, found.terms) == (len(entries), 0, 0, 0)
    numbers = [int(entry.click_id.removeprefix("click-")) for entry in entries]
    assert len(set(numbers)) == len(numbers), "no click is decided twice"
    assert set(numbers) == {number for number, _ in answered}, "every click is decided, and no other"
    replayed, batch = EmbeddedStore(_layout(root)), _batch(root, numbers)
    replayed.restore(state, fingerprint=FINGERPRINT)
    keys, rows = np.ascontiguousarray(batch.keys.T.astype("<u8")), replayed.fold(batch).rows.astype("<f4")
    expected = [(key.tobytes(), row.tobytes()) for key, row in zip(keys, rows, strict=True)]
    assert [(entry.keys, entry.row) for entry in entries] == expected
    assert store.sequence == replayed.sequence
    # Who was killed may have answered before others could know of it: they decide from the same row once more.
    assert killed or len(journalled) == len(entries)
    verdicts = {entry.click_id: (entry.sequence, entry.verdict) for entry in entries}
    decisions = {(entry.click_id, *_kept(entry)) for entry in journalled}
    for number, answer in answered:
        assert (f"click-{number}", *_told(answer)) in decisions, "what was answered is in a journal"
        assert _told(answer)[1:] == verdicts[f"click-{number}"], "and is what the fold keeps"


def _told(answer: Answer) -> tuple[object, ...]:
    told = msgspec.json.decode(answer.body)
    return told["decision_id"], told["sequence"], told["verdict"]


def _kept(entry: Entry) -> tuple[object, ...]:
    return entry.decision_id, entry.sequence, entry.verdict


def _layout(root: Path) -> Layout:
    (place,) = (root / "bundles").iterdir()
    return compile_catalogue(read_bundle(place).catalogue)


def _batch(root: Path, numbers: Iterable[int]) -> ClickBatch:
    clicks = [msgspec.json.decode(body(number), type=Click) for number in numbers]
    return encode_clicks(clicks, _layout(root), Pseudonymiser(SECRET))


@contextmanager
def balanced(folder: Path, *urls: str) -> Iterator[str]:
    """Run HAProxy as deploy/haproxy.cfg says, in front of these services; yields its URL."""
    port, text = free_port(), (ROOT / "deploy" / "haproxy.cfg").read_text()
    for name, url in zip(("slidr-1:8710", "slidr-2:8710"), urls, strict=True):
        assert name in text
        text = text.replace(name, url.removeprefix("http://"))
    file = folder / "haproxy.cfg"
    file.write_text(text.replace("bind :8710", f"bind 127.0.0.1:{port}"))
    with (
        (folder / "haproxy.log").open("wb") as log,
        subprocess.Popen([balancer(), "-f", str(file)], stdout=log, stderr=log) as process,  # noqa: S603 found below
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(
                lambda: process.poll() is not None or get(f"{url}/ready")[0] == 200, "the balancer has a service"
            )
            assert process.poll() is None, (folder / "haproxy.log").read_text()
            yield url
        finally:
            process.terminate()


def balancer() -> str:
    """Return the path of HAProxy; a test that needs it fails where there is none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(ROOT / ".venv" / "bin")])
    if (found := shutil.which("haproxy", path=path)) is None:
        pytest.fail("no haproxy: run `make setup`, which unpacks one into .venv, or install HAProxy 2.4 or newer")
    return found


def get(url: str) -> tuple[int, bytes]:
    """Ask for something and return status and body; status 0 where nobody answers."""
    where = urlsplit(url)
    connection = HTTPConnection(where.netloc, timeout=20)
    try:
        connection.request("GET", where.path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


if __name__ == "__main__":
    main()
