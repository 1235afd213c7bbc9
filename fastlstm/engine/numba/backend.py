# SPDX-License-Identifier: MIT
"""The Numba backend: loops.py, compiled once for a machine and kept on disk.

Making a layer loads or compiles what calls need, and the first forward_train what training needs:
no call compiles. `fastlstm.warmup()` does both.
"""

import threading
import zlib
from pathlib import Path

import llvmlite
import numba
import numpy as np

from ..numpy import backend as vectorised
from ..shared import activations, network
from ..shared.network import (
    CELLS,
    NONE,
    State,
    default_threads,
    plain,
    set_default_threads,
    team_size,
)
from ..shared.tape import Turned, backward, drop, forward_train
from . import arithmetic, loops, variants

__all__ = [
    "CELLS", "Net", "State", "Turned", "backward", "compiler", "default_threads", "drop",
    "forward_train", "isas", "set_default_threads", "team_size", "warmup",
]  # fmt: skip

_lock = threading.Lock()


def isas():
    """As _core.isas: (name, built, runnable here)."""
    return [("numba", True, True)]


def compiler():
    return f"numba {numba.__version__}, llvmlite {llvmlite.__version__}"


def warmup():
    """Compile or load everything."""
    for module in (loops, variants):
        for name in module.SIGNATURES:
            _Compiled.of(module, name)


class _Compiled:
    """The machine code of loops.py and variants.py, made when it is first asked for."""

    made = {}  # noqa: RUF012

    @classmethod
    def of(cls, module, name):
        if (module, name) not in cls.made:
            with _lock:
                if (module, name) not in cls.made:
                    cls.made[module, name] = compiled(module, name)
        return cls.made[module, name]


def compiled(module, name):
    """One of module.make's in machine code for its one signature, from the cache on disk if there.

    The cache is beside the file or, where that cannot be written, in the user's cache directory
    or NUMBA_CACHE_DIR; where nothing can be written there is none.
    """
    files = (m.__file__ for m in (activations, arithmetic, loops, variants))
    try:
        source = zlib.crc32(b"".join(Path(f).read_bytes() for f in files))
    except OSError:
        source = 0
    function = module.make(source)[name]
    options = {"nogil": True, "error_model": "numpy"}
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place that can be written
        dispatcher = numba.njit(**options)(function)
    dispatcher.compile(module.SIGNATURES[name])
    dispatcher.disable_compile()
    return dispatcher


class Cell:
    """The loops of loops.py and variants.py for one kind of cell; `like` is NumPy's cell."""

    def __init__(self, kind, like):
        self.kind, self.gates, self.keeps, self.like = kind, like.gates, like.keeps, like
        self.recurrent = like.recurrent
        if like.gates == 4:
            self.full, self.peephole = like.full, like.peephole

    def prepare(self, training, varied_too):
        self._forward = _Compiled.of(loops, "forward")
        if training:
            self._backward = _Compiled.of(loops, "backward")
        if varied_too:
            self._forward_varied = _Compiled.of(variants, "forward")
            if training:
                self._backward_varied = _Compiled.of(variants, "backward")

    def pack(self, lane):
        H = lane.w_hh.shape[1]
        if self.kind == loops.GRU_BEFORE:
            lane.r, lane.proj = lane.r[:, : 2 * H], lane.r[:, 2 * H :]
        lane.w, lane.r, lane.proj = map(arithmetic.pack, (lane.w, lane.r, lane.proj))
        lane.packed = self.kind, lane.w, lane.r, lane.proj, lane.bias, lane.bias_n
        if lane.variant is not None:
            lane.numbers = np.array([f.number for f in lane.functions])
            lane.ab = np.array([f.numbers for f in lane.functions])
            lane.limit = np.float32(np.inf) if lane.clip is None else lane.clip
            lane.peeps = np.empty(0, np.float32) if lane.peephole is None else lane.peephole

    def turn(self, lane):
        lane.back, lane.back_proj = (arithmetic.pack(plain(w)) for w in (lane.w_hh, lane.w_hr))

    def forward(self, lane, a, z, s, rows, back, h, c, y):
        if lane.variant is not None:
            self._forward_varied(
                *lane.packed, lane.numbers, lane.ab, lane.limit, lane.coupled, lane.peeps, a, z, s,
                rows, back, h, c, y,
            )  # fmt: skip
            return
        self._forward(*lane.packed, a, z, s, rows, back, h, c, y)

    def backward(self, lane, z, s, h0, c0, dy, rows, back, dh, dc, dz):
        if lane.variant is None:
            self._backward(
                self.kind, lane.back, lane.back_proj, z, s, h0, c0, dy, rows, back, dh, dc, dz
            )
            return z
        values, slopes = self.like.opened(lane, z)
        f, fc = (*self.like.factors(lane, values, slopes, s, h0, c0), NONE)[:2]
        self._backward_varied(
            self.kind, lane.back, lane.back_proj, values, f, fc, lane.peeps, dy, rows, back, dh,
            dc, dz,
        )  # fmt: skip
        return values


class Net(network.Net):
    name = "numba"
    cells = {  # noqa: RUF012
        name: Cell(getattr(loops, name.upper()), like)
        for name, like in vectorised.Net.cells.items()
    }
