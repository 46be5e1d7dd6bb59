"""Arithmetic that Numba lacks, for kernels on the CPU: bfloat16, and an exponential that is vectorized."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""LLVM may reorder sums, as vectorizing them needs; infinity stays infinity."""

_FLOAT, _INT, _UINT, _SHORT = np.float32, np.int32, np.uint32, np.uint16


@intrinsic
def from_bfloat16(_, bits):
    """Convert the 16 bits of a bfloat16, which Numba does not know, to float32: they are its upper half."""

    def generate(_context, builder, _signature, arguments):
        wide = builder.zext(arguments[0], ir.IntType(32))
        return builder.bitcast(builder.shl(wide, wide.type(16)), ir.FloatType())

    return types.float32(bits), generate


@intrinsic
def _from_bits(_, bits):
    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def _to_bits(_, value):
    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


def to_float(value: Any) -> Any:
    """Convert to float32; uint16 holds the bits of a bfloat16."""
    raise NotImplementedError


@overload(to_float, inline="always")
def _to_float(value):
    if value == types.uint16:
        return lambda value: from_bfloat16(value)
    return lambda value: _FLOAT(value)


def put(values: Any, at: Any, value: Any) -> None:
    """Store a float32 in an array of float32, or rounded in one of uint16 that holds the bits of bfloat16."""
    raise NotImplementedError


@overload(put, inline="always")
def _put(values, at, value):
    def put_float(values, at, value):
        values[at] = value

    def put_bfloat16(values, at, value):
        # To the nearest, and to the even one of two that are equally near.
        bits = _to_bits(value)
        values[at] = _SHORT((bits + _UINT(0x7FFF) + ((bits >> _UINT(16)) & _UINT(1))) >> _UINT(16))

    return put_bfloat16 if values.dtype == types.uint16 else put_float


@njit(fastmath=FAST, inline="always")
def exp(x):
    """Return e to the power of a float32 of at most 88, with an error of two units in the last place.

    As in Cephes: x = n · ln 2 + r, and a polynomial of r (Moshier 1992).
    """
    x = max(x, _FLOAT(-87))
    n = np.floor(x * _FLOAT(1.44269504) + _FLOAT(0.5))
    r = x - n * _FLOAT(0.693359375) + n * _FLOAT(2.12194440e-4)
    p = _FLOAT(1.9875691500e-4)
    p = p * r + _FLOAT(1.3981999507e-3)
    p = p * r + _FLOAT(8.3334519073e-3)
    p = p * r + _FLOAT(4.1665795894e-2)
    p = p * r + _FLOAT(1.6666665459e-1)
    p = p * r + _FLOAT(5.0000001201e-1)
    p = p * r * r + r + _FLOAT(1)
    return p * _from_bits((_INT(n) + _INT(127)) << _INT(23))
