"""A server at work as strangers, thieves and the careless meet it: keys, TLS, slow clients, and what the log tells."""

from __future__ import annotations

import json
import logging
import queue
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.service.making import NOW, SECRET, body, click, make_parts
from tests.service.test_tls import make as make_certificate

from slidr.bundle import Bundle
from slidr.clock import DAY, ManualClock
from slidr.errors import ServiceError, SettingsError, StoreError
from slidr.features.redis.nodes import Nodes
from slidr.service.key_file import add_key, revoke_key
from slidr.service.lifecycle import Parts
from slidr.service.server import Server
from slidr.settings import parse_settings


@contextmanager
def running(parts: Parts) -> Iterator[str]:
    """Run a server in a thread; yields its address once it is ready."""
    told: queue.Queue[str] = queue.Queue()
    server = Server(parts, announce=lambda state, _: told.put(state), clock=ManualClock(NOW))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert [told.get(timeout=60), told.get(timeout=60)] == ["listening", "ready"]
        yield server.url
    finally:
        server.stop()
        thread.join()


def request(
    url: str,
    method: str,
    path: str,
    key: str | None = None,
    content: bytes = b"",
    context: ssl.SSLContext | None = None,
) -> tuple[HTTPResponse, bytes]:
    """Send a request over a connection of its own."""
    place = urlsplit(url).netloc
    connection = HTTPSConnection(place, timeout=60, context=context) if context else HTTPConnection(place, timeout=60)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_every_route_asks_for_its_scope(parts: Parts) -> None:
    """Without a key, with a wrong, expired or revoked one 401, without the scope 403; health and readiness are open."""
    path = parts.root / parts.settings.storage.api_keys
    decides = add_key(path, "decides", ["decide"], now=NOW)
    reads = add_key(path, "reads", ["read"], now=NOW)
    expired = add_key(path, "expired", ["admin"], now=NOW - 2 * DAY, lifetime=DAY)
    revoked = add_key(path, "revoked", ["admin"], now=NOW)
    revoke_key(path, "revoked", now=NOW)
    with running(parts) as url:
        for key in (None, "slidr_" + "x" * 43, expired, revoked):
            for method, asked in (("POST", "/v1/decisions"), ("GET", "/v1/decisions/click-1"), ("GET", "/metrics")):
                answer, content = request(url, method, asked, key, body(1))
                assert answer.status == 401
                assert (answer.getheader("www-authenticate") or "").startswith('Bearer realm="slidr"')
                assert json.loads(content)["status"] == 401
        assert request(url, "POST", "/v1/decisions", reads, body(1))[0].status == 403
        assert request(url, "POST", "/v1/decisions", decides, body(1))[0].status == 200
        assert request(url, "GET", "/v1/decisions/click-1", decides)[0].status == 403
        assert request(url, "GET", "/v1/decisions/click-1", reads)[0].status == 200
        assert request(url, "GET", "/metrics", reads)[0].status == 200
        for asked in ("/health", "/ready"):
            assert request(url, "GET", asked)[0].status == 200


def test_others_are_served_with_keys_alone(tmp_path: Path, bundle: Bundle) -> None:
    """A server that others reach does not start without keys, unless it is told that it may; nothing was begun."""
    parts = make_parts(tmp_path, bundle, host="0.0.0.0")  # noqa: S104 the point
    with pytest.raises(
        ServiceError, match=r"service\.host is 0\.0\.0\.0, which others reach, and there are no API keys"
    ):
        Server(parts)
    assert list(tmp_path.iterdir()) == []
    Server(make_parts(tmp_path, bundle, host="0.0.0.0", open=True))._entrance.socket.close()  # noqa: S104 the point
    add_key(tmp_path / parts.settings.storage.api_keys, "shop", ["decide"], now=NOW)
    Server(parts)._entrance.socket.close()


def test_clicks_are_decided_over_tls(tmp_path: Path, bundle: Bundle) -> None:
    """A client that trusts the certificate is served over TLS 1.2 or later, and one without TLS is not."""
    certificate, key = make_certificate(tmp_path)
    parts = make_parts(tmp_path, bundle, tls_certificate=str(certificate), tls_key=str(key))
    with running(parts) as url:
        assert url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate))
        answer, content = request(url, "POST", "/v1/decisions", content=body(1), context=context)
        assert (answer.status, json.loads(content)["click_id"]) == (200, "click-1")
        with pytest.raises(OSError, match=r"."):
            request(url, "GET", "/health")
        assert request(url, "GET", "/health", context=context)[0].status == 200


