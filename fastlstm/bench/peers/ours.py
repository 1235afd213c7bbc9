# SPDX-License-Identifier: MIT
"""fastlstm itself: the plain call and `out=`; with a carried state also its stream.

"call" returns fresh arrays; "call out" writes into one array. A stream that takes one step at a
time is called through `stream.step`.
"""

from __future__ import annotations

import functools

import numpy as np

import fastlstm

from .runner import Runner

LAYERS = {"lstm": fastlstm.LSTM, "gru": fastlstm.GRU, "rnn": fastlstm.RNN}


def version() -> str:
    return fastlstm.__version__


def ways(shape, threads, carry=False, lengths=None, precision="float32"):
    make = functools.partial(make_layer, shape=shape, threads=threads, precision=precision)
    call = functools.partial(CallRunner, make=make, shape=shape, carry=carry, lengths=lengths)
    found = {
        "call": functools.partial(call, out=False),
        "call out": functools.partial(call, out=True),
    }
    if carry and not shape.bidirectional:
        stream = functools.partial(StreamRunner, make=make, shape=shape)
        found["stream"] = functools.partial(stream, out=False)
        found["stream out"] = functools.partial(stream, out=True)
    return found


def make_layer(weights, shape, threads, precision):
    products = "float32" if precision in ("bfloat16", "int8") else precision
    layer = LAYERS[shape.cell].from_state_dict(weights, num_threads=threads, precision=products)
    return layer if precision == products else layer.quantize(precision)


class CallRunner(Runner):
    """lstm(x), with `out=` if `out`, from the state the call before has left if `carry`."""

    def __init__(self, weights, make, shape, carry, lengths, out):
        self.shape = shape
        self.fixed_output = out
        namespace = {"lstm": make(weights)}
        arguments = "x"
        if carry:
            self.setup = "s = start"
            arguments += ", s"
        if out:
            arguments += ", out=y"
        if lengths is not None:
            namespace["lengths"] = np.asarray(lengths)
            arguments += ", lengths=lengths"
        super().__init__(f"{'out' if out else 'y'}, s = lstm({arguments})", namespace)

    def load(self, x, state=None):
        shape, names = self.shape, self.namespace
        names["start"] = starting_state(shape, state)
        names["x"] = x
        names["y"] = np.empty(shape.output_shape(), np.float32)

    def output(self):
        return self.namespace["y"]


class StreamRunner(Runner):
    """A stream of `shape.B` rows, T steps a call; of one step through `stream.step`."""

    def __init__(self, weights, make, shape, out):
        self.shape = shape
        self.fixed_output = out
        self.setup = "stream.state = start"
        stream = make(weights).stream(batch_size=shape.B)
        call = "step" if shape.T == 1 else "stream"
        statement = f"{call}(x, out=y)" if out else f"y = {call}(x)"
        super().__init__(statement, {"stream": stream, "step": stream.step})

    def load(self, x, state=None):
        shape, names = self.shape, self.namespace
        names["start"] = starting_state(shape, state)
        names["x"] = x[0] if shape.T == 1 else x
        y = shape.output_shape()
        names["y"] = np.empty(y[1:] if shape.T == 1 else y, np.float32)

    def output(self):
        return self.namespace["y"].reshape(self.shape.output_shape())


def starting_state(shape, state):
    """(h, c), or h for cells that have no c, as a layer takes it; zeros for None. A copy."""
    h, c = state or [np.zeros(shape.state_shape(), np.float32)] * 2
    return (h.copy(), c.copy()) if shape.cell == "lstm" else h.copy()
