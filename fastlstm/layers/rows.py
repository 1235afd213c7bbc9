# SPDX-License-Identifier: MIT
"""The rows of a layer's pool (fastlstm/pool): what a frame is, and where states lie.

States are arrays (L, capacity, K) and (L, capacity, H). A call copies those of its own rows to
(L, n, .) and back, which leaves all states whole if the call fails; docs/many.md has the cost. The
other rows are not touched.
"""

import numpy as np

from ..engine import arguments
from .stream import check_can_stream


class LayerRows:
    def __init__(self, layer, capacity):
        check_can_stream(layer)
        self._layer = layer.copy_with()  # it may be given other weights; they stay here
        self._threads = layer.num_threads or 0
        self._parts = [np.zeros(shape, np.float32) for shape in layer.state_shapes(capacity)]
        self._due = (layer.input_size,)
        self._start = layer.start_state(None, 1)

    def __repr__(self):
        return repr(self._layer)

    def frame_shape(self):
        return self._due

    def one(self, frame):
        if type(frame) is np.ndarray and frame.dtype == np.float32 and frame.shape == self._due:
            return [frame.copy()]
        return [np.array(arguments.rows(self._checked(frame, ())))]

    def many(self, frames, n):
        return [arguments.rows(self._checked(frames, (n,)))]

    def _checked(self, given, rows):
        x, due = arguments.real("frames" if rows else "frame", given), self._layer.input_size
        if x.shape != (*rows, due):
            what = f"frames of {rows[0]} streams" if rows else "a frame"
            raise ValueError(f"Expected {what} of shape {(*rows, due)}, got {x.shape}")
        return x

    @staticmethod
    def stacked(ones):
        return [np.stack([one[0] for one in ones])]

    @staticmethod
    def shapes(one):
        return one[0].shape

    def run(self, slots, batch):
        layer = self._layer
        state = layer.state_from_parts([part.take(slots, axis=1) for part in self._parts])
        y, state = layer.packed.net.forward(
            batch[0][None], state, None, None, True, False, self._threads
        )
        return y[0], layer.state_parts(state)

    def store(self, slots, state):
        for part, new in zip(self._parts, state, strict=True):
            part[:, slots] = new

    @staticmethod
    def whole(results):
        return results

    @staticmethod
    def part(results, i):
        return results[i].copy()

    def forked(self):
        pass

    def reset(self, slot):
        for i, part in enumerate(self._parts):
            part[:, slot] = 0 if self._start is None else self._start[i][:, 0]

    def state(self, slot):
        return self._layer.state_from_parts([part[:, slot].copy() for part in self._parts])

    def set_state(self, slot, state):
        parts = arguments.states(state, self._layer.state_shapes(1), False)
        if parts is None:
            raise TypeError("state must be what `state` gave, got NoneType; see reset()")
        for part, new in zip(self._parts, parts, strict=True):
            part[:, slot] = new[:, 0]
