# SPDX-License-Identifier: MIT
"""LSTMs, GRUs and RNNs on CPUs: PyTorch's interface and weights, a C engine, no PyTorch needed.

lstm = fastlstm.load("model.pt")            # or fastlstm.LSTM(input_size, hidden_size, ...)
y, (h, c) = lstm(x)                         # x (T, B, I)
stream = lstm.stream(); y = stream.step(x)  # one step at a time
"""

from .config import __version__ as __version__
from .config import (
    config_dict,
    get_num_threads,
    runnable_isas,
    set_num_threads,
    show_config,
    warmup,
)
from .errors import LoadError
from .layers import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell, Stream
from .training import Grads, Tape

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

# Imported at first use: what reads files is a third of the package, and many programs read none.
_LAZY = {
    "load": "fastlstm.layers.load",
    "load_all": "fastlstm.layers.load",
    "load_model": "fastlstm.models.load",
    "Model": "fastlstm.models.model",
    "ModelError": "fastlstm.models.graph",
    "ModelStream": "fastlstm.models.stream",
    "Pool": "fastlstm.pool.pool",
    "PoolFull": "fastlstm.pool.pool",
    "read_state_dict": "fastlstm.files.read",
    "Verification": "fastlstm.layers.verify",
}


def __getattr__(name):
    import importlib

    if name == "nn":
        return importlib.import_module("fastlstm.nn")
    if name in _LAZY:
        globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
        return globals()[name]
    raise AttributeError(f"module 'fastlstm' has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
