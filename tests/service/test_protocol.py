from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
import uvicorn
import uvloop

from slidr.service.protocol import BoundedProtocol, Limits, make_room

LIMITS = Limits(head=2048, request=60.0, idle=60.0, connections=100, pipeline=4)
SHORT = 0.05  # seconds
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"


class Served(NamedTuple):
    """A server at work.

    Attributes:
        port: where it listens.
        refused: how often connections were refused, by cause.
        requests: bodies of the requests that were answered.
        hold: keeps the answers to /held back until it is set.
    """

    port: int
    refused: Counter[str]
    requests: list[bytes]
    hold: threading.Event

    def connect(self, buffer: int | None = None) -> socket.socket:
        """Return a connection, with a small buffer for what comes where asked for."""
        made = socket.socket()
        if buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        made.settimeout(60)
        made.connect(("127.0.0.1", self.port))
        return made

    def ask(self, content: bytes) -> bytes:
        """Send bytes over a connection of their own, and return all that comes until it ends."""
        with self.connect() as client:
            client.sendall(content)
            return rest(client)


def rest(client: socket.socket) -> bytes:
    """Return what comes until the connection ends."""
    found = b""
    while piece := client.recv(65536):
        found += piece
    return found


def problem(answer: bytes) -> dict[str, Any]:
    """Return status and problem of an answer that ends its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    document = json.loads(body)
    assert isinstance(document, dict)
    assert head.startswith(b"HTTP/1.1 %d " % document["status"])
    return document


@contextmanager
def serving(**changes: Any) -> Iterator[Served]:
    """Serve an application that answers the length of a body, /big with 32 MB, and /held when it is let go."""
    refused, requests, hold = Counter[str](), list[bytes](), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        requests.append(body)
        if scope["path"] == "/held":
            await asyncio.get_running_loop().run_in_executor(None, hold.wait)
        answer = b"x" * 32_000_000 if scope["path"] == "/big" else b"%d" % len(body)
        length = (b"content-length", b"%d" % len(answer))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": answer})

    limits = LIMITS._replace(**changes)
    protocol: Any = partial(BoundedProtocol, limits=limits, refused=lambda cause: refused.update([cause]))
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(server.serve(sockets=[listener]))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield Served(listener.getsockname()[1], refused, requests, hold)
        finally:
            hold.set()
            server.should_exit = True
            thread.join()


def test_requests_are_answered_one_after_the_other_and_ahead() -> None:
    """Requests on one connection, in one piece or byte by byte, in chunks and sent ahead, are answered in order."""
    with serving() as served, served.connect() as client:
        request = POST % 3 + b"abc"
        for place in range(len(request)):
            client.sendall(request[place : place + 1])
        assert client.recv(1000).endswith(b"\r\n\r\n3")
        client.sendall(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\nx: y\r\n\r\n")
        assert client.recv(1000).endswith(b"\r\n\r\n4")
        last = b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 9\r\n\r\n123456789"
        client.sendall((POST % 1 + b"a") + (POST % 2 + b"bb") + last)
        answers = rest(client).split(b"HTTP/1.1 200 OK")
        assert [answer[-1:] for answer in answers[1:]] == [b"1", b"2", b"9"]
        assert served.refused == {}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"y" * 5000, id="value without an end"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"y" * 5000, id="name without an end"),
        pytest.param(b"GET /" + b"y" * 5000, id="line without an end"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"y" * 2100 + b"\r\n\r\n", id="whole"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 600 + b"\r\n", id="many"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"y" * 3_000_000, id="more than is read at once"),
    ],
)
def test_a_large_head_is_refused(content: bytes) -> None:
    """A head above the limit is 431, whether or not it ends, and the application hears nothing of it."""
    with serving() as served:
        assert problem(served.ask(content))["detail"] == "line and headers have more than 2048 bytes"
        assert served.refused == {"head": 1}
        assert served.requests == []


def test_a_head_that_comes_in_pieces_is_counted_whole() -> None:
    """Pieces that are small each add up, and a head below the limit passes though its body is large."""
    with serving() as served:
        with served.connect() as client:
            client.sendall(POST % 100_000 + b"z" * 100_000)
            assert client.recv(1000).endswith(b"100000")
            client.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            client.sendall(b"GET / HTTP/1.1\r\n")
            for _ in range(21):
                client.sendall(b"a: " + b"b" * 95 + b"\r\n")
            assert problem(rest(client))["status"] == 431
        assert served.refused == {"head": 1}


def test_trailers_have_the_limit_of_a_head() -> None:
    """What stands behind the last chunk of a body may not grow without end either."""
    with serving() as served:
        chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        with served.connect() as client:
            client.sendall(chunked + b"fff\r\n")
            client.sendall(b"z" * 0xFFF + b"\r\n0\r\n\r\n")
            assert client.recv(1000).endswith(b"4095")
            client.sendall(chunked + b"0\r\n")
            client.sendall(b"x: " + b"y" * 100_000)
            assert problem(rest(client))["status"] == 431
        assert served.requests == [b"z" * 0xFFF]


@pytest.mark.parametrize(
    "begin", [b"G", b"GET / HTTP/1.1\r\nhost: x\r\n", POST % 10, POST % 10 + b"abc", b"\r\n", POST % 0 + b"G"]
)
def test_a_request_that_does_not_end_is_given_up(begin: bytes) -> None:
    """A client that stops in the head or in the body gets 408 after the time of a request, and is hung up on."""
    with serving(request=SHORT) as served:
        answer = served.ask(begin)
        if begin.startswith(POST % 0):
            answer = answer.partition(b"\r\n\r\n0")[2]
        assert problem(answer)["detail"] == "the request was not whole after 0.05 s"
        assert served.refused == {"slow": 1}


def test_a_client_that_sends_a_byte_at_a_time_is_given_up() -> None:
    """Bytes that keep coming win no time: what counts is when the request began."""
    with serving(request=SHORT) as served, served.connect() as client:
        client.settimeout(0.01)
        answer = b""
        for place in range(100_000):
            client.sendall((POST % 10**6)[place : place + 1] or b"a")
            try:
                answer = client.recv(1000)
                break
            except TimeoutError:
                continue
        assert problem(answer)["status"] == 408
        assert served.requests == []


def test_an_idle_connection_is_closed() -> None:
    """A connection on which nothing was asked yet, or nothing more, ends without a word."""
    with serving(idle=SHORT) as served:
        assert served.ask(b"") == b""
        assert served.ask(POST % 1 + b"a").endswith(b"\r\n\r\n1")
        assert served.refused == {}


def test_an_answer_that_takes_long_is_not_the_clients_fault() -> None:
    """While the service works on a request no time runs, however short the limits are."""
    with serving(idle=SHORT, request=SHORT) as served, served.connect() as client:
        client.sendall(b"GET /held HTTP/1.1\r\n\r\n")
        client.settimeout(4 * SHORT)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(60)
        served.hold.set()
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_too_many_connections_are_refused() -> None:
    """One connection more than may be open is told to come again, and one that ends makes room."""
    with serving(connections=2) as served:
        with served.connect() as first, served.connect() as second:
            for client in (first, second):
                client.sendall(POST % 1 + b"a")
                assert client.recv(1000).endswith(b"1")
            assert problem(served.ask(b""))["detail"] == "2 connections are open; retry in a moment"
            assert served.refused == {"connections": 1}
        while b" 200 " not in served.ask(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"):
            pass


def test_requests_sent_ahead_are_bounded() -> None:
    """What was accepted is answered in order, what is sent ahead beyond the limit is not, and the connection ends."""
    with serving() as served, served.connect() as client:
        client.sendall(b"GET /held HTTP/1.1\r\n\r\n" + (POST % 1 + b"a") * 5000)
        served.hold.set()
        answers = rest(client).split(b"HTTP/1.1 200 OK")
        assert len(answers) - 1 == 1 + LIMITS.pipeline == len(served.requests)
        assert b"connection: close" in answers[-1]
        assert served.refused == {"pipelined": 1}


def test_a_client_that_never_reads_is_cut_off() -> None:
    """Answers that are not fetched hold memory for the time of a request at most."""
    with serving(request=SHORT) as served, served.connect(buffer=4096) as client:
        client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        while not served.refused:
            pass
        assert len(rest(client)) < 32_000_000
        assert served.refused == {"slow_reader": 1}


def test_a_client_that_never_reads_does_not_hold_up_the_end() -> None:
    """A server that is told to stop ends, though answers were not fetched."""
    with serving(request=SHORT) as served:
        client = served.connect(buffer=4096)
        client.sendall(b"GET /big HTTP/1.1\r\nconnection: close\r\n\r\n")
        while not served.requests:
            pass
    client.close()


def test_what_is_not_http_is_refused_behind_what_is() -> None:
    """Garbage is 400; behind a request that waits for its answer it ends the connection after that answer."""
    with serving() as served:
        assert problem(served.ask(b"\x16\x03\x01 hello\r\n\r\n"))["status"] == 400
        with served.connect() as client:
            client.sendall(b"GET /held HTTP/1.1\r\n\r\n\x00\x01\r\n\r\n")
            served.hold.set()
            answer = rest(client)
        assert answer.count(b"HTTP/1.1") == 1
        assert b" 200 " in answer
        assert b"connection: close" in answer
        assert served.refused == {"malformed": 2}


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_an_upgrade_is_passed_over(protocol: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A request that would go on in another protocol is answered in this one, and no word is lost on it."""
    with serving() as served:
        answer = served.ask(b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: %b\r\n\r\n\x00\x00" % protocol)
        assert answer.startswith(b"HTTP/1.1 200")
        assert caplog.text == ""


def test_the_process_may_open_the_files_that_it_needs(caplog: pytest.LogCaptureFixture) -> None:
    """The limit on open files is raised as far as the account may, and what is lacking is said."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        make_room(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 428
        make_room(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 428
        assert caplog.text == ""
        if hard != resource.RLIM_INFINITY:
            make_room(hard)
            assert f"this account may open {hard} files" in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
