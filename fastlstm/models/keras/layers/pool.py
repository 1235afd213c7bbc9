# SPDX-License-Identifier: MIT
"""Pools over all steps or points."""

from ..call import layer


def _axes(c):
    n = next(int(ch) for ch in c.item.class_name if ch in "123")
    c.rank(c.x, n + 2)
    return list(range(2, n + 2)) if c.channels_first() else list(range(1, n + 1))


@layer("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "GlobalMaxPool1D",
       "GlobalMaxPool2D", "GlobalMaxPool3D")  # fmt: skip
def global_max(c):
    """The largest of all steps: masks are not looked at."""
    keep = int(c.flag("keepdims", False))
    return c.emit("ReduceMax", c.floats(c.x), c.constant(_axes(c)), keepdims=keep)


@layer("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
       "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D")  # fmt: skip
def global_average(c):
    """The mean of all steps; of one dimension, of those that count."""
    x, axes, keep = c.floats(c.x), c.constant(_axes(c)), int(c.flag("keepdims", False))
    if not c.mask or "1D" not in c.item.class_name:
        return c.emit("ReduceMean", x, axes, keepdims=keep)
    mask = c.unsqueeze(c.mask, 1 if c.channels_first() else 2)
    kept = c.emit("Where", mask, x, c.number_of(0))
    count = c.emit("ReduceSum", c.emit("Cast", mask, to=1), axes, keepdims=keep)
    return c.emit("Div", c.emit("ReduceSum", kept, axes, keepdims=keep), count)
