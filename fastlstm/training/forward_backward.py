# SPDX-License-Identifier: MIT
"""A layer's forward_train and backward: arguments checked, one call into C each; with checkpointing
one for each segment (checkpoint.py)."""

import numpy as np

from ..engine import arguments
from ..engine import backend as _core
from . import checkpoint
from .tape import Grads, Tape


def _time_first(array, batch_first):
    """(B, T, n) as (T, B, n) and back, a view; None stays."""
    return array.swapaxes(0, 1) if batch_first and array is not None else array


def forward(lstm, x, state, lengths, seed, threads, dropout=None, every=None):
    x, batched, steps, batch = arguments.sequence(lstm, x)
    shapes = lstm._state_shapes(batch)
    state = lstm._started(arguments.states(state, shapes, batched), batch)
    lengths = arguments.lengths(lengths, steps, batch)
    dropout = lstm.dropout if dropout is None else dropout
    dropout = dropout if lstm.num_layers > 1 else 0.0
    seed = arguments.seed(seed) if dropout or seed is not None else 0
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
    if net.backward_weights is None:
        packed = _core.BackwardWeights(net)
        for layer, direction, end in lstm._lanes():
            names = (each + end for each in ("weight_ih", "weight_hh", "weight_hr"))
            packed.set(net, layer, direction, *map(net.weights.get, names))
        net.backward_weights = packed
    return net.backward_weights


def _upstream(name, value, shape):
    """A gradient from above as a canonical array of `shape`; None stays."""
    if value is None:
        return None
    array = arguments.real(name, value)
    if array.shape != shape:
        raise ValueError(f"Expected {name} of shape {shape}, got {array.shape}")
    return arguments.rows(array) if array.size else array


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
        up = tuple(None if d is None else arguments.contiguous(d) for d in up)
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
