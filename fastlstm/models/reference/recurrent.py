# SPDX-License-Identifier: MIT
"""LSTM, GRU and RNN, as ONNX has them, a step at a time; the stacks that the engine runs; masks.

x (T, B, I), or (B, T, I) with layout=1; W (D, gates H, I), R (D, gates H, H), B (D, 2 gates H),
lengths (B,), h0 and c0 (D, B, H), P (D, 3 H)
outputs: y (T, D, B, H), h and c (D, B, H); with layout=1 (B, T, D, H) and (B, D, H)
"""

import functools

import numpy as np

from ...layers import build, gru, lstm, rnn
from .call import operator
from .elementwise import sigmoid, softplus
from .quantize import dynamic

# Name, in lower case: (function of x, alpha and beta; the default alpha and beta)
_ACTIVATIONS = {
    "sigmoid": (lambda x, a, b: sigmoid(x), 0, 0),
    "tanh": (lambda x, a, b: np.tanh(x), 0, 0),
    "relu": (lambda x, a, b: np.maximum(x, 0), 0, 0),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), 0, 0),
    "softplus": (lambda x, a, b: softplus(x), 0, 0),
    "affine": (lambda x, a, b: a * x + b, 1, 0),
    "elu": (lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), 1, 0),
    "leakyrelu": (lambda x, a, b: np.where(x < 0, a * x, x), 0.01, 0),
    "thresholdedrelu": (lambda x, a, b: np.where(x > a, x, 0), 1, 0),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1, 1),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
}
_TAKES = {"affine": 2, "elu": 1, "leakyrelu": 1, "thresholdedrelu": 1, "scaledtanh": 2,
          "hardsigmoid": 2}  # fmt: skip
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _activations(call, kind, directions):
    """The functions of each direction."""
    names = call.attr("activations") or _USUAL[kind] * directions
    alphas, betas = (list(call.attr(f"activation_{n}") or []) for n in ("alpha", "beta"))
    due = len(_USUAL[kind]) * directions
    if kind == "RNN":  # ONNX's own default has two, of which one direction uses the first
        names = names[:due]
    if len(names) != due:
        raise call.error(f"{len(names)} activations, {due} are due")
    found = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            raise call.error(f"the activation {name!r} is unknown")
        function, alpha, beta = _ACTIVATIONS[name.lower()]
        takes = _TAKES.get(name.lower(), 0)
        alpha = alphas.pop(0) if takes > 0 and alphas else alpha
        beta = betas.pop(0) if takes > 1 and betas else beta
        found.append(functools.partial(function, a=alpha, b=beta))
    count = len(_USUAL[kind])
    return [found[d * count : (d + 1) * count] for d in range(directions)]


class _Cell:
    """One direction: what its step needs. x_product, h_product: f(rows) -> rows times W^T, R^T."""

    def __init__(self, call, kind, functions, bias, peepholes, h_product):
        self.kind, self.functions, self.h_product = kind, functions, h_product
        self.clip = call.attr("clip") or None
        self.input_forget = bool(call.attr("input_forget", 0))
        self.after = bool(call.attr("linear_before_reset", 0))
        self.bias_x, self.bias_h = np.split(bias, 2)
        self.p = np.split(peepholes, 3) if peepholes is not None else (0, 0, 0)

    def cut(self, z):
        return z if self.clip is None else np.clip(z, -self.clip, self.clip)

    def step(self, zx, h, c):
        """The state after a step. zx: the input's product (B, gates H), bias_x in it."""
        return getattr(self, "_" + self.kind.lower())(zx, h, c)

    def _rnn(self, zx, h, c):
        return self.functions[0](self.cut(zx + self.h_product(h) + self.bias_h)), c

    def _lstm(self, zx, h, c):
        f, g, last = self.functions
        i, o, forget, new = np.split(zx + self.h_product(h) + self.bias_h, 4, -1)
        i = f(self.cut(i + self.p[0] * c))
        forget = 1 - i if self.input_forget else f(self.cut(forget + self.p[2] * c))
        c = forget * c + i * g(self.cut(new))
        return f(self.cut(o + self.p[1] * c)) * last(c), c

    def _gru(self, zx, h, c):
        f, g = self.functions
        size = h.shape[-1]
        zr = zx[:, : 2 * size]
        if self.after:
            zh = self.h_product(h) + self.bias_h
            z, r = np.split(f(self.cut(zr + zh[:, : 2 * size])), 2, -1)
            n = g(self.cut(zx[:, 2 * size :] + r * zh[:, 2 * size :]))
        else:
            part = self.h_product(h, slice(0, 2 * size))
            z, r = np.split(f(self.cut(zr + part + self.bias_h[: 2 * size])), 2, -1)
            part = self.h_product(r * h, slice(2 * size, None))
            n = g(self.cut(zx[:, 2 * size :] + part + self.bias_h[2 * size :]))
        return (1 - z) * n + z * h, c


