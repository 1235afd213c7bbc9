# SPDX-License-Identifier: MIT
"""Layers from files: load and load_all. files/ reads and describes, build.py makes the layers."""

import dataclasses
import warnings

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
from .weights import checked_pair, pair_of

_NAMED = 50  # layers that one warning or error names, of those that cannot be run
_CLASSES = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}


def load(path, prefix=None, *, dtype=None, precision=None, **options):
    """The recurrent layer in a file; sizes, layers and directions are read off the file.

    path      of the file; or its content, as bytes, bytearray or memoryview; or an open binary file
              that can seek, which is read from its beginning and left as it was. bytes are content
              if they hold a zero byte, are longer than 4,095 or begin as JSON or a pickle does,
              otherwise a path
    prefix    which layer, where there are several: what stands before `weight_ih_l0` in its names,
              with or without the last dot; its end, from a dot on, is enough if it is unique
    dtype     "float32", "float16", "bfloat16" or "int8": what the layer's weight matrices are
              rounded to, see LSTM.quantize; None: as a file that `save` wrote says; int8, with the
              file's own codes and scales, of a dynamically quantised PyTorch or ONNX model; float32
              of all others
    precision "float32", "bfloat16x3" or "bfloat16x6": in which products of float32 weights are
              made, see LSTM; None: as a file that `save` wrote says, else float32. ValueError with
              a dtype other than float32
    options   for the layer: batch_first and dropout (default: as the file says, or False and 0),
              isa, num_threads; what names and shapes do not tell: nonlinearity ("tanh" unless
              given) for an RNN, reset_after for a GRU; and, for Keras weights without the model,
              activation="tanh", recurrent_activation="sigmoid", go_backwards=True (a layer of one
              direction) and merge (of two); what is not given and not said is assumed: `fastlstm
              inspect` names it; external_data=True: ONNX tensors in other files of the model's
              folder are read too, not in <model>.data alone

    Returns a fastlstm.LSTM, GRU or RNN. LoadError if the layer is of a kind that the engine does
    not run, or if a finite weight is too large for float16 or bfloat16.
    """
    if not isinstance(prefix, str | None):
        raise TypeError(f"prefix must be a str, got {type(prefix).__name__}")
    dtype, precision = checked_pair(dtype, precision)
    name, found, rest = _read(path, options)
    prefix, groups = (
        choose_prefix(name, found.layers, prefix),
        group_by_prefix(found.weights(dtype)),
    )
    fault = _fault(found, groups, prefix)
    if fault:
        raise LoadError(f"{name}: prefix {show(prefix)}: {fault}")
    return _layer(name, found, groups, prefix, rest, dtype, precision)


def load_all(path, *, dtype=None, precision=None, **options):
    """Every recurrent layer in a file: {prefix: layer} in the file's order. See `load`.

    Layers that `load` would refuse are left out, and a UserWarning names each with the reason.
    LoadError if none is left.
    """
    dtype, precision = checked_pair(dtype, precision)
    name, found, rest = _read(path, options)
    groups = group_by_prefix(found.weights(dtype))
    faults = {prefix: _fault(found, groups, prefix) for prefix in found.layers}
    refused = [f"prefix {show(prefix)}: {fault}" for prefix, fault in faults.items() if fault]
    if refused:
        said = left_out(name, refused, len(faults))
        warnings.warn(said, UserWarning, stacklevel=2)
    return {
        prefix: _layer(name, found, groups, prefix, rest, dtype, precision)
        for prefix, fault in faults.items()
        if not fault
    }


def left_out(name, refused, count):
    """The sentence that says which layers of a file are left out, as they cannot be run; LoadError
    if those are all.

    name      the file's
    refused   "prefix '...': reason" for each such layer
    count     of all layers in the file
    """
    if count == 1:
        raise LoadError(f"{name}: {refused[0]}")
    said = "; ".join(refused[:_NAMED])
    if len(refused) > _NAMED:
        said += f"; and {len(refused) - _NAMED} more"
    said = f"{name}: {len(refused)} of {count} recurrent layers cannot be run: {said}"
    if len(refused) == count:
        raise LoadError(said)
    return said


def refusal(description):
    """Why a layer of a file cannot be run, in words; None if it can."""
    if description.problem:
        return description.problem
    if description.merge == "none":
        return (
            "gives its directions' outputs as two arrays (Keras' merge_mode=None): pass "
            "merge='concat', then they are the halves of y"
        )
    return None


def _read(path, options):
    """(the path as text, Contents, the options that are for the layer). A `merge` that the caller
    gives stands instead of the file's, and is checked with the other options (build.py)."""
    name, found, rest = read_layers_and_options(path, options)
    if "merge" in rest:
        found.layers = {
            prefix: dataclasses.replace(layer, merge="concat")
            for prefix, layer in found.layers.items()
        }
    return name, found, rest


def _fault(found, groups, prefix):
    """Why the layer that found.layers[prefix] describes cannot be made, in words, whatever the
    caller's options but `merge`; None if it can. groups: group_by_prefix(found.weights())"""
    description = found.layers[prefix]
    weights = layer_weights(groups, prefix, description)
    problem = refusal(description) or misfit(description, weights)
    if problem:
        return problem
    try:
        made = _CLASSES[description.kind].without_weights(**constructor_arguments(description))
    except (ValueError, TypeError) as e:
        return str(e)
    if description.initial_state:
        try:
            made.initial_state = _initial_state(made, weights)
        except (ValueError, TypeError) as e:
            return f"its initial state: {e}"
    return None


def _layer(name, found, groups, prefix, options, dtype, precision):
    """The layer that found.layers[prefix] describes, which has no _fault. Arguments: those of the
    functions that call it."""
    description = found.layers[prefix]
    weights, cls = layer_weights(groups, prefix, description), _CLASSES[description.kind]
    dtype, precision = pair_of(dtype, precision, description.dtype, description.precision)
    try:
        arrays = ready(description, weights, dtype, keep=found.shared)
    except ValueError as e:
        raise LoadError(f"{name}: prefix {show(prefix)}: {e}") from None
    # an argument that only another class has is not for this layer
    options = {k: v for k, v in options.items() if k != "nonlinearity" or k in cls.cell_arguments}
    made = build(cls, description, arrays, options | {"precision": precision})
    made.output_order = description.output_order
    if description.initial_state:
        made.initial_state = _initial_state(made, weights)
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
