# SPDX-License-Identifier: MIT
"""A layer's forward_train and backward: arguments checked, then one call of the engine each; with
checkpoint= one for each segment of time (checkpoint.py)."""

import numpy as np

from ..engine import arguments, backend
from . import checkpoint
from .merge import merged, merged_gradient
from .tape import Grads, Tape


def _time_first(array, batch_first):
    """(B, T, n) as (T, B, n) and back, a view; None stays."""
    return array.swapaxes(0, 1) if batch_first and array is not None else array


def forward(layer, x, state, lengths, seed, threads, dropout=None, every=None):
    """(y, the final state, Tape); see Recurrent.forward_train. dropout: None: the layer's; every:
    its `checkpoint`; threads: how many may work on it, 0: the process' default."""
    x, batched, steps, batch = arguments.sequence(layer, x)
    shapes = layer.state_shapes(batch)
    state = layer.start_state(arguments.states(state, shapes, batched), batch)
    lengths = arguments.lengths(lengths, steps, batch)
    dropout = layer.dropout if dropout is None else dropout
    dropout = dropout if layer.num_layers > 1 else 0.0
    seed = arguments.seed(seed) if dropout or seed is not None else 0
    k, packed = checkpoint.segment_steps(every, steps), layer.packed
    if batch == 0:
        y = np.zeros((*x.shape[:2], layer.output_size), np.float32)
        state = layer.state_from_parts([np.zeros(s, np.float32) for s in shapes])
        return y, state, Tape(None, layer, packed, x.shape, True, y.shape, shapes)
    if k is None:
        y, state, kept = backend.forward_train(
            packed.net, x, state, lengths, dropout, seed, layer.batch_first, threads
        )
    else:
        y = np.empty((*x.shape[:2], layer.concat_size), np.float32)
        copy = _time_first(np.array(x, order="C"), layer.batch_first)
        kept = checkpoint.Segments(layer, packed, copy, lengths, k, dropout, seed)
        state = kept.forward(layer, state, _time_first(y, layer.batch_first), threads)
    layer.reorder(y, lengths)
    both = None
    if layer.merge != "concat":
        both = y if layer.merge == "mul" else None
        y = merged(layer.merge, y)
    if not batched:
        y = y[0] if layer.batch_first else y[:, 0]
        state = [s[:, 0] for s in state]
    shapes = tuple(s.shape for s in state)
    tape = Tape(kept, layer, packed, x.shape, batched, y.shape, shapes, both)
    tape._lengths = lengths
    return y, layer.state_from_parts(state), tape


def _upstream(name, value, shape):
    """A gradient given by the caller as a canonical array of `shape`; None stays."""
    if value is None:
        return None
    array = arguments.real(name, value)
    if array.shape != shape:
        raise ValueError(f"Expected {name} of shape {shape}, got {array.shape}")
    return arguments.rows(array) if array.size else array


def backward(layer, tape, dy, dstate, input_grad, threads):
    """Grads; see Recurrent.backward."""
    if not isinstance(tape, Tape):
        raise TypeError(f"tape must be a Tape from forward_train, got {type(tape).__name__}")
    packed = layer.packed
    if tape._packed is not packed:
        raise ValueError(
            f"this tape, of y of shape {tape._y_shape}, belongs to other weights: to another "
            "layer, or to the ones before load_state_dict"
        )
    dy = _upstream("dy", dy, tape._y_shape)
    shapes = tape._state_shapes
    if dstate is None:
        up = (None,) * len(shapes)
    elif not layer.has_c:
        up = (_upstream("dstate", dstate, shapes[0]),)
    else:
        if isinstance(dstate, np.ndarray) or not isinstance(dstate, (tuple, list)):
            raise TypeError(f"dstate must be a pair (dh, dc), got {type(dstate).__name__}")
        if len(dstate) != 2:
            raise TypeError(f"dstate must be a pair (dh, dc), got {len(dstate)} parts")
        up = [_upstream(f"dstate[{i}]", dstate[i], shapes[i]) for i in range(2)]
    new = np.zeros if tape._kept is None else np.empty
    params = {name: new(array.shape, np.float32) for name, array in packed.arrays.items()}
    if tape._kept is None:
        dx = np.zeros(tape._x_shape, np.float32) if input_grad else None
        dstart = [np.zeros(s, np.float32) for s in shapes]
    else:
        grads = packed.gradients(params)
        if not tape._batched:
            axis = 0 if tape._batch_first else 1
            dy = None if dy is None else np.expand_dims(dy, axis)
            up = [None if d is None else d[:, None] for d in up]
        if dy is not None and tape._merge != "concat":
            dy = merged_gradient(tape._merge, dy, tape._both)
        if dy is not None and layer.output_order == "processing":
            dy = dy.copy()
            layer.reorder(dy, tape._lengths)
        up = tuple(None if d is None else arguments.contiguous(d) for d in up)
        if isinstance(tape._kept, checkpoint.Segments):
            dy = _time_first(dy, tape._batch_first)
            dx, dstart = tape._kept.backward(layer, dy, up, input_grad, grads, threads)
            dx = _time_first(dx, tape._batch_first)
        else:
            dx, dstart = backend.backward(
                packed.for_backward(threads), tape._kept, dy, up, input_grad, True, grads, threads
            )
        if not tape._batched:
            dx = dx if dx is None else dx[0] if tape._batch_first else dx[:, 0]
            dstart = [d[:, 0] for d in dstart]
    return Grads(dx, layer.state_from_parts(dstart), params)
