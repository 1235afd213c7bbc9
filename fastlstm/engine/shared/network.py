# SPDX-License-Identifier: MIT
"""The network without C: layers, directions, lengths and the tape, over one backend's cells.

A backend is a module with the names that c/_core has. Those of numba/ and numpy/ are
made here; the arithmetic of a cell is theirs, as objects with

    gates, keeps                                   G: 4, 3 or 1; is s below needed?
    forward(lane, a, z, s, rows, back, h, c, y)    some steps of one layer and direction
    backward(lane, z, s, h0, c0, dy, rows, back, dh, dc, dz)     the same steps, in reverse
    prepare(training, varied)                      called once before the others
    pack(lane), turn(lane)                         the weights as forward, and backward, want them
    recurrent(z, s, h0, dz)                        what the gradients of W_hh and b_hh are made of
    full(lane, z, c), peephole(dz, c0, c)          an LSTM's: of W_hr, of the peepholes

Letters as in csrc/: T time, B batch, I input, H hidden, K = P or H, N = G H, n steps of a chunk.
Inside, arrays are (T, B, ...) and rows stand longest first, so that the rows still running at step
t are the first rows[t], in both directions: backwards, a row joins at its last step.
"""

import functools

import numpy as np

from .. import arguments
from ..variants import RELU, USUAL
from .activations import Function

F32 = np.dtype(np.float32)
TINY = np.float32(2.0**-62)  # states below count as zero, as in csrc/kernels.h
NONE = np.empty((0, 0, 0), np.float32)
CHUNK = 1 << 17  # floats of gate sums at once: they stay in a cache, and Ctrl-C gets its turn


ACTIVATIONS = {
    "lstm": USUAL["LSTM"], "gru": USUAL["GRU"], "gru_before": USUAL["GRU"],
    "rnn_tanh": USUAL["RNN"], "rnn_relu": (RELU,),
}  # fmt: skip
FUNCTIONS = {cell: [Function(one) for one in usual] for cell, usual in ACTIVATIONS.items()}
CELLS = tuple(FUNCTIONS)
_threads = 1


def set_default_threads(n):
    """Remembered, no more: these backends work on the caller's thread."""
    global _threads
    _threads = n


def default_threads():
    return _threads


def team_size():
    """Threads of its own: none."""
    return 0


class Lane:
    """The weights of one layer and direction. Torch's arrays, the layer's own: w_ih (N, I), w_hh
    (N, K), w_hr (P, H) or (0, 0); transposed, for products from the left: w (I, N), r (K, N), proj
    (H, P); bias (N,), whatever is added to W x; bias_n (H,), b_hh of "gru"'s n, which the reset
    gate multiplies. functions: its activations; of a variant also clip, coupled, and peephole
    (3 H,), of i, f and o."""

    def __init__(self, cell, hidden, w_ih, w_hh, b_ih, b_hh, w_hr, peephole, variant, direction):
        w_hr = np.empty((0, 0), np.float32) if w_hr is None else w_hr
        self.w_ih, self.w_hh, self.w_hr = _mine(w_ih), _mine(w_hh), _mine(w_hr)
        self.w, self.r, self.proj = plain(w_ih.T), plain(w_hh.T), plain(w_hr.T)
        zeros = np.zeros(w_ih.shape[0], np.float32)
        b_ih, b_hh = zeros if b_ih is None else b_ih, zeros if b_hh is None else b_hh
        self.bias_n = np.zeros(hidden, np.float32)
        if cell == "gru":
            self.bias_n, b_hh = plain(b_hh[2 * hidden :]), b_hh.copy()
            b_hh[2 * hidden :] = 0
        self.bias = plain(b_ih + b_hh)
        self.functions, self.variant = FUNCTIONS[cell], variant
        self.clip, self.coupled, self.peephole = None, False, None
        if variant is not None:
            self.functions = [Function(one) for one in variant.activations[direction]]
            self.clip = None if variant.clip is None else np.float32(variant.clip)
            self.coupled = variant.input_forget
            self.peephole = None if peephole is None else plain(peephole)


