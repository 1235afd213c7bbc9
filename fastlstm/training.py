# SPDX-License-Identifier: MIT
"""LSTM.forward_train and LSTM.backward: arguments checked, one call into C each."""

from typing import NamedTuple

import numpy as np

from . import _core, checks


class Grads(NamedTuple):
    """Gradients of one backward call, float32 arrays, each with the shape of what it belongs to.

    x       like the input; None if it was not asked for
    state   (dh0, dc0), like the initial states, given or not
    params  {torch's name: array}, in torch's order
    """

    x: np.ndarray | None
    state: tuple | None
    params: dict


class Tape:
    """What a forward_train call keeps for backward: the input, every layer's outputs, cell states
    and gate activations.

    nbytes  bytes of it, for S real steps of all rows (T B without lengths), H and the vector length
            rounded up to whole vectors: about 4 (S D L 5 H + T B (I + L D K)), and T B L D K more
            with dropout

    It serves any number of backward calls, from any threads, until the layer's weights change.
    """

    def __init__(self, core, batched, y_shape, state_shapes):
        self._core, self._batched = core, batched
        self._y_shape, self._state_shapes = y_shape, state_shapes

    @property
    def nbytes(self):
        return self._core.nbytes if self._core is not None else 0

    def __repr__(self):
        return f"Tape(y {self._y_shape}, {self.nbytes} bytes)"


def forward(lstm, x, state, lengths, seed, threads, dropout=None):
    x, batched, steps, batch = checks.sequence(lstm, x)
    lanes, width = lstm.num_layers * lstm.num_directions, lstm.proj_size or lstm.hidden_size
    shapes = (lanes, batch, width), (lanes, batch, lstm.hidden_size)
    state = checks.states(state, shapes, batched)
    lengths = checks.lengths(lengths, steps, batch)
    dropout = lstm.dropout if dropout is None else dropout
    dropout = dropout if lstm.num_layers > 1 else 0.0
    seed = checks.seed(seed) if dropout or seed is not None else 0
    if batch == 0:
        y = np.zeros((*x.shape[:2], lstm.output_size), np.float32)
        h, c = (np.zeros(s, np.float32) for s in shapes)
        tape = Tape(None, True, y.shape, shapes)
        tape._net, tape._x_shape = lstm._net, x.shape
        return y, (h, c), tape
    h0, c0 = state or (None, None)
    y, h, c, core = _core.forward_train(
        lstm._net, x, h0, c0, lengths, dropout, seed, lstm.batch_first, threads
    )
    if not batched:
        y = y[0] if lstm.batch_first else y[:, 0]
        h, c = h[:, 0], c[:, 0]
    tape = Tape(core, batched, y.shape, (h.shape, c.shape))
    tape._net, tape._x_shape = core.net, x.shape
    return y, (h, c), tape


def _turned(lstm, net):
    """The weights packed for backward: once for each Net. Two threads that come here together both
    pack, to the same contents."""
    if net.turned is None:
        turned = _core.Turned(net)
        for layer in range(lstm.num_layers):
            for direction, reverse in enumerate(("", "_reverse")[: lstm.num_directions]):
                end = f"_l{layer}{reverse}"
                turned.set(
                    net,
                    layer,
                    direction,
                    net.weights[f"weight_ih{end}"],
                    net.weights[f"weight_hh{end}"],
                    net.weights.get(f"weight_hr{end}"),
                )
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
    dh = dc = None
    if dstate is not None:
        if isinstance(dstate, np.ndarray) or not isinstance(dstate, (tuple, list)):
            raise TypeError(f"dstate must be a pair (dh, dc), got {type(dstate).__name__}")
        if len(dstate) != 2:
            raise TypeError(f"dstate must be a pair (dh, dc), got {len(dstate)} parts")
        dh = _upstream("dstate[0]", dstate[0], tape._state_shapes[0])
        dc = _upstream("dstate[1]", dstate[1], tape._state_shapes[1])
    params, lanes = {}, []
    for layer in range(lstm.num_layers):
        for reverse in ("", "_reverse")[: lstm.num_directions]:
            lanes.append([])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"):
                like = net.weights.get(f"{name}_l{layer}{reverse}")
                lanes[-1].append(None if like is None else np.empty(like.shape, np.float32))
    if tape._core is None:
        for arrays in lanes:
            for array in arrays:
                if array is not None:
                    array[...] = 0
        dx = np.zeros(tape._x_shape, np.float32) if input_grad else None
        dh0, dc0 = (np.zeros(s, np.float32) for s in tape._state_shapes)
    else:
        if not tape._batched:
            axis = 0 if tape._core.batch_first else 1
            dy = None if dy is None else np.expand_dims(dy, axis)
            dh, dc = (None if d is None else d[:, None] for d in (dh, dc))
        dh, dc = (None if d is None else checks.contiguous(d) for d in (dh, dc))
        dx, dh0, dc0 = _core.backward(
            _turned(lstm, net), tape._core, dy, dh, dc, input_grad, True, lanes, threads
        )
        if not tape._batched:
            dx = dx if dx is None else dx[0] if tape._core.batch_first else dx[:, 0]
            dh0, dc0 = dh0[:, 0], dc0[:, 0]
    for layer in range(lstm.num_layers):
        for direction, reverse in enumerate(("", "_reverse")[: lstm.num_directions]):
            w_ih, w_hh, b_ih, b_hh, w_hr = lanes[layer * lstm.num_directions + direction]
            end = f"_l{layer}{reverse}"
            params[f"weight_ih{end}"], params[f"weight_hh{end}"] = w_ih, w_hh
            if b_ih is not None:
                params[f"bias_ih{end}"], params[f"bias_hh{end}"] = b_ih, b_hh
            if w_hr is not None:
                params[f"weight_hr{end}"] = w_hr
    return Grads(dx, (dh0, dc0), params)
