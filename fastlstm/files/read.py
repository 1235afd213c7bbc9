# SPDX-License-Identifier: MIT
"""Weights from files. A format is recognised by content, and none needs the library that wrote it.

    read_state_dict(path)   {name: array}, every tensor in the file
    inspect(path)           format, tensors, layers         sniff(path)   the format's name
    contents(path)          the same, and what was left out

Whatever a file does wrong raises LoadError, which names the file, the place and the rule. A file
that cannot be opened raises what `open` does: FileNotFoundError, IsADirectoryError,
PermissionError. No code of the file is run and nothing that it names is imported; memory and time
stay within a small multiple of its size.
"""

import dataclasses
import os

import numpy as np

from ..engine.bfloat16 import Bfloat16
from ..engine.variants import Activation
from ..errors import LoadError
from .beside import unwrapped
from .contents import Contents, Options
from .find import find
from .formats import FORMATS
from .refused import refused_folder
from .source import Source, show

# The types that a caller may give; None stands for "not said" in all.
_OPTIONS = {
    "activation": (str, Activation),
    "recurrent_activation": (str, Activation),
    "reset_after": (bool,),
    "go_backwards": (bool,),
    "external_data": (bool,),
}


def _format(source):
    """(name, reader or sentence) for the open file."""
    for name, matches, action in FORMATS:
        if matches(source):
            return name, action
    if not source.size:
        raise source.error("file", "it is empty")
    raise source.error(
        "file",
        "not a format that fastlstm knows (PyTorch, safetensors, ONNX, Keras, .npz, pickle, JSON)",
    )


def opened(path):
    """The Source of a file. A folder that is known as a model is a LoadError; other folders, and
    what cannot be opened, give the error of `open`."""
    try:
        return Source(path)
    except (IsADirectoryError, PermissionError):  # a folder: on Windows the latter
        said = refused_folder(path)
        if said is None:
            raise
    raise LoadError(f"{os.fsdecode(path)}: folder: {said}")


def _read(path, options):
    """(the path as text, the format's name, Contents)."""
    with opened(path) as source:
        if options.external_data and source.folder is None:
            raise TypeError(
                "external_data=True needs the model's path: other files are looked for beside it, "
                f"and {source.name} has no folder"
            )
        format_name, action = _format(source)
        if isinstance(action, str):
            raise source.error("file", action)
        found = action(source, options)
        if not isinstance(found, Contents):
            found = Contents(found, None)
        if found.layers is None:
            named = find(found.arrays, source, options, found.unread)
            found.arrays, found.layers = named.arrays, named.layers
    return source.name, format_name, found


def _options(given):
    """(the reader's Options among `given`, the rest as a dict, which is for the layer)."""
    names = [field.name for field in dataclasses.fields(Options)]
    found = {name: given[name] for name in names if name in given}
    for name, types in _OPTIONS.items():
        if not isinstance(found.get(name), (*types, type(None))):
            raise TypeError(
                f"{name} must be a {types[0].__name__}, got {type(found[name]).__name__}"
            )
    return Options(**found), {name: value for name, value in given.items() if name not in found}


def read_state_dict(path, *, external_data=False):
    """Every tensor in a file, as {name: ndarray} in the file's order.

    Formats: what `torch.save` wrote in any version since 0.1.10, TorchScript, exported programs
    (.pt2), agents of Stable-Baselines3, safetensors, ONNX, Keras (.keras, .h5, .hdf5), .npz,
    pickled dicts of NumPy arrays and JSON, on disk or in memory (see `load`). Nested dicts are
    flattened, their keys joined with dots; elements of lists and tuples are numbered; what is not a
    tensor is left out, as are tensors of kinds that NumPy does not have (sparse, float8, quantised
    ones but those of dynamically quantised layers);
    a file that is one bare tensor gives the name "". bfloat16 becomes float32 (exactly),
    all other dtypes stay. Tensors that share memory in the file share it here. The layers of files
    that have other names than torch's (ONNX, Keras, audio models, quantised and frozen modules),
    and weights that are kept as their parts (weight norm ...), come once more after the tensors,
    under torch's names and in its gate order.

    external_data   True: ONNX tensors kept in other files of the model's folder are read
                    too, not in <model>.data alone
    """
    return _widened(_read(path, Options(external_data=bool(external_data)))[2].arrays)


