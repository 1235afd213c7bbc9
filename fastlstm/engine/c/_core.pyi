# SPDX-License-Identifier: MIT
"""The names and arguments of the extension. Not public: fastlstm/__init__.pyi is."""

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from ..variants import Activation

_Array: TypeAlias = NDArray[np.float32]
_Lengths: TypeAlias = NDArray[np.int64] | None
_Parts: TypeAlias = tuple[_Array | None, ...]  # (h, c), or (h,) of cells without c
_Slots: TypeAlias = Sequence[_Array | None]  # w_ih, w_hh, b_ih, b_hh, w_hr, peephole of one lane

CELLS: tuple[str, ...]

def isas() -> list[tuple[str, bool, bool]]: ...
def compiler() -> str: ...
def default_threads() -> int: ...
def set_default_threads(n: int) -> None: ...
def team_size() -> int: ...
def fail_allocations(after: int) -> None: ...

@final
class Net:
    cell: str
    has_c: bool
    weights: Any
    turned: Any
    def __new__(
        cls,
        cell: str,
        input: int,
        hidden: int,
        proj: int,
        layers: int,
        dirs: int,
        isa: str | None,
        variant: Any = None,
    ) -> Net: ...
    @property
    def nbytes(self) -> int: ...
    def set(
        self,
        layer: int,
        direction: int,
        w_ih: _Array,
        w_hh: _Array,
        b_ih: _Array | None,
        b_hh: _Array | None,
        w_hr: _Array | None,
        peephole: _Array | None = None,
    ) -> None: ...
    def forward(
        self,
        x: object,
        state: Any,
        out: Any,
        lengths: _Lengths,
        sequences: bool,
        batch_first: bool,
        threads: int,
    ) -> tuple[_Array, Any] | None: ...

@final
class State:
    def __new__(cls, net: Net, batch: int, batch_first: bool) -> State: ...
    def get(self) -> Any: ...
    def set(self, h: _Array, c: _Array | None = None) -> None: ...
    def advance(self, x: object, out: Any, single: bool, threads: int) -> _Array | None: ...

@final
class Tape:
    net: Net
    steps: int
    batch: int
    batch_first: bool
    @property
    def nbytes(self) -> int: ...

@final
class Turned:
    def __new__(cls, net: Net) -> Turned: ...
    @property
    def nbytes(self) -> int: ...
    def set(
        self,
        net: Net,
        layer: int,
        direction: int,
        w_ih: _Array,
        w_hh: _Array,
        w_hr: _Array | None,
    ) -> None: ...

def forward_train(
    net: Net,
    x: _Array,
    state: _Parts | None,
    lengths: _Lengths,
    dropout: float,
    seed: int,
    batch_first: bool,
    threads: int,
    first_step: int = 0,
    all_steps: int = 0,
) -> tuple[_Array, _Parts, Tape]: ...
def backward(
    turned: Turned,
    tape: Tape,
    dy: _Array | None,
    dstate: _Parts,
    input_grad: bool,
    state_grad: bool,
    grads: list[_Slots],
    threads: int,
) -> tuple[_Array | None, _Parts | None]: ...
def drop(y: _Array, rate: float, seed: int, layer: int) -> None: ...

# kernels one by one, for tests and benchmarks

def sigmoid(x: _Array, isa: str | None = None) -> _Array: ...
def tanh(x: _Array, isa: str | None = None) -> _Array: ...
def activate(
    activation: Activation, x: _Array, isa: str | None = None
) -> tuple[_Array, _Array]: ...
def fma_peak(isa: str | None = None, seconds: float = 0.1) -> float: ...
def read_bandwidth(nbytes: int, seconds: float = 0.1, isa: str | None = None) -> float: ...

@final
class Bench:
    def __new__(
        cls, isa: str | None, rows: int, k: int, hidden: int, cell: str = "lstm"
    ) -> Bench: ...
    def gemm(self, repeats: int = 1) -> float: ...
    def step(self, repeats: int = 1) -> float: ...
    def result(self) -> _Array: ...
