# SPDX-License-Identifier: MIT
"""The network without C: layers, directions, lengths, streams, over one backend's cells.

A backend is a module with the names that c/_core has. Those of numba/ and numpy/ are made in this
folder; the arithmetic of a cell is theirs, as objects with

    gates, keeps                                   G: 4, 3 or 1; is s below needed?
    prepare(training, variant)                     called once before the others
    pack(track), pack_backward(track)              the weights as forward, and backward, want them
    forward(track, a, z, s, running, reverse, h, c, y)           some steps of one track
    backward(track, z, s, h0, c0, dy, running, reverse, dh, dc, dz)   the same steps, back in time
    recurrent(z, s, h0, dz)                        what the gradients of W_hh and b_hh are made of
    unprojected(track, z, c), peephole(dz, c0, c)  an LSTM's: of W_hr, of the peepholes

A track is one layer in one direction. T time, B batch, I input, H hidden, K = P or H, N = G H sums
of gates in a row, n steps of a chunk. Inside, arrays are (T, B, ...) and the longest rows come
first, so that the rows that still run at step t are the first running[t], in both directions:
in reverse, a row joins at its last step.
"""

import functools

import numpy as np

from .. import arguments
from .track import DTYPES, FUNCTIONS, Track, compiled_can_read, is_torchs

F32 = np.dtype(np.float32)
TINY = np.float32(2.0**-62)  # states below count as zero, as in csrc/kernels/contract.h
NONE = np.empty((0, 0, 0), np.float32)
CHUNK = 1 << 17  # floats of gate sums at once: they stay in a cache, and Ctrl-C gets its turn
CELLS = tuple(FUNCTIONS)
_threads = 1


def set_default_threads(n):
    """Kept for default_threads, no more: these backends work on the caller's thread."""
    global _threads
    _threads = n


def default_threads():
    """What set_default_threads was given."""
    return _threads


def worker_count():
    """How many worker threads are alive: none."""
    return 0


def same_bits(ours, theirs):
    """Do two lists of contiguous arrays of 4-byte numbers, alike in shapes, hold the same bits?"""
    pairs = zip(ours, theirs, strict=True)
    return all(np.array_equal(a.view(np.int32), b.view(np.int32)) for a, b in pairs)