def _widened(arrays):
    """bfloat16 as float32."""
    return {n: a.astype(np.float32) if isinstance(a, Bfloat16) else a for n, a in arrays.items()}


def contents(path, **options):
    """(format, Contents) of a file, which also says what was left out. options: those of `load` for
    the file."""
    options, rest = _options(options)
    if rest:
        raise TypeError(f"inspect() got an unexpected keyword argument {next(iter(rest))!r}")
    return _read(path, options)[1:]


def inspect(path, **options):
    """(format, {name: array}, {prefix: Layer}) of a file. A Layer says what the layer is, in plain
    values, also where the engine cannot run it. options: those of `load` for the file."""
    format_name, found = contents(path, **options)
    return format_name, _widened(found.arrays), found.layers


def _listed(layers):
    """The layers in words, but for what is assumed of them."""
    plain = {p: dataclasses.replace(layer, assumed=()) for p, layer in list(layers.items())[:50]}
    return "; ".join(f"{show(prefix)}: {layer}" for prefix, layer in plain.items())


def _ends_in(prefix, end):
    """Whether `prefix` is whole names and then `end`, which is more than a separator."""
    before = prefix.removesuffix(end)
    return end not in (".", "/", "_") and before != prefix and before.endswith((".", "/"))


def choose_prefix(name, layers, prefix):
    """The one of `layers` that the caller means by `prefix`."""
    if prefix is None:
        if len(layers) > 1:
            raise LoadError(
                f"{name}: {len(layers)} recurrent layers: pass prefix=, or use load_all: "
                + _listed(layers)
            )
        return next(iter(layers))
    forms = [prefix + end for end in ("", ".", "/", "_")]
    for form in forms:
        if form in layers:
            return form
    for matches in (lambda each, form: unwrapped(each) == form, _ends_in):
        for form in filter(None, forms):
            inner = [each for each in layers if matches(each, form)]
            if len(inner) == 1:
                return inner[0]
    raise LoadError(f"{name}: prefix {show(prefix)}: no such layer; there are: {_listed(layers)}")


def read_layers(path, options):
    """(the path as text, Contents) of a file that has recurrent layers. options: see `inspect`."""
    options, rest = _options(options)
    if rest:
        raise TypeError(f"got an unexpected keyword argument {next(iter(rest))!r}")
    name, format_name, found = _read(path, options)
    if not found.layers:
        what = "none is named like a recurrent layer's (weight_ih_l0)"
        if format_name in ("onnx", "keras"):
            what = "the model has no LSTM, GRU or RNN"
        unnamed = format_name == "torchscript" and bool(found.arrays)
        if unnamed and all(each.startswith("constants.") for each in found.arrays):
            what = (
                "the module is frozen: its tensors have no names any more, and its code calls none "
                "of torch's lstm, gru, rnn_tanh and rnn_relu with them"
            )
        for tensor, reason in list(found.unread.items())[:1]:
            what += f"; {len(found.unread)} more are not read, such as {show(tensor)}, {reason}"
        for prefix, opaque in list(found.opaque.items())[:5]:
            what += f"; {show(prefix)} is {opaque}, which is not looked into"
        raise LoadError(f"{name}: {len(found.arrays)} arrays: {what}")
    return name, found


def read_layers_and_options(path, options):
    """As read_layers, and those of `options` that are for the layer."""
    rest = _options(options)[1]
    return *read_layers(path, {k: options[k] for k in options if k not in rest}), rest


def sniff(path):
    """The name of a file's format, recognised by its content. Those that are read: "torch",
    "torch-stream", "torchscript", "torch-export", "stable-baselines3", "safetensors", "fastlstm",
    "onnx", "keras", "hdf5", "npz", "pickle" and "json". Some more are recognised and refused:
    "torch-tar", "tflite", "openvino" ... An unknown or malformed file is a LoadError.
    """
    with opened(path) as source:
        return _format(source)[0]
