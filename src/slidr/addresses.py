"""IP addresses: one canonical form, and the network that an address belongs to."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

_MAPPED = bytes(10) + b"\xff\xff"


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
