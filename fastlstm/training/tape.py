# SPDX-License-Identifier: MIT
"""What forward_train keeps for backward, and what backward gives."""

from typing import NamedTuple

import numpy as np


class Grads(NamedTuple):
    """Gradients of one backward call, float32 arrays, each with the shape of what it belongs to.

    x       like the input; None if it was not asked for
    state   (dh0, dc0), like the initial states, given or not; of a GRU or RNN dh0
    params  {torch's name: array}, in torch's order
    """

    x: np.ndarray | None
    state: tuple | np.ndarray
    params: dict


class Tape:
    """What a forward_train call keeps for backward: the input, every layer's outputs, cell states
    and gate activations.

    nbytes  bytes of it, for S real steps of all rows (T B without lengths), H and the vector length
            rounded up to whole vectors: about 4 (S D L n H + T B (I + L D K)), and T B L D K more
            with dropout; n is 5 for an LSTM, 4 for a GRU, 0 for an RNN

    With checkpoint=k it keeps instead x and all states after every k-th step, 4 B (T I +
    (ceil(T / k) - 1) L D (K + H)) bytes, and for two directions 4 T B (L - 1) 2 K more for what
    layers above the first take in; given initial states count as one more. `backward` has a tape as
    above for a while, of k steps (for two directions: of one layer and direction), and gradients of
    the weights twice.

    A layer with merge="mul" keeps the outputs of both directions too, 4 T B 2 K bytes.

    It serves any number of backward calls, from any threads, until the layer's weights change.
    """

    def __init__(self, kept, layer, packed, x_shape, batched, y_shape, state_shapes, both=None):
        """both: the outputs of the two directions side by side, where layer.merge is "mul", whose
        gradient needs them."""
        self._kept, self._packed, self._x_shape, self._batched = kept, packed, x_shape, batched
        self._merge, self._both = layer.merge, both
        self._batch_first = layer.batch_first
        self._y_shape, self._state_shapes = y_shape, state_shapes

    @property
    def nbytes(self):
        """Bytes that it keeps."""
        both = 0 if self._both is None else self._both.nbytes
        return both + (self._kept.nbytes if self._kept is not None else 0)

    def __repr__(self):
        return f"Tape(y {self._y_shape}, {self.nbytes} bytes)"
