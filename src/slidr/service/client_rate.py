"""Client rate: how many clicks a second one client may send, so that no client takes what the others need."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

from slidr.clock import SECOND, Clock

_MOST = 8192
"""Clients that are remembered."""
_NETWORK = 64
"""Bits of an IPv6 address that are one client's: whoever has one address has the network."""


class ClientRates:
    """A token bucket for each client, which holds what a second gives.

    A client may send while its bucket is not empty, and a request takes what it has, so that a large one leaves the
    bucket in debt: whatever the size of its requests, a client has its rate over time. Of a bucket one number is kept,
    the time at which it is full again (the virtual scheduling of ITU-T I.371); full ones are forgotten. Beyond 8,192
    clients the buckets that lack least are forgotten too.

    >>> from slidr.clock import ManualClock
    >>> rates = ClientRates(10, clock := ManualClock(0))
    >>> rates.spend("shop", 25)
    >>> rates.wait("shop"), rates.wait("another")
    (1500000, 0)
    >>> clock.advance(1_500_000)
    >>> rates.wait("shop")
    0

    Args:
        rate: clicks a second, above zero.
        clock: tells the time; where it is set back, all buckets are full again.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        self.rate = rate
        self._clock = clock
        self._cost = SECOND / rate
        self._full_at: dict[str, int] = {}
        self._latest = clock.now()

    def wait(self, client: str) -> int:
        """Return the microseconds until a client may send again; 0 where it may."""
        now = self._now()
        return max(0, self._full_at.get(client, 0) - now - SECOND)

    def spend(self, client: str, clicks: int) -> None:
        """Take clicks out of the bucket of a client."""
        now = self._now()
        full_at = self._full_at.get(client, 0)
        self._full_at[client] = max(full_at, now) + round(clicks * self._cost)
        if len(self._full_at) > _MOST:
            lacking = sorted((at, one) for one, at in self._full_at.items() if at > now)
            self._full_at = {one: at for at, one in lacking[-_MOST // 2 :]}

    def _now(self) -> int:
        now = self._clock.now()
        if now < self._latest:
            self._full_at.clear()
        self._latest = now
        return now


@lru_cache(_MOST)
def client_at(address: str) -> str:
    """Return the client at the address of a connection: an IPv4 address, or the network of an IPv6 one.

    >>> client_at("192.0.2.1"), client_at("::ffff:192.0.2.1"), client_at("2001:db8:0:1::7")
    ('192.0.2.1', '192.0.2.1', '2001:db8:0:1::/64')
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found) >> _NETWORK << _NETWORK, _NETWORK)))
