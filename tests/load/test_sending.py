from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count

import numpy as np
import pytest

from slidr.errors import ServiceError, SourceError
from slidr.load import UNANSWERED, replay
from slidr.load.sending import Answer, Limits, Request, Target, send

Reply = Callable[[bytes], list[bytes]]
"""From a request's body to the pieces of the answer, each of which is flushed by itself; none ends the connection."""


def ok(body: bytes, *further: str) -> bytes:
    """Return an answer with this body."""
    head = "\r\n".join(("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *further))
    return f"{head}\r\n\r\n".encode() + body


@contextmanager
def answering(reply: Reply) -> Iterator[tuple[str, list[bytes]]]:
    """Serve HTTP with answers made by a function; yields the address and the requests' heads as they come."""
    heads: list[bytes] = []
    started = threading.Event()
    ports: list[int] = []
    ends: list[Callable[[], object]] = []
    busy: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                heads.append(head)
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                pieces = reply(await reader.readexactly(length))
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not pieces or b"connection: close" in pieces[0]:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def main() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        loop, finished = asyncio.get_running_loop(), asyncio.Event()
        ends.append(lambda: loop.call_soon_threadsafe(finished.set))
        started.set()
        await finished.wait()
        for writer in busy:
            writer.transport.abort()
        # A connection just accepted is a task of the loop before it is one of ours; its client has gone, so it ends.
        # A server closed meanwhile would lose it unclosed.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{ports[0]}/v1/decisions", heads
    finally:
        ends[0]()
        thread.join()


BODIES = [b"%d" % place for place in range(200)]


@pytest.mark.parametrize("rate", [None, 5000.0])
@pytest.mark.parametrize("connections", [1, 7])
def test_answers_stand_in_the_order_of_the_requests(connections: int, rate: float | None) -> None:
    """Every answer is kept at its request's place, in a closed and in an open loop, and progress adds up."""
    told: list[int] = []
    with answering(lambda body: [ok(b"=" + body)]) as (url, heads):
        run = replay(url, BODIES, connections=connections, rate=rate, progress=told.append)
    assert run.bodies == [b"=" + body for body in BODIES]
    assert (run.statuses == 200).all()
    assert run.unanswered == 0
    assert np.isfinite(run.latencies).all()
    assert 0 <= run.quantile(0.5) <= run.quantile(0.999)
    assert run.rate > 0
    assert sum(told) == len(BODIES)
    assert heads[0].startswith(b"POST /v1/decisions HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"content-type: application/json" in heads[0]


def test_an_answer_in_pieces_is_put_together() -> None:
    """Head and body may arrive byte by byte."""

    def pieces(body: bytes) -> list[bytes]:
        answer = ok(b"answer " + body)
        return [answer[at : at + 1] for at in range(len(answer))]

    with answering(pieces) as (url, _):
        assert replay(url, BODIES[:3], connections=1).bodies == [b"answer 0", b"answer 1", b"answer 2"]


def test_a_connection_that_is_to_be_closed_is_opened_anew() -> None:
    """After an answer with `connection: close` the next request goes over a new connection, and none is lost."""
    with answering(lambda body: [ok(body, "connection: close")]) as (url, _):
        run = replay(url, BODIES[:20], connections=2)
    assert run.bodies == BODIES[:20]


def test_a_request_whose_connection_broke_is_unanswered() -> None:
    """A request that the server hangs up on is told from one that it answered, and the others go on."""
    with answering(lambda body: [] if body == b"3" else [ok(body)]) as (url, _):
        run = replay(url, BODIES[:10], connections=1)
    assert run.statuses.tolist() == [200] * 3 + [UNANSWERED] + [200] * 6
    assert run.unanswered == 1
    assert np.isnan(run.latencies).tolist() == [place == 3 for place in range(10)]


def test_the_latency_at_a_rate_counts_from_the_intended_time() -> None:
    """When one answer is late, those behind it on the only connection are charged for the wait too."""

    def late(body: bytes) -> list[bytes]:
        answer = ok(body * 3000)
        return [answer[at : at + 1] for at in range(len(answer))] if body == b"0" else [ok(body)]

    rate = 1e5
    with answering(late) as (url, _):
        run = replay(url, BODIES[:10], connections=1, rate=rate)
    arrivals = np.arange(10) / rate + run.latencies
    assert (np.diff(arrivals) > 0).all()


def test_no_requests_need_no_answers() -> None:
    """Nothing to send is done at once."""
    with answering(lambda body: [ok(body)]) as (url, _):
        run = replay(url, [])
    assert (run.bodies, run.rate) == ([], 0.0)
    assert np.isnan(run.quantile(0.5))


def test_an_address_where_nobody_listens_is_named() -> None:
    """A refused connection says where, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServiceError, match=rf"nobody answers at 127\.0\.0\.1:{port} .*start the service"):
        replay(f"http://127.0.0.1:{port}/", [b"1"])


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80", "http://"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    """Only http addresses are taken."""
    with pytest.raises(ServiceError, match="is not an http address"):
        replay(url, [b"1"])


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
)
def test_what_is_not_http_is_named(answer: bytes) -> None:
    """Another protocol, or an answer without a length, ends the run with what came."""
    with answering(lambda _: [answer]) as (url, _heads), pytest.raises(ServiceError, match=r"is not HTTP/1\.1 with a"):
        replay(url, [b"1"])


def test_a_server_that_falls_silent_is_given_up() -> None:
    """When nothing comes for the patience given, the run ends with how many wait."""
    with (
        answering(lambda _: [b"HTTP/1.1 200 OK\r\n"]) as (url, _),
        pytest.raises(ServiceError, match=r"no answer for 0\.05 s to 1 requests under way"),
    ):
        replay(url, [b"1", b"2"], connections=1, patience=0.05)


def test_headers_are_sent_with_every_request() -> None:
    """The path, its query and further headers stand in the head; a password in the address does not."""
    with answering(lambda body: [ok(body)]) as (url, heads):
        address = url.replace("127.0.0.1", "me:word@127.0.0.1") + "?a=b"
        send(Target(address, {"authorization": "Bearer k"}), [Request(b"1")] * 2, lambda _answer: None)
    assert len(heads) == 2
    assert heads[1].startswith(b"POST /v1/decisions?a=b HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nauthorization: Bearer k\r\n" in heads[1]


def test_a_header_of_two_lines_is_refused_without_showing_it() -> None:
    """A secret read with a line break in it would make two headers, and must not be printed."""
    with pytest.raises(ServiceError, match="a header holds a line break") as raised:
        Target("http://127.0.0.1/", {"authorization": "Bearer secret\r\nx: y"})
    assert "secret" not in str(raised.value)


def test_nothing_is_sent_after_the_time_is_over() -> None:
    """A load without an end stops sending, and what was sent is answered."""
    found: list[Answer] = []
    endless = (Request(b"%d" % place) for place in count())
    with answering(lambda body: [ok(body)]) as (url, heads):
        send(Target(url), endless, found.append, Limits(connections=2, seconds=0.05))
        assert len(found) == len(heads) > 0
    assert sorted(answer.number for answer in found) == list(range(len(found)))


def test_a_log_that_ends_in_a_fault_ends_the_load() -> None:
    """A fault of the requests' source is the load's."""

    def broken() -> Iterator[Request]:
        yield Request(b"1")
        yield Request(b"2")
        raise SourceError("line 3")

    with answering(lambda body: [ok(body)]) as (url, _), pytest.raises(SourceError, match="line 3"):
        send(Target(url), broken(), lambda _answer: None, Limits(connections=1))


def test_the_sender_tells_how_late_it_sent() -> None:
    """Each request has a lag, all those of a moment in which the sender was held up; its latency counts that in."""
    found: list[Answer] = []

    def hold_up(answer: Answer) -> None:
        found.append(answer)
        until = time.perf_counter() + (0.03 if len(found) == 1 else 0.0)
        while time.perf_counter() < until:
            pass

    paced = [Request(b"1", place * 0.002) for place in range(20)]
    with answering(lambda body: [ok(body)]) as (url, _):
        sent = send(Target(url), paced, hold_up, Limits(connections=32))
    assert len(sent.lags) == 20
    assert min(sent.lags) >= 0
    assert sum(lag > 0.008 for lag in sent.lags) >= 8, "those that were due while it was held up"
    assert all(answer.latency >= answer.service >= 0 for answer in found)


def test_waiting_for_a_connection_is_not_the_senders_fault() -> None:
    """A request that is late because all connections were busy has no lag, and is late all the same."""
    found: list[Answer] = []
    at_once = [Request(b"1", 0.0) for _ in range(20)]
    with answering(lambda body: [ok(body)]) as (url, _):
        sent = send(Target(url), at_once, found.append, Limits(connections=1))
    assert len(sent.lags) == 1
    assert len(found) == 20
    assert found[-1].latency > found[-1].service
