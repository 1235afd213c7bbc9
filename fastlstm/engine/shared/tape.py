# SPDX-License-Identifier: MIT
"""Training without C: the tape, backward over layers and directions, dropout's masks.

The recurrences are the cells' (see network.py); the products that give weights their gradients are
NumPy's, over a chunk of steps at once.
"""

import numpy as np

from .network import CHUNK, Order, _check, _mine

COPY = 1 << 21  # floats
ROWS = 512  # of a product that is added to the gradients of the weights


class Tape:
    """What one forward call keeps for backward; rows stand longest first. Never changes once the
    call is over.

    x (T, B, I); h0 (L D, B, K), c0 (L D, B, H); for each layer out (T, B, D K) and what the next
    one was fed (the same without dropout); for each lane gates (T, B, N), activations or, of a
    variant, sums, and kept (T, B, H): c of an LSTM, the reset gate's factor of a GRU, nothing else.
    """

    def __init__(self, net, steps, batch, batch_first, lengths, dropout, seed):
        self.net, self.steps, self.batch, self.batch_first = net, steps, batch, batch_first
        self.order = Order(lengths, steps, batch)
        self.end = self.order.end
        self.rows = self.order.live(slice(0, steps))
        self.dropout, self.seed = dropout, seed
        shape, lanes = (steps, batch), range(net.layers * net.dirs)
        row = net.dirs * net.width
        self.out = [np.zeros((*shape, row), np.float32) for _ in range(net.layers)]
        self.fed = list(self.out)
        self.gates = [np.empty((*shape, net.sums), np.float32) for _ in lanes]
        wide = net.hidden if net.cell.keeps else 0
        self.kept = [np.empty((*shape, wide), np.float32) for _ in lanes]
        self.x = self.h0 = self.c0 = np.zeros((steps, batch, net.input), np.float32)

    @property
    def nbytes(self):
        arrays = {id(a): a for a in (*self.out, *self.fed, *self.gates, *self.kept)}
        arrays |= {id(a): a for a in (self.x, self.h0, self.c0)}
        return sum(a.nbytes for a in arrays.values())

    def take(self, x):
        """A copy, rows in order; what stands past a row's length must not reach a product, even
        times 0."""
        for part in chunks(self.x[: self.end]):
            self.x[part] = self.order.sorted(x[part])
            for t in range(part.start, part.stop) if self.order.rows is not None else ():
                self.x[t, self.rows[t] :] = 0
        return self.x[: self.end]

    def feed(self, layer):
        """A layer's outputs on their way to the next."""
        if self.dropout and layer + 1 < self.net.layers:
            self.fed[layer] = self.drop(self.out[layer], layer)
        return self.fed[layer][: self.end]

    def drop(self, a, layer):
        steps = self.all_steps, self.first_step
        return masked(a, self.dropout, self.seed, layer, *steps, self.order.rows)


