# SPDX-License-Identifier: MIT
"""Layers from files: load and load_all. files/ reads and describes, build.py makes the layers."""

from ..files.contents import by_prefix
from ..files.read import chosen, layers_and_rest
from .build import make


def load(path, prefix=None, **options):
    """The recurrent layer in a file; sizes, layers and directions are read off the file.

    prefix    which layer, where there are several: what stands before `weight_ih_l0` in its names,
              with or without the last dot, and without wrappers such as `module.` if it is unique
    options   for the layer: batch_first (default: as the file says, or False), isa, num_threads;
              what names and shapes do not tell: nonlinearity ("tanh" unless given) for an RNN,
              reset_after for a GRU; and, for Keras weights without the model, activation="tanh",
              recurrent_activation="sigmoid";
              external_data=True: ONNX tensors in other files of the model's folder are read too

    Returns a fastlstm.LSTM, GRU or RNN. LoadError if the layer is of a kind that the engine does
    not run.
    """
    if not isinstance(prefix, str | None):
        raise TypeError(f"prefix must be a str, got {type(prefix).__name__}")
    name, found, rest = layers_and_rest(path, options)
    prefix = chosen(name, found.layers, prefix)
    return make(name, found, by_prefix(found.arrays), prefix, rest)


def load_all(path, **options):
    """Every recurrent layer in a file: {prefix: layer} in the file's order. See `load`."""
    name, found, rest = layers_and_rest(path, options)
    groups = by_prefix(found.arrays)
    return {prefix: make(name, found, groups, prefix, rest) for prefix in found.layers}
