from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.addresses import canonical, network


@given(st.ip_addresses(v=6))
def test_ipv6_is_written_as_rfc_5952_says(address: ipaddress.IPv6Address) -> None:
    """Every way to write an IPv6 address gives the standard library's compressed form, or IPv4 where it is mapped."""
    expected = str(address.ipv4_mapped or address)
    assert canonical(str(address)) == expected
    assert canonical(address.exploded.upper()) == expected
    assert canonical(expected) == expected


@given(st.ip_addresses(v=4))
def test_ipv4_stays_as_it_is(address: ipaddress.IPv4Address) -> None:
    """An IPv4 address is its own canonical form, also when mapped into IPv6."""
    assert canonical(str(address)) == str(address)
    assert canonical(f"::ffff:{address}") == str(address)


@given(st.text(st.sampled_from("0123456789abcf:./% "), max_size=20))
def test_addresses_are_those_of_the_standard_library(text: str) -> None:
    """What is accepted is what the standard library accepts, zones of link-local addresses left out."""
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if "%" not in text:
        assert (canonical(text) is None) == (address is None)


@pytest.mark.parametrize(
    "text", ["", "localhost", "10.0.0.256", "010.0.0.1", "10.0.0.1:80", "fe80::1%eth0", "1.2.3\x00"]
)
def test_malformed_addresses_are_none(text: str) -> None:
    """Names, ports, zones, octal numbers and numbers out of range are not addresses."""
    assert canonical(text) is None


@given(st.ip_addresses())
def test_addresses_have_one_form_and_a_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Every spelling of an address gives its canonical form, and its network is the /24 or the /48."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    for spelling in (str(address), str(address).upper(), address.exploded):
        assert canonical(spelling) == str(plain)
        assert network(spelling) == network(str(plain))
    bits = 24 if plain.version == 4 else 48
    expected = ipaddress.ip_network((plain, bits), strict=False)
    assert network(str(plain)) == str(plain.version).encode() + expected.network_address.packed[: bits // 8]


def test_a_mapped_address_is_its_ipv4() -> None:
    """An IPv4-mapped IPv6 address is the IPv4 address, in form and network."""
    assert canonical("::ffff:192.0.2.7") == "192.0.2.7"
    assert network("::ffff:192.0.2.7") == network("192.0.2.200") == b"4\xc0\x00\x02"


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", " 1.2.3.4", "1.2.3.4/24", "x", ":"]
)
def test_what_is_no_address_has_no_network(text: str) -> None:
    """Anything that is not exactly one address has neither form nor network."""
    assert canonical(text) is None
    assert network(text) is None
    assert network(None) is None
