from __future__ import annotations

import json
import queue
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.service.killing import process
from tests.service.making import NOW, body, make_bundle, make_parts

from slidr.bundle import Bundle
from slidr.clock import ManualClock
from slidr.errors import FeatureError, ServiceError
from slidr.journal import Entry, Journal
from slidr.load import replay
from slidr.service.lifecycle import Parts
from slidr.service.server import Server, serve


@contextmanager
def running(parts: Parts) -> Iterator[str]:
    """Run a server in a thread; yields its address once it is ready."""
    told: queue.Queue[tuple[str, str]] = queue.Queue()
    server = Server(parts, announce=lambda state, url: told.put((state, url)), clock=ManualClock(NOW))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert told.get(timeout=60) == ("listening", server.url)
        assert told.get(timeout=60) == ("ready", server.url)
        yield server.url
    finally:
        server.stop()
        thread.join()
    assert told.get(timeout=60) == ("stopped", server.url)


def journalled(root: Path) -> list[Entry]:
    """Return all entries of a journal."""
    with Journal(root / "journal.sqlite") as journal:
        return [entry for chunk in journal.entries() for entry in chunk]


def connect(url: str) -> HTTPConnection:
    """Return a connection to a server."""
    return HTTPConnection(urlsplit(url).netloc, timeout=60)


def test_clicks_are_decided_over_a_socket(parts: Parts) -> None:
    """Requests over one connection, over many, in chunks and with HEAD are answered; the port is a free one."""
    with running(parts) as url:
        connection = connect(url)
        for expected in range(3):
            connection.request("POST", "/v1/decisions", body(expected), {"content-type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200
            assert json.load(answer)["sequence"] == expected
        pieces = iter([body(1)[:10], body(1)[10:]])
        connection.request(
            "POST", "/v1/decisions", pieces, {"content-type": "application/json"}, encode_chunked=True
        )  # fmt: skip
        assert json.load(connection.getresponse())["sequence"] == 1
        connection.request("HEAD", "/ready")
        head = connection.getresponse()
        assert (head.status, head.read()) == (200, b"")
        connection.close()
        run = replay(f"{url}/v1/decisions", [body(place) for place in range(3, 500)], connections=16)
        assert (run.statuses == 200).all()
        answers = [json.loads(answer) for answer in run.bodies]
        assert [answer["click_id"] for answer in answers] == [f"click-{place}" for place in range(3, 500)]
        assert sorted(answer["sequence"] for answer in answers) == list(range(3, 500))
    entries = journalled(parts.root)
    assert [entry.sequence for entry in entries] == list(range(500))
    decided = {entry.click_id: entry.verdict for entry in entries}
    assert all(decided[answer["click_id"]] == answer["verdict"] for answer in answers)


def test_a_large_body_ends_the_connection_unread(tmp_path: Path, bundle: Bundle) -> None:
    """A body that is announced as too large is refused before it is sent, and the connection is closed."""
    with running(make_parts(tmp_path, bundle, body_limit=1024)) as url:
        connection = connect(url)
        connection.putrequest("POST", "/v1/decisions")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(10**9))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert answer.getheader("connection") == "close"
        connection.close()


def test_what_is_not_http_is_refused(parts: Parts) -> None:
    """Bytes that are no HTTP get 400, and the server goes on."""
    with running(parts) as url:
        where = urlsplit(url)
        with socket.create_connection((where.hostname, where.port), timeout=60) as stranger:
            stranger.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            assert stranger.recv(1000).startswith(b"HTTP/1.1 400")
        connection = connect(url)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_port_in_use_is_named(tmp_path: Path, bundle: Bundle) -> None:
    """Whoever asks for a taken port is told which, and what to do; nothing was started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"127\.0\.0\.1 port {port}: the port is in use: .*service\.port"):
            serve(make_parts(tmp_path, bundle, port=port))
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_another_machine_is_named(tmp_path: Path, bundle: Bundle) -> None:
    """A host that is not this machine's is refused with the setting to change."""
    with pytest.raises(ServiceError, match=r"cannot listen on 192\.0\.2\.1 port 0: .*service\.host"):
        Server(make_parts(tmp_path, bundle, host="192.0.2.1"))


def test_an_ipv6_address_is_listened_on(tmp_path: Path, bundle: Bundle) -> None:
    """An IPv6 host is served, and its address is written as a URL wants it."""
    server = Server(make_parts(tmp_path, bundle, host="::1"))
    assert server.url.startswith("http://[::1]:")
    server._entrance.socket.close()


def test_a_service_that_cannot_start_ends_the_server(parts: Parts) -> None:
    """When the state cannot be restored, the server ends with the reason instead of running unready."""
    (parts.root / "state.npz").write_bytes(b"no snapshot")
    with pytest.raises(FeatureError, match="is not a snapshot"):
        Server(parts).run()


def test_a_signal_ends_the_server_in_order(tmp_path: Path) -> None:
    """After SIGTERM what was accepted is answered, a snapshot is left, and the process ends without an error."""
    make_bundle(tmp_path / "bundles")
    with process(tmp_path) as (server, url):
        assert (replay(f"{url}/v1/decisions", [body(place) for place in range(50)]).statuses == 200).all()
        server.send_signal(signal.SIGTERM)
        rest, _ = server.communicate(timeout=60)
        assert rest.startswith("stopped")
        assert server.returncode == 0
    assert (tmp_path / "state.npz").exists()
    assert not (tmp_path / "journal.sqlite-wal").exists()
    assert len(journalled(tmp_path)) == 50


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After kill -9 every acknowledged decision is in the journal, and the service goes on as if never killed."""
    bundle = make_bundle(tmp_path / "bundles")
    clicks, after = [body(place) for place in range(4000)], [body(place) for place in range(10_000, 10_200)]
    with process(tmp_path) as (server, url):
        answered = 0

        def kill(further: int) -> None:
            nonlocal answered
            answered += further
            if answered >= 1000:
                server.kill()

        run = replay(f"{url}/v1/decisions", clicks, connections=8, progress=kill)
        assert server.wait(timeout=60) == -signal.SIGKILL
    acknowledged = {
        found["decision_id"]: found
        for status, content in zip(run.statuses, run.bodies, strict=True)
        if status == 200
        for found in [json.loads(content)]
    }
    assert 1000 <= len(acknowledged) < 4000
    before = journalled(tmp_path)
    kept = {entry.decision_id: entry for entry in before}
    for name, found in acknowledged.items():
        entry = kept[name]
        told = (found["click_id"], found["sequence"], found["verdict"])
        assert (entry.click_id, entry.sequence, entry.verdict) == told
    with process(tmp_path) as (_, url):
        assert (replay(f"{url}/v1/decisions", after, connections=1).statuses == 200).all()
    whole = journalled(tmp_path)
    assert whole[: len(before)] == before
    undisturbed = make_parts(tmp_path / "undisturbed", bundle)
    in_order = [body(int(entry.click_id.removeprefix("click-"))) for entry in whole]
    with running(undisturbed) as url:
        assert (replay(f"{url}/v1/decisions", in_order, connections=1).statuses == 200).all()
    expected = journalled(undisturbed.root)
    assert [entry.row for entry in whole] == [entry.row for entry in expected]
    assert [entry.score for entry in whole] == [entry.score for entry in expected]
