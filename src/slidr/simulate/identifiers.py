"""Identifiers as text, made from whole numbers a column at a time: hashed ids and IP addresses."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_WIDTH = 16
_BYTES = np.array([f"{byte:02x}".encode() for byte in range(256)], dtype="S2").view(np.uint16)
_FIRST_IPV6 = np.uint64(1 << 32)
# First octets that hold no private, reserved, documentation or multicast network.
_PUBLIC = np.array([n for n in range(2, 223) if n not in {10, 100, 127, 169, 172, 192, 198, 203}], dtype=np.uint64)
_IPV6_BLOCKS = np.uint64(0x2A00)


def mix(numbers: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers one to one, so that distinct numbers stay distinct and tell nothing of their order.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).

    >>> len(set(mix(np.arange(1000, dtype=np.uint64), salt=7).tolist()))
    1000
    """
    mixed = (numbers ^ np.uint64(salt)) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hexadecimal(numbers: NDArray[np.uint64], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return 64-bit numbers as strings of 16 hexadecimal digits, null where missing.

    >>> hexadecimal(np.array([255], dtype=np.uint64)).to_pylist()
    ['00000000000000ff']
    """
    rows = len(numbers)
    text = _BYTES[numbers.astype(">u8").view(np.uint8)]
    offsets = np.arange(rows + 1, dtype=np.int32) * _WIDTH
    strings = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))
    return blank(strings, missing)


def blank(values: pa.Array, missing: NDArray[np.bool_] | None) -> pa.Array:
    """Return an array with nulls where missing."""
    if missing is None or not missing.any():
        return values
    return pc.if_else(pa.array(missing), pa.scalar(None, values.type), values)


def draw_networks(generator: np.random.Generator, size: int) -> NDArray[np.uint64]:
    """Draw IPv4 networks of 256 addresses, public-looking, as their lowest addresses, uint64[size]."""
    first = _PUBLIC[generator.integers(0, len(_PUBLIC), size)]
    rest = generator.integers(0, 1 << 16, size, dtype=np.uint64)
    return (first << np.uint64(24)) | (rest << np.uint64(8))


def draw_addresses(
    networks: NDArray[np.uint64], size: int, ipv6_share: float, generator: np.random.Generator
) -> NDArray[np.uint64]:
    """Draw addresses in these networks; some are IPv6, written as the upper half of the address, uint64[size]."""
    host = generator.integers(1, 255, size, dtype=np.uint64)
    ipv4 = networks[generator.integers(0, len(networks), size)] + host
    block = _IPV6_BLOCKS + generator.integers(0, 16, size, dtype=np.uint64)
    ipv6 = (block << np.uint64(48)) | generator.integers(0, 1 << 48, size, dtype=np.uint64)
    return np.where(generator.random(size) < ipv6_share, ipv6, ipv4)


def address_text(addresses: NDArray[np.uint64]) -> pa.Array:
    """Return addresses as text: dotted IPv4, or canonical IPv6 for numbers of 2^32 and more.

    >>> address_text(np.array([0x08080404], dtype=np.uint64)).to_pylist()
    ['8.8.4.4']
    """
    unique, place = np.unique(addresses, return_inverse=True)
    split = int(np.searchsorted(unique, _FIRST_IPV6))
    strings = pa.concat_arrays([_dotted(unique[:split]), _colons(unique[split:])])
    return strings.take(pa.array(place))


def _dotted(addresses: NDArray[np.uint64]) -> pa.Array:
    octets = [((addresses >> np.uint64(shift)) & np.uint64(255)).astype(np.int64) for shift in (24, 16, 8, 0)]
    decimal = pa.array([str(octet) for octet in range(256)])
    return pc.binary_join_element_wise(*(decimal.take(pa.array(octet)) for octet in octets), ".")


def _colons(prefixes: NDArray[np.uint64]) -> pa.Array:
    # The lower half, a device's own, follows from the upper half. No group is zero, so that nothing can be abridged.
    halves = (prefixes, mix(prefixes, salt=0))
    groups = [(half >> np.uint64(shift)) & np.uint64(0xFFFF) for half in halves for shift in (48, 32, 16, 0)]
    words = _words()
    taken = [words.take(pa.array(np.maximum(group, np.uint64(1)).astype(np.int64))) for group in groups]
    return pc.binary_join_element_wise(*taken, ":")


@cache
def _words() -> pa.Array:
    return pa.array([f"{word:x}" for word in range(1 << 16)])
