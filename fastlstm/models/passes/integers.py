# SPDX-License-Identifier: MIT
"""Operators on small integers with scales and zero points, as operators of floats and of integers
of 64 bits, which are what plans compute with.

Sums of integers are products of float32 numbers here, which are exact as long as no sum, nor any
part of it, passes 2^24. Where it could, the weights are parted into digits, w = d[0] + b d[1] + ..,
each digit has a product of its own, and the sums are put together as integers.
"""

import numpy as np

from .put import replaced

EXACT = 2**24  # float32 holds all whole numbers up to this
_FLOAT, _INT64, _INT32 = 1, 7, 6  # Cast's `to`
TABLE = {}  # {operator: f(put, node)}, as put.py has it
_CODES = {"uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6}


def integers(edit):
    """All of them."""
    replaced(edit, TABLE)


def _of(op):
    def register(function):
        TABLE[op] = function
        return function

    return register


def _narrow(put, name, what, kinds=("uint8", "int8")):
    """The NumPy dtype of a value of small integers; ModelError for others."""
    fact = put.edit.facts[name]
    if fact.narrow is None or fact.narrow.name not in kinds:
        raise put.node.error(f"{what} is {fact.narrow or fact.dtype}, not {' or '.join(kinds)}")
    return fact.narrow


def _input(node, index):
    return node.inputs[index] if index < len(node.inputs) else ""


def _held(put, name, dtype):
    """The value as float32, or, of integers, as the C core has it."""
    value = put.value(name)
    if value is not None:
        return put.constant(value, dtype)
    return name if dtype is np.int64 else put("Cast", [name], to=_FLOAT)[0]


def _floats(put, name):
    return _held(put, name, np.float32)


def _shaped(put, name, shape, dtype=np.float32):
    """A scale or zero point, a scalar or vector, as a scalar or in the shape that broadcasts along
    an axis."""
    axes, value = put.shape(name), put.value(name)
    if value is not None:
        return put.constant(value.reshape(() if value.size == 1 else shape), dtype)
    name = _held(put, name, dtype)
    if axes == (1,):
        return put("Squeeze", [name, put.ints(0)])[0]
    return put("Reshape", [name, put.ints(*shape)])[0] if axes else name


def _centred(put, name, zero, shape):
    """The value less its zero point, float32."""
    known, by = put.value(name), put.value(zero) if zero else np.zeros((), np.uint8)
    if known is not None and by is not None:
        by = by.astype(np.float32)
        by = by.reshape(()) if by.size == 1 else by.reshape(shape) if by.ndim == 1 else by
        return put.constant(known.astype(np.float32) - by)
    if not zero:
        return _floats(put, name)
    if len(put.shape(zero)) > 1:
        return put("Sub", [_floats(put, name), _floats(put, zero)])[0]
    return put("Sub", [_floats(put, name), _shaped(put, zero, shape)])[0]


def _largest(put, name, zero, what):
    """The largest magnitude of an element less its zero point."""
    info, by = np.iinfo(_narrow(put, name, what)), put.value(zero) if zero else np.zeros(1)
    if by is None or not by.size:
        return info.max - info.min
    return max(info.max - int(by.min()), int(by.max()) - info.min)


def _digits(put, w, largest, axes):
    """[(digit, what it counts)] of constant integers `w`, so that sums over `axes` of products of
    each digit and numbers up to `largest` are exact."""
    for base in (0, 16, 4, 2):
        parts, factor, left = [], 1, w
        while base and np.abs(left).max(initial=0) >= base:
            parts.append((np.mod(left, base), factor))
            left, factor = np.floor(left / base), factor * base
        parts.append((left, factor))
        if all(np.abs(d).sum(axes).max(initial=0) * largest < EXACT for d, _ in parts):
            return parts
    raise put.node.error("it sums up more products of integers than are exact")


def _sums(put, run, w, largest, axes):
    """The name of exact sums, int64. run: f(name of float32 weights) -> the name of the product;
    w: the weights less their zero point, a name."""
    value = put.value(w)
    if value is None:
        shape = put.shape(w)
        if None in [shape[a] for a in axes] or (
            np.prod([shape[a] for a in axes]) * largest * 255 >= EXACT
        ):
            raise put.node.not_known("its weights are computed as the model runs, and too many")
        return put("Cast", [run(w)], to=_INT64)[0]
    total = None
    for digit, factor in _digits(put, value, largest, tuple(axes)):
        (part,) = put("Cast", [run(put.constant(digit))], to=_INT64)
        if factor > 1:
            (part,) = put("Mul", [part, put.constant(factor, np.int64)])
        total = part if total is None else put("Add", [total, part])[0]
    return total


def _product(put, a, a_zero, b, b_zero):
    """Exact sums of A B, int64: A (.., M, K) and its zero point, of all or of each row; B (.., K,
    N), and its zero point, of all or of each column."""
    largest = _largest(put, a, a_zero, "A")
    _narrow(put, b, "B")
    left, right = _centred(put, a, a_zero, (-1, 1)), _centred(put, b, b_zero, (-1,))
    axes = len(put.shape(b))

    def run(w):
        value = put.value(w)
        if value is not None and value.ndim == 2 and value.size and len(put.shape(left)):
            return put("Linear", [left, put.constant(np.ascontiguousarray(value.T))])[0]
        return put("MatMul", [left, w])[0]

    return _sums(put, run, right, largest, [axes - 2 if axes > 1 else 0])


def _convolution(put, x, x_zero, w, w_zero):
    """The same of a convolution of x with w, and their zero points."""
    largest = _largest(put, x, x_zero, "X")
    _narrow(put, w, "W")
    axes = len(put.shape(w))
    left, right = _centred(put, x, x_zero, ()), _centred(put, w, w_zero, [-1] + [1] * (axes - 1))
    attrs = put.node.attrs
    return _sums(
        put, lambda name: put("Conv", [left, name], **attrs)[0], right, largest, range(1, axes)
    )


@_of("MatMulInteger")
def mat_mul_integer(put, node):
    y = _product(put, node.inputs[0], _input(node, 2), node.inputs[1], _input(node, 3))
    put("Cast", [y], last=True, to=_INT32)


@_of("ConvInteger")
def conv_integer(put, node):
    y = _convolution(put, node.inputs[0], _input(node, 2), node.inputs[1], _input(node, 3))
    put("Cast", [y], last=True, to=_INT32)


def _saturated(put, y, zero, dtype):
    """round(y) + zero, cut to the dtype's range: the node's output."""
    (y,) = put("Round", [y])
    if zero:
        (y,) = put("Add", [y, zero])
    info = np.iinfo(dtype)
    (y,) = put("Clip", [y, put.constant(info.min), put.constant(info.max)])
    return y, _CODES[dtype.name]


def _rounded(put, sums, scales, y_zero, shapes):
    """The node's output from exact sums: times the product of two scales, by a third, rounded."""
    dtype = _narrow(put, y_zero, "Y's zero point")
    (y,) = put("Cast", [put("Cast", [sums], to=_INT32)[0]], to=_FLOAT)
    one, other, result = (
        _shaped(put, name, shape) for name, shape in zip(scales, shapes, strict=True)
    )
    known = [put.value(n) for n in (one, other, result)]
    if all(v is not None for v in known):
        with np.errstate(all="ignore"):
            factor = put.constant(known[0] * known[1] / known[2])
    else:
        (factor,) = put("Div", [put("Mul", [one, other])[0], result])
    y, code = _saturated(put, put("Mul", [y, factor])[0], _shaped(put, y_zero, (-1,)), dtype)
    put("Cast", [y], last=True, to=code)


@_of("QLinearMatMul")
def q_linear_mat_mul(put, node):
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    sums = _product(put, a, a_zero, b, b_zero)
    _rounded(put, sums, (a_scale, b_scale, y_scale), y_zero, ((-1, 1), (-1,), (-1,)))


@_of("QLinearConv")
def q_linear_conv(put, node):
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    sums, row = _convolution(put, x, x_zero, w, w_zero), [-1] + [1] * (len(put.shape(w)) - 2)
    bias = _input(node, 8)
    if bias:
        known = put.due(8, "its bias").astype(np.int64)
        (sums,) = put("Add", [sums, put.constant(known.reshape(row), np.int64)])
    _rounded(put, sums, (x_scale, w_scale, y_scale), y_zero, ((), row, ()))


# ---- single values ----


def _along(put, name, dtype=np.float32):
    """The scale or zero point `name` of the node's input, in a shape that broadcasts
    with it: of all, of each place along the attribute axis, or of blocks along it."""
    node, x = put.node, put.shape(put.node.inputs[0])
    shape, block = put.shape(name), node.attrs.get("block_size", 0)
    if shape in ((), (1,)):
        return _shaped(put, name, (), dtype)
    axis = node.attrs.get("axis", 1)
    if not -len(x) <= axis < len(x):
        raise node.error(f"axis {axis} of {len(x)} axes")
    axis %= len(x)
    if len(shape) == 1:
        if None not in (shape[0], x[axis]) and shape[0] != x[axis]:
            raise node.error(f"scales of the shape {shape} for axis {axis} of {x}")
        return _shaped(put, name, [-1 if i == axis else 1 for i in range(len(x))], dtype)
    if block < 1 or len(shape) != len(x):
        raise node.error(f"scales of the shape {shape} for {x} in blocks of {block}")
    if x[axis] is None:
        raise node.not_known(f"how many elements axis {axis} has, which is in blocks, is not known")
    at = put.constant(np.arange(x[axis]) // block, np.int64)
    if shape[axis] is not None and shape[axis] != -(-x[axis] // block):
        raise node.error(f"scales of the shape {shape} for {x} in blocks of {block}")
    return put("Gather", [_held(put, name, dtype), at], axis=axis)[0]


def _check_zero(put, scale, zero):
    shapes = [put.shape(n) for n in (scale, zero)]
    sizes = [None if None in s else int(np.prod(s)) for s in shapes]
    if None not in sizes and sizes[0] != sizes[1]:
        raise put.node.error(f"a zero point of the shape {shapes[1]}, scales of {shapes[0]}")


@_of("QuantizeLinear")
def quantize_linear(put, node):
    """Where it divides by 0 or NaN, 0 / 0 and NaN become 0, and infinity the end of the range."""
    x, scale, zero = node.inputs[0], node.inputs[1], _input(node, 2)
    dtype = put.edit.facts[node.outputs[0]].narrow
    if dtype is None or dtype.name not in _CODES or dtype.itemsize > 2:
        raise node.error(f"its output is {dtype or put.edit.facts[node.outputs[0]].dtype}")
    if put.edit.facts[x].dtype.kind != "f":
        x = _floats(put, x)
    if zero:
        _check_zero(put, scale, zero)
    (y,) = put("Div", [x, _along(put, scale)])
    y, code = _saturated(put, y, _along(put, zero) if zero else "", dtype)
    put("Cast", [y], last=True, to=code)


@_of("DequantizeLinear")
def dequantize_linear(put, node):
    x, scale, zero = node.inputs[0], node.inputs[1], _input(node, 2)
    fact = put.edit.facts[x]
    if fact.narrow is None:
        raise node.error(f"its input is {fact.dtype}")
    if zero:
        _check_zero(put, scale, zero)
    if zero and (put.value(zero) is None or put.value(zero).any()):
        (x,) = put("Sub", [x, _along(put, zero, np.int64)])
    (y,) = put("Cast", [x], to=_FLOAT)
    put("Mul", [y, _along(put, scale)], last=True)


@_of("DynamicQuantizeLinear")
def dynamic_quantize_linear(put, node):
    """By the range of x and 0, as reference/quantize.py says it."""
    x, (codes, scale, zero) = node.inputs[0], [*node.outputs, "", ""][:3]
    none, one = put.constant(0), put.constant(1)
    axes = put.ints(*range(len(put.shape(x))))
    (low,) = put("Min", [put("ReduceMin", [x, axes], keepdims=0)[0], none])
    (high,) = put("Max", [put("ReduceMax", [x, axes], keepdims=0)[0], none])
    (whole,) = put("Div", [put("Sub", [high, low])[0], put.constant(255)])
    (made,) = put("Add", [whole, put("Sub", [whole, whole])[0]])
    (by,) = put("Where", [put("Equal", [made, none])[0], one, made])
    (middle,) = put("Round", [put("Div", [put("Neg", [low])[0], by])[0]])
    (middle,) = put("Clip", [middle, none, put.constant(255)])
    (middle,) = put("Cast", [middle], to=2)
    if scale:
        put.to("Identity", [made], scale)
    if zero:
        put.to("Identity", [middle], zero)
    if codes:
        (y,) = put("Div", [x, by])
        y, code = _saturated(put, y, put("Cast", [middle], to=_FLOAT)[0], np.dtype(np.uint8))
        put.to("Cast", [y], codes, to=code)
