# SPDX-License-Identifier: MIT
"""A layer's forward_train and backward: arguments checked, one call into C each; with checkpointing
one for each segment (checkpoint.py)."""

from typing import NamedTuple

import numpy as np

from . import checkpoint, checks
from .backends import core as _core


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

    It serves any number of backward calls, from any threads, until the layer's weights change.
    """

    def __init__(self, core, lstm, net, x_shape, batched, y_shape, state_shapes):
        self._core, self._net, self._x_shape, self._batched = core, net, x_shape, batched
        self._batch_first = lstm.batch_first
        self._y_shape, self._state_shapes = y_shape, state_shapes

    @property
    def nbytes(self):
        return self._core.nbytes if self._core is not None else 0

    def __repr__(self):
        return f"Tape(y {self._y_shape}, {self.nbytes} bytes)"


def _time_first(array, batch_first):
    """(B, T, n) as (T, B, n) and back, a view; None stays."""
    return array.swapaxes(0, 1) if batch_first and array is not None else array


def forward(lstm, x, state, lengths, seed, threads, dropout=None, every=None):
    x, batched, steps, batch = checks.sequence(lstm, x)
    shapes = lstm._state_shapes(batch)
    state = lstm._started(checks.states(state, shapes, batched), batch)
    lengths = checks.lengths(lengths, steps, batch)
    dropout = lstm.dropout if dropout is None else dropout
    dropout = dropout if lstm.num_layers > 1 else 0.0
    seed = checks.seed(seed) if dropout or seed is not None else 0
    k, net = checkpoint.segment_steps(every, steps), lstm._net
    if batch == 0:
        y = np.zeros((*x.shape[:2], lstm.output_size), np.float32)
        state = lstm._state([np.zeros(s, np.float32) for s in shapes])
        return y, state, Tape(None, lstm, net, x.shape, True, y.shape, shapes)
    if k is None:
        y, state, core = _core.forward_train(
            net, x, state, lengths, dropout, seed, lstm.batch_first, threads
        )
    else:
        y = np.empty((*x.shape[:2], lstm.output_size), np.float32)
        kept = _time_first(np.array(x, order="C"), lstm.batch_first)
        core = checkpoint.Kept(lstm, net, kept, lengths, k, dropout, seed)
        state = core.forward(lstm, state, _time_first(y, lstm.batch_first), threads)
    lstm._reorder(y, lengths)
    if not batched:
        y = y[0] if lstm.batch_first else y[:, 0]
        state = [s[:, 0] for s in state]
    tape = Tape(core, lstm, net, x.shape, batched, y.shape, tuple(s.shape for s in state))
    tape._lengths = lengths
    return y, lstm._state(state), tape


def _turned(lstm, net):
    """The weights packed for backward: once for each Net. Two threads that come here together both
    pack, to the same contents."""
    if net.turned is None:
        turned = _core.Turned(net)
        for layer, direction, end in lstm._lanes():
            names = (each + end for each in ("weight_ih", "weight_hh", "weight_hr"))
            turned.set(net, layer, direction, *map(net.weights.get, names))
        net.turned = turned
    return net.turned


def _upstream(name, value, shape):
    """A gradient from above as a canonical array of `shape`; None stays."""
    if value is None:
        return None
    array = checks.real(name, value)
    if array.shape != shape:
        raise ValueError(f"Expected {name} of shape {shape}, got {array.shape}")
    return checks.rows(array) if array.size else array


def backward(lstm, tape, dy, dstate, input_grad, threads):
    if not isinstance(tape, Tape):
        raise TypeError(f"tape must be a Tape from forward_train, got {type(tape).__name__}")
    net = lstm._net
    if tape._net is not net:
        raise ValueError(
            f"this tape, of y of shape {tape._y_shape}, belongs to other weights: to another "
            "layer, or to the ones before load_state_dict"
        )
    dy = _upstream("dy", dy, tape._y_shape)
    shapes = tape._state_shapes
    if dstate is None:
        up = (None,) * len(shapes)
    elif not lstm.has_c:
        up = (_upstream("dstate", dstate, shapes[0]),)
    else:
        if isinstance(dstate, np.ndarray) or not isinstance(dstate, (tuple, list)):
            raise TypeError(f"dstate must be a pair (dh, dc), got {type(dstate).__name__}")
        if len(dstate) != 2:
            raise TypeError(f"dstate must be a pair (dh, dc), got {len(dstate)} parts")
        up = [_upstream(f"dstate[{i}]", dstate[i], shapes[i]) for i in range(2)]
    new = np.zeros if tape._core is None else np.empty
    params = {name: new(shape, np.float32) for name, shape in lstm._shapes().items()}
    if tape._core is None:
        dx = np.zeros(tape._x_shape, np.float32) if input_grad else None
        down = [np.zeros(s, np.float32) for s in shapes]
    else:
        lanes = [[params.get(each + end) for each in lstm._kinds] for *_, end in lstm._lanes()]
        if not tape._batched:
            axis = 0 if tape._batch_first else 1
            dy = None if dy is None else np.expand_dims(dy, axis)
            up = [None if d is None else d[:, None] for d in up]
        if dy is not None and lstm.output_order == "processing":
            dy = dy.copy()
            lstm._reorder(dy, tape._lengths)
        up = tuple(None if d is None else checks.contiguous(d) for d in up)
        if isinstance(tape._core, checkpoint.Kept):
            dy = _time_first(dy, tape._batch_first)
            dx, down = tape._core.backward(lstm, _turned, dy, up, input_grad, lanes, threads)
            dx = _time_first(dx, tape._batch_first)
        else:
            dx, down = _core.backward(
                _turned(lstm, net), tape._core, dy, up, input_grad, True, lanes, threads
            )
        if not tape._batched:
            dx = dx if dx is None else dx[0] if tape._batch_first else dx[:, 0]
            down = [d[:, 0] for d in down]
    return Grads(dx, lstm._state(down), params)
