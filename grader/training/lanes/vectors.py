"""A vector register as a number in compiled code: one float32 of LANES images.

Addresses are whole numbers, in bytes. The operations are those LLVM has for vectors
(llvm.org/docs/LangRef.html); comparisons are such that NaN stays NaN.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numpy.polynomial import Chebyshev, Polynomial


def _lanes() -> tuple[int, int]:
    """Return how many float32 a register of this processor has, and how many registers."""
    has = llvm.get_host_cpu_features()
    if has.get("avx512f") and has.get("avx512vl"):
        return 16, 32
    return (8, 16) if has.get("avx2") and has.get("fma") else (0, 0)


LANES, REGISTERS = _lanes()
"""0 where this package has no use: then PyTorch's own operations are taken."""

BYTES = 4 * LANES

FLOAT, INT = ir.FloatType(), ir.IntType(32)
VECTOR, INTS = ir.VectorType(FLOAT, max(LANES, 1)), ir.VectorType(INT, max(LANES, 1))
ZERO = ir.Constant(VECTOR, [0.0] * max(LANES, 1))

_FAR = 126.0  # powers of two beyond leave the range of float32
_SERIES = Chebyshev.interpolate(np.exp2, 5, [-0.5, 0.5]).convert(kind=Polynomial).coef.tolist()


class Vector(types.Type):
    """Numba's name for a register."""


vector = Vector("vector")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: object, kind: Vector) -> None:
        super().__init__(manager, kind, VECTOR)


Emit = Callable[[ir.IRBuilder, Sequence[Any]], Any]


def operation(result: Any, arguments: Sequence[Any]) -> Callable[[Emit], Any]:
    """Make a function of compiled code out of one that writes its instructions."""

    def make(emit: Emit) -> Any:
        def typed(_: Any, *given: Any) -> Any:
            def generate(target: Any, builder: ir.IRBuilder, _: Any, args: Any) -> Any:
                done = emit(builder, args)
                return target.get_dummy_value() if result is types.void else done

            return result(*arguments), generate

        # Numba asks the function how many arguments it takes.
        names = ["context", *(f"argument{i}" for i in range(len(arguments)))]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        typed.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
        return intrinsic(typed)

    return make


def at(builder: ir.IRBuilder, address: Any, kind: ir.Type = VECTOR) -> Any:
    """Return a pointer to what lies at an address."""
    return builder.inttoptr(address, kind.as_pointer())


def spread(builder: ir.IRBuilder, number: Any, kind: ir.VectorType = VECTOR) -> Any:
    """Fill a register with one number."""
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, number, INT(0))
    return builder.shuffle_vector(first, empty, ir.Constant(INTS, [0] * LANES))


def multiply_add(builder: ir.IRBuilder, x: Any, y: Any, z: Any) -> Any:
    """Return x · y + z, rounded once."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [x, y, z])


@operation(vector, [types.intp])
def load(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Read what lies at an address; arguments address."""
    return builder.load(at(builder, args[0]), align=4)


