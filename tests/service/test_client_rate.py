"""A client has its rate over time, whatever it sends, and takes nothing from the others."""

from __future__ import annotations

import asyncio
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.asking import DECISIONS, JSON, answer, serving
from tests.service.making import NOW, body, click
from tests.service.test_server import running

from slidr.clock import SECOND, ManualClock
from slidr.service.app import App
from slidr.service.auth import Keys
from slidr.service.client_rate import ClientRates, client_at
from slidr.service.direct import Response
from slidr.service.key_file import add_key
from slidr.service.lifecycle import Parts


class Sent(NamedTuple):
    """A request that a client would like to send: how long after the one before, and with how many clicks."""

    after: int
    clicks: int


def limited(parts: Parts, rate: float) -> Parts:
    """Return the parts of a service that takes so many clicks a second of each client."""
    service = msgspec.structs.replace(parts.settings.service, client_rate=rate)
    return parts._replace(settings=msgspec.structs.replace(parts.settings, service=service))


@given(
    st.floats(0.1, 1e5),
    st.lists(st.builds(Sent, st.integers(0, 3 * SECOND), st.integers(1, 10_000)), min_size=1, max_size=50),
)
def test_a_client_has_its_rate_over_time(rate: float, wanted: list[Sent]) -> None:
    """Whatever a client tries, before each request it has sent no more than its rate and one second's worth."""
    clock = ManualClock(NOW)
    rates, taken = ClientRates(rate, clock), 0
    for after, clicks in wanted:
        clock.advance(after)
        if rates.wait("one") == 0:
            assert taken <= rate * (1 + (clock.now() - NOW) / SECOND) + 1
            rates.spend("one", clicks)
            taken += clicks
        assert rates.wait("another") == 0
    wait = rates.wait("one")
    clock.advance(wait)
    assert rates.wait("one") == 0
    assert wait == 0 or taken >= rate * (wait / SECOND)


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    """A client in debt may send again when the clock is set back: when it did is not known any more."""
    rates = ClientRates(1, clock := ManualClock(NOW))
    rates.spend("one", 100)
    assert rates.wait("one") == 99 * SECOND
    clock.advance(-3600 * SECOND)
    assert rates.wait("one") == 0


def test_memory_is_bounded_and_keeps_who_owes_most() -> None:
    """Of any number of clients some thousands are kept; those with the largest debt are never forgotten."""
    rates = ClientRates(10, ManualClock(NOW))
    rates.spend("worst", 10_000)
    for number in range(50_000):
        rates.spend(f"client {number}", 1 + number % 50)
    assert len(rates._full_at) <= 8192
    assert rates.wait("worst") > 0


def test_clients_without_debt_are_forgotten() -> None:
    """A full bucket is like one that never was: those who came a while ago take no place."""
    rates = ClientRates(10, clock := ManualClock(NOW))
    for number in range(50_000):
        rates.spend(f"client {number}", 1)
        clock.advance(SECOND)
    assert len(rates._full_at) <= 8192


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_stands_for_who_has_it(address: str, client: str) -> None:
    """IPv6 addresses of one network are one client, and an IPv4 address is itself in either form."""
    assert client_at(address) == client


def test_more_than_the_rate_is_refused_with_the_time_to_wait(parts: Parts) -> None:
    """A batch leaves a debt; until it is paid all of the client's requests are 429, and none of another one."""

    async def main() -> None:
        async with serving(limited(parts, 10)) as app:
            assert (await answer(app, "POST", DECISIONS, body(*range(35)))).status == 200
            refused = await answer(app, "POST", DECISIONS, body(40))
            assert (refused.status, refused.headers["retry-after"]) == (429, "3")
            assert refused.document["type"] == "urn:slidr:client-too-fast"
            assert "more than 10 clicks a second" in refused.document["detail"]
            told: list[Response] = []
            app.decide([(b"content-type", b"application/json")], body(41), lambda one, _: told.append(one), "")
            app.decide([(b"content-type", b"application/json")], body(42), lambda one, _: told.append(one), "192.0.2.7")
            await app._service.batcher.drain()
            assert [one.status for one in told] == [429, 200]
            assert (b"retry-after", b"3") in told[0].headers
            assert b"slidr_limited_total 2.0" in app._service.metrics.exposition()
            assert b"slidr_overloaded_total 0.0" in app._service.metrics.exposition()

    asyncio.run(main())


def test_each_key_has_its_own_rate(parts: Parts, tmp_path: Path) -> None:
    """With keys the key counts and not the address; what is refused for its key costs nobody anything."""
    path = tmp_path / "api-keys.json"
    secrets = [add_key(path, name, ["decide"], now=NOW) for name in ("one", "two")]

    async def main() -> None:
        async with serving(limited(parts, 5)) as inner:
            app = App(inner._service, 1 << 20, Keys(path, ManualClock(NOW)))
            one, two = ({**JSON, "authorization": f"Bearer {secret}"} for secret in secrets)
            found = [
                (await answer(app, "POST", DECISIONS, body(*places), headers=headers)).status
                for places, headers in (((1, 2, 3, 4, 5, 6), one), ((7,), one), ((8,), two), ((9,), JSON), ((10,), two))
            ]
            assert found == [200, 429, 200, 401, 200]

    asyncio.run(main())


def test_malformed_clicks_of_a_batch_count(parts: Parts) -> None:
    """Who sends clicks that are refused one by one has made the service read them."""

    async def main() -> None:
        async with serving(limited(parts, 5)) as app:
            clicks = msgspec.json.encode([click(0), *({} for _ in range(9))])
            assert (await answer(app, "POST", DECISIONS, clicks)).status == 200
            assert (await answer(app, "POST", DECISIONS, body(1))).status == 429

    asyncio.run(main())


def test_addresses_are_those_of_connections(parts: Parts) -> None:
    """A served process refuses over a socket, on either way to the handlers, and keeps the connection."""
    with running(limited(parts, 1)) as url:
        connection, statuses = HTTPConnection(urlsplit(url).netloc, timeout=60), []
        for content, headers in ((body(1, 2, 3), JSON), (body(4), JSON), (iter([body(5)]), JSON)):
            connection.request("POST", DECISIONS, content, headers, encode_chunked=True)
            response = connection.getresponse()
            statuses.append((response.status, response.getheader("retry-after")))
            response.read()
        connection.close()
        assert statuses == [(200, None), (429, "2"), (429, "2")]
