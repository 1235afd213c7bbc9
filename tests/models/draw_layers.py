# SPDX-License-Identifier: MIT
"""Drawers, as draw_graph.py has them, of what sums: products, windows, reductions, layers."""

import numpy as np
from draw_graph import F, drawer, with_axes


@drawer(axes=(1, 4))
def softmax(d, v):
    axis = d.axis(len(v.shape))
    d.add(d.one_of(("Softmax", "LogSoftmax")), [v], [v.shape], axis=axis)


@drawer(axes=(1, 4))
def reduce(d, v):
    op = d.one_of(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2",
                   "ReduceSumSquare", "ReduceLogSumExp"))  # fmt: skip
    axes = sorted(d.rng.permutation(len(v.shape))[: int(d.rng.integers(1, 3))].tolist())
    keep = int(d.rng.random() < 0.5)
    shape = [1 if i in axes else n for i, n in enumerate(v.shape) if keep or i not in axes]
    shown = [a - len(v.shape) if d.version >= 11 and d.rng.random() < 0.4 else a for a in axes]
    if all(v.shape[a] for a in axes) or op == "ReduceSum":
        with_axes(d, op, v, shown, shape, 13 if op == "ReduceSum" else 18, keepdims=keep)


@drawer(axes=(1, 4), exact=True)
def arg(d, v):
    axis = d.axis(len(v.shape))
    if v.shape[axis]:
        keep, at = int(d.rng.random() < 0.5), axis % len(v.shape)
        shape = (*v.shape[:at], *([1] if keep else []), *v.shape[at + 1 :])
        op = d.one_of(("ArgMax", "ArgMin"))
        d.add(op, [v], [shape], "i", True, axis=axis, keepdims=keep)


@drawer(11, axes=(1, 4))
def cumsum(d, v):
    axis = d.constant(np.array(d.axis(len(v.shape))))
    exclusive, reverse = (int(d.rng.random() < 0.4) for _ in range(2))
    d.add("CumSum", [v, axis], [v.shape], exclusive=exclusive, reverse=reverse)


@drawer(11, axes=(1, 4), exact=True)
def top(d, v):
    axis = d.axis(len(v.shape))
    at, n = axis % len(v.shape), v.shape[axis]
    k = int(d.rng.integers(0, n + 1))
    shape = (*v.shape[:at], k, *v.shape[at + 1 :])
    if k:
        largest = int(d.rng.random() < 0.5)
        made = d.add("TopK", [v, d.ints([k])], [shape, shape], axis=axis, largest=largest)
        made[0].exact, made[1].exact, made[1].kind = True, True, "i"


@drawer(axes=(1, 4))
def matmul(d, v):
    """A constant matrix, one with a batch, or one that the caller gives."""
    out = d.size() or 1
    batch = tuple(d.one_of((1, n)) for n in v.shape[:-2]) if d.rng.random() < 0.5 else ()
    d.add("MatMul", [v, d.other((*batch, v.shape[-1], out))], [(*v.shape[:-1], out)])


@drawer(axes=(2, 2))
def gemm(d, v):
    out, trans = d.size() or 2, int(d.rng.random() < 0.5)
    k = v.shape[1]
    w = d.other((out, k) if trans else (k, out))
    c = d.other(d.one_of([(), (1,), (out,), (1, out), (v.shape[0], 1), (v.shape[0], out)]))
    attrs = {"alpha": 0.5, "beta": 2.0} if d.rng.random() < 0.3 else {}
    d.add("Gemm", [v, w, c], [(v.shape[0], out)], transB=trans, **attrs)


@drawer(12, axes=(3, 3))
def einsum(d, v):
    if 0 in v.shape:
        return  # ONNX Runtime divides by zero, and ends the process
    b, i, k = v.shape
    n = d.size() or 1
    equation, shape, out = d.one_of((
        ("bik,bkn->bin", (b, k, n), (b, i, n)), ("bik,kn->bin", (k, n), (b, i, n)),
        ("bik,bnk->bni", (b, n, k), (b, n, i)), ("bik,ikn->bin", (i, k, n), (b, i, n)),
        ("bik,bik->bi", (b, i, k), (b, i)), ("bik,n->nkbi", (n,), (n, k, b, i)),
    ))  # fmt: skip
    d.add("Einsum", [v, d.other(shape)], [out], equation=equation)


