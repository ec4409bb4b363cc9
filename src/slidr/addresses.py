"""IP addresses: one canonical form, the network that an address belongs to, and sets of networks to look it up in."""

from __future__ import annotations

import ipaddress
import socket
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

LONGEST = 45
"""Letters of the longest way to write an address."""
_MAPPED = bytes(10) + b"\xff\xff"
_IPV4, _IPV6 = 4, 6
_BITS = {_IPV4: 32, _IPV6: 128}
_MAPPED_SPAN = range(0xFFFF << 32, 0x10000 << 32)
"""IPv4 within IPv6."""


@lru_cache(maxsize=1 << 16)
def canonical(value: str) -> str | None:
    """Return an IP address in its one canonical form, or None where the text is no address.

    IPv6 is compressed and in lower case (RFC 5952); an IPv4 address mapped into IPv6 becomes IPv4.

    >>> canonical("2001:DB8:0:0::1"), canonical("::ffff:192.0.2.1"), canonical("192.0.2.256")
    ('2001:db8::1', '192.0.2.1', None)
    """
    try:
        if ":" not in value:
            # Four decimal numbers without leading zeros are all that the parser takes, so the text is canonical.
            socket.inet_pton(socket.AF_INET, value)
            return value
        packed = socket.inet_pton(socket.AF_INET6, value)
    except (OSError, ValueError):
        return None
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    written = socket.inet_ntop(socket.AF_INET6, packed)
    # The C library writes some addresses with a dotted tail, which RFC 5952 does not.
    return str(ipaddress.IPv6Address(packed)) if "." in written else written


@lru_cache(maxsize=1 << 16)
def network(text: str | None) -> bytes | None:
    r"""Return the /24 of an IPv4 address or the /48 of an IPv6 one as tagged bytes; None for anything else.

    >>> network("192.0.2.7"), network("2001:db8::1"), network("opaque")
    (b'4\xc0\x00\x02', b'6 \x01\r\xb8\x00\x00', None)
    """
    address = None if text is None else canonical(text)
    if address is None:
        return None
    if ":" in address:
        return b"6" + socket.inet_pton(socket.AF_INET6, address)[:6]
    return b"4" + socket.inet_pton(socket.AF_INET, address)[:3]


class Span(NamedTuple):
    """The addresses from the first to the last, as numbers of one family, 4 or 6."""

    family: int
    first: int
    last: int


def parse_span(text: str) -> Span:
    """Return the addresses that a line of a list names: a network, one address, or `first,last` and whatever follows.

    What follows `#` is a comment. An IPv4 network mapped into IPv6 is the IPv4 network.

    >>> parse_span("192.0.2.0/24  # ours")
    Span(family=4, first=3221225984, last=3221226239)
    >>> parse_span("192.0.2.0,192.0.2.255,Example,http://example.org/") == parse_span("::ffff:192.0.2.0/120")
    True

    Raises:
        ValueError: it names none, or all that there are; the message says what to write.
    """
    said = text.partition("#")[0].strip()
    begin, comma, rest = said.partition(",")
    if comma:
        (family, first), (other, last) = _number(begin), _number(rest.partition(",")[0])
        if family != other:
            raise ValueError("begins in one family of addresses and ends in the other; give both ends in one")
    else:
        family, first, last = _ends(said)
    if first > last:
        raise ValueError("ends before it begins; write the lower address first")
    if last - first == (1 << _BITS[family]) - 1:
        raise ValueError("is every address there is; name the networks that are meant")
    if family == _IPV6 and first in _MAPPED_SPAN and last in _MAPPED_SPAN:
        return Span(_IPV4, first - _MAPPED_SPAN.start, last - _MAPPED_SPAN.start)
    return Span(family, first, last)


def _ends(said: str) -> tuple[int, int, int]:
    """Return the family, the first and the last address of a network, or of one address."""
    address, slash, width = said.partition("/")
    family, first = _number(address)
    bits = _BITS[family]
    if not slash:
        return family, first, first
    if not width.isascii() or not width.isdigit() or len(width) > len("128") or int(width) > bits:
        raise ValueError(f"has a prefix that is not a whole number from 1 to {bits}, as in 192.0.2.0/24")
    beyond = (1 << (bits - int(width))) - 1
    if first & beyond:
        outer = ipaddress.ip_address((first & ~beyond).to_bytes(bits // 8, "big"))
        raise ValueError(f"is an address within a network; write {outer}/{width}, or {address} alone")
    return family, first, first | beyond


def _number(text: str) -> tuple[int, int]:
    """Return the family of an address, and the address as a number."""
    written = text.strip(' "')
    family, kind = (_IPV6, socket.AF_INET6) if ":" in written else (_IPV4, socket.AF_INET)
    try:
        return family, int.from_bytes(socket.inet_pton(kind, written), "big")
    except (OSError, ValueError):
        raise ValueError("is no network, such as 192.0.2.0/24 or 2001:db8::/32, and no address") from None


class Networks:
    """A set of addresses, given by spans that may overlap; an address is looked up by bisection.

    >>> held = Networks(map(parse_span, ["192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32"]))
    >>> [address in held for address in ("192.0.2.7", "::FFFF:192.0.2.7", "2001:db9::1", "opaque", None)]
    [True, True, False, False, False]
    >>> len(held)
    2
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self._four: tuple[list[int], list[int]] = ([], [])
        self._six: tuple[list[int], list[int]] = ([], [])
        for family, first, last in sorted(spans):
            begins, ends = self._four if family == _IPV4 else self._six
            if ends and first <= ends[-1] + 1:
                ends[-1] = max(ends[-1], last)
            else:
                begins.append(first)
                ends.append(last)

    def __len__(self) -> int:
        """The number of spans that are left once those that touch are joined."""
        return len(self._four[0]) + len(self._six[0])

    def __contains__(self, address: object) -> bool:
        """Whether an address is in the set, however it is written; what is no address is not."""
        if not isinstance(address, str):
            return False
        try:
            if ":" in address:
                packed = socket.inet_pton(socket.AF_INET6, address)
                (begins, ends), packed = (
                    (self._four, packed[12:]) if packed.startswith(_MAPPED) else (self._six, packed)
                )
            else:
                (begins, ends), packed = self._four, socket.inet_pton(socket.AF_INET, address)
        except (OSError, ValueError):
            return False
        number = int.from_bytes(packed, "big")
        place = bisect_right(begins, number) - 1
        return place >= 0 and number <= ends[place]
