# SPDX-License-Identifier: MIT
"""fastlstm itself: the plain call and `out=`; with a carried state also its stream.

"call" gets fresh arrays back; "call out" writes into one array. A stream of one step at a time is
called through `stream.step`.
"""

from __future__ import annotations

import numpy as np

import fastlstm

from . import Runner


def version() -> str:
    return fastlstm.__version__


LAYERS = {"lstm": fastlstm.LSTM, "gru": fastlstm.GRU, "rnn": fastlstm.RNN}


def variants(shape, threads, carry=False, lengths=None) -> list[str]:
    if carry and not shape.bidirectional:
        return ["call", "call out", "stream", "stream out"]
    return ["call", "call out"]


class FastRunner(Runner):
    def __init__(self, weights, shape, threads, variant, carry, lengths):
        lstm = LAYERS[shape.cell].from_state_dict(weights, num_threads=threads)
        self.shape = shape
        self.stream = None
        self.step = variant.startswith("stream") and shape.T == 1
        self.fixed_output = variant.endswith("out")
        tail = ", out=y" if self.fixed_output else ""
        namespace = {"lstm": lstm}
        if variant.startswith("stream"):
            self.stream = lstm.stream(batch_size=shape.B)
            namespace |= {"stream": self.stream, "step": self.stream.step}
            self.setup = "stream.state = start"
            statement = f"{'step' if self.step else 'stream'}(x{tail})"
            if not self.fixed_output:
                statement = "y = " + statement
        else:
            if lengths is not None:
                namespace["lengths"] = np.asarray(lengths)
                tail += ", lengths=lengths"
            if carry:
                self.setup = "s = start"
            target = "out" if self.fixed_output else "y"
            statement = f"{target}, s = lstm(x{', s' if carry else ''}{tail})"
        super().__init__(statement, namespace)

    def load(self, x, state=None):
        shape, names = self.shape, self.namespace
        if state is None:
            state = [np.zeros(shape.state_shape(), np.float32)] * 2
        start = tuple(part.copy() for part in state)
        names["start"] = start if shape.cell == "lstm" else start[0]
        names["x"] = x[0] if self.step else x
        y = shape.output_shape()
        names["y"] = np.empty(y[1:] if self.step else y, np.float32)

    def output(self):
        return self.namespace["y"].reshape(self.shape.output_shape())


def build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner:
    return FastRunner(weights, shape, threads, variant or "call", carry, lengths)
