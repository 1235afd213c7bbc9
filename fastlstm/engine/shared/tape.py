# SPDX-License-Identifier: MIT
"""Training without C: the tape, backward over layers and directions, dropout's masks.

The recurrences are the cells' (see network.py); the products that give weights their gradients are
NumPy's, over a chunk of steps at once.
"""

import numpy as np

from .network import CHUNK, Order, check_shapes
from .track import compiled_can_read

COPY = 1 << 21  # floats of one copy, which Ctrl-C may have to wait for
# rows of a product that is added to the gradients of the weights: one chain of many thousand terms
# is less exact
ROWS = 512


class Tape:
    """What one forward call keeps for backward; the longest rows come first. Never changes once the
    call is over.

    x, h0, c0   (T, B, I), (L D, B, K), (L D, B, H): copies of the input and the initial state
    out         for each layer its outputs (T, B, D K)
    fed         for each layer what the next one was given: `out`, or with dropout a copy
    gates       for each track (T, B, N): activations or, of a variant, sums
    kept        for each track (T, B, H): an LSTM's c, the factor of a GRU's reset gate; else empty
    """

    def __init__(self, net, steps, batch, batch_first, lengths, dropout, seed):
        self.net, self.steps, self.batch, self.batch_first = net, steps, batch, batch_first
        self.order = Order(lengths, steps, batch)
        self.end = self.order.end
        self.running = self.order.running(slice(0, steps))
        self.dropout, self.seed = dropout, seed
        shape, tracks = (steps, batch), range(net.layers * net.dirs)
        row = net.dirs * net.width
        self.out = [np.zeros((*shape, row), np.float32) for _ in range(net.layers)]
        self.fed = list(self.out)
        self.gates = [np.empty((*shape, net.sums), np.float32) for _ in tracks]
        wide = net.hidden if net.arithmetic.keeps else 0
        self.kept = [np.empty((*shape, wide), np.float32) for _ in tracks]
        self.x = self.h0 = self.c0 = np.zeros((steps, batch, net.input), np.float32)

    @property
    def nbytes(self):
        """Bytes of all of it."""
        arrays = {id(a): a for a in (*self.out, *self.fed, *self.gates, *self.kept)}
        arrays |= {id(a): a for a in (self.x, self.h0, self.c0)}
        return sum(a.nbytes for a in arrays.values())

    def take(self, x):
        """Keeps x, rows in order, and returns the copy. What stands past a row's length becomes 0:
        it may be NaN, which even times 0 must not reach a sum."""
        for part in chunks(self.x[: self.end]):
            self.x[part] = self.order.sorted(x[part])
            for t in range(part.start, part.stop) if self.order.rows is not None else ():
                self.x[t, self.running[t] :] = 0
        return self.x[: self.end]

    def feed(self, layer):
        """A layer's outputs as the next one gets them."""
        if self.dropout and layer + 1 < self.net.layers:
            self.fed[layer] = self.drop(self.out[layer], layer)
        return self.fed[layer][: self.end]

    def drop(self, a, layer):
        """A copy of a layer's outputs, or of their gradients, with dropout."""
        steps = self.all_steps, self.first_step
        return masked(a, self.dropout, self.seed, layer, *steps, self.order.rows)


