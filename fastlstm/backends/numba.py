# SPDX-License-Identifier: MIT
"""The Numba backend: loops.py, compiled once for a machine and kept on disk.

Making a layer loads or compiles what calls need, and the first forward_train what training needs:
no call compiles. `fastlstm.warmup()` does both.
"""

import threading

import llvmlite
import numba

from . import arithmetic, loops, network
from . import numpy as vectorised
from .network import CELLS, State, default_threads, plain, set_default_threads
from .tape import Turned, backward, drop, forward_train

__all__ = [
    "CELLS", "Net", "State", "Turned", "backward", "compiler", "default_threads", "drop",
    "forward_train", "isas", "set_default_threads", "warmup",
]  # fmt: skip

_lock = threading.Lock()


def isas():
    """As _core.isas: (name, built, runnable here)."""
    return [("numba", True, True)]


def compiler():
    return f"numba {numba.__version__}, llvmlite {llvmlite.__version__}"


def warmup():
    """Compile or load everything."""
    for name in ("forward", "backward"):
        _Compiled.of(name)


class _Compiled:
    """The machine code of loops.py, made when it is first asked for."""

    made = {}  # noqa: RUF012

    @classmethod
    def of(cls, name):
        if name not in cls.made:
            with _lock:
                if name not in cls.made:
                    cls.made[name] = loops.compiled(name)
        return cls.made[name]


class Cell:
    """The loops of loops.py for one kind of cell; `like` is NumPy's cell."""

    def __init__(self, kind, like):
        self.kind, self.gates, self.keeps = kind, like.gates, like.keeps
        self.recurrent = like.recurrent

    def prepare(self, training):
        self._forward = _Compiled.of("forward")
        if training:
            self._backward = _Compiled.of("backward")

    def pack(self, lane):
        H = lane.w_hh.shape[1]
        if self.kind == loops.GRU_BEFORE:
            lane.r, lane.proj = lane.r[:, : 2 * H], lane.r[:, 2 * H :]
        lane.w, lane.r, lane.proj = map(arithmetic.pack, (lane.w, lane.r, lane.proj))

    def turn(self, lane):
        lane.back, lane.back_proj = (arithmetic.pack(plain(w)) for w in (lane.w_hh, lane.w_hr))

    def forward(self, lane, a, z, s, rows, back, h, c, y):
        self._forward(
            self.kind, lane.w, lane.r, lane.proj, lane.bias, lane.bias_n, a, z, s, rows, back, h,
            c, y,
        )  # fmt: skip

    def backward(self, lane, z, s, h0, c0, dy, rows, back, dh, dc, dz):
        self._backward(
            self.kind, lane.back, lane.back_proj, z, s, h0, c0, dy, rows, back, dh, dc, dz
        )


class Net(network.Net):
    name = "numba"
    cells = {  # noqa: RUF012
        name: Cell(getattr(loops, name.upper()), like)
        for name, like in vectorised.Net.cells.items()
    }