def _shaped(call, array, shape, what):
    if array is not None and array.shape != tuple(shape):
        raise call.error(f"{what} has the shape {array.shape}, {tuple(shape)} is due")
    return array


def _recurrent(call, kind, x, count, size, products, bias, lengths, h, c, p):
    """y, h, c. products: for each direction (f(x rows), f(h rows)) without biases."""
    first = bool(call.attr("layout", 0))
    if first:
        x = x.swapaxes(0, 1)
        h, c = (a if a is None else a.swapaxes(0, 1) for a in (h, c))
    steps, batch = x.shape[:2]
    direction = call.attr("direction", "forward")
    if {"forward": 1, "reverse": 1, "bidirectional": 2}.get(direction) != count:
        raise call.error(f"direction {direction!r} with weights of {count} directions")
    functions = _activations(call, kind, count)
    gates = _GATES[kind] * size
    bias = _shaped(call, bias, (count, 2 * gates), "B")
    lengths = _shaped(call, lengths, (batch,), "sequence_lens")
    h, c = (_shaped(call, a, (count, batch, size), n) for a, n in ((h, "h0"), (c, "c0")))
    p = _shaped(call, p, (count, 3 * size), "P")
    y = np.zeros(call.allowed((steps, count, batch, size), x.dtype), x.dtype)
    call.allowed((steps, batch, gates), x.dtype, "its gates")
    ends = np.zeros((2, count, batch, size), x.dtype)
    rows = np.full(batch, steps) if lengths is None else lengths.astype(np.int64)
    if batch and not (rows.min() >= 0 and rows.max() <= steps):
        raise call.error(f"sequence_lens beyond the {steps} steps")
    for d in range(count):
        b = np.zeros(2 * gates, x.dtype) if bias is None else bias[d]
        cell = _Cell(call, kind, functions[d], b, None if p is None else p[d], products[d][1])
        zx = products[d][0](x) + cell.bias_x
        state_h = ends[0, d] if h is None else h[d]
        state_c = ends[1, d] if c is None else c[d]
        backwards = direction == "reverse" or d == 1
        for t in range(steps - 1, -1, -1) if backwards else range(steps):
            new_h, new_c = cell.step(zx[t], state_h, state_c)
            inside = (t < rows)[:, None]
            state_h, state_c = np.where(inside, new_h, state_h), np.where(inside, new_c, state_c)
            y[t, d] = np.where(inside, new_h, 0)
        ends[0, d], ends[1, d] = state_h, state_c
    if first:
        return y.transpose(2, 0, 1, 3), ends[0].swapaxes(0, 1), ends[1].swapaxes(0, 1)
    return y, ends[0], ends[1]


def _of_floats(call, kind, x, w, r, b, lengths, h, c=None, p=None):
    call.kind(x, "f", "X")
    call.same(*(a for a in (x, w, r, b, h, c, p) if a is not None))
    for array, what in ((x, "X"), (w, "W"), (r, "R")):
        call.ndim(array, 3, what)
    count, gates, size = r.shape
    if gates != _GATES[kind] * size or call.attr("hidden_size", size) != size or not size:
        raise call.error(f"R has the shape {r.shape}, hidden_size is {call.attr('hidden_size')}")
    _shaped(call, w, (count, gates, x.shape[2]), "W")
    call.work(x.shape[0] * x.shape[1] * (w.size + r.size))

    def of(matrix):
        return lambda rows, part=slice(None): rows @ matrix[part].T

    products = [(of(w[d]), of(r[d])) for d in range(count)]
    return _recurrent(call, kind, x, count, size, products, b, lengths, h, c, p)


