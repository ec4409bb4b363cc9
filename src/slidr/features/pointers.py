"""Pointers: arrays that a kernel finds by their addresses.

Numba takes every array that it is given apart, by name, each in a tenth of a microsecond: for one click folded into six
blocks that was most of the time. A kernel that is given a matrix of addresses makes the arrays itself, for nothing.
Whoever hands addresses over keeps the arrays alive.
"""

from __future__ import annotations

from typing import Any, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np import arrayobj
from numpy.typing import DTypeLike

_WORD = ir.IntType(64)


def array_at(dtype: DTypeLike, rows: int = 0) -> Any:
    """Return what makes, inside a kernel, an array of an address and a length, contiguous.

    Args:
        dtype: of its elements.
        rows: of a matrix, whose columns the length then is; 0 for an array of one dimension.
    """
    kind = types.Array(numba.from_dtype(np.dtype(dtype)), 2 if rows else 1, "C")
    item = _WORD(np.dtype(dtype).itemsize)

    @intrinsic
    def made(_context: Any, _address: Any, _length: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            address, length = arguments
            array = context.make_array(kind)(context, builder)
            arrayobj.populate_array(  # type: ignore[no-untyped-call]
                array,
                data=builder.inttoptr(address, array.data.type),
                shape=[_WORD(rows), length] if rows else [length],
                strides=[builder.mul(length, item), item] if rows else [item],
                itemsize=item,
                meminfo=None,
            )
            return array._getvalue()  # noqa: SLF001 numba's own way

        return kind(types.int64, types.int64), generate

    return cast("Any", made)
