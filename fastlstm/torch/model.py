# SPDX-License-Identifier: MIT
"""Whole models: their layers made fastlstm's and torch.nn's again, their weights promised."""

import torch

from ..files.description import LAYER_PRECISIONS
from ..layers.weights import checked_pair
from .modules import STANDING


def _modules(model, kinds):
    """The modules inside, `model` itself included, whose class is one of `kinds`: subclasses are
    left alone, since they may do something else in forward."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    return [m for m in model.modules() if any(type(m) is kind for kind in kinds)]


def accelerate(
    model: torch.nn.Module, dtype: str | None = None, precision: str | None = None
) -> int:
    """Make every torch.nn.LSTM, GRU, RNN, LSTMCell, GRUCell and RNNCell in `model` (itself
    included) one of this package, in place, and return how many there were. Parameters, hooks and
    state_dict stay as they are; subclasses of them are left alone, since they may do something else
    in forward. TypeError if `model` is no torch.nn.Module.

    dtype   "float16", "bfloat16" or "int8": calls compute with the weights rounded to it, see
            LSTM.quantize; the parameters stay as they are. For inference alone: a call in training
            mode, or one whose gradients are wanted, raises RuntimeError. Modules of this package
            that are in `model` already get the dtype too, and count. What has to run in PyTorch
            runs there in float32, with a warning. None or "float32": nothing is rounded, but None
            leaves modules that are there already as they are. ValueError or TypeError for others
    precision   "bfloat16x6", "bfloat16x3" or "bfloat16": products of float32 weights are made of 3,
            2 or 1 bfloat16 parts of each number, in calls and in training, see LSTM; for batches on
            CPUs with AMX. Parameters, their gradients and outputs are float32, and so are products
            with few weights, as LSTM says. None or "float32":
            they are float32's. Modules that are there already get it as they get a dtype. Cells
            whose gradients are wanted run in PyTorch, in float32. ValueError with a dtype other
            than float32, and for other precisions

    torch.jit.script and trace, torch.fx and torch.ao.quantization work as before: what they make is
    PyTorch's own. A module that torch.fx keeps as a leaf runs here.
    """
    ours = {kind._torchs: kind for kind in STANDING}
    asked = dtype is not None or precision is not None
    checked_pair(dtype, precision, LAYER_PRECISIONS)
    wanted, precision = (None if n == "float32" else n for n in (dtype, precision))
    found = _modules(model, ours)
    there = _modules(model, STANDING) if asked else []
    there = [m for m in there if (m._dtype, m._precision) != (wanted, precision)]
    for module in found:
        module.__class__ = ours[type(module)]
    for module in (*found, *there):
        module.compute_in(wanted, precision)
    return len(found) + len(there)


def restore(model: torch.nn.Module) -> int:
    """Undo `accelerate`: every module of this package in `model` becomes the torch.nn module again
    that it stands for, in place, with the same parameters, hooks and state_dict. Returns how many
    there were. TypeError if `model` is no torch.nn.Module."""
    found = _modules(model, STANDING)
    for module in found:
        module.become_torchs()
    return len(found)


def freeze(model: torch.nn.Module, check: bool = False) -> int:
    """Promise that the weights of this package's modules in `model` do not change, and return how
    many modules there are: calls no longer compare the weights with the packed ones. Of one step of
    an LSTM that is most of the time (weights.py has the figures).

    What PyTorch counts is noticed still, and packed again: load_state_dict, an optimizer's step,
    in-place operations, new Parameters. What it does not count is not: writes through `.data`,
    `.numpy()` or the storage. Weights that were made in inference mode have no count, and are
    compared as before. `check=True`, or FASTLSTM_CHECK_FROZEN=1 in the environment, compares
    at each call after all, and raises RuntimeError with the names of the weights that changed.

    Copies and pickles of a frozen module are not frozen. TypeError if `model` is no
    torch.nn.Module.
    """
    found = _modules(model, STANDING)
    for module in found:
        module.__dict__["_frozen"] = "checked" if check else "trusted"
    return len(found)


def unfreeze(model: torch.nn.Module) -> int:
    """End what `freeze` began, and return how many modules were frozen. TypeError if `model` is no
    torch.nn.Module."""
    found = _modules(model, STANDING)
    return sum(module.__dict__.pop("_frozen", None) is not None for module in found)