class Net:
    """Weights ready for calls; arguments, attributes, methods and errors are c/_core.Net's. A
    backend's subclass sets its name and its cells, {cell: object}. With dtype "float16" the
    matrices are rounded and stay float32: C's results without its saving of memory.

    Net(cell, input, hidden, proj, layers, dirs, isa, variant=None, dtype="float32", inputs="int16")
    """

    name, cells = "", {}

    def __init__(
        self, cell, input, hidden, proj, layers, dirs, isa, variant=None, dtype="float32",
        inputs="int16",
    ):  # fmt: skip
        if isa not in (None, self.name):
            raise ValueError(f"instruction set {isa!r} does not run here")
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
        self.cell, self.dtype, self.arithmetic = cell, dtype, self.arithmetic_of(cell, dtype)
        self.input_bits = 16 if inputs == "int16" else 8
        self.reverse = variant is not None and variant.reverse
        self.variant = None if is_torchs(cell, variant) else variant
        self.arithmetic.prepare(False, self.variant is not None)
        self.input, self.hidden, self.proj = input, hidden, proj
        self.layers, self.dirs = layers, dirs
        self.width = proj or hidden  # K
        self.tracks = [None] * (layers * dirs)
        self.sums = self.arithmetic.gates * hidden  # N
        self.has_c = cell == "lstm"
        self.width_c = hidden if self.has_c else 0
        self.weights = self.backward_weights = None
        self.forward_only = dirs == 1 and not self.in_reverse(0)

    def arithmetic_of(self, cell, dtype):
        """The object of the cell's arithmetic."""
        return self.cells[cell]

    @property
    def nbytes(self):
        """Bytes of the weights as calls use them, without the arrays that set() was given."""
        return sum(track.nbytes for track in self.tracks if track is not None)

    def set(self, layer, direction, w_ih, w_hh, b_ih, b_hh, w_hr, peephole=None, threads=1):
        """Take one layer and direction, in torch's shapes; biases, w_hr and peephole may be None.
        threads: for the C core alone. ValueError for other shapes."""
        check_shapes(self, layer, direction, w_ih, w_hh, w_hr)
        vectors = (b_ih, self.sums), (b_hh, self.sums), (peephole, 3 * self.width_c)
        if any(a is not None and a.shape != (n,) for a, n in vectors):
            raise ValueError("weights do not have the network's shapes")
        track = Track(
            self.cell, self.hidden, w_ih, w_hh, b_ih, b_hh, w_hr, peephole, self.variant,
            direction, self.dtype, layer == 0, self.input_bits,
        )  # fmt: skip
        self.arithmetic.pack(track)
        self.tracks[layer * self.dirs + direction] = track

    def in_reverse(self, direction):
        """Does this direction read the sequence from its end?"""
        return direction == 1 or self.reverse

    def forward(self, x, state, out, lengths, sequences, batch_first, threads):
        """(y, state), or None when an array is not canonical; as c/_core.Net.forward."""
        if not _canonical(x, 3) or x.shape[2] != self.input or not x.size:
            return None
        x_time_first = x.swapaxes(0, 1) if batch_first else x
        B = x_time_first.shape[1]
        given, state = state, self.states(state, B)
        if state is None:
            return None
        features = self.dirs * self.width
        shape = (x.shape[0], x.shape[1], features) if sequences else (B, features)
        if out is not None and not _fits(
            out, shape, (x, *(given if type(given) is tuple else (given,)))
        ):
            return None
        y = np.empty(shape, F32) if out is None else out
        y_time_first = None
        if sequences:
            y_time_first = y.swapaxes(0, 1) if batch_first else y
        h, c = self.run(x_time_first, *state, y_time_first, lengths)
        if not sequences:
            y[...] = h[-self.dirs :].swapaxes(0, 1).reshape(shape)
        return y, self.as_state(h, c)

    def states(self, state, B):
        """(h, c), new arrays (L D, B, K) and (L D, B, H or, without c, 0): copies or zeros. None if
        `state` is not canonical."""
        tracks = len(self.tracks)
        done = np.zeros((tracks, B, self.width), F32), np.zeros((tracks, B, self.width_c), F32)
        if state is None:
            return done
        parts = state if self.has_c else (state,)
        if type(parts) is not tuple or len(parts) != (2 if self.has_c else 1):
            return None
        for to, part in zip(done, parts):
            if not _canonical(part, 3) or part.shape != to.shape:
                return None
            np.copyto(to, part, where=~(np.abs(part) < TINY))
        return done

    def as_state(self, h, c):
        """The state as callers of forward have it."""
        return (h, c) if self.has_c else h

    def as_tuple(self, h, c):
        """The state as callers of forward_train have it."""
        return (h, c) if self.has_c else (h,)

    def run(self, x, h, c, y, lengths, tape=None):
        """The whole forward pass. x (T, B, I); h and c are replaced; y (T, B, D K) or None."""
        T, B, _ = x.shape
        chunk, forward_only = max(1, CHUNK // (B * self.sums)), tape is None and self.forward_only
        if forward_only and chunk >= T and lengths is None and y is not None:
            return self.run_at_once(x, h, c, y)
        order = Order(lengths, T, B) if tape is None else tape.order
        h, c = order.sorted(h), order.sorted(c)
        if tape is not None:
            tape.h0, tape.c0 = h.copy(), c.copy()
        if forward_only:
            self.run_chunks(x, h, c, y, order, chunk)
        elif order.end:
            self.run_layers(x, h, c, y, order, chunk, tape)
        if y is not None and order.end < T:
            y[order.end :] = 0
        return order.restored(h), order.restored(c)

    def run_at_once(self, x, h, c, y):
        """Few steps, one direction, no lengths: the commonest call, and some microseconds faster
        than the general way."""
        T, B, _ = x.shape
        a, z, running = compiled_can_read(x), np.empty((T, B, self.sums), F32), _all(T, B)
        for i, track in enumerate(self.tracks, 1):
            to = y if i == self.layers else np.empty((T, B, self.width), F32)
            self.arithmetic.forward(track, a, z, NONE, running, False, h[i - 1], c[i - 1], to)
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
            a, running, gates = order.sorted(x[part]), order.running(part), z[: part.stop - t0]
            for i, track in enumerate(self.tracks):
                if direct and i == self.layers - 1:
                    to = y[part]
                else:  # perhaps in place: a chunk's gate sums are made before its outputs
                    to = scratch[: len(a)]
                a = compiled_can_read(a)
                self.arithmetic.forward(track, a, gates, NONE, running, False, h[i], c[i], to)
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
                starts, reverse = range(0, end, chunk), self.in_reverse(i % D)
                for t0 in reversed(starts) if reverse else starts:
                    part = slice(t0, min(t0 + chunk, end))
                    n = part.stop - t0
                    gates, kept = z[:n], NONE
                    if tape is not None:
                        gates, kept = tape.gates[i][part], tape.kept[i][part]
                    below = a[part] if layer or tape is not None else order.sorted(a[part])
                    columns = slice(i % D * K, (i % D + 1) * K)
                    self.arithmetic.forward(
                        self.tracks[i], compiled_can_read(below), gates, kept, order.running(part),
                        reverse, h[i], c[i], to[part if len(to) >= end else slice(n), :, columns],
                    )  # fmt: skip
            a = to if tape is None else tape.feed(layer)
        if y is not None and y is not a:
            y[:end, slice(None) if order.rows is None else order.rows] = a[:end]


class Order:
    """Rows sorted by their lengths, longest first.

    rows   (B,) the caller's number of each row; None without lengths
    end    the steps of the longest
    """

    def __init__(self, lengths, T, B):
        self.rows, self.end, self.batch = None, T, B
        if lengths is not None:
            self.rows, self.end = np.argsort(-lengths, kind="stable"), int(lengths.max())
            self.lengths, self.places = np.sort(lengths), np.argsort(self.rows)

    def running(self, part):
        """(n,) how many rows run at each of the steps of a slice."""
        if self.rows is None:
            return _all(part.stop - part.start, self.batch)
        steps = np.arange(part.start, part.stop)
        return self.batch - np.searchsorted(self.lengths, steps, side="right").astype(np.int64)

    def sorted(self, a):
        """The caller's (n, B, ...) in this order, contiguous if there are lengths."""
        return a if self.rows is None else a.take(self.rows, 1)

    def restored(self, a):
        """The other way: in the caller's order."""
        return a if self.rows is None else a.take(self.places, 1)


@functools.lru_cache(64)
def _all(n, batch):
    return np.full(n, batch, np.int64)


def _canonical(a, ndim):
    return type(a) is np.ndarray and a.ndim == ndim and a.dtype == F32 and a.flags.aligned


def _fits(out, shape, inputs):
    try:
        arguments.output(out, shape, inputs)
    except (ValueError, TypeError):
        return False
    return True


def check_shapes(net, layer, direction, w_ih, w_hh, w_hr):
    """ValueError unless these are the matrices of a layer and direction of `net`."""
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
    """A stream's state: the one before a call and the one after it, so that a call that fails
    leaves the state as it was. Arguments, methods and errors are c/_core.State's.

    State(net, batch, batch_first)
    """

    def __init__(self, net, batch, batch_first):
        self.net, self.batch, self.batch_first = net, batch, batch_first
        try:
            self.now, self.next = net.states(None, batch), net.states(None, batch)
        except ValueError:  # more than NumPy can name
            raise MemoryError(f"no memory for the states of {batch} rows") from None

    def get(self):
        """(h, c), copies, (L, B, K) and (L, B, H); of cells without c, h."""
        h, c = self.now
        return self.net.as_state(h.copy(), c.copy())

    def set(self, *state):
        """Takes copies of h and, of an LSTM, c; ValueError if they have other shapes."""
        now = self.net.states(state if self.net.has_c else state[0], self.batch)
        if now is None:
            raise ValueError("the state does not have the stream's shape")
        self.now = now

    def advance(self, x, out, single, threads):
        """y for the next steps x, and the state moves on; or None when an array is not canonical,
        and the state stays. single: x is one step (B, I) and y (B, K); otherwise both are as in
        Net.forward."""
        if not _canonical(x, 2 if single else 3):
            return None
        net = self.net
        x_time_first = x[None] if single else x.swapaxes(0, 1) if self.batch_first else x
        if x_time_first.shape[1:] != (self.batch, net.input) or x_time_first.shape[0] == 0:
            return None
        shape = (*x.shape[:-1], net.width)
        if out is not None and not _fits(out, shape, (x,)):
            return None
        y = np.empty(shape, np.float32) if out is None else out
        y_time_first = y[None] if single else y.swapaxes(0, 1) if self.batch_first else y
        for before, after in zip(self.now, self.next):
            after[...] = before
        net.run(x_time_first, *self.next, y_time_first, None)
        self.now, self.next = self.next, self.now
        return y