@operator("LSTM", 3, 8)
def lstm_node(call, x, w, r, b=None, lengths=None, h=None, c=None, p=None):
    return _of_floats(call, "LSTM", x, w, r, b, lengths, h, c, p)


@operator("GRU", 3, 6)
def gru_node(call, x, w, r, b=None, lengths=None, h=None):
    return _of_floats(call, "GRU", x, w, r, b, lengths, h)[:2]


@operator("RNN", 3, 6)
def rnn_node(call, x, w, r, b=None, lengths=None, h=None):
    return _of_floats(call, "RNN", x, w, r, b, lengths, h)[:2]


@operator("com.microsoft.DynamicQuantizeLSTM", 3, 12)
def dynamic_quantize_lstm(call, x, w, r, b=None, lengths=None, h=None, c=None, p=None,
                          w_scale=None, w_zero=None, r_scale=None, r_zero=None):  # fmt: skip
    """An LSTM whose W (D, I, 4 H) and R (D, H, 4 H) are small integers. The inputs of a direction
    are quantised all at once, by their range; the states of a batch at each step."""
    call.kind(x, "f", "X")
    for array, what in ((x, "X"), (w, "W"), (r, "R")):
        call.ndim(array, 3, what)
    count, size, gates = r.shape
    if gates != 4 * size or w.shape != (count, x.shape[2], gates):
        raise call.error(f"W {w.shape} and R {r.shape} for X {x.shape}")
    call.work(x.shape[0] * x.shape[1] * (w.size + r.size))

    def of(matrix, scale, zero, d):
        if scale is None or scale.shape not in ((), (count,), (count, gates)):
            raise call.error("W or R has no scale, or one of the wrong shape")
        scale = scale[d] if scale.ndim else scale
        zero = np.zeros((), matrix.dtype) if zero is None else zero
        zero = zero[d] if zero.ndim else zero
        call.allowed(matrix[d].shape, np.float64)
        centred = matrix[d].astype(np.float64) - zero

        def times(rows):
            q, s, z = dynamic(rows)
            return ((q.astype(np.float64) - z) @ centred).astype(np.float32) * (s * scale)

        return times

    products = [(of(w, w_scale, w_zero, d), of(r, r_scale, r_zero, d)) for d in range(count)]
    return _recurrent(call, "LSTM", x, count, size, products, b, lengths, h, c, p)


_CLASSES = {"LSTM": lstm.LSTM, "GRU": gru.GRU, "RNN": rnn.RNN}


@operator("Recurrent", 1, 4)
def recurrent(call, x, lengths=None, h0=None, c0=None):
    """A stack of layers in torch's layout, run by the engine (whichever backend is chosen)."""
    call.ndim(x, 3, "x")
    layer = _layer(call.node)
    state = h0 if c0 is None else (h0, c0)
    call.allowed((*x.shape[:2], layer.output_size), x.dtype)
    if x.shape[0] == 0:  # which torch's layers refuse: no output, and the state stays
        due = layer.state_shapes(x.shape[1])
        given = [h0] if len(due) == 1 else [h0, c0]
        end = [np.zeros(s, np.float32) if a is None else a for a, s in zip(given, due, strict=True)]
        return (np.zeros((*x.shape[:2], layer.output_size), np.float32), *end)
    try:
        y, end = layer(x, state, lengths=lengths)
    except (ValueError, TypeError) as reason:
        raise call.error(str(reason)) from None
    return (y, *end) if isinstance(end, tuple) else (y, end)


def _layer(node):
    """The layer of a node "Recurrent", whose weights are packed once: it is kept beside them, in
    the attribute "built", with what it was made of."""
    description, weights = node.attrs["layer"], node.attrs["weights"]
    kept = node.attrs.get("built")
    if kept is None or kept[0] is not description or kept[1] is not weights:
        arrays = build.ready(description, weights, description.dtype)
        kept = (
            description,
            weights,
            build.build(_CLASSES[description.kind], description, arrays, {}),
        )
        node.attrs["built"] = kept
    return kept[2]
