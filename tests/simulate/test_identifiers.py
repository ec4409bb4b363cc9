from __future__ import annotations

import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidr.simulate.identifiers import address_text, blank, draw_addresses, draw_networks, hexadecimal, mix


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=200), st.integers(0, 2**63 - 1))
def test_mix_is_one_to_one(numbers: list[int], salt: int) -> None:
    """Distinct numbers stay distinct under any salt."""
    assert len(set(mix(np.array(numbers, dtype=np.uint64), salt).tolist())) == len(numbers)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_hexadecimal_reads_back(numbers: list[int]) -> None:
    """The text of a number is its value in 16 hexadecimal digits."""
    text = hexadecimal(np.array(numbers, dtype=np.uint64)).to_pylist()
    assert [int(digits, 16) for digits in text] == numbers
    assert all(len(digits) == 16 for digits in text)


def test_missing_values_are_null() -> None:
    """A masked identifier is null and the others stay."""
    text = hexadecimal(np.arange(3, dtype=np.uint64), np.array([False, True, False]))
    assert text.is_null().to_pylist() == [False, True, False]
    assert blank(text, None) is text


def test_addresses_are_public_and_canonical() -> None:
    """Every address is global, and IPv6 stands in its canonical form, at about the share asked for."""
    generator = np.random.default_rng(5)
    addresses = draw_addresses(draw_networks(generator, 500), 5_000, 0.1, generator)
    text = address_text(addresses).to_pylist()
    parsed = [ipaddress.ip_address(address) for address in text]
    assert all(address.is_global for address in parsed)
    assert [str(address) for address in parsed] == text
    assert 0.08 < sum(address.version == 6 for address in parsed) / 5_000 < 0.12


def test_addresses_keep_their_rows() -> None:
    """Repeated addresses read the same wherever they stand."""
    addresses = np.array([0x05060708, 1 << 60, 0x05060708, 0x01020304], dtype=np.uint64)
    text = address_text(addresses).to_pylist()
    assert text[0] == text[2] == "5.6.7.8"
    assert text[3] == "1.2.3.4"
    assert ":" in text[1]
