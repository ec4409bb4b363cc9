"""A rollback by the command reaches every process of a service within seconds, and no request fails meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.redis_servers import Server
from tests.service.making import SECRET, click, make_bundle

from slidr.bundle import Bundle
from slidr.clock import HOUR, SystemClock
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.keys import KeyRing, Secret
from slidr.registry import Registry

OLD = check_catalogue((Clicks("user", "1h"), Clicks("session", "1h")))
NEW = check_catalogue((Clicks("ip", "10m"), Clicks("user", "10m")))
_PROGRAM = (sys.executable, "-c", "from slidr.cli import main; main()")
_LONGEST = 60.0
"""Seconds after which the test gives up; what is promised is five, and what was measured is in docs/bundles.md."""


_MANY = 100  # answers in a row, each over a connection of its own, after which no process is on the other bundle


class Project(NamedTuple):
    """A settings file and what lies beside it."""

    folder: Path
    old: Bundle
    new: Bundle

    def run(self, *arguments: str) -> str:
        """Run a command and return what it printed."""
        said = subprocess.run(  # noqa: S603 this program
            [*_PROGRAM, *arguments], cwd=self.folder, check=True, capture_output=True, text=True, env=environment()
        )
        return said.stdout

    @contextmanager
    def serving(self) -> Iterator[int]:
        """Serve, and give the port."""
        with subprocess.Popen(  # noqa: S603 this program
            [*_PROGRAM, "serve", "--port", "0"], cwd=self.folder, stdout=subprocess.PIPE, text=True, env=environment()
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("slidr ready"):
                    break
            try:
                yield int(line.split()[2].rpartition(":")[2])
            finally:
                process.send_signal(signal.SIGTERM)
                process.stdout.read()


def environment() -> dict[str, str]:
    """Return the environment of a command: without a secret key, which the project has in a file."""
    return {name: value for name, value in os.environ.items() if name not in {"SLIDR_KEY", "SLIDR_REDIS"}}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two bundles of two catalogues: the first one stable, the second one champion since an hour."""
    made = tmp_path / "made"
    old, new = make_bundle(made, catalogue=OLD), make_bundle(made, catalogue=NEW, seed=8)
    registry, now = Registry(tmp_path / "registry", secret=KeyRing((Secret(SECRET, 0),))), SystemClock().now()
    for bundle, hours in ((old, 48), (new, 1)):
        registry.publish(made / bundle.id)
        registry.promote(bundle.id, at=now - hours * HOUR, who="tests", why="because")
    (tmp_path / "slidr.key").write_text(SECRET.hex() + "\n")
    (tmp_path / "slidr.toml").write_text("[service]\nfollow_seconds = 0.5\n")
    return Project(tmp_path, old, new)


def ask(port: int, place: int) -> str:
    """Have a click decided over a connection of its own, and return the bundle that did."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = msgspec.json.encode(click(place, time=_iso(SystemClock().now())))
        connection.request("POST", "/v1/decisions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = msgspec.json.decode(response.read())
        assert response.status == 200, answer
        found: str = answer["bundle"]
        return found
    finally:
        connection.close()


def _iso(time_: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ // 1_000_000))


def follow(project: Project, port: int) -> float:
    """Roll back, and return the seconds from the command to the last answer of the bundle that was rolled back."""
    assert {ask(port, place) for place in range(20)} == {project.new.id}
    with ThreadPoolExecutor(1) as pool:
        began = last = time.monotonic()
        command = pool.submit(project.run, "rollback", "--why", "it marks everything", "--json")
        streak, place = 0, 20
        while streak < _MANY or not command.done():
            place += 1
            if ask(port, place) == project.old.id:
                streak += 1
            else:
                streak, last = 0, time.monotonic()
            assert time.monotonic() - began < _LONGEST
    said = msgspec.json.decode(command.result())
    assert (said["bundle"], said["instead"], said["number"]) == (project.old.id, project.new.id, 3)
    return last - began


def test_one_process(project: Project) -> None:
    """Command and service in processes of their own; settings, lists and the rollback are in the log, sealed."""
    with project.serving() as port:
        assert follow(project, port) < _LONGEST
    text = project.run("audit", "verify")
    assert "5 records" in text
    told = msgspec.json.decode(project.run("audit", "list", "--json"))["records"]
    assert [one["kind"] for one in told] == ["promote", "promote", "settings", "lists", "rollback"]
    assert told[-1]["why"] == "it marks everything"


def test_two_workers(project: Project) -> None:
    """With several processes over one Redis, all of them follow."""
    server = Server(project.folder / "redis")
    try:
        with (project.folder / "slidr.toml").open("a") as file:
            file.write(f'workers = 2\n[store]\nredis = ["{server.url}"]\n')
        with project.serving() as port:
            assert follow(project, port) < _LONGEST
    finally:
        server.kill()
