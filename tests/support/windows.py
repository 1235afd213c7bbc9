# SPDX-License-Identifier: MIT
"""Convolutions and pools with channels last in float64, one output position and tap after another,
and the numbers that csrc/ops takes for them."""

import dataclasses
import itertools

import numpy as np

PAD_RULES = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclasses.dataclass
class Windows:
    size: tuple
    stride: tuple
    dilation: tuple
    begin: tuple
    end: tuple
    auto_pad: str = "NOTSET"
    ceil: bool = False

    @property
    def axes(self):
        return len(self.size)

    @property
    def ints(self):
        return [*self.size, *self.stride, *self.dilation, *self.begin, *self.end]

    def along(self, axis, n):
        """(padding before, outputs) for an input of size n; no outputs for what is refused."""
        extent = (self.size[axis] - 1) * self.dilation[axis] + 1
        stride = self.stride[axis]
        if self.auto_pad.startswith("SAME"):
            out = -(-n // stride)
            pads = max(0, (out - 1) * stride + extent - n) if out else 0
            return (pads // 2 if self.auto_pad == "SAME_UPPER" else (pads + 1) // 2), out
        begin, end = (self.begin[axis], self.end[axis]) if self.auto_pad == "NOTSET" else (0, 0)
        starts = [
            o
            for o in range(0, n + begin + end + stride, stride)
            if o + extent <= n + begin + end
            or (self.ceil and o + extent < n + begin + end + stride)
        ]
        if self.ceil and starts and starts[-1] >= n + begin:
            starts.pop()  # the last alone, as torch and ONNX Runtime do
        return begin, len(starts) if n + begin + end >= extent else 0

    def outputs(self, shape):
        """(output position, [(tap, input position, whether it is in x)]) for x of `shape`."""
        found = [self.along(axis, shape[1 + axis]) for axis in range(self.axes)]
        for o in itertools.product(*(range(n) for _, n in found)):
            seen = []
            for t in itertools.product(*(range(n) for n in self.size)):
                at = tuple(
                    o[a] * self.stride[a] - found[a][0] + t[a] * self.dilation[a]
                    for a in range(self.axes)
                )
                inside = all(0 <= at[a] < shape[1 + a] for a in range(self.axes))
                seen.append((t, at, inside))
            yield o, seen

    def shape(self, shape):
        return tuple(self.along(axis, shape[1 + axis])[1] for axis in range(self.axes))


def conv(x, w, b, windows, groups):
    """y (N, O.., M) of x (N, S.., C) and w (M, C / groups, k..)."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    y = np.zeros((x.shape[0], *windows.shape(x.shape), w.shape[0]))
    y += 0 if b is None else b
    each = x.shape[-1] // groups
    for o, seen in windows.outputs(x.shape):
        for t, at, inside in seen:
            for g in range(groups) if inside else ():
                rows = slice(g * w.shape[0] // groups, (g + 1) * w.shape[0] // groups)
                seen_x = x[(slice(None), *at, slice(g * each, (g + 1) * each))]
                y[(slice(None), *o, rows)] += seen_x @ w[(rows, slice(None), *t)].T
    return y


def conv_transposed(x, w, b, windows, groups, padding, output=None):
    """y (N, O.., M) of x (N, S.., C) and w (C, M / groups, k..): every input is added to the
    outputs it reaches. `output` gives the outputs' sizes."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    same = windows.auto_pad.startswith("SAME")
    sizes, begins = [], []
    for a in range(windows.axes):
        n, stride = x.shape[1 + a], windows.stride[a]
        everything = stride * (n - 1) + (windows.size[a] - 1) * windows.dilation[a] + 1 + padding[a]
        begin, end = windows.begin[a], windows.end[a]
        if windows.auto_pad == "VALID":
            begin = end = 0
        size = everything - begin - end
        if output or same:
            size = output[a] if output else n * stride
            pads = max(0, everything - size)
            begin = pads // 2 if windows.auto_pad == "SAME_UPPER" else pads - pads // 2
        sizes.append(size)
        begins.append(begin)
    out = w.shape[1] * groups
    y = np.zeros((x.shape[0], *sizes, out))
    y += 0 if b is None else b
    each = x.shape[-1] // groups
    for i in itertools.product(*(range(n) for n in x.shape[1:-1])):
        for t in itertools.product(*(range(n) for n in windows.size)):
            o = tuple(
                i[a] * windows.stride[a] + t[a] * windows.dilation[a] - begins[a]
                for a in range(windows.axes)
            )
            if not all(0 <= o[a] < sizes[a] for a in range(windows.axes)):
                continue
            for g in range(groups):
                rows = slice(g * each, (g + 1) * each)
                columns = slice(g * w.shape[1], (g + 1) * w.shape[1])
                y[(slice(None), *o, columns)] += (
                    x[(slice(None), *i, rows)] @ w[(rows, slice(None), *t)]
                )
    return y


def max_pool(x, windows):
    y = np.full((x.shape[0], *windows.shape(x.shape), x.shape[-1]), -np.inf)
    for o, seen in windows.outputs(x.shape):
        for _, at, inside in seen:
            if inside:
                to = (slice(None), *o)
                y[to] = np.maximum(y[to], x[(slice(None), *at)])
    return y


def average_pool(x, windows, count_include_pad):
    x = x.astype(np.float64)
    y = np.zeros((x.shape[0], *windows.shape(x.shape), x.shape[-1]))
    ends = [
        x.shape[1 + a] + (windows.end[a] if windows.auto_pad == "NOTSET" else 10**9)
        for a in range(windows.axes)
    ]
    for o, seen in windows.outputs(x.shape):
        counted = 0
        for _, at, inside in seen:
            if inside:
                y[(slice(None), *o)] += x[(slice(None), *at)]
            counted += inside or (count_include_pad and all(i < n for i, n in zip(at, ends)))
        y[(slice(None), *o)] /= counted or 1
    return y