@operation(types.void, [types.intp, vector])
def store(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Write to an address; arguments address, value."""
    return builder.store(args[1], at(builder, args[0]), align=4)


@operation(vector, [types.float32])
def fill(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Give every lane a number; arguments number."""
    return spread(builder, args[0])


@operation(vector, [vector, vector, vector])
def fma(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return x · y + z; arguments x, y, z."""
    return multiply_add(builder, *args)


@operation(vector, [vector, vector])
def plus(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return the sum; arguments x, y."""
    return builder.fadd(*args)


@operation(vector, [vector, vector])
def minus(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return the difference; arguments x, y."""
    return builder.fsub(*args)


@operation(vector, [vector, vector])
def times(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return the product; arguments x, y."""
    return builder.fmul(*args)


@operation(vector, [vector, vector])
def at_least(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return the larger one, NaN where x is; arguments x, bound."""
    x, bound = args
    return builder.select(builder.fcmp_ordered("<", x, bound), bound, x)


@operation(vector, [vector, vector])
def larger(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return the larger one, NaN where either is; arguments x, y."""
    x, y = args
    takes_y = builder.or_(builder.fcmp_ordered("<", x, y), builder.fcmp_unordered("uno", y, y))
    return builder.select(takes_y, y, x)


@operation(vector, [vector, vector, vector])
def where_above(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return the value, and 0 where x ≤ bound; arguments x, bound, value."""
    x, bound, value = args
    return builder.select(builder.fcmp_ordered("<=", x, bound), ZERO, value)


@operation(vector, [vector, vector, vector, vector])
def where_equal(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return the value where x = y, else the other; arguments x, y, value, other."""
    x, y, value, other = args
    return builder.select(builder.fcmp_ordered("==", x, y), value, other)


@operation(vector, [vector])
def sigmoid(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return 1 / (1 + e⁻ˣ), to 2⁻²² of 1; arguments x.

    e⁻ˣ is a power of two: its whole part goes to the exponent of a number, the rest into a series.
    """

    def all_lanes(number: float) -> Any:
        return ir.Constant(VECTOR, [number] * LANES)

    t = builder.fmul(args[0], all_lanes(-1 / math.log(2)))
    for order, bound in (("<", all_lanes(-_FAR)), (">", all_lanes(_FAR))):
        t = builder.select(builder.fcmp_ordered(order, t, bound), bound, t)
    # So large a sum has no room for halves: its last bits are the whole part, with the bias that
    # exponents have.
    large = all_lanes(1.5 * 2**23 + 127)
    whole = builder.fadd(t, large)
    rest = builder.fsub(t, builder.fsub(whole, large))
    series = all_lanes(_SERIES[-1])
    for factor in _SERIES[-2::-1]:
        series = multiply_add(builder, series, rest, all_lanes(factor))
    bits = builder.shl(builder.bitcast(whole, INTS), ir.Constant(INTS, [23] * LANES))
    one = all_lanes(1.0)
    return builder.fdiv(one, multiply_add(builder, series, builder.bitcast(bits, VECTOR), one))


@operation(vector, [vector, types.intp])
def of_images(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return 0 in the lanes from `count` on; arguments value, count."""
    value, count = args
    lane = ir.Constant(INTS, list(range(LANES)))
    bound = spread(builder, builder.trunc(count, INT), INTS)
    return builder.select(builder.icmp_signed("<", lane, bound), value, ZERO)


@operation(types.float64, [vector])
def total(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return the sum over the lanes; arguments value."""
    wide = ir.DoubleType()
    found = wide(0)
    for lane in range(LANES):
        element = builder.extract_element(args[0], INT(lane))
        found = builder.fadd(found, builder.fpext(element, wide))
    return found


@operation(vector, [vector, types.intp, types.intp, types.intp])
def kept(builder: ir.IRBuilder, args: Sequence[Any]) -> Any:
    """Return 0 where a random word is below `least`; arguments value, number, key, least.

    `number` tells this register from all others of the layer, `key` one step from another: the
    words of 32 bits are made of both, so that the way back finds the same ones, and nothing is
    stored.
    """
    value, number, key, least = args
    lane = ir.Constant(INTS, list(range(LANES)))
    first = builder.trunc(builder.mul(number, number.type(LANES)), INT)
    word = builder.add(spread(builder, first, INTS), lane)
    high = builder.trunc(builder.lshr(key, key.type(32)), INT)
    for part in (builder.trunc(key, INT), high):
        word = _mixed(builder, builder.xor(word, spread(builder, part, INTS)))
    below = builder.icmp_unsigned("<", word, spread(builder, builder.trunc(least, INT), INTS))
    return builder.select(below, ZERO, value)


def _mixed(builder: ir.IRBuilder, word: Any) -> Any:
    """Mix 32 bits so that each depends on all.

    Shifts and factors are those found by the search of github.com/skeeto/hash-prospector.
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = builder.xor(word, builder.lshr(word, ir.Constant(INTS, [shift] * LANES)))
        word = builder.mul(word, ir.Constant(INTS, [factor] * LANES))
    return builder.xor(word, builder.lshr(word, ir.Constant(INTS, [16] * LANES)))
