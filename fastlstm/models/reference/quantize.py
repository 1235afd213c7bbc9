# SPDX-License-Identifier: MIT
"""Operators on small integers, each with a scale and a zero point: x = (q - zero) * scale.

Sums of integers are computed in float64 by BLAS, which NumPy's integer products are not: they are
exact, as no sum reaches 2^53.
"""

import numpy as np

from .call import operator
from .conv import convolved
from .linear import product


def quantized(x, scale, zero, dtype):
    """round(x / scale) + zero, cut to the dtype's range. Halves go to the even number."""
    info = np.iinfo(dtype)
    whole = np.rint(x / scale) + np.asarray(zero, np.float32 if info.bits < 16 else np.float64)
    return np.clip(np.nan_to_num(whole), info.min, info.max).astype(dtype)


def _along(call, array, x, block):
    """A scale or zero point in a shape that broadcasts with x: of all of it, of each place along
    the attribute axis, or of blocks along it."""
    if array.size == 1 and array.ndim <= 1:
        return array.reshape(())
    axis = call.axis(call.attr("axis", 1), x.ndim)
    if array.ndim == 1:
        if array.shape[0] != x.shape[axis]:
            raise call.error(f"scales of the shape {array.shape} for axis {axis} of {x.shape}")
        return array.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    due = list(x.shape)
    due[axis] = -(-due[axis] // block) if block > 0 else -1
    if list(array.shape) != due:
        raise call.error(f"scales of the shape {array.shape} for {x.shape} in blocks of {block}")
    call.allowed(x.shape, array.dtype)
    return np.take(np.repeat(array, block, axis), np.arange(x.shape[axis]), axis)


@operator("QuantizeLinear", 2, 3)
def quantize_linear(call, x, scale, zero=None):
    call.kind(x, "fi", "its input")
    call.kind(scale, "f", "its scale")
    code = call.attr("output_dtype", 0)
    dtype = zero.dtype if zero is not None else call.dtype(code or 2, "output_dtype")
    call.kind(np.empty(0, dtype), "iu", "its output")
    if zero is not None and zero.size != scale.size:
        raise call.error(f"a zero point of the shape {zero.shape}, scales of {scale.shape}")
    call.allowed(x.shape, np.float64)
    block = call.attr("block_size", 0)
    s = _along(call, scale, x, block)
    z = 0 if zero is None else _along(call, zero, x, block)
    return quantized(x.astype(s.dtype), s, z, dtype)


@operator("DequantizeLinear", 2, 3)
def dequantize_linear(call, x, scale, zero=None):
    call.kind(x, "iu", "its input")
    call.kind(scale, "f", "its scale")
    if zero is not None:
        call.same(x, zero)
        if zero.size != scale.size:
            raise call.error(f"a zero point of the shape {zero.shape}, scales of {scale.shape}")
    call.allowed(x.shape, np.float32 if zero is None else np.int64)
    block = call.attr("block_size", 0)
    s, y = _along(call, scale, x, block), x
    if zero is not None:
        y = x.astype(np.int64) - _along(call, zero, x, block).astype(np.int64)
    y = y.astype(np.float32)
    code = call.attr("output_dtype", 0)
    dtype = call.dtype(code, "output_dtype") if code else scale.dtype
    return (y * s).astype(dtype)


def dynamic(x):
    """(codes, scale, zero point) of uint8 over the range of x and 0. Where x is nothing but zeros,
    or so small that the scale would be, the scale is 0; where it has infinite elements or NaN, the
    scale is NaN and the codes are 0, so that all sums of products are NaN."""
    low, high = np.minimum(x.min(initial=0), 0), np.maximum(x.max(initial=0), 0)
    scale = ((high - low) / x.dtype.type(255)).astype(x.dtype)
    scale = scale + (scale - scale)  # of infinity NaN
    by = scale if scale != 0 else x.dtype.type(1)
    zero = np.clip(np.nan_to_num(np.rint(-low / by)), 0, 255).astype(np.uint8)
    return quantized(x, by, zero, np.uint8), scale, zero


@operator("DynamicQuantizeLinear", 1)
def dynamic_quantize_linear(call, x):
    call.kind(x, "f", "its input")
    return dynamic(x)


def _centred(call, a, zero, rows, what):
    """a - zero as float64; the zero point is one, or of each row (rows=True) or column."""
    call.kind(a, "iu", what)
    call.allowed(a.shape, np.float64, f"{what} as float64")
    wide = a.astype(np.float64)
    if zero is None:
        return wide
    call.same(a, zero)
    if zero.size == 1 and zero.ndim <= 1:
        return wide - zero.reshape(())
    if zero.ndim == 1:
        zero = zero[:, None] if rows else zero
    if call.broadcast(a, zero, dtype=np.float64) != a.shape:
        raise call.error(f"{what}'s zero point of the shape {zero.shape} for {a.shape}")
    return wide - zero


def _integer(y):
    """int32, in which sums that do not fit start again from below."""
    return y.astype(np.int64).astype(np.int32)


@operator("MatMulInteger", 2, 4)
def mat_mul_integer(call, a, b, a_zero=None, b_zero=None):
    a = _centred(call, a, a_zero, True, "A")
    return _integer(product(call, a, _centred(call, b, b_zero, False, "B")))


def _rounded(y, factor, y_zero):
    """Sums, int32, times a float32 factor, as small integers."""
    info = np.iinfo(y_zero.dtype)
    y = np.rint(y.astype(np.float32) * factor) + y_zero.astype(np.float32)
    return np.clip(np.nan_to_num(y), info.min, info.max).astype(y_zero.dtype)


def _parameter(call, array, x, what):
    """A scale or zero point of x, whole or by its last axis but one."""
    if array.size == 1:
        return array.reshape(())
    if array.ndim == 1:
        array = array[:, None]
    if call.broadcast(x, array, dtype=np.float64) != x.shape:
        raise call.error(f"{what} of the shape {array.shape} for {x.shape}")
    return array


@operator("QLinearMatMul", 8)
def q_linear_mat_mul(call, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero):
    a_scale = _parameter(call, a_scale, a, "A's scale")
    y = product(call, _centred(call, a, a_zero, True, "A"), _centred(call, b, b_zero, False, "B"))
    call.kind(y_zero, "iu", "Y's zero point")
    factor = a_scale.astype(np.float32) * b_scale.astype(np.float32) / y_scale
    return _rounded(_integer(y), factor, y_zero)


def _conv_parts(call, x, x_zero, w, w_zero):
    x = _centred(call, x, x_zero, False, "X")
    if w_zero is not None and w_zero.size > 1:
        if w_zero.shape != w.shape[:1]:
            raise call.error(f"W's zero point of the shape {w_zero.shape} for {w.shape}")
        w_zero = w_zero.reshape([-1] + [1] * (w.ndim - 1))
    return x, _centred(call, w, w_zero, False, "W")


@operator("ConvInteger", 2, 4)
def conv_integer(call, x, w, x_zero=None, w_zero=None):
    x, w = _conv_parts(call, x, x_zero, w, w_zero)
    return _integer(convolved(call, x, w))


@operator("QLinearConv", 8, 9)
def q_linear_conv(call, x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias=None):
    x, w = _conv_parts(call, x, x_zero, w, w_zero)
    y = convolved(call, x, w, None if bias is None else bias.astype(np.float64))
    call.kind(y_zero, "iu", "Y's zero point")
    factor = x_scale.astype(np.float32) * w_scale.astype(np.float32) / y_scale
    factor = factor.reshape([-1] + [1] * (y.ndim - 2) if factor.size > 1 else ())
    return _rounded(_integer(y), factor, y_zero)
