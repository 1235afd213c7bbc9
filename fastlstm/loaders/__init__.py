# SPDX-License-Identifier: MIT
"""Weights from files: formats are told by content, and none needs the library that wrote it.

    read_state_dict(path)   {name: array}, every tensor in the file
    load(path)              its recurrent layer    load_all(path)   all of them
    sniff(path)             the format's name

Whatever a file does wrong raises LoadError, which names the file, the place and the rule. A file
that cannot be opened raises what `open` does: FileNotFoundError, IsADirectoryError,
PermissionError. No code of the file is run and nothing that it names is imported; memory and time
stay within a small multiple of its size.
"""

from ..errors import LoadError
from .find import find
from .refused import REFUSED, REFUSED_FIRST
from .safetensors_file import is_safetensors
from .safetensors_file import read as read_safetensors
from .source import Source, show
from .torch_zip import is_torch_zip
from .torch_zip import read as read_torch_zip

__all__ = ["LoadError", "load", "load_all", "read_state_dict", "sniff"]

# The formats: (name, test of the open file, reader or the sentence of a refusal); the first test
# that holds decides. A reader is f(source) -> {name: array}.
FORMATS = (
    *REFUSED_FIRST,
    ("torch", is_torch_zip, read_torch_zip),
    ("safetensors", is_safetensors, read_safetensors),
    *REFUSED,
)


def _format(source):
    """(name, reader or sentence) for the open file."""
    for name, matches, action in FORMATS:
        if matches(source):
            return name, action
    if not source.size:
        raise source.error("file", "it is empty")
    raise source.error("file", "not a format that fastlstm knows (PyTorch .pt, safetensors)")


def _read(path):
    """(the path as text, {name: array})."""
    with Source(path) as source:
        _, action = _format(source)
        if isinstance(action, str):
            raise source.error("file", action)
        return source.name, action(source)


def read_state_dict(path):
    """Every tensor in a file, as {name: ndarray} in the file's order.

    Formats: `torch.save` of PyTorch 1.6 and newer, safetensors. Nested dicts are flattened, their
    keys joined with dots; elements of lists and tuples are numbered; what is not a tensor is left
    out; a file that is one bare tensor gives the name "". bfloat16 becomes float32 (exactly), all
    other dtypes stay. Tensors that share memory in the file share it here.
    """
    return _read(path)[1]


def _listed(layers):
    return "; ".join(f"{show(prefix)}: {layer}" for prefix, layer in list(layers.items())[:50])


def _make(name, arrays, prefix, layer, options):
    from .. import layers

    if layer.problem:
        raise LoadError(f"{name}: prefix {show(prefix)}: {layer.problem}")
    made = getattr(layers, layer.kind)
    # what only another kind of layer has is not for this one
    options = {k: v for k, v in options.items() if k in made.own or k not in _OWN}
    return made.from_state_dict(arrays, prefix=prefix, **options)


_OWN = ("reset_after", "nonlinearity")


def _layers(path):
    name, arrays = _read(path)
    layers = find(arrays)
    if not layers:
        raise LoadError(
            f"{name}: {len(arrays)} arrays: none is named like a recurrent layer's (weight_ih_l0)"
        )
    return name, arrays, layers


def load(path, prefix=None, **options):
    """The LSTM, GRU or RNN in a file, as a fastlstm.LSTM, GRU or RNN; which one, sizes, layers and
    directions are read off the shapes.

    prefix    which layer, where there are several: what stands before `weight_ih_l0` in its names,
              with or without the last dot
    options   for from_state_dict: batch_first, isa, num_threads; and what shapes do not tell:
              nonlinearity ("tanh" unless given) for an RNN, reset_after for a GRU
    """
    if not isinstance(prefix, str | None):
        raise TypeError(f"prefix must be a str, got {type(prefix).__name__}")
    name, arrays, layers = _layers(path)
    if prefix is None:
        if len(layers) > 1:
            raise LoadError(
                f"{name}: {len(layers)} recurrent layers: pass prefix=, or use load_all: "
                + _listed(layers)
            )
        prefix = next(iter(layers))
    elif prefix not in layers:
        if f"{prefix}." not in layers:
            raise LoadError(
                f"{name}: prefix {show(prefix)}: no such layer; there are: {_listed(layers)}"
            )
        prefix = f"{prefix}."
    return _make(name, arrays, prefix, layers[prefix], options)


def load_all(path, **options):
    """Every recurrent layer in a file: {prefix: layer} in the file's order. See `load`."""
    name, arrays, layers = _layers(path)
    return {prefix: _make(name, arrays, prefix, layer, options) for prefix, layer in layers.items()}


def sniff(path):
    """The name of a file's format, told by its content: "torch" or "safetensors", which are read;
    or one that is recognised and refused: "torchscript", "torch-stream", "torch-tar", "hdf5",
    "onnx", "npz", "pickle" ... An unknown or malformed file is a LoadError.
    """
    with Source(path) as source:
        return _format(source)[0]
