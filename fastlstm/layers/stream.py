# SPDX-License-Identifier: MIT
"""A layer that keeps its state: sequences given piece by piece, as they arrive."""

import copy

import numpy as np

from ..engine import arguments, backend


def check_can_stream(layer):
    """ValueError if the layer reads a sequence from its end."""
    if layer.bidirectional:
        raise ValueError(
            "a bidirectional layer cannot stream: its reverse direction starts at the end of "
            "the sequence. Call the layer on whole sequences instead"
        )
    if layer.reverse:
        raise ValueError(
            "a reverse layer cannot stream: it starts at the end of the sequence. Call the "
            "layer on whole sequences instead"
        )


class Stream:
    """`batch_size` rows of a one-directional stack and their states, zeros at the start.

    The outputs' bits are those of one call over the whole sequence, however it is cut. A call that
    raises leaves the state as it was. A stream belongs to one thread at a time; it keeps the
    weights its layer had when it was made.

    Copies by `copy` and `pickle` go on from the state as it is, each for itself; pickles hold the
    weights, copies share them.
    """

    def __init__(self, layer, batch_size=1):
        check_can_stream(layer)
        self._batch = arguments.size("batch_size", batch_size)
        self._layer = layer.copy_with()  # it may be given other weights; they stay here
        self._batch_first = layer.batch_first
        self._threads = layer.num_threads or 0
        self._state = self._new_state()
        self._start = layer.start_state(None, self._batch)
        if self._start is not None:
            self._state.set(*self._start)

    def _new_state(self):
        return backend.State(self._layer.packed.net, self._batch, self._batch_first)

    def __getstate__(self):
        return {**self.__dict__, "_state": self.state}

    def __setstate__(self, values):
        self.__dict__.update(values)
        self._state = self._new_state()
        self._state.set(*self._layer.state_parts(values["_state"]))

    def __deepcopy__(self, memo):
        return copy.copy(self)  # the weights do not change

    @property
    def batch_size(self):
        """Rows."""
        return self._batch

    def __call__(self, x, out=None):
        """y for the next T steps: x (T, B, I), or (B, T, I) with batch_first, or (T, I) if there is
        one row; y has x's layout, and is `out` if given. Errors as LSTM's."""
        y = self._state.advance(x, out, False, self._threads)
        if y is not None:
            return y
        layer = self._layer
        x, batched, _, _ = arguments.sequence(layer, x, self._batch)
        return self._advance(x, out, layer.output_size, batched, 0 if self._batch_first else 1)

    def step(self, x, out=None):
        """y (B, K) for one step x (B, I); y is `out` if given: then nothing is allocated."""
        y = self._state.advance(x, out, True, self._threads)
        if y is not None:
            return y
        layer = self._layer
        x = arguments.real("input", x)
        if x.shape != (self._batch, layer.input_size):
            raise ValueError(
                f"Expected a step of shape {(self._batch, layer.input_size)}, got {x.shape}"
            )
        return self._advance(arguments.rows(x), out, layer.output_size, True, None)

    def _advance(self, x, out, width, batched, axis):
        """The general path: x is canonical by now; `axis` is the batch's, None for one step."""
        y = out
        if out is not None:
            shape = (*x.shape[:-1], width)
            want = shape if batched else tuple(n for i, n in enumerate(shape) if i != axis)
            arguments.output(out, want, (x,))
            y = out if batched else np.expand_dims(out, axis)
        y = self._state.advance(x, y, axis is None, self._threads)
        if y is None:
            raise ValueError(f"input of shape {x.shape} with strides {x.strides} cannot be used")
        if out is not None:
            return out
        return y if batched else y.squeeze(axis)

    @property
    def state(self):
        """(h, c): copies, (L, B, K) and (L, B, H). Settable from such a pair. Of a GRU or RNN h."""
        return self._state.get()

    @state.setter
    def state(self, value):
        if value is None:
            what = "a pair (h, c)" if self._layer.has_c else "an array h"
            raise TypeError(f"state must be {what}, got NoneType; reset() makes it zeros")
        self._state.set(*arguments.states(value, self._layer.state_shapes(self._batch), True))

    def reset(self, rows=None):
        """Make the state what it was at first, zeros or the layer's initial_state: of all rows, or
        of `rows`, their numbers or a (B,) bool mask."""
        parts = self._layer.state_parts(self.state)
        if rows is None:
            rows = slice(None)
        else:
            rows = np.asarray(rows)
            if rows.size == 0 and rows.dtype.kind == "f":
                rows = rows.astype(np.intp)  # an empty list
            if rows.dtype.kind not in "iub":
                raise TypeError(f"rows must be row numbers or a mask, got dtype {rows.dtype}")
            if rows.ndim > 1 or (rows.dtype.kind == "b" and rows.shape != (self._batch,)):
                raise ValueError(
                    f"Expected row numbers or a mask of shape ({self._batch},), got {rows.shape}"
                )
            if rows.dtype.kind != "b" and rows.size:
                low, high = int(rows.min()), int(rows.max())
                if low < -self._batch or high >= self._batch:
                    raise ValueError(
                        f"rows {low} to {high} are not all among this stream's {self._batch}"
                    )
        for i, part in enumerate(parts):
            part[:, rows] = 0 if self._start is None else self._start[i][:, rows]
        self._state.set(*parts)
