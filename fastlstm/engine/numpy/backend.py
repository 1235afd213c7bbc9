# SPDX-License-Identifier: MIT
"""The NumPy backend: the cells' equations, a step of all rows at a time. It runs everywhere.

Formulas are torch's, or of a variant ONNX's; sigmoid, tanh and products of gates are elementwise.
In the code below z holds the gate sums W x + b on entry to a step. After it z has the activations;
of a variant the whole sums, since not every slope follows from an activation. d + name is the
gradient of a loss with respect to name; a slope is the derivative of an activation. What calls
these, and the letters of shapes: shared/network.py.
"""

import numpy as np

from ..shared import network
from ..shared.network import (
    CELLS,
    TINY,
    State,
    default_threads,
    same_bits,
    set_default_threads,
    worker_count,
)
from ..shared.tape import BackwardWeights, backward, drop, forward_train

__all__ = [
    "CELLS", "BackwardWeights", "Net", "State", "backward", "compiler", "default_threads", "drop",
    "forward_train", "isas", "same_bits", "set_default_threads", "worker_count",
]  # fmt: skip


TINY_GRADIENT = np.float32(2.0**-96)  # as in csrc/kernels/contract.h


def isas():
    """[(name, built, runnable here)], as c/_core.isas."""
    return [("numpy", True, True)]


def compiler():
    """What computes here, a str."""
    return f"none; NumPy {np.__version__}"


def sigmoid(a):
    """a becomes 1 / (1 + exp(-a)), in place; exp's overflow gives the right 0."""
    a *= -1  # np.negative of NumPy 2.4.6 writes wrong values into views of one column
    np.exp(a, out=a)
    a += 1
    np.reciprocal(a, out=a)
    return a


IN_PLACE = {
    "sigmoid": sigmoid,
    "tanh": lambda a: np.tanh(a, out=a),
    "relu": lambda a: np.maximum(a, 0, out=a),
}


def flush(a, tiny):
    """What is below `tiny` in magnitude becomes 0, in place: a CPU takes many times longer for the
    subnormal numbers that would follow."""
    a[np.abs(a) < tiny] = 0


def split(a, gates):
    """Views (..., H) of the gates of an array (..., G H)."""
    H = a.shape[-1] // gates
    return [a[..., k * H : (k + 1) * H] for k in range(gates)]


def activation(track, which, z):
    """f(z), f being the track's function number `which`: in place, unless a variant keeps z."""
    function = track.functions[which]
    if track.variant is None:
        return IN_PLACE[function.name](z)
    return function.value(clipped(track, z))


def clipped(track, z):
    """The sums, cut to [-clip, clip] where the variant says so."""
    return z if track.clip is None else np.clip(z, -track.clip, track.clip)


class Cell:
    """The loops over steps, for every cell. A subclass has the equations of one step, and `places`:
    for each gate the number of its function in a track's `functions`."""

    gates, keeps, places = 1, False, (0,)

    def prepare(self, training, variant):
        """Nothing to compile."""

    def pack(self, track):
        """Nothing to pack either."""

    pack_backward = pack

    @np.errstate(all="ignore")  # Inf and NaN are answers
    def forward(self, track, a, z, s, running, reverse, h, c, y):
        """Steps over a (n, B, I). h (B, K) and c (B, H) become the states after them; y (n, B, K)
        is filled, 0 where a row does not run. z (n, B, N) gets the activations or sums, and
        s (n, B, H), unless it is empty, what else `backward` needs."""
        small = np.abs(a) < TINY
        a = np.where(small, 0, a) if small.any() else a
        if isinstance(track.w, np.ndarray):
            np.matmul(a, track.w, out=z)
        else:
            z[...] = a @ track.w
        z += track.bias
        for t in _order(len(a), reverse):
            n = running[t]
            kept = self.step(track, z[t, :n], h[:n], c[:n])
            flush(h[:n], TINY)
            y[t, :n] = h[:n]
            y[t, n:] = 0
            if len(s):
                z[t, n:] = s[t, n:] = 0
                if kept is not None:
                    s[t, :n] = kept

    def values_and_slopes(self, track, z):
        """The activations and their slopes, (n, B, N) each, from what forward left in z."""
        values = z if track.variant is None else np.empty_like(z)
        slopes = np.empty_like(z)
        parts = zip(self.places, *(split(a, self.gates) for a in (z, values, slopes)))
        for place, sums, value, slope in parts:
            function, x = track.functions[place], clipped(track, sums)
            if track.variant is not None:
                value[...] = function.value(x)
            slope[...] = function.slope(x, value)
            if track.clip is not None:
                slope *= np.abs(sums) <= track.clip
        return values, slopes

    @np.errstate(all="ignore")
    def backward(self, track, z, s, h0, c0, dy, running, reverse, dh, dc, dz):
        """The same steps, back in time. h0 and c0 (n, B, ...) are the states before each step. dy
        (n, B, K), the gradients of the outputs, becomes those of h; dh and dc, those of the state
        after the steps, become those of the state before them; dz (n, B, N), those of the sums, is
        filled, 0 where a row does not run. Returns the activations."""
        values, slopes = self.values_and_slopes(track, z)
        factors = self.factors(track, values, slopes, s, h0, c0)
        for t in _order(len(dz), not reverse):
            n = running[t]
            dh[:n] += dy[t, :n]
            dy[t, :n] = dh[:n]
            dy[t, n:] = dz[t, n:] = 0
            of_step = [f[t, :n] for f in factors]
            self.step_backward(track, values[t, :n], *of_step, dh[:n], dc[:n], dz[t, :n])
            flush(dh[:n], TINY_GRADIENT)
        flush(dz, TINY_GRADIENT)
        return values

    def recurrent(self, z, s, h0, dz):
        """(gates, d, v) such that dW_hh = sum of d^T v, and db_hh = sum of d, for those gates; z:
        the activations."""
        return [(slice(None), dz, h0)]


