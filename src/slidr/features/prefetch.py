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


@intrinsic
def _turn_ring(
    _context: Any, words: Any, _at: Any, ages: Any, _age: Any, hop: Any, since: Any, ones: Any, _one: Any
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def lanes(of: int, ahead: int, number: int) -> Any:
            data = context.make_array(signature.args[of])(context, builder, arguments[of]).data
            first = builder.gep(data, [builder.add(arguments[of + 1], ir.IntType(64)(ahead))])
            return builder.bitcast(first, ir.VectorType(first.type.pointee, number).as_pointer())

        def joined(one: Any, other: Any, places: list[int]) -> Any:
            return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))

        def splat(value: Any) -> Any:
            vector = builder.insert_element(ir.Constant(ir.VectorType(value.type, 8), ir.Undefined), value, whole(0))
            return joined(vector, vector, [0] * 8)

        whole = ir.IntType(32)
        first, last = lanes(0, 0, 4), lanes(0, 4, 2)
        pair = builder.load(last, align=4)
        four = joined(pair, ir.Constant(pair.type, [0, 0]), [0, 1, 2, 3])
        held = joined(builder.load(first, align=4), four, [*range(8)])
        begins = builder.fmul(builder.load(lanes(2, 0, 8), align=8), splat(arguments[4]))
        live = builder.fcmp_ordered(">=", begins, splat(arguments[5]))
        kept = builder.select(live, held, ir.Constant(held.type, [0] * 8))
        counts = builder.add(kept, builder.load(lanes(6, 0, 8), align=4))
        builder.store(joined(counts, counts, [0, 1, 2, 3]), first, align=4)
        builder.store(joined(counts, counts, [4, 5]), last, align=4)
        kind = ir.FunctionType(whole, [counts.type])
        name = "llvm.vector.reduce.add.v8i32"
        function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        return builder.call(function, [counts])

    return types.uint32(words, types.int64, ages, types.int64, hop, since, ones, types.int64), generate


turn_ring = cast("Callable[[Any, Any, Any, Any, Any, Any, Any, Any], Any]", _turn_ring)
"""Move a ring of six counts, `words[at:at + 6]`, on and count a click in it, in vectors; returns its new total.

A count whose hop, `ages[age:age + 8]` times `hop` before the present one, begins `since` or longer ago is dropped.
What is added to each is `ones[one:one + 8]`.
"""