def test_a_certificate_at_fault_stops_the_start(tmp_path: Path, bundle: Bundle) -> None:
    """A server that was told to speak TLS never serves without."""
    parts = make_parts(tmp_path, bundle, tls_certificate="none.pem", tls_key="none.pem")
    with pytest.raises(SettingsError, match=r"none\.pem cannot be read"):
        Server(parts)


def test_a_client_that_sends_a_byte_at_a_time_holds_nobody_up(tmp_path: Path, bundle: Bundle) -> None:
    """Slow clients, however many may be open, get 408, are counted, and others are decided meanwhile."""
    with running(make_parts(tmp_path, bundle, request_seconds=0.2, connections=20)) as url:
        place = (urlsplit(url).hostname, urlsplit(url).port)
        slow = [socket.create_connection(place, timeout=60) for _ in range(10)]
        for client in slow:
            client.sendall(b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
        for client in slow[::2]:
            client.sendall(b"content-length: 100\r\n\r\n{")
        assert request(url, "POST", "/v1/decisions", content=body(1))[0].status == 200
        for client in slow:
            with client:
                assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
        content = request(url, "GET", "/metrics")[1].decode()
        assert re.search(r'slidr_refused_connections_total\{cause="slow"\} 10\b', content)


def test_no_secret_is_told(parts: Parts, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a key, nor the secret of identifiers, nor an identifier stands in a log, an answer or the metrics."""
    caplog.set_level(logging.DEBUG)
    path = parts.root / parts.settings.storage.api_keys
    key = add_key(path, "shop", ["admin"], now=NOW)
    told: list[bytes] = []
    wrong = ("slidr_" + "z" * 43, key[:-1] + "!", key + " " + key, "\x1b[31m" + key)
    person = {"user": "person-0815", "session": "session-0815", "ip": "198.51.100.77"}
    with running(parts) as url:
        clicks: list[Any] = [click(1, **person), click(2, **person, time="later"), 7, {"click_id": None, **person}]
        contents = [json.dumps(clicks).encode(), *(json.dumps(one).encode() for one in clicks), b"{", b"\xff"]
        asked = ("/v1/decisions/click-1", "/metrics", "/ready", "/nothing", "/v1/decisions/click-1?view=admin")
        for shown in (key, *wrong):
            told += [request(url, "POST", "/v1/decisions", shown, content)[1] for content in contents]
            told += [request(url, "GET", one, shown)[1] for one in asked]
        revoke_key(path, "shop", now=NOW)
        path.write_bytes(b'{"version": 1, "keys": "' + key.encode() + b'"}')
    out, err = capfd.readouterr()
    everything = b"\n".join(told).decode("utf-8", "replace") + caplog.text + out + err
    secrets = (key, key[6:20], *wrong[:1], SECRET.hex(), repr(SECRET), path.read_text()[-30:])
    assert [secret for secret in secrets if secret in everything] == []
    assert [value for value in person.values() if value in caplog.text + out + err] == []


def test_a_redis_password_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong with a server names it, and not the password that stands in its address."""
    caplog.set_level(logging.DEBUG)
    password = "hunter2-swordfish"  # noqa: S105 a test's own
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    addresses = (f"redis://user:{password}@127.0.0.1:{port}", f"redis://:{password}@127.0.0.1:{port}",
                 f"nothing://user:{password}@127.0.0.1", f"redis://user:{password}@127.0.0.1:port",
                 f"redis://user:{password}@nowhere.invalid:1")  # fmt: skip
    for address in addresses:
        with pytest.raises((StoreError, SettingsError)) as fault:
            Nodes([address], 1, 0.2).connect()
        told = str(fault.value) + repr(fault.value.__cause__) + caplog.text
        assert password not in told, address


def test_a_password_in_the_wrong_place_is_not_told() -> None:
    """An address of Redis that stands where a list belongs is named without its password."""
    with pytest.raises(SettingsError, match=r"store\.redis = 'redis://\*\*\*@host:6379': Expected `array`"):
        parse_settings({"store": {"redis": "redis://user:hunter2/x@y@host:6379"}})