def _order(n, reverse):
    return range(n - 1, -1, -1) if reverse else range(n)


class LSTM(Cell):
    """i, f, o = sigmoid(...), g = tanh(W x + b + R h); c' = f c + i g; h' = o tanh(c').

    With peepholes p, i and f also see p c, and o p c'; with coupled gates f = 1 - i. With a
    projection V: h' = V (o tanh(c')) (Sak et al. 2014). Kept: c'.
    """

    gates, keeps, places = 4, True, (0, 0, 1, 0)

    def step(self, track, z, h, c):
        H = c.shape[1]
        z += h @ track.r
        if track.peephole is not None:
            z[:, : 2 * H] += np.concatenate([c, c], 1) * track.peephole[: 2 * H]
        i, f = split(activation(track, 0, z[:, : 2 * H]), 2)
        if track.coupled:
            np.subtract(1, i, out=f)
        g = activation(track, 1, z[:, 2 * H : 3 * H])
        c *= f
        c += i * g
        flush(c, TINY)
        if track.peephole is not None:
            z[:, 3 * H :] += c * track.peephole[2 * H :]
        full = activation(track, 0, z[:, 3 * H :]) * track.functions[2].value(c)
        h[...] = full @ track.proj if track.proj.size else full
        return c

    def values_and_slopes(self, track, z):
        values, slopes = super().values_and_slopes(track, z)
        if track.coupled:
            i, f = split(values, 4)[:2]
            np.subtract(1, i, out=f)
            split(slopes, 4)[1][...] = 0
        return values, slopes

    def factors(self, track, values, slopes, c, h0, c0):
        """What turns dc' into dz (the part of o: dh into dz), and dh into dc'."""
        i, _, g, o = split(values, 4)
        di, df, dg, do = split(slopes, 4)
        t = track.functions[2].value(c)
        di *= g - c0 if track.coupled else g
        df *= c0
        dg *= i
        do *= t
        return slopes, o * track.functions[2].slope(c, t)

    def step_backward(self, track, z, factor, factor_c, dh, dc, dz):
        H = dc.shape[1]
        full = dh @ track.w_hr if track.proj.size else dh
        np.multiply(full, factor[:, 3 * H :], out=dz[:, 3 * H :])
        dc += full * factor_c
        if track.peephole is not None:
            dc += dz[:, 3 * H :] * track.peephole[2 * H :]
        for k in range(3):
            part = slice(k * H, (k + 1) * H)
            np.multiply(dc, factor[:, part], out=dz[:, part])
        dc *= z[:, H : 2 * H]
        if track.peephole is not None:
            di, df, *_ = split(dz, 4)
            pi, pf, _ = split(track.peephole, 3)
            dc += di * pi + df * pf
        flush(dc, TINY_GRADIENT)
        dh[...] = dz @ track.w_hh

    def unprojected(self, track, z, c):
        """h before the projection, o tanh(c')."""
        return z[..., 3 * c.shape[2] :] * track.functions[2].value(c)

    def peephole(self, dz, c0, c):
        """What the gradients of the peepholes are sums of, (n, B, 3 H)."""
        di, df, _, do = split(dz, 4)
        return np.concatenate([di * c0, df * c0, do * c], 2)


