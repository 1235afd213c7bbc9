# SPDX-License-Identifier: MIT
"""Operations of Keras 3 that a functional model has beside its layers: what x + y, x[:, 0] and
keras.ops make of Keras' tensors, and how masks are computed, which Keras 3 writes out."""

import numpy as np

from ....files.source import show
from ...infer import run_dtype
from ..call import BOOL, FLOAT, INT, layer
from ..target import Tensor

_TWO = {
    "Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "TrueDivide": "Div", "Divide": "Div",
    "Maximum": "Max", "Minimum": "Min", "Power": "Pow", "Equal": "Equal", "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual", "Less": "Less", "LessEqual": "LessOrEqual",
    "LogicalOr": "Or", "LogicalAnd": "And", "LogicalXor": "Xor", "Matmul": "MatMul",
}  # fmt: skip
_ONE = {
    "Negative": "Neg", "Absolute": "Abs", "Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt",
    "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Relu": "Relu",
}  # fmt: skip
_LOGICAL = ("LogicalOr", "LogicalAnd", "LogicalXor")
_FLOATS = ("TrueDivide", "Divide", "Power")  # what Keras computes in floats, whatever it is given


def _op(c):
    return c.item.class_name.removeprefix("ops.")


def _operands(c, values, op):
    """The names of values of one type: bool for logic, float32 if one is float, else int64."""
    dtypes = {c.target.facts[v.name].dtype for v in values if isinstance(v, Tensor)}
    numbers = [v for v in values if not isinstance(v, Tensor)]
    if not all(isinstance(v, bool | int | float | np.ndarray) for v in numbers):
        raise c.error(f"an operand is {show(str(numbers[0]))}")
    if op in _LOGICAL:
        to, code = BOOL, 9
    elif FLOAT in dtypes or op in _FLOATS or any(np.asarray(v).dtype.kind == "f" for v in numbers):
        to, code = FLOAT, 1
    elif dtypes == {BOOL} and not numbers:
        to, code = BOOL, 9
    else:
        to, code = INT, 7
    found = []
    for v in values:
        if not isinstance(v, Tensor):
            found.append(c.constant(v, to))
        else:
            same = c.target.facts[v.name].dtype == to
            found.append(v.name if same else c.emit("Cast", v.name, to=code))
    return found


def _truth(c):
    """The only input as bool."""
    return c.x if c.target.facts[c.x].dtype == BOOL else c.emit("Cast", c.x, to=9)


@layer("ops.NotEqual", *(f"ops.{name}" for name in _TWO))
def two(c):
    values = [c.first, *c.others, c.argument("x1"), c.argument("x2")]
    values = [v for v in values if v is not None]
    if len(values) != 2:
        raise c.error(f"{len(values)} operands, 2 are due")
    names = _operands(c, values, _op(c))
    if _op(c) == "NotEqual":
        return c.emit("Not", c.emit("Equal", *names))
    return c.emit(_TWO[_op(c)], *names)


@layer(*(f"ops.{name}" for name in _ONE))
def one(c):
    return c.emit(_ONE[_op(c)], c.floats(c.x))


@layer("ops.LogicalNot")
def logical_not(c):
    return c.emit("Not", _truth(c))


@layer("ops.Softmax")
def softmax(c):
    return c.emit("Softmax", c.floats(c.x), axis=c.axis("axis", -1, len(c.shape())))


@layer("ops.Any", "ops.All", "ops.Sum", "ops.Mean", "ops.Max", "ops.Min")
def reduced(c):
    """Over some axes, or all; truth is reduced as numbers."""
    op, x = _op(c), c.x
    axes = c.config.get("axis")
    if axes is not None:
        axes = [axes] if not isinstance(axes, list) else axes
        rank = len(c.shape())
        axes = [c.integer_of(n, "axis", -rank, rank - 1) % rank for n in axes]
    axes = [] if axes is None else [c.constant(axes)]
    keep = int(c.flag("keepdims", False))
    if op in ("Any", "All"):
        truth = c.emit("Cast", _truth(c), to=1)
        y = c.emit("ReduceMax" if op == "Any" else "ReduceMin", truth, *axes, keepdims=keep)
        return c.emit("Greater", y, c.number_of(0))
    return c.emit(f"Reduce{op}", c.floats(x), *axes, keepdims=keep)


@layer("ops.ConvertToTensor", "ops.Cast", "ops.Identity")
def converted(c):
    kind = c.config.get("dtype")
    if kind is None:
        return c.x
    to = _dtype(c, kind)
    if c.target.facts[c.x].dtype == to:
        return c.x
    return c.emit("Cast", c.x, to={FLOAT: 1, INT: 7, BOOL: 9}[to])


def _dtype(c, kind):
    try:
        found = run_dtype(np.dtype(kind))
    except TypeError:
        found = None
    if found is None:
        raise c.error(f"dtype is {show(str(kind))}")
    return found


@layer("ops.ExpandDims")
def expand_dims(c):
    return c.unsqueeze(c.x, c.axis("axis", 0, len(c.shape()) + 1))


@layer("ops.ZerosLike", "ops.OnesLike")
def filled(c):
    kind = c.config.get("dtype")
    dtype = c.target.facts[c.x].dtype if kind is None else _dtype(c, kind)
    value = np.array([int(_op(c) == "OnesLike")], dtype)
    return c.emit("ConstantOfShape", c.emit("Shape", c.x), value=value)


@layer("ops.Concatenate")
def concatenate(c):
    if not c.inputs:
        raise c.error("no inputs")
    names = _operands(c, c.inputs, "Concatenate")
    return c.emit("Concat", *names, axis=c.axis("axis", 0, len(c.shape(names[0]))))


@layer("ops.GetItem")
def get_item(c):
    """x[key] of ints and slices."""
    x = c.x
    keys = c.others[0] if c.others else c.argument("key")
    keys = list(keys) if isinstance(keys, list | tuple) else [keys]
    rank = len(c.shape(x))
    if keys.count(...) == 1:
        at = keys.index(...)
        keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
    if len(keys) > rank or any(type(k) is not int and not isinstance(k, slice) for k in keys):
        raise c.error(f"the key {show(str(keys))} for {rank} axes")
    starts, ends, axes, steps, gone = [], [], [], [], []
    for axis, key in enumerate(keys):
        if type(key) is int:
            gone.append(axis)
            key = slice(key, key + 1 if key != -1 else None)
        parts = [key.start, key.stop, key.step]
        if any(p is not None and (type(p) is not int or abs(p) >= 1 << 31) for p in parts):
            raise c.error(f"the key {show(str(keys))}")
        step = 1 if key.step is None else key.step
        if step == 0:
            raise c.error("a step of 0")
        if parts == [None] * 3:
            continue
        far = (1 << 31) - 1
        starts.append(key.start if key.start is not None else 0 if step > 0 else -1)
        ends.append(key.stop if key.stop is not None else far if step > 0 else -(1 << 62))
        axes.append(axis)
        steps.append(step)
    if axes:
        x = c.emit("Slice", x, *(c.constant(n) for n in (starts, ends, axes, steps)))
    return c.squeeze(x, *gone) if gone else x