def plain(array):
    """A contiguous copy, without subnormals."""
    array = np.array(array, np.float32, order="C")
    array[np.abs(array) < np.finfo(np.float32).tiny] = 0
    return array


def _usual(cell, variant):
    """Is it torch's own, or that read backwards?"""
    if variant is None or variant.clip is not None or variant.input_forget or variant.peepholes:
        return variant is None
    return set(variant.activations) == {ACTIVATIONS[cell]}


class Net:
    """Weights ready for calls; see _core.Net, whose methods these are. A backend's subclass names
    itself and its cells: {cell: object}.

    Net(cell, input, hidden, proj, layers, dirs, isa, variant=None)
    """

    name, cells = "", {}

    def __init__(self, cell, input, hidden, proj, layers, dirs, isa, variant=None):
        if isa not in (None, self.name):
            raise ValueError(f"instruction set {isa!r} does not run here")
        self.kind, self.cell = cell, self.cells[cell]
        self.reverse = variant is not None and variant.reverse
        self.variant = None if _usual(cell, variant) else variant
        self.cell.prepare(False, self.variant is not None)
        self.input, self.hidden, self.proj = input, hidden, proj
        self.layers, self.dirs = layers, dirs
        self.width = proj or hidden
        self.lanes = [None] * (layers * dirs)
        self.sums = self.cell.gates * hidden
        self.has_c = cell == "lstm"
        self.wide_c = hidden if self.has_c else 0
        self.weights = self.turned = None
        self.one_way = dirs == 1 and not self.backwards(0)

    @property
    def nbytes(self):
        own = (y for lane in self.lanes if lane is not None for y in vars(lane).items())
        return sum(a.nbytes for k, a in own if k[:2] != "w_" and isinstance(a, np.ndarray))

    def set(self, layer, direction, w_ih, w_hh, b_ih, b_hh, w_hr, peephole=None):
        """Take one layer and direction; torch's shapes; biases, w_hr and peephole may be None."""
        _check(self, layer, direction, w_ih, w_hh, w_hr)
        vectors = (b_ih, self.sums), (b_hh, self.sums), (peephole, 3 * self.wide_c)
        if any(a is not None and a.shape != (n,) for a, n in vectors):
            raise ValueError("weights do not have the network's shapes")
        lane = Lane(
            self.kind, self.hidden, w_ih, w_hh, b_ih, b_hh, w_hr, peephole, self.variant, direction
        )
        self.cell.pack(lane)
        self.lanes[layer * self.dirs + direction] = lane

    def backwards(self, direction):
        """Does this direction read the sequence from its end?"""
        return direction == 1 or self.reverse

    def forward(self, x, state, out, lengths, sequences, batch_first, threads):
        """(y, state), or None when an array is not canonical; as _core.Net.forward."""
        if not _canonical(x, 3) or x.shape[2] != self.input or not x.size:
            return None
        xt = x.swapaxes(0, 1) if batch_first else x
        B = xt.shape[1]
        given, state = state, self.states(state, B)
        if state is None:
            return None
        first = self.dirs * self.width
        shape = (x.shape[0], x.shape[1], first) if sequences else (B, first)
        if out is not None and not _fits(
            out, shape, (x, *(given if type(given) is tuple else (given,)))
        ):
            return None
        y = np.empty(shape, F32) if out is None else out
        yt = None
        if sequences:
            yt = y.swapaxes(0, 1) if batch_first else y
        h, c = self.run(xt, *state, yt, lengths)
        if not sequences:
            y[...] = h[-self.dirs :].swapaxes(0, 1).reshape(shape)
        return y, self.outer(h, c)

    def states(self, state, B):
        """(h, c), copied or zero, c of no width in cells without one; None if not canonical."""
        lanes = len(self.lanes)
        done = np.zeros((lanes, B, self.width), F32), np.zeros((lanes, B, self.wide_c), F32)
        if state is None:
            return done
        parts = state if self.wide_c else (state,)
        if type(parts) is not tuple or len(parts) != (2 if self.wide_c else 1):
            return None
        for to, part in zip(done, parts):
            if not _canonical(part, 3) or part.shape != to.shape:
                return None
            np.copyto(to, part, where=~(np.abs(part) < TINY))
        return done

    def outer(self, h, c):
        """The state as callers have it."""
        return (h, c) if self.wide_c else h

    def parts(self, h, c):
        return (h, c) if self.wide_c else (h,)

    def run(self, x, h, c, y, lengths, tape=None):
        """The whole forward pass. x (T, B, I); h and c are replaced; y (T, B, D K) or None."""
        T, B, _ = x.shape
        chunk, one_way = max(1, CHUNK // (B * self.sums)), tape is None and self.one_way
        if one_way and chunk >= T and lengths is None and y is not None:
            return self.run_at_once(x, h, c, y)
        order = Order(lengths, T, B) if tape is None else tape.order
        h, c = order.sorted(h), order.sorted(c)
        if tape is not None:
            tape.h0, tape.c0 = h.copy(), c.copy()
        if one_way:
            self.run_chunks(x, h, c, y, order, chunk)
        elif order.end:
            self.run_layers(x, h, c, y, order, chunk, tape)
        if y is not None and order.end < T:
            y[order.end :] = 0
        return order.back(h), order.back(c)

    def run_at_once(self, x, h, c, y):
        """The commonest call of all, one step above all: a few microseconds less."""
        T, B, _ = x.shape
        a, z, live = _mine(x), np.empty((T, B, self.sums), F32), _all(T, B)
        for i, lane in enumerate(self.lanes, 1):
            to = y if i == self.layers else np.empty((T, B, self.width), F32)
            self.cell.forward(lane, a, z, NONE, live, False, h[i - 1], c[i - 1], to)
            a = to
        return h, c

    def run_chunks(self, x, h, c, y, order, chunk):
        """One direction: all layers over some steps, then over the next."""
        n, B = min(chunk, order.end), x.shape[1]
        z = np.empty((n, B, self.sums), F32)
        direct = y is not None and order.rows is None
        scratch = None
        if not direct or self.layers > 1:
            scratch = np.empty((n, B, self.width), F32)
        for t0 in range(0, order.end, chunk):
            part = slice(t0, min(t0 + chunk, order.end))
            a, live, gates = order.sorted(x[part]), order.live(part), z[: part.stop - t0]
            for i, lane in enumerate(self.lanes):
                if direct and i == self.layers - 1:
                    to = y[part]
                else:  # perhaps in place: a chunk's gate sums are made before its outputs
                    to = scratch[: len(a)]
                self.cell.forward(lane, _mine(a), gates, NONE, live, False, h[i], c[i], to)
                a = to
            if y is not None and not direct:
                y[part, order.rows] = a

    def run_layers(self, x, h, c, y, order, chunk, tape):
        """One layer over all steps, then the next: a reverse direction begins at the end, and a
        tape keeps all outputs anyway."""
        D, K, B, end, top = self.dirs, self.width, x.shape[1], order.end, self.layers - 1
        chunk = min(chunk, end)
        a = x[:end]
        z = np.empty((chunk if tape is None else 0, B, self.sums), np.float32)
        if tape is not None:
            a = tape.take(a)
        if tape is None:  # layers write to these by turns, the top one to the first
            buffers = [y, None]
            if y is None or order.rows is not None:
                wanted = y is not None or top > 1
                buffers[0] = np.empty((end if wanted else chunk, B, D * K), np.float32)
            if top:
                buffers[1] = np.empty((end, B, D * K), np.float32)
        for layer in range(self.layers):
            to = tape.out[layer][:end] if tape is not None else buffers[(top - layer) % 2]
            for i in range(layer * D, layer * D + D):
                cuts, back = range(0, end, chunk), self.backwards(i % D)
                for t0 in reversed(cuts) if back else cuts:
                    part = slice(t0, min(t0 + chunk, end))
                    n = part.stop - t0
                    gates, kept = z[:n], NONE
                    if tape is not None:
                        gates, kept = tape.gates[i][part], tape.kept[i][part]
                    below = a[part] if layer or tape is not None else order.sorted(a[part])
                    mine = slice(i % D * K, (i % D + 1) * K)
                    self.cell.forward(
                        self.lanes[i], _mine(below), gates, kept, order.live(part), back,
                        h[i], c[i], to[part if len(to) >= end else slice(n), :, mine],
                    )  # fmt: skip
            a = to if tape is None else tape.feed(layer)
        if y is not None and y is not a:
            y[:end, slice(None) if order.rows is None else order.rows] = a[:end]


class Order:
    """Rows sorted by their lengths, longest first: rows (B,), or None without lengths; end, the
    steps of the longest."""

    def __init__(self, lengths, T, B):
        self.rows, self.end, self.batch = None, T, B
        if lengths is not None:
            self.rows, self.end = np.argsort(-lengths, kind="stable"), int(lengths.max())
            self.lengths, self.places = np.sort(lengths), np.argsort(self.rows)

    def live(self, part):
        """(n,) how many rows run at each of the steps of a slice."""
        if self.rows is None:
            return _all(part.stop - part.start, self.batch)
        steps = np.arange(part.start, part.stop)
        return self.batch - np.searchsorted(self.lengths, steps, side="right").astype(np.int64)

    def sorted(self, a):
        """(n, B, ...) in this order, contiguous if there is one."""
        return a if self.rows is None else a.take(self.rows, 1)

    def back(self, a):
        return a if self.rows is None else a.take(self.places, 1)


@functools.lru_cache(64)
def _all(n, batch):
    return np.full(n, batch, np.int64)


def _mine(a):
    """Contiguous and writeable, as compiled code wants it, though it does not write."""
    return a if a.flags.c_contiguous and a.flags.writeable else np.array(a, order="C")


def _canonical(a, ndim):
    return type(a) is np.ndarray and a.ndim == ndim and a.dtype == F32 and a.flags.aligned


def _fits(out, shape, inputs):
    try:
        arguments.output(out, shape, inputs)
    except (ValueError, TypeError):
        return False
    return True


def _check(net, layer, direction, w_ih, w_hh, w_hr):
    wide = net.input if layer == 0 else net.dirs * net.width
    hr = (net.proj, net.hidden) if net.proj else None
    if (
        not (0 <= layer < net.layers and 0 <= direction < net.dirs)
        or w_ih.shape != (net.sums, wide)
        or w_hh.shape != (net.sums, net.width)
        or (None if w_hr is None else w_hr.shape) != hr
    ):
        raise ValueError("weights do not have the network's shapes")


class State:
    """A stream's state: two sets, so that a call that fails leaves the last one whole.

    State(net, batch, batch_first)
    """

    def __init__(self, net, batch, batch_first):
        self.net, self.batch, self.batch_first = net, batch, batch_first
        try:
            self.now, self.next = net.states(None, batch), net.states(None, batch)
        except ValueError:  # more than NumPy can name
            raise MemoryError(f"no memory for the states of {batch} rows") from None
        self.shape = (batch, net.input), (batch, net.width)

    def get(self):
        h, c = self.now
        return self.net.outer(h.copy(), c.copy())

    def set(self, *state):
        now = self.net.states(state if self.net.wide_c else state[0], self.batch)
        if now is None:
            raise ValueError("the state does not have the stream's shape")
        self.now = now

    def advance(self, x, out, single, threads):
        """y for a chunk x, and the state moves on; or None when an array is not canonical, and the
        state stays. single: x is one step (B, I), y (B, K); otherwise x and y are as in forward."""
        if not _canonical(x, 2 if single else 3):
            return None
        net = self.net
        xt = x[None] if single else x.swapaxes(0, 1) if self.batch_first else x
        if xt.shape[1:] != self.shape[0] or xt.shape[0] == 0:
            return None
        shape = (*x.shape[:-1], net.width)
        if out is not None and not _fits(out, shape, (x,)):
            return None
        y = np.empty(shape, np.float32) if out is None else out
        yt = y[None] if single else y.swapaxes(0, 1) if self.batch_first else y
        for old, new in zip(self.now, self.next):
            new[...] = old
        net.run(xt, *self.next, yt, None)
        self.now, self.next = self.next, self.now
        return y
