# SPDX-License-Identifier: MIT
"""The types of all that is public; tests/api/test_typing.py holds them to the code.
Arrays given are anything that numpy.asarray takes, arrays returned are float32.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from os import PathLike
from typing import Any, Generic, Literal, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import LoadError as LoadError
from .variants import Activation

__version__: str
from . import nn as nn  # imported at first use

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "Grads",
    "LSTMCell",
    "LoadError",
    "Model",
    "ModelError",
    "ModelStream",
    "Pool",
    "PoolFull",
    "RNNCell",
    "Stream",
    "Tape",
    "Verification",
    "config_dict",
    "get_num_threads",
    "load",
    "load_all",
    "load_model",
    "nn",
    "read_state_dict",
    "runnable_isas",
    "set_num_threads",
    "show_config",
    "warmup",
]

_Array: TypeAlias = NDArray[np.float32]
_Path: TypeAlias = str | bytes | PathLike[str] | PathLike[bytes]
_File: TypeAlias = _Path | bytearray | memoryview | _BinaryFile  # bytes: see load
_Nonlinearity: TypeAlias = Literal["tanh", "relu"]
_Merge: TypeAlias = Literal["concat", "sum", "mul", "ave"]
_DType: TypeAlias = Literal["float32", "float16", "bfloat16", "int8"]
_Precision: TypeAlias = Literal["float32", "bfloat16x3", "bfloat16x6"]
_LayerPrecision: TypeAlias = Literal["float32", "bfloat16x3", "bfloat16x6", "bfloat16"]
_Inputs: TypeAlias = Literal["int16", "int8"]
_Names: TypeAlias = Sequence[str | Activation]
_Activations: TypeAlias = _Names | Sequence[_Names]  # of one direction, or of each
_State = TypeVar("_State")  # (h, c), or h alone, as a result
_Given = TypeVar("_Given")  # and as an argument
_Up = TypeVar("_Up")  # and its gradient as an argument

class _BinaryFile(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int, /) -> Any: ...
    def tell(self) -> int: ...

class _Layer(Generic[_State, _Given, _Up]):
    kind: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int
    activations: tuple[tuple[Activation, ...], ...] | None
    clip: float | None
    input_forget: bool
    peepholes: bool
    reverse: bool
    merge: _Merge
    output_order: str
    precision: _LayerPrecision
    isa: str
    num_threads: int | None
    @property
    def num_directions(self) -> int: ...
    @property
    def output_size(self) -> int: ...
    @property
    def dtype(self) -> _DType: ...  # of the weight matrices
    inputs: _Inputs
    def quantize(self, dtype: _DType, inputs: _Inputs = "int16") -> Self: ...
    def error(self, x: ArrayLike, state: Any = None, *, reference: Any = None) -> _Error: ...
    @property
    def initial_state(self) -> Any: ...  # like a state, or None
    @initial_state.setter
    def initial_state(self, state: Any) -> None: ...  # of arrays of any kind
    def state_dict(self) -> dict[str, _Array]: ...
    def load_state_dict(
        self, state_dict: Mapping[str, ArrayLike], strict: bool = True
    ) -> tuple[list[str], list[str]]: ...
    @classmethod
    def from_state_dict(
        cls,
        state_dict: Mapping[str, ArrayLike],
        prefix: str = "",
        batch_first: bool = False,
        *,
        precision: _LayerPrecision = "float32",
        isa: str | None = None,
        num_threads: int | None = None,
        **arguments: Any,
    ) -> Self: ...
    def save(self, path: _Path) -> None: ...
    def verify(
        self, x: ArrayLike, y: ArrayLike, state: _Given | None = None, *, tolerance: float = 1e-5
    ) -> Verification: ...
    def __call__(
        self,
        x: ArrayLike,
        state: _Given | None = None,
        *,
        lengths: ArrayLike | None = None,
        out: _Array | None = None,
        return_sequences: bool = True,
        num_threads: int | None = None,
        hx: _Given | None = None,
    ) -> tuple[_Array, _State]: ...
    def forward_train(
        self,
        x: ArrayLike,
        state: _Given | None = None,
        *,
        lengths: ArrayLike | None = None,
        seed: int | None = None,
        checkpoint: int | bool | None = None,
        num_threads: int | None = None,
        hx: _Given | None = None,
    ) -> tuple[_Array, _State, Tape]: ...
    def backward(
        self,
        tape: Tape,
        dy: ArrayLike | None = None,
        dstate: _Up | None = None,
        *,
        input_grad: bool = True,
        num_threads: int | None = None,
    ) -> Grads: ...
    def stream(self, batch_size: int = 1) -> Stream: ...
    def pool(
        self,
        capacity: int,
        *,
        max_delay: float = 1e-3,
        max_batch: int | None = None,
        max_queue: int = 16,
        idle: float | None = None,
        clock: Callable[[], float] = ...,
    ) -> Pool: ...

class LSTM(
    _Layer[
        tuple[_Array, _Array],
        tuple[ArrayLike, ArrayLike],
        tuple[ArrayLike | None, ArrayLike | None],
    ]
):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        activations: _Activations | None = None,
        clip: float | None = None,
        input_forget: bool = False,
        peepholes: bool = False,
        reverse: bool = False,
        merge: _Merge = "concat",
        precision: _LayerPrecision = "float32",
        isa: str | None = None,
        num_threads: int | None = None,
    ) -> None: ...

class GRU(_Layer[_Array, ArrayLike, ArrayLike]):
    reset_after: bool
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        activations: _Activations | None = None,
        clip: float | None = None,
        reverse: bool = False,
        merge: _Merge = "concat",
        precision: _LayerPrecision = "float32",
        isa: str | None = None,
        num_threads: int | None = None,
    ) -> None: ...

class RNN(_Layer[_Array, ArrayLike, ArrayLike]):
    nonlinearity: _Nonlinearity
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: _Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        activations: _Activations | None = None,
        clip: float | None = None,
        reverse: bool = False,
        merge: _Merge = "concat",
        precision: _LayerPrecision = "float32",
        isa: str | None = None,
        num_threads: int | None = None,
    ) -> None: ...

class Stream:
    state: Any  # (h, c), or h; may be set to such arrays of any kind
    def __init__(self, layer: _Layer[Any, Any, Any], batch_size: int = 1) -> None: ...
    @property
    def batch_size(self) -> int: ...
    def __call__(self, x: ArrayLike, out: _Array | None = None) -> _Array: ...
    def step(self, x: ArrayLike, out: _Array | None = None) -> _Array: ...
    def reset(self, rows: ArrayLike | None = None) -> None: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Self: ...

class PoolFull(RuntimeError): ...

class Pool:
    capacity: int
    @property
    def frame_shape(self) -> tuple[int | None, ...]: ...
    def __init__(
        self,
        rows: Any,
        capacity: int,
        *,
        max_delay: float = 1e-3,
        max_batch: int | None = None,
        max_queue: int = 16,
        idle: float | None = None,
        clock: Callable[[], float] = ...,
    ) -> None: ...
    def open(self) -> int: ...
    def close(self, id: int) -> None: ...
    def step(self, ids: Any, frames: Any = None) -> Any: ...
    def submit(self, id: int, frame: Any) -> Future[Any]: ...
    def state(self, id: int) -> Any: ...
    def set_state(self, id: int, state: Any) -> None: ...
    def reset(self, id: int) -> None: ...
    def metrics(self) -> dict[str, Any]: ...
    def shutdown(self, cancel: bool = False) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: object) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

class _Cell(Generic[_State, _Given]):
    input_size: int
    hidden_size: int
    bias: bool
    isa: str
    @property
    def kind(self) -> str: ...
    @property
    def dtype(self) -> _DType: ...
    def quantize(self, dtype: _DType, inputs: _Inputs = "int16") -> Self: ...
    def state_dict(self) -> dict[str, _Array]: ...
    def load_state_dict(
        self, state_dict: Mapping[str, ArrayLike], strict: bool = True
    ) -> tuple[list[str], list[str]]: ...
    def __call__(self, input: ArrayLike, hx: _Given | None = None) -> _State: ...

class LSTMCell(_Cell[tuple[_Array, _Array], tuple[ArrayLike, ArrayLike]]):
    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, isa: str | None = None
    ) -> None: ...

class GRUCell(_Cell[_Array, ArrayLike]):
    reset_after: bool
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        isa: str | None = None,
    ) -> None: ...

class RNNCell(_Cell[_Array, ArrayLike]):
    nonlinearity: _Nonlinearity
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: _Nonlinearity = "tanh",
        *,
        isa: str | None = None,
    ) -> None: ...

class Tape:
    @property
    def nbytes(self) -> int: ...

class Grads(NamedTuple):
    x: _Array | None
    state: Any  # (dh0, dc0), or dh0
    params: dict[str, _Array]

class _Error(NamedTuple):
    max: float
    rms: float
    where: tuple[int, ...]

@dataclass(frozen=True)
class Verification:
    matches: bool
    max_error: float
    explanation: str
    would: str | None = None
    def __bool__(self) -> bool: ...

def load(
    path: _File,
    prefix: str | None = None,
    *,
    dtype: _DType | None = None,
    precision: _Precision | None = None,
    **options: Any,
) -> LSTM | GRU | RNN: ...
def load_all(
    path: _File, *, dtype: _DType | None = None, precision: _Precision | None = None, **options: Any
) -> dict[str, LSTM | GRU | RNN]: ...

class ModelError(LoadError): ...

class _Value:
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...] | None  # free axes by their names

class Model:
    dtype: _DType
    asked: _DType | None
    codes: _Inputs
    precision: _Precision
    isa: str
    num_threads: int | None
    max_bytes: int
    def __init__(
        self,
        graph: Any,
        *,
        dtype: _DType | None = None,
        codes: _Inputs = "int16",
        precision: _Precision = "float32",
        isa: str | None = None,
        num_threads: int | None = None,
        max_bytes: int = ...,
    ) -> None: ...
    @property
    def inputs(self) -> list[_Value]: ...
    @property
    def outputs(self) -> list[_Value]: ...
    # An array, or a named tuple of several: which, the file says.
    def __call__(self, *args: ArrayLike, **kwargs: ArrayLike) -> Any: ...
    def stream(
        self, batch_size: int = 1, state: Mapping[str, str] | None = None, **constants: ArrayLike
    ) -> ModelStream: ...
    def quantize(self, dtype: _DType, inputs: _Inputs = "int16") -> Model: ...
    def error(
        self, *args: ArrayLike, reference: Model | None = None, **kwargs: ArrayLike
    ) -> Any: ...
    def pool(
        self,
        capacity: int,
        state: Mapping[str, str] | None = None,
        *,
        max_delay: float = 1e-3,
        max_batch: int | None = None,
        max_queue: int = 16,
        idle: float | None = None,
        clock: Callable[[], float] = ...,
        **constants: ArrayLike,
    ) -> Pool: ...
    def save(self, path: _Path) -> None: ...
    def memory(self, *shapes: Sequence[int], **values: ArrayLike) -> int: ...

class ModelStream:
    batch_size: int
    pairs: dict[str, str] | None
    state: dict[str, np.ndarray[Any, Any]]  # copies; may be set, to arrays of any kind
    def __init__(
        self,
        model: Model,
        pairs: Mapping[str, str] | None,
        batch_size: int,
        constants: Mapping[str, ArrayLike],
    ) -> None: ...
    def find_pairs(self, *args: ArrayLike, **kwargs: ArrayLike) -> None: ...
    def step(self, *args: ArrayLike, **kwargs: ArrayLike) -> Any: ...
    def __call__(self, *args: ArrayLike, **kwargs: ArrayLike) -> Any: ...
    def reset(self, rows: ArrayLike | None = None) -> None: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Self: ...

def load_model(
    path: _File,
    *,
    dtype: _DType | None = None,
    precision: _Precision | None = None,
    num_threads: int | None = None,
    isa: str | None = None,
    external_data: bool | None = None,
    max_bytes: int = ...,
) -> Model: ...
def read_state_dict(
    path: _File, *, external_data: bool = False
) -> dict[str, np.ndarray[Any, Any]]: ...
def runnable_isas() -> list[str]: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int | None) -> None: ...
def warmup() -> None: ...
def config_dict() -> dict[str, Any]: ...
def show_config() -> None: ...
