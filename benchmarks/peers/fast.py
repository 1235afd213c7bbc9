# SPDX-License-Identifier: MIT
"""fastlstm itself: the plain call and `out=`; with a carried state also its stream.

"call" gets fresh arrays back; "out" writes into one array. A stream of one step at a time is
called through `stream.step`.
"""

from __future__ import annotations

import numpy as np

from . import Runner

NAME = "fastlstm"


def version() -> str:
    import fastlstm

    return getattr(fastlstm, "__version__", "unknown")


def variants(shape, threads, carry=False, lengths=None) -> list[str]:
    if carry and not shape.bidirectional:
        return ["call", "out", "stream", "stream out"]
    return ["call", "out"]


class FastRunner(Runner):
    def __init__(self, weights, shape, threads, variant, carry, lengths):
        import fastlstm

        lstm = fastlstm.LSTM.from_state_dict(weights, num_threads=threads)
        self.shape = shape
        self.stream = None
        self.step = variant.startswith("stream") and shape.T == 1
        tail = ", out=y" if variant.endswith("out") else ""
        namespace = {"lstm": lstm}
        if variant.startswith("stream"):
            self.stream = lstm.stream(batch_size=shape.B)
            namespace |= {"stream": self.stream, "step": self.stream.step}
            self.setup = "stream.state = start"
            statement = f"y = {'step' if self.step else 'stream'}(x{tail})"
        else:
            if lengths is not None:
                namespace["lengths"] = np.asarray(lengths)
                tail += ", lengths=lengths"
            if carry:
                self.setup = "s = start"
            target = "out" if "out=" in tail else "y"
            statement = f"{target}, s = lstm(x{', s' if carry else ''}{tail})"
        if "out=" in tail and variant.startswith("stream"):
            statement = statement.removeprefix("y = ")
        self.fixed_output = variant.endswith("out")
        super().__init__(statement, namespace)

    def load(self, x, state=None):
        shape, names = self.shape, self.namespace
        if state is None:
            state = [np.zeros(shape.state_shape(), np.float32)] * 2
        names["start"] = tuple(part.copy() for part in state)
        names["x"] = x[0] if self.step else x
        y = shape.output_shape()
        names["y"] = np.empty(y[1:] if self.step else y, np.float32)

    def output(self):
        return self.namespace["y"].reshape(self.shape.output_shape())


def build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner:
    return FastRunner(weights, shape, threads, variant or "call", carry, lengths)
