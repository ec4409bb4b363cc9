"""What numba does not offer the kernels: prefetching, indices known to be natural, words read from bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic
def _prefetch(_context: Any, array: Any, _index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        llvm = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        # For writing, to be kept in all caches, data and not instructions.
        builder.call(llvm, [address, flag(1), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


prefetch = cast("Callable[[Any, Any], None]", _prefetch)
"""Fetch the cache line of `array[index]` of a one-dimensional contiguous array; changes nothing."""


@intrinsic
def _natural(_context: Any, _whole: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(1)])
        assume = cgutils.get_or_insert_function(builder.module, kind, "llvm.assume")  # type: ignore[no-untyped-call]
        builder.call(assume, [builder.icmp_signed(">=", arguments[0], ir.IntType(64)(0))])
        return arguments[0]

    return types.int64(types.int64), generate


natural = cast("Callable[[Any], Any]", _natural)
"""Return a whole number that is known not to be negative: as an index, it needs no correction from the array's end."""


@intrinsic
def _eight_bytes(_context: Any, array: Any, _index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())
        word = builder.load(address, align=1)
        return word if sys.byteorder == "little" else builder.bswap(word)

    return types.uint64(array, types.int64), generate


eight_bytes = cast("Callable[[Any, Any], Any]", _eight_bytes)
"""Return the eight bytes of a contiguous uint8 array from an index on as one number, the first byte the lowest."""
