from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.addresses import Networks, Span, canonical, network, parse_span


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


def spans_of(*networks: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[Span]:
    """Return networks of the standard library as spans."""
    return [Span(network.version, int(network.network_address), int(network.broadcast_address)) for network in networks]


NETWORKS = st.builds(
    lambda address, keep: ipaddress.ip_network((address, address.max_prefixlen - keep), strict=False),
    st.one_of(
        st.ip_addresses(v=4, network="192.0.2.0/26"),
        st.ip_addresses(v=6, network="2001:db8::/122"),
        st.ip_addresses(v=4),
        st.ip_addresses(v=6, network="2000::/3"),
    ),
    st.integers(0, 5),
)


@given(NETWORKS)
def test_a_network_is_read_as_the_standard_library_reads_it(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    """A network, its two ends, and an IPv4 network mapped into IPv6 are the same addresses."""
    [expected] = spans_of(network)
    ends = f"{network.network_address},{network.broadcast_address}"
    for text in (str(network), f" {network} # ours", ends, f"{ends},Someone, Inc.,https://example.org/#a"):
        assert parse_span(text) == expected
    if network.version == 4:
        assert parse_span(f"::ffff:{network.network_address}/{96 + network.prefixlen}") == expected
        assert parse_span(f"::FFFF:{network.network_address},::ffff:{network.broadcast_address}") == expected


@given(st.lists(NETWORKS, max_size=8), st.lists(st.ip_addresses(v=4, network="192.0.2.0/25"), max_size=8))
def test_an_address_is_held_where_one_network_holds_it(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], inside: list[ipaddress.IPv4Address]
) -> None:
    """Networks that overlap, touch or repeat hold the addresses that any of them holds, at their edges too."""
    held = Networks(spans_of(*networks))
    edges = [
        ipaddress.ip_address(int(end) + step) if 0 <= int(end) + step < 2**network.max_prefixlen else end
        for network in networks
        for end in (network.network_address, network.broadcast_address)
        for step in (-1, 0, 1)
    ]
    for address in (*edges, *inside):
        plain = (address.ipv4_mapped if address.version == 6 else None) or address
        expected = any(plain in network for network in networks)
        assert (str(address) in held) == (address.exploded.upper() in held) == expected
        if address.version == 4:
            assert (f"::ffff:{address}" in held) == expected
    assert len(held) <= len(networks)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no network"),
        ("example.org", "is no network"),
        ("192.0.2.256/24", "is no network"),
        ("192.0.2.0/33", "a whole number from 1 to 32"),
        ("192.0.2.0/-1", "a whole number from 1 to 32"),
        ("192.0.2.0/", "a whole number from 1 to 32"),
        ("192.0.2.0/²", "a whole number from 1 to 32"),
        ("2001:db8::/" + "9" * 5000, "a whole number from 1 to 128"),
        ("192.0.2.0/255.255.255.0", "a whole number from 1 to 32"),
        ("192.0.2.7/24", "write 192.0.2.0/24, or 192.0.2.7 alone"),
        ("2001:db8::1/32", "write 2001:db8::/32, or 2001:db8::1 alone"),
        ("0.0.0.0/0", "is every address there is"),
        ("::/0", "is every address there is"),
        ("0.0.0.0,255.255.255.255", "is every address there is"),
        ("192.0.2.9,192.0.2.1", "ends before it begins"),
        ("192.0.2.9,2001:db8::", "begins in one family"),
        ("192.0.2.9,", "is no network"),
        ("start,end,name", "is no network"),
    ],
)
def test_what_is_no_network_is_refused(text: str, reason: str) -> None:
    """A line that names no network, or more than can be meant, says why."""
    with pytest.raises(ValueError, match=reason):
        parse_span(text)


@pytest.mark.parametrize(
    "value", [None, 7, b"192.0.2.1", "", "opaque", "192.0.2.1\0", "fe80::1%eth0", "\ud800", ":" * 99]
)
def test_what_is_no_address_is_held_by_nothing(value: object) -> None:
    """A set of networks is asked for anything, and holds addresses alone."""
    assert value not in Networks([parse_span("0.0.0.0/1"), parse_span("128.0.0.0/1"), parse_span("::/1")])
