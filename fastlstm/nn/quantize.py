# SPDX-License-Identifier: MIT
"""Modules of fewer bits: Module.quantize and Module.error."""

import copy
import inspect
import types
import weakref

import numpy as np

from ..engine import arguments, int8
from ..layers.error import difference
from ..layers.weights import checked_dtype, checked_inputs, checked_pair
from ..models import half

_originals = weakref.WeakKeyDictionary()  # {what `quantize` made: a weak reference to what of}


class Lent:
    """A method that a module has unless the model's class has something of that name: its own
    method, or a Parameter, buffer or submodule."""

    def __init__(self, function):
        self.function = function

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, module, owner=None):
        if module is None:
            return self.function
        for held in (module._modules, module._parameters, module._buffers):
            if self.name in held:
                return held[self.name]
        return types.MethodType(self.function, module)


def taken(module, name):
    """Has the module something of that name, which is not lent?"""
    return hasattr(module, name) and not isinstance(
        inspect.getattr_static(module, name, None), Lent
    )


def _check(module, dtype):
    """ValueError, with its name, for a weight that has no number of this dtype."""
    for name, layer in module.named_modules():
        for own in layer._matrices:
            array = np.asarray(getattr(layer, own).numpy())
            title = f"{name}.{own}" if name else own
            if dtype == "int8":
                int8.quantized(title, arguments.contiguous(array.reshape(len(array), -1)))
            elif dtype != "float32" and half.narrowed(array, dtype) is None:
                raise ValueError(f"{title} holds a number that is too large for {dtype}")


def quantize(self, dtype="float32", inputs="int16", precision="float32"):
    """A new module like this one, for inference, whose LSTM, GRU, RNN, their cells, Linear and
    Conv1d compute with weights of `dtype`: "int8", "bfloat16" or "float16", as
    `fastlstm.LSTM.quantize` says, or "float32". Other modules, and functions of nn.functional,
    compute as before. The Parameters are this module's own, in float32: what is packed of them at
    the first call has fewer bits. inputs: of int8, the codes of rows of inputs.

    precision   "bfloat16x3" or "bfloat16x6" of "float32": their products, and those of Conv2d and
                transposed convolutions, are made of parts, as `fastlstm.LSTM` says, where that pays

    ValueError, which names the weight, for one that the dtype cannot hold."""
    dtype, inputs = checked_dtype(dtype, half.DTYPES), checked_inputs(inputs)
    dtype, precision = checked_pair(dtype, precision)
    _check(self, dtype)
    few = {} if dtype == "float32" else {"dtype": dtype, "inputs": inputs}
    few |= {} if precision == "float32" else {"precision": precision}
    shared = {}
    for each in self.modules():
        for held in (each._parameters, each._buffers):
            shared |= {id(a): a for a in held.values() if a is not None}
    made = copy.deepcopy(self, shared)
    for each in made.modules():
        each.__dict__["_few"] = few
        each._changed()
    _originals[made] = weakref.ref(self)
    return made


def _floats(made):
    """The arrays of floats in what a call gives, in their order."""
    if isinstance(made, np.ndarray):
        return [np.asarray(made)] if made.dtype.kind == "f" else []
    parts = made.values() if isinstance(made, dict) else made
    return (
        [a for each in parts for a in _floats(each)]
        if isinstance(made, (tuple, list, dict))
        else []
    )


def error(self, *args, reference=None, **kwargs):
    """How far the outputs of this module, made by `quantize`, are from those of the module that it
    was made of, for inputs as in a call: .max, .rms and .where the largest difference is. Of
    several arrays of floats a list of these, in the order of the outputs.

    reference   the module to compare with; None: the one that `quantize` was called on, if it still
                exists (it is not kept alive: ValueError if it is gone)
    """
    if reference is None and self in _originals:
        reference = _originals[self]()
    if reference is None:
        raise ValueError(
            "the module that this one was quantized from is gone, or there is none; pass it as "
            "reference"
        )
    ours, exact = (_floats(m(*args, **kwargs)) for m in (self, reference))
    if [a.shape for a in ours] != [a.shape for a in exact]:
        raise ValueError(f"the reference's outputs have the shapes {[a.shape for a in exact]}, "
                         f"not {[a.shape for a in ours]}")  # fmt: skip
    found = [difference(a, b) for a, b in zip(ours, exact, strict=True) if a.size]
    if not found:
        raise ValueError("inputs of these shapes give no floats to compare")
    return found[0] if len(found) == 1 else found
