# SPDX-License-Identifier: MIT
"""The names and arguments of the extension, for type checkers. What they mean is said in _core.pyx
and the files beside it. Not public: fastlstm/__init__.pyi is."""

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from ..variants import Activation, Variant

_Array: TypeAlias = NDArray[np.float32]
_Lengths: TypeAlias = NDArray[np.int64] | None
_Parts: TypeAlias = tuple[_Array | None, ...]  # (h, c), or (h,) of cells without c
# of one layer and direction: dw_ih, dw_hh, db_ih, db_hh, dw_hr, and with peepholes theirs
_Gradients: TypeAlias = Sequence[_Array | None]

CELLS: tuple[str, ...]
DTYPES: tuple[str, ...]

def isas() -> list[tuple[str, bool, bool]]: ...
def compiler() -> str: ...
def default_threads() -> int: ...
def set_default_threads(n: int) -> None: ...
def worker_count() -> int: ...
def fail_allocations(after: int) -> None: ...
def same_bits(ours: list[NDArray[Any]], theirs: list[NDArray[Any]]) -> bool: ...

@final
class Net:
    @property
    def cell(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def has_c(self) -> bool: ...
    weights: Any
    backward_weights: Any
    def __new__(
        cls,
        cell: str,
        input: int,
        hidden: int,
        proj: int,
        layers: int,
        dirs: int,
        isa: str | None,
        variant: Variant | None = None,
        dtype: str = "float32",
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
        threads: int = 1,
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
    @property
    def net(self) -> Net: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def batch_first(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...

@final
class BackwardWeights:
    def __new__(cls, net: Net) -> BackwardWeights: ...
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
        threads: int = 1,
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
    weights: BackwardWeights,
    tape: Tape,
    dy: _Array | None,
    dstate: _Parts,
    input_grad: bool,
    state_grad: bool,
    grads: list[_Gradients],
    threads: int,
) -> tuple[_Array | None, _Parts | None]: ...
def drop(y: _Array, rate: float, seed: int, layer: int) -> None: ...

# kernels one by one, for tests and benchmarks

def sigmoid(x: _Array, isa: str | None = None) -> _Array: ...
def tanh(x: _Array, isa: str | None = None) -> _Array: ...
def activate(
    activation: Activation, x: _Array, isa: str | None = None
) -> tuple[_Array, _Array]: ...
def fma_peak(isa: str | None = None, seconds: float = 0.1, dtype: str = "float32") -> float: ...
def read_bandwidth(nbytes: int, seconds: float = 0.1, isa: str | None = None) -> float: ...

@final
class KernelProbe:
    def __new__(
        cls, isa: str | None, rows: int, k: int, hidden: int, cell: str = "lstm"
    ) -> KernelProbe: ...
    def gemm(self, repeats: int = 1) -> float: ...
    def step(self, repeats: int = 1) -> float: ...
    def result(self) -> _Array: ...

class OperatorError(ValueError):
    step: int | None
    def __init__(self, text: str, step: int | None = None) -> None: ...

@final
class Operator:
    @property
    def name(self) -> str: ...
    def __new__(
        cls,
        name: str,
        ints: Sequence[int] = (),
        floats: Sequence[float] = (),
        isa: str | None = None,
    ) -> Operator: ...
    def pack(self, *weights: NDArray[Any] | None) -> None: ...
    def run(
        self, inputs: Sequence[NDArray[Any] | None], outputs: int = 1, threads: int = 1
    ) -> list[NDArray[Any]]: ...

def recurrent(net: Net) -> Operator: ...

@final
class Layout:
    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]: ...
    @property
    def nbytes(self) -> int: ...
    def place(self, number: int) -> tuple[int, ...]: ...

@final
class Program:
    memory_limit: int | None
    def __new__(cls) -> Program: ...
    def input(self, dtype: Any, ndim: int) -> int: ...
    def constant(self, array: NDArray[Any]) -> int: ...
    def step(
        self,
        op: Operator,
        inputs: Sequence[int | None],
        outputs: int = 1,
        early: bool = False,
        wanted: Sequence[bool] | None = None,
    ) -> list[int | None]: ...
    def output(self, place: int) -> None: ...
    def layout(self, shapes: tuple[tuple[int, ...], ...], threads: int = 1) -> Layout: ...
    def run(
        self,
        inputs: list[NDArray[Any]],
        threads: int = 1,
        out: list[NDArray[Any]] | None = None,
    ) -> list[NDArray[Any]]: ...

def register_custom_ops() -> int: ...
