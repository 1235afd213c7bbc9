# SPDX-License-Identifier: MIT
"""PyTorch models on this engine: torch.nn's LSTM, GRU, RNN and their cells run here.

    import fastlstm.torch
    fastlstm.torch.accelerate(model)  # every nn.LSTM, GRU, RNN and cell; state_dict as before
    fastlstm.torch.restore(model)     # and back
    fastlstm.torch.freeze(model)      # inference: the weights are not compared at each call

What the engine does not do runs in PyTorch, with one warning for each reason (why_not.py): other
dtypes and devices, subclasses of Tensor, torch.compile, tracing, autocast, torch.func,
forward-mode AD, gradients of gradients and vmapped backward. torch.jit.script, torch.fx and
torch.ao.quantization take an accelerated module for the torch.nn module that it was (modules.py).

    modules.py   the classes          autograd.py  a call that autograd knows
    weights.py   packed weights       why_not.py   what runs in PyTorch, and why
    model.py     accelerate and the other functions over a whole model
"""

from .model import accelerate, freeze, restore, unfreeze
from .modules import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

__all__ = [
    "GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "accelerate", "freeze", "restore",
    "unfreeze",
]  # fmt: skip