def chunks(a):
    """Slices of the first axis, each for a copy that Ctrl-C may wait for."""
    n = max(1, COPY * len(a) // max(1, a.size))
    return (slice(t, min(t + n, len(a))) for t in range(0, len(a), n))


class Turned:
    """The weights as backward wants them; see _core.Turned. They are kept in the Net's lanes.

    Turned(net)
    """

    def __init__(self, net):
        self.weights = net.weights

    def set(self, net, layer, direction, w_ih, w_hh, w_hr):
        _check(net, layer, direction, w_ih, w_hh, w_hr)
        net.cell.turn(net.lanes[layer * net.dirs + direction])


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
    """Dropout in place of a layer's outputs (T, B, D K), or of their gradients."""
    y[...] = masked(y, rate, seed, layer, len(y), 0)


def masked(a, rate, seed, layer, all_steps, first_step, order=None):
    """a (T, B, D K) with dropout, where a is the steps from first_step on of all_steps."""
    steps, batch, row = a.shape
    first = (layer * all_steps + first_step) * batch
    kept = _kept(seed, rate, first, steps * batch, row).reshape(a.shape)
    kept = kept if order is None else kept[:, order]
    rate = np.float32(rate)
    scale = np.float32(1) / (np.float32(1) - rate) if rate < 1 else np.float32(0)
    return np.where(kept, a * scale, np.float32(0))


def _kept(seed, rate, first, count, row):
    """(count, row) of bool: what stays of the rows from number `first` on; csrc/tape.c's masks."""
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
    """y, the final state, Tape; as _core.forward_train."""
    xt = x.swapaxes(0, 1) if batch_first else x
    T, B, _ = xt.shape
    net.cell.prepare(True, net.variant is not None)
    if state is not None:
        state = tuple(state) if net.wide_c else state[0]
    tape = Tape(net, T, B, batch_first, lengths, dropout, seed)
    tape.first_step, tape.all_steps = first_step, all_steps or T
    y = np.empty((*x.shape[:2], net.dirs * net.width), np.float32)
    h, c = net.run(xt, *net.states(state, B), y.swapaxes(0, 1) if batch_first else y, lengths, tape)
    return y, net.parts(h, c), tape


@np.errstate(all="ignore")
def backward(turned, tape, dy, dstate, input_grad, state_grad, grads, threads):
    """dx and the gradients of the initial state; as _core.backward."""
    net = tape.net
    dh, dc = (*dstate, None)[:2]
    if net.weights is None or turned.weights is not net.weights:
        raise ValueError("the weights are not the tape's")
    T, B, D, K, end = tape.steps, tape.batch, net.dirs, net.width, tape.end
    order = np.arange(B) if tape.order.rows is None else tape.order.rows
    down = np.zeros((end, B, D * K), np.float32)
    if dy is not None:
        given = dy.swapaxes(0, 1) if tape.batch_first else dy
        for part in chunks(down):
            down[part] = given[part, order]
    dh = np.zeros_like(tape.h0) if dh is None else dh.take(order, 1)
    dc = np.zeros_like(tape.c0) if dc is None or not net.wide_c else dc.take(order, 1)
    for layer in reversed(range(net.layers)):
        a = tape.fed[layer - 1][:end] if layer else tape.x[:end]
        wanted = layer > 0 or input_grad
        below = np.zeros(a.shape if wanted else (0, B, 0), np.float32)
        for d in range(D):
            i = layer * D + d
            mine = down[:, :, d * K : (d + 1) * K]
            _lane(tape, i, net.backwards(d), a, mine, dh[i], dc[i], grads[i], below)
        if layer and tape.dropout:
            full = np.zeros((T, *below.shape[1:]), np.float32)
            full[:end] = below
            below = tape.drop(full, layer - 1)[:end]
        down = below
    dx = None
    if input_grad:
        dx = np.zeros((B, T, net.input) if tape.batch_first else (T, B, net.input), np.float32)
        to = dx.swapaxes(0, 1) if tape.batch_first else dx
        for part in chunks(down):
            to[part, order] = down[part]
    back = np.argsort(order)
    return dx, net.parts(dh.take(back, 1), dc.take(back, 1))


def _lane(tape, i, back, a, dy, dh, dc, grads, below):
    """One layer and direction: dh and dc move to its first step, grads are filled, dx added to
    `below` unless that is empty."""
    net, lane, end = tape.net, tape.net.lanes[i], tape.end
    B, K, d = tape.batch, net.width, i % net.dirs
    w_ih, w_hh, b_ih, b_hh, w_hr, peephole = (*grads, None)[:6]
    for array in grads:
        if array is not None:
            array[...] = 0
    out = tape.out[i // net.dirs][:, :, d * K : (d + 1) * K]
    gates, kept = tape.gates[i], tape.kept[i]
    # few rows for each product: one chain of many thousand terms is less exact
    chunk = max(1, min(CHUNK // net.sums, ROWS) // B)
    dz_all = np.empty((min(chunk, end), B, net.sums), np.float32)
    cuts = range(0, end, chunk)
    for t0 in cuts if back else reversed(cuts):
        t1 = min(t0 + chunk, end)
        part, dz = slice(t0, t1), dz_all[: t1 - t0]
        h0 = _before(out, tape.h0[i], tape.rows, back, t0, t1)
        c0 = h0
        if net.wide_c:
            c0 = _before(kept, tape.c0[i], tape.rows, back, t0, t1)
        dhs = np.array(dy[part], order="C")
        rows = tape.rows[part]
        z = net.cell.backward(lane, gates[part], kept[part], h0, c0, dhs, rows, back, dh, dc, dz)
        flat = dz.reshape(-1, net.sums)
        x = _mine(a[part]).reshape(len(flat), -1)
        w_ih += flat.T @ x
        sums = []
        for which, delta, v in net.cell.recurrent(z, kept[part], h0, dz):
            delta = delta.reshape(len(flat), -1)
            w_hh[which] += delta.T @ v.reshape(len(flat), -1)
            sums.append(delta.sum(0))
        if b_ih is not None:
            b_ih += flat.sum(0)
            b_hh += np.concatenate(sums)
        if w_hr is not None:
            full = net.cell.full(lane, z, kept[part])
            w_hr += dhs.reshape(len(flat), -1).T @ full.reshape(len(flat), -1)
        if peephole is not None:
            peephole += net.cell.peephole(dz, c0, kept[part]).sum((0, 1))
        if below.size:
            below[part] += (flat @ lane.w_ih).reshape(t1 - t0, B, -1)


def _before(seq, first, rows, back, t0, t1):
    """The state before each of the steps t0 to t1: `first` (B, n) where a row begins, else seq
    (T, B, n) of the step before."""
    before = np.empty((t1 - t0, *first.shape), np.float32)
    if not back:
        before[0] = seq[t0 - 1] if t0 else first
        before[1:] = seq[t0 : t1 - 1]
        return before
    for t in range(t0, t1):
        live = rows[t + 1] if t + 1 < len(rows) else 0
        before[t - t0, live:] = first[live:]
        if live:
            before[t - t0, :live] = seq[t + 1, :live]
    return before
