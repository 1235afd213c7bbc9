# SPDX-License-Identifier: MIT
"""ONNX operators on constant arrays: those that exporters put between the stored weights and a
recurrent layer, instead of storing the weights in the shape and order that the layer takes.

By the operators' definitions in docs/Operators.md and docs/Changelog.md of onnx/onnx. An operator
is a function f(node, [array or None for each input]) -> array, Tensor, or None if it has no value.
"""

import numpy as np

from ...errors import LoadError
from .attribute import FLOAT, FLOATS, INT, INTS, TENSOR
from .tensor import Tensor, dequantized, dtype_of

# A value may have 6 bytes for each byte of the file and this many: dequantised int8 weights are 4
# times as large, and small files compute shapes and zeros.
MAX_FOLDED = 1 << 20


def _ints(node, attribute, array):
    """The list of ints of an input, if `array` is given, or else of an attribute, which older
    models have instead; None without either. More than 64, which no shape has, are left out."""
    if array is not None:
        return [int(n) for n in np.asarray(array).reshape(-1)[:64]]
    value = node.get(attribute, INTS)
    return None if value is None else value[:64]


def _at(values, index):
    """The input `index`, or None if it is not given."""
    return values[index] if index < len(values) else None


def _constant(node, values):
    for name, due, dtype in (
        ("value_float", FLOAT, "f4"), ("value_int", INT, "i8"), ("value_floats", FLOATS, "f4"),
        ("value_ints", INTS, "i8"),
    ):  # fmt: skip
        if name in node.attributes:
            return np.array(node.get(name, due), dtype)
    value = node.get("value", TENSOR)
    return value if value is not None and value.readable else None


def _cast(node, values):
    dtype = dtype_of(node.get("to", INT))
    return None if dtype is None else values[0].astype(dtype)


def _slice(node, values):
    x = values[0]
    starts, ends = (_ints(node, n, _at(values, i)) for i, n in ((1, "starts"), (2, "ends")))
    axes = _ints(node, "axes", _at(values, 3)) or list(range(len(starts)))
    steps = _ints(node, "steps", _at(values, 4)) or [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        start = max(start + size if start < 0 else start, 0)
        end = end + size if end < 0 else end
        if end < 0:  # still: the end lies before the first element
            end = None if step < 0 else 0
        cut[axis] = slice(start, end, step)
    return x[tuple(cut)]


def _unsqueeze(node, values):
    axes = _ints(node, "axes", _at(values, 1))
    return np.expand_dims(values[0], tuple(axes))


def _squeeze(node, values):
    axes = _ints(node, "axes", _at(values, 1))
    return np.squeeze(values[0], None if axes is None else tuple(axes))


def _reshape(node, values):
    shape = _ints(node, "shape", _at(values, 1))
    if not node.get("allowzero", INT):
        shape = [values[0].shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return values[0].reshape(shape)


def _constant_of_shape(node, values):
    fill = node.get("value", TENSOR)
    fill = np.float32(0) if fill is None else fill.array().reshape(-1)[0]
    shape = tuple(int(n) for n in values[0])
    return np.broadcast_to(fill, shape)  # a view that takes no memory, whatever its shape


def _dequantize(node, values):
    x, scale, zero = values[0], values[1], _at(values, 2)
    if node.get("block_size", INT):
        return None
    if scale.ndim:
        shape = [1] * x.ndim
        shape[node.get("axis", INT, 1)] = -1
        scale = scale.reshape(shape)
        zero = None if zero is None else zero.reshape(shape)
    return dequantized(x, scale, 0 if zero is None else zero)


FOLDED = {
    "Identity": lambda node, values: values[0],
    "Constant": _constant,
    "Cast": _cast,
    "Slice": _slice,
    "Concat": lambda node, values: np.concatenate(values, axis=node.get("axis", INT, 1)),
    "Transpose": lambda node, values: np.transpose(values[0], node.get("perm", INTS) or None),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantize,
}


def fold(node, values, external):
    """The array of the output of `node`, whose operator is in FOLDED; None if it has no value.

    values     [array, or None for an input that is not given]
    external   whether a Constant's tensor may be read from files other than <model>.data

    LoadError if inputs and attributes do not fit together, or too much memory would be needed.
    """
    wire = node.span.wire
    limit = 6 * wire.size + MAX_FOLDED
    if node.op in ("Concat", "Cast", "DequantizeLinear"):
        wire.charge_value(8 * sum(value.size for value in values if value is not None))
    if node.op == "Reshape" and values and values[0] is not None:
        wire.charge_value(0 if values[0].flags.c_contiguous else values[0].nbytes)
    try:
        result = FOLDED[node.op](node, values)
    except LoadError:
        raise
    except (ValueError, IndexError, TypeError, AttributeError, OverflowError, MemoryError):
        raise node.error("its inputs and attributes do not fit together") from None
    if isinstance(result, Tensor):
        result = result.array(external)
    if result is not None and result.nbytes > limit:
        raise node.error(f"a constant of {result.nbytes} bytes, {limit} is the limit")
    return result
