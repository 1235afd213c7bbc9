# SPDX-License-Identifier: MIT
"""Layers from files: load and load_all. files/ reads and describes, build.py makes the layers."""

import numpy as np

from ..errors import LoadError
from ..files.contents import group_by_prefix, layer_weights
from ..files.read import choose_prefix, read_layers_and_options
from ..files.source import show
from ..files.weight_shapes import misfit
from .build import build, constructor_arguments, ready
from .gru import GRU
from .lstm import LSTM
from .rnn import RNN
from .weights import checked_dtype

_CLASSES = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}


def load(path, prefix=None, *, dtype=None, **options):
    """The recurrent layer in a file; sizes, layers and directions are read off the file.

    path      of the file; or its content, as bytes, bytearray or memoryview; or an open binary file
              that can seek, which is read from its beginning and left as it was. bytes are content
              if they hold a zero byte, are longer than 4,095 or begin as JSON or a pickle does,
              otherwise a path
    prefix    which layer, where there are several: what stands before `weight_ih_l0` in its names,
              with or without the last dot; its end, from a dot on, is enough if it is unique
    dtype     "float32" or "float16": what the layer's weight matrices are rounded to, see
              LSTM.quantize; None: as a file that `save` wrote says, float32 for all others
    options   for the layer: batch_first (default: as the file says, or False), isa, num_threads;
              what names and shapes do not tell: nonlinearity ("tanh" unless given) for an RNN,
              reset_after for a GRU; and, for Keras weights without the model, activation="tanh",
              recurrent_activation="sigmoid";
              external_data=True: ONNX tensors in other files of the model's folder are read too

    Returns a fastlstm.LSTM, GRU or RNN. LoadError if the layer is of a kind that the engine does
    not run, or if a finite weight is too large for float16.
    """
    if not isinstance(prefix, str | None):
        raise TypeError(f"prefix must be a str, got {type(prefix).__name__}")
    dtype = None if dtype is None else checked_dtype(dtype)
    name, found, rest = read_layers_and_options(path, options)
    prefix = choose_prefix(name, found.layers, prefix)
    return _layer(name, found, group_by_prefix(found.arrays), prefix, rest, dtype)


def load_all(path, *, dtype=None, **options):
    """Every recurrent layer in a file: {prefix: layer} in the file's order. See `load`."""
    dtype = None if dtype is None else checked_dtype(dtype)
    name, found, rest = read_layers_and_options(path, options)
    groups = group_by_prefix(found.arrays)
    return {prefix: _layer(name, found, groups, prefix, rest, dtype) for prefix in found.layers}


def refusal(description):
    """Why a layer of a file cannot be run, in words; None if it can."""
    if description.problem:
        return description.problem
    if description.merge != "concat":
        return (
            f"merges its directions' outputs by {description.merge}, which is left to the caller: "
            f"run its weights (read_state_dict) in fastlstm.{description.kind}.from_state_dict and "
            "merge the halves of y"
        )
    return None


def _layer(name, found, groups, prefix, options, dtype):
    """The layer that found.layers[prefix] describes; groups: group_by_prefix(found.arrays).

    What the file says is checked by itself first, so that its faults are LoadErrors and those of
    the caller's `options` are not.
    """
    place, description = f"{name}: prefix {show(prefix)}", found.layers[prefix]
    weights = layer_weights(groups, prefix, description)
    try:
        problem = refusal(description) or misfit(description, weights)
        if problem:
            raise ValueError(problem)
        cls = _CLASSES[description.kind]
        cls.without_weights(**constructor_arguments(description))
        dtype = dtype or description.dtype
        arrays = ready(description, weights, dtype, keep=found.shared)
    except (ValueError, TypeError) as e:
        raise LoadError(f"{place}: {e}") from None
    # an argument that only another class has is not for this layer
    options = {k: v for k, v in options.items() if k != "nonlinearity" or k in cls.cell_arguments}
    made = build(cls, description, arrays, options)
    made.output_order = description.output_order
    if description.initial_state:
        try:
            made.initial_state = _initial_state(made, weights)
        except (ValueError, TypeError) as e:
            raise LoadError(f"{place}: its initial state: {e}") from None
    return made


def _initial_state(layer, arrays):
    """The state that a file starts from; zeros for a part that it does not have."""
    parts = [arrays.get(name) for name in ("initial_h", "initial_c")[: 2 if layer.has_c else 1]]
    if all(part is None for part in parts):
        raise ValueError("its arrays are missing")
    rows = next(part.shape[1] if part.ndim == 3 else 1 for part in parts if part is not None)
    return layer.state_from_parts(
        [
            np.zeros(shape, np.float32) if part is None else part
            for part, shape in zip(parts, layer.state_shapes(rows), strict=True)
        ]
    )