def window(d, sizes, most=3):
    """(attributes, sizes after it) of a window over these sizes, or None if it does not fit."""
    kernel = [int(d.rng.integers(1, most + 1)) for _ in sizes]
    strides = [int(d.rng.integers(1, 3)) for _ in sizes]
    begin, end = ([int(d.rng.integers(0, k)) for k in kernel] for _ in range(2))
    made = []
    for n, k, s, b, e in zip(sizes, kernel, strides, begin, end, strict=True):
        if n + b + e < k or n == 0:
            return None
        made.append((n + b + e - k) // s + 1)
    return {"kernel_shape": kernel, "strides": strides, "pads": begin + end}, made


@drawer(axes=(3, 4))
def conv(d, v):
    found = window(d, v.shape[2:])
    if found and v.shape[0] and v.shape[1]:
        attrs, sizes = found
        channels = v.shape[1]
        group = channels if d.rng.random() < 0.3 else 1
        out = group * int(d.rng.integers(1, 4))
        w = d.other((out, channels // group, *attrs["kernel_shape"]))
        bias = [d.constant(d.array("f", (out,)))] if d.rng.random() < 0.6 else []
        made = d.add("Conv", [v, w, *bias], [(v.shape[0], out, *sizes)], group=group, **attrs)
        if d.rng.random() < 0.5:
            numbers = [d.constant(np.abs(d.array("f", (out,))) + F(0.5)) for _ in range(4)]
            made = d.add("BatchNormalization", [*made, *numbers], [made[0].shape])
        if d.rng.random() < 0.5:
            d.add(d.one_of(("Relu", "Sigmoid", "LeakyRelu")), made, [made[0].shape])


@drawer(axes=(3, 4))
def conv_transpose(d, v):
    if 0 in v.shape:
        return
    kernel = [int(d.rng.integers(1, 4)) for _ in v.shape[2:]]
    strides = [int(d.rng.integers(1, 3)) for _ in kernel]
    sizes = [(n - 1) * s + k for n, s, k in zip(v.shape[2:], strides, kernel, strict=True)]
    group = v.shape[1] if d.rng.random() < 0.3 else 1
    out = int(d.rng.integers(1, 4))
    w = d.other((v.shape[1], out, *kernel))
    shape = (v.shape[0], out * group, *sizes)
    d.add("ConvTranspose", [v, w], [shape], group=group, kernel_shape=kernel, strides=strides)


@drawer(axes=(3, 4))
def pool(d, v):
    found = window(d, v.shape[2:], 2)
    if found and v.shape[0] and v.shape[1]:
        attrs, sizes = found
        op = d.one_of(("MaxPool", "AveragePool"))
        if op == "AveragePool" and d.rng.random() < 0.5:
            attrs["count_include_pad"] = 1
        d.add(op, [v], [(*v.shape[:2], *sizes)], **attrs)


@drawer(axes=(3, 4))
def global_pool(d, v):
    if 0 not in v.shape:
        op = d.one_of(("GlobalAveragePool", "GlobalMaxPool"))
        d.add(op, [v], [(*v.shape[:2], *[1] * (len(v.shape) - 2))])


@drawer(axes=(2, 4))
def batch_norm(d, v):
    if 0 not in v.shape:
        numbers = [d.constant(np.abs(d.array("f", (v.shape[1],))) + F(0.5)) for _ in range(4)]
        d.add("BatchNormalization", [v, *numbers], [v.shape], epsilon=1e-3)


@drawer(axes=(3, 4))
def instance_norm(d, v):
    if 0 not in v.shape and min(v.shape[2:]) > 1:
        numbers = [d.constant(d.array("f", (v.shape[1],))) for _ in range(2)]
        d.add("InstanceNormalization", [v, *numbers], [v.shape], epsilon=0.1)


@drawer(17, axes=(2, 4))
def layer_norm(d, v):
    if 0 not in v.shape:
        axis = d.axis(len(v.shape))
        numbers = [d.constant(d.array("f", v.shape[axis % len(v.shape) :])) for _ in range(2)]
        d.add("LayerNormalization", [v, *numbers], [v.shape], axis=axis, epsilon=0.1)


@drawer(axes=(3, 3))
def recurrent(d, v):
    time, batch, size = v.shape
    if 0 in v.shape:
        return
    kind, gates = d.one_of((("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    direction = d.one_of(("forward", "reverse", "bidirectional"))
    dirs, hidden = 1 + (direction == "bidirectional"), int(d.rng.integers(1, 6))
    parts = [
        (dirs, gates * hidden, size),
        (dirs, gates * hidden, hidden),
        (dirs, 2 * gates * hidden),
    ]
    weights = [d.constant(d.array("f", s) * F(0.5)) for s in parts]
    lengths = ""
    if d.rng.random() < 0.3:
        lengths = d.constant(d.rng.integers(1, time + 1, batch).astype(np.int32))
    states = [d.other((dirs, batch, hidden)) for _ in range(1 + (kind == "LSTM"))]
    inputs = [v, *weights, lengths, *(states if d.rng.random() < 0.5 else [])]
    ends = [(dirs, batch, hidden)] * (1 + (kind == "LSTM"))
    extra = {"linear_before_reset": int(d.rng.random() < 0.5)} if kind == "GRU" else {}
    made = d.add(kind, inputs, [(time, dirs, batch, hidden), *ends],
                 hidden_size=hidden, direction=direction, **extra)  # fmt: skip
    if d.rng.random() < 0.7:  # as exporters go on
        (y,) = d.add("Transpose", made[:1], [(time, batch, dirs, hidden)], perm=[0, 2, 1, 3])
        d.add("Reshape", [y, d.ints([0, 0, -1])], [(time, batch, dirs * hidden)])
