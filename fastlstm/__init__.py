# SPDX-License-Identifier: MIT
"""LSTMs, GRUs and RNNs on CPUs: PyTorch's interface and weights, a C engine, no PyTorch needed.

lstm = fastlstm.load("model.pt")            # or fastlstm.LSTM(input_size, hidden_size, ...)
y, (h, c) = lstm(x)                         # x (T, B, I)
stream = lstm.stream(); y = stream.step(x)  # one step at a time
"""

from .cells import GRUCell, LSTMCell, RNNCell
from .config import (
    config_dict,
    get_num_threads,
    runnable_isas,
    set_num_threads,
    show_config,
    warmup,
)
from .errors import LoadError
from .layers import GRU, LSTM, RNN
from .stream import Stream

__version__ = "0.1.0"
__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "LoadError",
    "RNNCell",
    "Stream",
    "config_dict",
    "get_num_threads",
    "load",
    "load_all",
    "read_state_dict",
    "runnable_isas",
    "set_num_threads",
    "show_config",
    "warmup",
]

_LOADERS = ("load", "load_all", "read_state_dict")


def __getattr__(name):
    # The loaders are a third of the package and many programs never read a file.
    if name in _LOADERS:
        from . import loaders

        for each in _LOADERS:
            globals()[each] = getattr(loaders, each)
        return globals()[name]
    raise AttributeError(f"module 'fastlstm' has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
