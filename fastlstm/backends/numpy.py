# SPDX-License-Identifier: MIT
"""The NumPy backend: the cells' equations, a step of all rows at a time. It runs everywhere.

Formulas are torch's; sigmoid, tanh and products of gates are elementwise. In the code below z holds
the gate sums W x + b on entry to a step and the activations after it, which is what backward needs;
d + name is the gradient of a loss with respect to name. network.py says what calls these.
"""

import numpy as np

from . import network
from .network import CELLS, State, default_threads, set_default_threads
from .tape import Turned, backward, drop, forward_train

__all__ = [
    "CELLS", "Net", "State", "Turned", "backward", "compiler", "default_threads", "drop",
    "forward_train", "isas", "set_default_threads",
]  # fmt: skip


def isas():
    """As _core.isas: (name, built, runnable here)."""
    return [("numpy", True, True)]


def compiler():
    return f"none; NumPy {np.__version__}"


def sigmoid(a):
    """a becomes 1 / (1 + exp(-a)), in place; exp's overflow gives the right 0."""
    a *= -1  # np.negative of NumPy 2.4.6 writes wrong values into views of one column
    np.exp(a, out=a)
    a += 1
    np.reciprocal(a, out=a)


def split(a, gates):
    """Views of the gates of a (B, G H)."""
    return [a[:, k * a.shape[1] // gates : (k + 1) * a.shape[1] // gates] for k in range(gates)]


class Cell:
    """The loops over steps, for every cell; a subclass has the equations of one step."""

    gates, keeps = 1, False

    def prepare(self, training):
        """Nothing to compile."""

    def pack(self, lane):
        """Nothing to pack either."""

    turn = pack

    @np.errstate(all="ignore")  # Inf and NaN are answers, not news
    def forward(self, lane, a, z, s, rows, back, h, c, y):
        """Steps over a (n, B, I). h (B, K) and c (B, H) move on; y (n, B, K) is filled, 0 where a
        row does not run. z (n, B, N) gets the activations, and s (n, B, H), unless it is empty,
        what else `backward` needs."""
        np.matmul(a, lane.w, out=z)
        z += lane.bias
        for t in _order(len(a), back):
            n = rows[t]
            kept = self.step(lane, z[t, :n], h[:n], c[:n])
            y[t, :n] = h[:n]
            y[t, n:] = 0
            if len(s):
                z[t, n:] = s[t, n:] = 0
                if kept is not None:
                    s[t, :n] = kept

    @np.errstate(all="ignore")
    def backward(self, lane, z, s, h0, c0, dy, rows, back, dh, dc, dz):
        """The same steps back. h0, c0 (n, B, ...): the states before each step; dy (n, B, K): the
        outputs' gradients, which become those of h; dh, dc: of the state after, then before; dz is
        filled, 0 where a row does not run."""
        for t in _order(len(z), not back):
            n = rows[t]
            dh[:n] += dy[t, :n]
            dy[t, :n] = dh[:n]
            dy[t, n:] = dz[t, n:] = 0
            self.unstep(lane, z[t, :n], s[t, :n], h0[t, :n], c0[t, :n], dh[:n], dc[:n], dz[t, :n])

    def recurrent(self, z, s, h0, dz):
        """(gates, d, v) such that dW_hh = sum of d^T v, and db_hh = sum of d, for those gates."""
        return [(slice(None), dz, h0)]


def _order(n, back):
    return range(n - 1, -1, -1) if back else range(n)


class LSTM(Cell):
    """i, f, o = sigmoid(...), g = tanh(W x + b + R h); c' = f c + i g; h' = o tanh(c').

    With a projection V: h' = V (o tanh(c')) (Sak et al. 2014). Kept: c'.
    """

    gates, keeps = 4, True

    def step(self, lane, z, h, c):
        z += h @ lane.r
        i, f, g, o = split(z, 4)
        sigmoid(z[:, : 2 * c.shape[1]])
        np.tanh(g, out=g)
        sigmoid(o)
        c *= f
        c += i * g
        full = o * np.tanh(c)
        h[...] = full @ lane.proj if lane.proj.size else full
        return c

    def unstep(self, lane, z, c, h0, c0, dh, dc, dz):
        i, f, g, o = split(z, 4)
        di, df, dg, do = split(dz, 4)
        full = dh @ lane.w_hr if lane.proj.size else dh
        t = np.tanh(c)
        do[...] = full * t * o * (1 - o)
        dc += full * o * (1 - t * t)
        di[...] = dc * g * i * (1 - i)
        df[...] = dc * c0 * f * (1 - f)
        dg[...] = dc * i * (1 - g * g)
        dc *= f
        dh[...] = dz @ lane.w_hh


class GRU(Cell):
    """r, u = sigmoid(W x + b + R h); n = tanh(W_n x + b_n + r (R_n h + d_n)); h' = (1-u) n + u h.

    torch calls u z. Kept: R_n h + d_n.
    """

    gates, keeps = 3, True

    def step(self, lane, z, h, c):
        r, u, n = split(z, 3)
        ru, hidden = z[:, : 2 * h.shape[1]], h @ lane.r
        ru += hidden[:, : 2 * h.shape[1]]
        sigmoid(ru)
        candidate = split(hidden, 3)[2]
        candidate += lane.bias_n
        n += r * candidate
        np.tanh(n, out=n)
        h -= n
        h *= u
        h += n
        return candidate

    def unstep(self, lane, z, s, h0, c0, dh, dc, dz):
        r, u, n = split(z, 3)
        dr, du, dn = split(dz, 3)
        dn[...] = dh * (1 - u) * (1 - n * n)
        du[...] = dh * (h0 - n) * u * (1 - u)
        dr[...] = dn * s * r * (1 - r)
        dh *= u
        dh += np.hstack([dr, du, dn * r]) @ lane.w_hh

    def recurrent(self, z, s, h0, dz):
        H = h0.shape[2]
        d = dz.copy()
        d[..., 2 * H :] *= z[..., :H]
        return [(slice(None), d, h0)]


class GRUBefore(Cell):
    """The same with n = tanh(W_n x + b_n + R_n (r h)): reset, then product (Cho et al. 2014)."""

    gates = 3

    def step(self, lane, z, h, c):
        H = h.shape[1]
        r, u, n = split(z, 3)
        ru = z[:, : 2 * H]
        ru += h @ lane.r[:, : 2 * H]
        sigmoid(ru)
        n += (r * h) @ lane.r[:, 2 * H :]
        np.tanh(n, out=n)
        h -= n
        h *= u
        h += n

    def unstep(self, lane, z, s, h0, c0, dh, dc, dz):
        H = h0.shape[1]
        r, u, n = split(z, 3)
        dr, du, dn = split(dz, 3)
        dn[...] = dh * (1 - u) * (1 - n * n)
        du[...] = dh * (h0 - n) * u * (1 - u)
        reset = dn @ lane.w_hh[2 * H :]  # the gradient of r h
        dr[...] = reset * h0 * r * (1 - r)
        dh *= u
        dh += reset * r
        dh += dz[:, : 2 * H] @ lane.w_hh[: 2 * H]

    def recurrent(self, z, s, h0, dz):
        H = h0.shape[2]
        return [
            (slice(0, 2 * H), dz[..., : 2 * H], h0),
            (slice(2 * H, 3 * H), dz[..., 2 * H :], z[..., :H] * h0),
        ]


class RNNTanh(Cell):
    """h' = tanh(W x + b + R h)."""

    def step(self, lane, z, h, c):
        z += h @ lane.r
        np.tanh(z, out=z)
        h[...] = z

    def unstep(self, lane, z, s, h0, c0, dh, dc, dz):
        dz[...] = dh * (1 - z * z)
        dh[...] = dz @ lane.w_hh


class RNNReLU(Cell):
    """h' = max(0, W x + b + R h)."""

    def step(self, lane, z, h, c):
        z += h @ lane.r
        np.maximum(z, 0, out=z)
        h[...] = z

    def unstep(self, lane, z, s, h0, c0, dh, dc, dz):
        dz[...] = dh * (z > 0)
        dh[...] = dz @ lane.w_hh


class Net(network.Net):
    name = "numpy"
    cells = {  # noqa: RUF012
        "lstm": LSTM(), "gru": GRU(), "gru_before": GRUBefore(), "rnn_tanh": RNNTanh(),
        "rnn_relu": RNNReLU(),
    }  # fmt: skip