def chunks(a):
    """Slices of the first axis, each for a copy that Ctrl-C may wait for."""
    n = max(1, COPY * len(a) // max(1, a.size))
    return (slice(t, min(t + n, len(a))) for t in range(0, len(a), n))


def _check_trainable(net):
    if net.dtype in ("float16", "int8", "bfloat16"):
        raise TypeError(f"a {net.dtype} network is for inference alone: train one of float32")


class BackwardWeights:
    """The weights as backward wants them, as c/_core.BackwardWeights. They are kept in the Net's
    tracks.

    BackwardWeights(net): of a Net whose `weights` are set already
    """

    def __init__(self, net):
        _check_trainable(net)
        self.weights = net.weights

    def set(self, net, layer, direction, w_ih, w_hh, w_hr, threads=1):
        """Packs one layer and direction of the Net this was made for. threads: for the C core
        alone. ValueError for other shapes."""
        check_shapes(net, layer, direction, w_ih, w_hh, w_hr)
        net.arithmetic.pack_backward(net.tracks[layer * net.dirs + direction])


def _mix64(z):
    """splitmix64's output function (Steele, Lea, Flood 2014)."""
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def _mix32(h):
    h = (h ^ h >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return h ^ h >> np.uint32(16)


def drop(y, rate, seed, layer):
    """Dropout in place of layer number `layer`'s outputs (T, B, D K), or of their gradients, with
    the masks of forward_train."""
    y[...] = masked(y, rate, seed, layer, len(y), 0)


def masked(a, rate, seed, layer, all_steps, first_step, order=None):
    """A copy of a (T, B, D K) with dropout: a is the steps from first_step on of all_steps. order:
    Order.rows, None for the caller's order."""
    steps, batch, row = a.shape
    first = (layer * all_steps + first_step) * batch
    kept = _kept(seed, rate, first, steps * batch, row).reshape(a.shape)
    kept = kept if order is None else kept[:, order]
    rate = np.float32(rate)
    scale = np.float32(1) / (np.float32(1) - rate) if rate < 1 else np.float32(0)
    return np.where(kept, a * scale, np.float32(0))


def _kept(seed, rate, first, count, row):
    """(count, row) of bool: which features stay of the rows from number `first` on; the masks are
    csrc/tape/dropout.c's."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    start = (seed + 0x9E3779B97F4A7C15) % 2**64
    key = _mix64(_mix64(np.full(1, start, np.uint64)) ^ (numbers + np.uint64(1)))
    low = key.astype(np.uint32)[:, None]  # the low half
    high = (key >> np.uint64(32)).astype(np.uint32)[:, None] | np.uint32(1)
    limit = np.uint32(float(np.float32(rate)) * 2**24 + 0.5)
    u = _mix32(np.arange(row, dtype=np.uint32) * high + low) >> np.uint32(8)
    return u >= limit


def forward_train(
    net, x, state, lengths, dropout, seed, batch_first, threads, first_step=0, all_steps=0
):
    """(y, the final state, Tape); as c/_core.forward_train."""
    _check_trainable(net)
    x_time_first = x.swapaxes(0, 1) if batch_first else x
    T, B, _ = x_time_first.shape
    net.arithmetic.prepare(True, net.variant is not None)
    if state is not None:
        state = tuple(state) if net.has_c else state[0]
    tape = Tape(net, T, B, batch_first, lengths, dropout, seed)
    tape.first_step, tape.all_steps = first_step, all_steps or T
    y = np.empty((*x.shape[:2], net.dirs * net.width), np.float32)
    y_time_first = y.swapaxes(0, 1) if batch_first else y
    h, c = net.run(x_time_first, *net.states(state, B), y_time_first, lengths, tape)
    return y, net.as_tuple(h, c), tape


@np.errstate(all="ignore")  # Inf and NaN are answers
def backward(weights, tape, dy, dstate, input_grad, state_grad, grads, threads):
    """(dx, the gradients of the initial state); as c/_core.backward."""
    net = tape.net
    dh, dc = (*dstate, None)[:2]
    if net.weights is None or weights.weights is not net.weights:
        raise ValueError("the weights are not the tape's")
    T, B, D, K, end = tape.steps, tape.batch, net.dirs, net.width, tape.end
    order = np.arange(B) if tape.order.rows is None else tape.order.rows
    d_out = np.zeros((end, B, D * K), np.float32)  # of the outputs of a layer, the last one first
    if dy is not None:
        dy_time_first = dy.swapaxes(0, 1) if tape.batch_first else dy
        for part in chunks(d_out):
            d_out[part] = dy_time_first[part, order]
    dh = np.zeros_like(tape.h0) if dh is None else dh.take(order, 1)
    dc = np.zeros_like(tape.c0) if dc is None or not net.has_c else dc.take(order, 1)
    for layer in reversed(range(net.layers)):
        a = tape.fed[layer - 1][:end] if layer else tape.x[:end]
        wanted = layer > 0 or input_grad
        da = np.zeros(a.shape if wanted else (0, B, 0), np.float32)
        for d in range(D):
            i = layer * D + d
            dy_track = d_out[:, :, d * K : (d + 1) * K]
            _track_backward(
                tape, i, net.in_reverse(d), a, dy_track, dh[i], dc[i], grads[i], da
            )  # fmt: skip
        if layer and tape.dropout:
            full = np.zeros((T, *da.shape[1:]), np.float32)
            full[:end] = da
            da = tape.drop(full, layer - 1)[:end]
        d_out = da
    dx = None
    if input_grad:
        dx = np.zeros((B, T, net.input) if tape.batch_first else (T, B, net.input), np.float32)
        to = dx.swapaxes(0, 1) if tape.batch_first else dx
        for part in chunks(d_out):
            to[part, order] = d_out[part]
    places = np.argsort(order)
    return dx, net.as_tuple(dh.take(places, 1), dc.take(places, 1))


def _track_backward(tape, i, reverse, a, dy, dh, dc, grads, da):
    """Track number i, which read a (T, B, I or D K): dh and dc become the gradients of its initial
    state, grads are filled, and the gradient of a is added to da unless that is empty."""
    net, track, end = tape.net, tape.net.tracks[i], tape.end
    B, K, d = tape.batch, net.width, i % net.dirs
    dw_ih, dw_hh, db_ih, db_hh, dw_hr, d_peephole = (*grads, None)[:6]
    for array in grads:
        if array is not None:
            array[...] = 0
    out = tape.out[i // net.dirs][:, :, d * K : (d + 1) * K]
    gates, kept = tape.gates[i], tape.kept[i]
    chunk = max(1, min(CHUNK // net.sums, ROWS) // B)
    dz_all = np.empty((min(chunk, end), B, net.sums), np.float32)
    starts = range(0, end, chunk)
    for t0 in starts if reverse else reversed(starts):
        t1 = min(t0 + chunk, end)
        part, dz = slice(t0, t1), dz_all[: t1 - t0]
        h0 = _states_before(out, tape.h0[i], tape.running, reverse, t0, t1)
        c0 = h0
        if net.has_c:
            c0 = _states_before(kept, tape.c0[i], tape.running, reverse, t0, t1)
        dh_steps = np.array(dy[part], order="C")
        z = net.arithmetic.backward(
            track, gates[part], kept[part], h0, c0, dh_steps, tape.running[part], reverse, dh, dc,
            dz,
        )  # fmt: skip
        dz_rows = dz.reshape(-1, net.sums)
        n = len(dz_rows)
        dw_ih += dz_rows.T @ compiled_can_read(a[part]).reshape(n, -1)
        sums = []
        for which, delta, v in net.arithmetic.recurrent(z, kept[part], h0, dz):
            delta = delta.reshape(n, -1)
            dw_hh[which] += delta.T @ v.reshape(n, -1)
            sums.append(delta.sum(0))
        if db_ih is not None:
            db_ih += dz_rows.sum(0)
            db_hh += np.concatenate(sums)
        if dw_hr is not None:
            full = net.arithmetic.unprojected(track, z, kept[part])
            dw_hr += dh_steps.reshape(n, -1).T @ full.reshape(n, -1)
        if d_peephole is not None:
            d_peephole += net.arithmetic.peephole(dz, c0, kept[part]).sum((0, 1))
        if da.size:
            da[part] += (dz_rows @ track.w_ih).reshape(t1 - t0, B, -1)


def _states_before(states, first, running, reverse, t0, t1):
    """The state before each of the steps t0 to t1: `first` (B, n) where a row begins, else that of
    the step before, from `states` (T, B, n). Where a row does not run it is 0: what stands there
    may be NaN, which even times 0 must not reach a sum."""
    before = np.empty((t1 - t0, *first.shape), np.float32)
    if not reverse:
        before[0] = states[t0 - 1] if t0 else first
        before[1:] = states[t0 : t1 - 1]
    for t in range(t0, t1) if reverse else ():
        begun = running[t + 1] if t + 1 < len(running) else 0
        before[t - t0, begun:] = first[begun:]
        if begun:
            before[t - t0, :begun] = states[t + 1, :begun]
    for t in range(t0, t1) if running[t1 - 1] < len(first) else ():
        before[t - t0, running[t] :] = 0
    return before
