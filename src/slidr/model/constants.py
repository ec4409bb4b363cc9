"""Constants of a graph: the arrays of weights, read without the packages of training.

An ONNX file is a protocol buffer; of it only the initialisers are read here (onnx.proto: ModelProto.graph is field 7,
GraphProto.initializer 5, and of TensorProto dims 1, data_type 2, name 8 and raw_data 9).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from slidr.errors import BundleError
from slidr.metrics import Float32s

_GRAPH, _INITIALISER = 7, 5
_DIMS, _KIND, _NAME, _RAW = 1, 2, 8, 9
_FLOAT = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def constants_of(graph: bytes) -> dict[str, Float32s]:
    """Return the float32 arrays that a graph holds as initialisers, by name; a forest of trees holds none.

    Raises:
        BundleError: the bytes are no graph.
    """
    found = {}
    try:
        for number, model in _fields(graph):
            if number == _GRAPH and isinstance(model, bytes):
                for place, tensor in _fields(model):
                    if place == _INITIALISER and isinstance(tensor, bytes):
                        name, values = _tensor(tensor)
                        if values is not None:
                            found[name] = values
    except (IndexError, ValueError) as fault:
        raise BundleError(f"the network is no ONNX graph: {fault}") from None
    return found


def _tensor(content: bytes) -> tuple[str, Float32s | None]:
    dims: list[int] = []
    kind, name, raw = 0, "", b""
    for number, value in _fields(content):
        if number == _DIMS:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == _KIND and isinstance(value, int):
            kind = value
        elif number == _NAME and isinstance(value, bytes):
            name = value.decode()
        elif number == _RAW and isinstance(value, bytes):
            raw = value
    if kind != _FLOAT:
        return name, None
    values: NDArray[np.float32] = np.frombuffer(raw, "<f4").reshape(dims).astype(np.float32)
    return name, values


def _packed(content: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(content):
        number, at = _varint(content, at)
        numbers.append(number)
    return numbers


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Return the fields of a message: the number of each, and its whole number or its bytes."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            whole, at = _varint(content, at)
            yield number, whole
            continue
        if wire == _BYTES:
            size, at = _varint(content, at)
        elif wire in {_FIXED32, _FIXED64}:
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"a field of wire type {wire} at byte {at}")
        if at + size > len(content):
            raise ValueError(f"it ends at byte {len(content)}, within a field of {size} bytes at byte {at}")
        yield number, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 the last byte has its highest bit clear
            return number, at