class GRU(Cell):
    """r, u = sigmoid(W x + b + R h); n = tanh(W_n x + b_n + r (R_n h + d_n)); h' = (1-u) n + u h.

    torch calls u z. Kept: R_n h + d_n.
    """

    gates, keeps, places = 3, True, (0, 0, 1)

    def step(self, track, z, h, c):
        H = h.shape[1]
        hidden = h @ track.r
        z[:, : 2 * H] += hidden[:, : 2 * H]
        r, u = split(activation(track, 0, z[:, : 2 * H]), 2)
        candidate = hidden[:, 2 * H :]
        candidate += track.bias_n
        z[:, 2 * H :] += r * candidate
        self.mix(h, u, activation(track, 1, z[:, 2 * H :]))
        return candidate

    def mix(self, h, u, n):
        h -= n
        h *= u
        h += n

    def factors(self, track, values, slopes, s, h0, c0):
        """What turns dh into dn and du, and into dr the gradient of r s: s is what r multiplies."""
        _, u, n = split(values, 3)
        dr, du, dn = split(slopes, 3)
        dr *= s
        du *= h0 - n
        dn *= 1 - u
        return (slopes,)

    def step_backward(self, track, z, factor, dh, dc, dz):
        r, u, _ = split(z, 3)
        dr, du, dn = split(dz, 3)
        fr, fu, fn = split(factor, 3)
        np.multiply(dh, fn, out=dn)
        np.multiply(dh, fu, out=du)
        np.multiply(dn, fr, out=dr)
        dh *= u
        dh += np.hstack([dr, du, dn * r]) @ track.w_hh

    def recurrent(self, z, s, h0, dz):
        H = h0.shape[2]
        d = dz.copy()
        d[..., 2 * H :] *= z[..., :H]
        return [(slice(None), d, h0)]


class GRUBefore(GRU):
    """The same with n = tanh(W_n x + b_n + R_n (r h)): reset, then product (Cho et al. 2014)."""

    keeps = False

    def step(self, track, z, h, c):
        H = h.shape[1]
        z[:, : 2 * H] += h @ track.r[:, : 2 * H]
        r, u = split(activation(track, 0, z[:, : 2 * H]), 2)
        z[:, 2 * H :] += (r * h) @ track.r[:, 2 * H :]
        self.mix(h, u, activation(track, 1, z[:, 2 * H :]))

    def factors(self, track, values, slopes, s, h0, c0):
        return super().factors(track, values, slopes, h0, h0, c0)

    def step_backward(self, track, z, factor, dh, dc, dz):
        H = dh.shape[1]
        r, u, _ = split(z, 3)
        dr, du, dn = split(dz, 3)
        fr, fu, fn = split(factor, 3)
        np.multiply(dh, fn, out=dn)
        np.multiply(dh, fu, out=du)
        reset = dn @ track.w_hh[2 * H :]  # the gradient of r h
        np.multiply(reset, fr, out=dr)
        dh *= u
        dh += reset * r
        dh += dz[:, : 2 * H] @ track.w_hh[: 2 * H]

    def recurrent(self, z, s, h0, dz):
        H = h0.shape[2]
        return [
            (slice(0, 2 * H), dz[..., : 2 * H], h0),
            (slice(2 * H, 3 * H), dz[..., 2 * H :], z[..., :H] * h0),
        ]


class RNN(Cell):
    """h' = tanh(W x + b + R h), or max(0, ...)."""

    def step(self, track, z, h, c):
        z += h @ track.r
        h[...] = activation(track, 0, z)

    def factors(self, track, values, slopes, s, h0, c0):
        return (slopes,)

    def step_backward(self, track, z, factor, dh, dc, dz):
        np.multiply(dh, factor, out=dz)
        dh[...] = dz @ track.w_hh


class Net(network.Net):
    name = "numpy"
    cells = {  # noqa: RUF012
        "lstm": LSTM(), "gru": GRU(), "gru_before": GRUBefore(), "rnn_tanh": RNN(),
        "rnn_relu": RNN(),
    }  # fmt: skip
