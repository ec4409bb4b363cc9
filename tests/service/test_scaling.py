"""Several processes that share a real Redis, behind one socket and behind a real balancer, replaced under load."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.redis_servers import Server, wait_until
from tests.service.killing import body
from tests.service.making import make_bundle
from tests.service.scaling import SEEDED, Load, Running, balanced, check_replay, get, seeded

from slidr.load import replay
from slidr.load.sending import Answer

RATE = 150.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Redis of this test's own."""
    server = Server(tmp_path / "redis")
    yield server
    server.kill()


def test_services_behind_a_balancer_are_replaced_without_a_failed_request(tmp_path: Path, server: Server) -> None:
    """Two services with journals of their own restart one after the other; every click is decided once, and replays."""
    make_bundle(tmp_path / "bundles")
    seeded(tmp_path, server)
    names = ("one.sqlite", "two.sqlite")
    services = [Running(tmp_path, server, {"journal": name}, drain_seconds=1.5) for name in names]
    try:
        for service in services:
            service.wait()
        with balanced(tmp_path, *(service.url for service in services)) as url:
            load = Load(url, SEEDED, RATE)
            load.wait_for(100)
            for service in services:
                service.stop()
                service.start()
                service.wait()
                load.wait_for(len(load.answers) + 200)
            answered = load.end()
            first, last = answered[0][0], answered[-1][0]
            statuses = [get(f"{url}/v1/decisions/click-{number}")[0] for number in (*range(first, first + 20), last)]
            assert get(f"{url}/metrics")[0] == 404
        for service in services:
            service.stop()
    finally:
        for service in services:
            service.close()
    assert {answer.status for _, answer in answered} == {200}
    assert len(answered) > len({number for number, _ in answered}), "some clicks were repeated"
    check_replay(tmp_path, [tmp_path / name for name in names], answered)
    assert set(statuses) == {200}, "whichever service decided a click, it is found"


def test_workers_are_replaced_without_a_failed_request_and_killed_without_a_loss(
    tmp_path: Path, server: Server
) -> None:
    """SIGHUP replaces each worker, kill -9 loses nothing acknowledged, and what is sent again is decided once."""
    make_bundle(tmp_path / "bundles")
    seeded(tmp_path, server)
    service = Running(tmp_path, server, workers=2)
    try:
        service.wait()
        before = service.workers()
        load = Load(service.url, SEEDED, RATE)
        load.wait_for(50)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(before | service.workers()) == 4 and ready(service.url) == {"1", "2"}, "both are new")
        answered = load.end()
        assert {answer.status for _, answer in answered} == {200}
        after = service.workers()
        assert not before & after
        load = Load(service.url, max(number for number, _ in answered) + 1, RATE)
        load.wait_for(50)
        os.kill(min(after), signal.SIGKILL)
        wait_until(lambda: len(service.workers() - after) == 1 and ready(service.url) == {"1", "2"}, "a new worker")
        more = load.end()
        again = [number for number, answer in more if answer.status != 200]
        assert len(again) <= 8, "no more than were under way on the connections of that worker"
        once_more = replay(f"{service.url}/v1/decisions", [body(number) for number in again])
        answered += [(number, answer) for number, answer in more if answer.status == 200]
        answered += [
            (number, Answer(0, status, said, 0, 0))
            for number, status, said in zip(again, once_more.statuses.tolist(), once_more.bodies, strict=True)
        ]
        assert {answer.status for _, answer in answered} == {200}
        number = answered[0][0]
        assert {get(f"{service.url}/v1/decisions/click-{number}")[0] for _ in range(8)} == {200}
        service.stop()
    finally:
        service.close()
    check_replay(tmp_path, [tmp_path / "journal.1.sqlite", tmp_path / "journal.2.sqlite"], answered, killed=True)


def ready(url: str) -> set[str]:
    """Return the workers that say, in one scrape, that they decide."""
    return set(re.findall(r'slidr_ready\{worker="(\d)"\} 1.0', get(f"{url}/metrics")[1].decode()))
