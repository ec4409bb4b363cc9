from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.service.making import body, make_parts
from tests.service.test_server import running

from slidr.bundle import Bundle

CLICK = body(1)
HEAD = b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[str]:
    """A server that all of these talk to; it must outlive them all."""
    with running(make_parts(tmp_path_factory.mktemp("served"), bundle)) as found:
        yield found


def talk(url: str, sent: bytes) -> bytes:
    """Send bytes, and return all that is answered until the server has closed or the answer is whole."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall(sent)
        answered = b""
        while piece := connection.recv(65_536):
            answered += piece
        return answered


def close(request: bytes) -> bytes:
    """Return a request whose answer ends the connection."""
    line, rest = request.split(b"\r\n", 1)
    return line + b"\r\nconnection: close\r\n" + rest


REQUESTS: dict[str, tuple[bytes, int]] = {
    "a length below zero": (HEAD + b"content-length: -1\r\n\r\n" + CLICK, 400),
    "a length that is no number": (HEAD + b"content-length: ten\r\n\r\n" + CLICK, 400),
    "a length that no machine holds": (HEAD + b"content-length: 99999999999999999999999\r\n\r\n", 400),
    "two lengths": (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + CLICK, 400),
    "a length and chunks": (HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no length and no body": (HEAD + b"\r\n", 400),
    "chunks": (
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"%x\r\n" % len(CLICK) + CLICK + b"\r\n0\r\n\r\n",
        200,
    ),
    "chunks that are none": (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 400),
    "a body of another encoding": (HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b", 415),
    "a percent-encoded path": (
        HEAD.replace(b"/v1/decisions", b"/v1/%64ecisions") + b"content-length: %d\r\n\r\n" % len(CLICK) + CLICK,
        200,
    ),
    "an encoded slash": (b"GET /v1/decisions%2Fclick-1 HTTP/1.1\r\nhost: x\r\n\r\n", 200),
    "dots in the path": (b"GET /v1/decisions/../../health HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    "a path that is not UTF-8": (b"GET /v1/decisions/%ff%fe HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    "bytes in the path": (b"GET /v1/decisions/\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "a NUL in the path": (b"GET /v1/decisions/a%00b HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    "a NUL in a header": (b"GET /health HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n", 400),
    "a query where none is": (b"GET /health?x=1&%zz HTTP/1.1\r\nhost: x\r\n\r\n", 200),
    "a query that is not understood": (b"GET /v1/decisions/click-1?x=1 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "a whole address": (b"GET http://x/health HTTP/1.1\r\nhost: x\r\n\r\n", 200),
    "a star": (b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    "OPTIONS": (b"OPTIONS /v1/decisions HTTP/1.1\r\nhost: x\r\n\r\n", 204),
    "HEAD": (b"HEAD /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n", 200),
    "a method that is none": (b"FROB /health HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "TRACE": (b"TRACE /health HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    "PATCH": (b"PATCH /v1/decisions HTTP/1.1\r\nhost: x\r\n\r\n", 405),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_gets_an_answer_of_its_own(url: str, name: str) -> None:
    """However a request is framed, it is answered with the right status, and the server goes on."""
    sent, status = REQUESTS[name]
    answered = talk(url, close(sent))
    assert answered.startswith(b"HTTP/1.1 %d " % status), answered[:500]
    if sent.startswith(b"HEAD"):
        assert answered.endswith(b"\r\n\r\n")
    alive = talk(url, close(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"))
    assert alive.endswith(b'{"alive":true}')
