# SPDX-License-Identifier: MIT
"""Operations of Keras 3 that a functional model has beside its layers: what x + y, x[:, 0] and
keras.ops make of Keras' tensors."""

import numpy as np

from ....files.source import show
from ..call import layer
from ..target import Tensor

_TWO = {
    "Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "TrueDivide": "Div", "Divide": "Div",
    "Maximum": "Max", "Minimum": "Min", "Power": "Pow",
}  # fmt: skip
_ONE = {
    "Negative": "Neg", "Absolute": "Abs", "Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt",
    "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Relu": "Relu",
}  # fmt: skip


def _operand(c, value):
    if isinstance(value, Tensor):
        return c.floats(value.name)
    if isinstance(value, int | float | np.ndarray) and not isinstance(value, bool):
        return c.constant(value, np.float32)
    raise c.error(f"an operand is {show(str(value))}")


@layer(*(f"ops.{name}" for name in _TWO))
def two(c):
    values = [c.first, *c.others]
    values += [v for v in (c.argument("x1"), c.argument("x2")) if v is not None]
    values = [v for v in values if v is not None]
    if len(values) != 2:
        raise c.error(f"{len(values)} operands, 2 are due")
    return c.emit(_TWO[c.item.class_name[4:]], *(_operand(c, v) for v in values))


@layer(*(f"ops.{name}" for name in _ONE))
def one(c):
    return c.emit(_ONE[c.item.class_name[4:]], c.floats(c.x))


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
