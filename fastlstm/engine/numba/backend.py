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

from ..numpy import backend as numpy_backend
from ..shared import activations, network
from ..shared.network import (
    CELLS,
    NONE,
    State,
    default_threads,
    same_bits,
    set_default_threads,
    worker_count,
)
from ..shared.tape import BackwardWeights, backward, drop, forward_train
from ..shared.track import without_subnormals
from . import arithmetic, loops, variants

__all__ = [
    "CELLS", "BackwardWeights", "Net", "State", "backward", "compiler", "default_threads", "drop",
    "forward_train", "isas", "same_bits", "set_default_threads", "warmup", "worker_count",
]  # fmt: skip

_lock = threading.Lock()


def isas():
    """[(name, built, runnable here)], as c/_core.isas."""
    return [("numba", True, True)]


def compiler():
    """What compiled the loops, a str."""
    return f"numba {numba.__version__}, llvmlite {llvmlite.__version__}"


def warmup():
    """Compile, or load from Numba's cache on disk, all that any layer may need."""
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
    """The loops of loops.py and variants.py for one cell, as shared/network.py calls them. number:
    the cell's in loops.py; numpy_cell: NumPy's object for the same cell."""

    def __init__(self, number, numpy_cell):
        self.number, self.numpy_cell = number, numpy_cell
        self.gates, self.keeps = numpy_cell.gates, numpy_cell.keeps
        self.recurrent = numpy_cell.recurrent
        if numpy_cell.gates == 4:
            self.unprojected, self.peephole = numpy_cell.unprojected, numpy_cell.peephole

    def prepare(self, training, variant):
        """Compile or load what calls need: of training too, of a variant too."""
        self._forward = _Compiled.of(loops, "forward")
        if training:
            self._backward = _Compiled.of(loops, "backward")
        if variant:
            self._forward_variant = _Compiled.of(variants, "forward")
            if training:
                self._backward_variant = _Compiled.of(variants, "backward")

    def pack(self, track):
        """The matrices become panels (arithmetic.pack); a variant's functions become numbers."""
        H = track.w_hh.shape[1]
        if self.number == loops.GRU_BEFORE:
            track.r, track.proj = track.r[:, : 2 * H], track.r[:, 2 * H :]
        track.w, track.r, track.proj = map(arithmetic.pack, (track.w, track.r, track.proj))
        track.packed = self.number, track.w, track.r, track.proj, track.bias, track.bias_n
        if track.variant is not None:
            track.numbers = np.array([f.number for f in track.functions])
            track.ab = np.array([f.numbers for f in track.functions])
            track.limit = np.float32(np.inf) if track.clip is None else track.clip
            none = np.empty(0, np.float32)
            track.peepholes = none if track.peephole is None else track.peephole

    def pack_backward(self, track):
        """Panels of W_hh and W_hr as they are, for products with gradients."""
        track.back, track.back_proj = (
            arithmetic.pack(without_subnormals(w)) for w in (track.w_hh, track.w_hr)
        )

    def forward(self, track, a, z, s, running, reverse, h, c, y):
        """As numpy/backend.py's Cell.forward."""
        if track.variant is not None:
            self._forward_variant(
                *track.packed, track.numbers, track.ab, track.limit, track.coupled,
                track.peepholes, a, z, s, running, reverse, h, c, y,
            )  # fmt: skip
            return
        self._forward(*track.packed, a, z, s, running, reverse, h, c, y)

    def backward(self, track, z, s, h0, c0, dy, running, reverse, dh, dc, dz):
        """As numpy/backend.py's Cell.backward."""
        if track.variant is None:
            self._backward(
                self.number, track.back, track.back_proj, z, s, h0, c0, dy, running, reverse, dh,
                dc, dz,
            )  # fmt: skip
            return z
        values, slopes = self.numpy_cell.values_and_slopes(track, z)
        f, fc = (*self.numpy_cell.factors(track, values, slopes, s, h0, c0), NONE)[:2]
        self._backward_variant(
            self.number, track.back, track.back_proj, values, f, fc, track.peepholes, dy, running,
            reverse, dh, dc, dz,
        )  # fmt: skip
        return values


class Net(network.Net):
    name = "numba"
    cells = {  # noqa: RUF012
        name: Cell(getattr(loops, name.upper()), numpy_cell)
        for name, numpy_cell in numpy_backend.Net.cells.items()
    }

    def arithmetic_of(self, cell, dtype):
        """NumPy's for sums of codes, which are exact whoever adds them, and of bfloat16."""
        return (numpy_backend.Net if dtype in ("int8", "bfloat16") else self).cells[cell]
