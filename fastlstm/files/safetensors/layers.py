# SPDX-License-Identifier: MIT
"""fastlstm's own file: safetensors, with the descriptions of the layers in the metadata. Any
safetensors library reads its arrays; here they are mapped, not read, so that processes share their
memory.

    "__metadata__": {"fastlstm": the text {"version": 1, "layers": {<prefix>: {<field>: value}}}}

The fields are those of description.Layer that differ from its defaults; activations are lists of
[name, alpha, beta] for each direction. The arrays have prefix + torch's names and are float32,
except the weight matrices of a layer whose dtype is "float16", "bfloat16" or "int8": those are
float16, bfloat16, or int8 codes, whose scales for each row are an array named <the matrix's
name>_scale. In the data arrays of
larger items come first, so that each is aligned to its items.
"""

import dataclasses
import json

import numpy as np

from ...engine.bfloat16 import Bfloat16
from ...engine.int8 import INPUTS, Codes
from ...engine.variants import USUAL, Activation
from ..contents import Contents, group_by_prefix, layer_weights
from ..description import DTYPES, LAYER_PRECISIONS, Layer
from ..source import show
from ..weight_shapes import misfit, parse_name, weight_shapes
from .file import array_in, layout
from .write import write_arrays

VERSION = 1
MAX_CONFIG = 1 << 20  # bytes of JSON
_START = b'{"__metadata__":{"fastlstm":'
_MAX_SIZE = 1 << 40  # a size in the metadata; Python prints no int of more than 4300 digits
_NOT_WRITTEN = ("problem", "assumed")
_FIELDS = {f.name: f for f in dataclasses.fields(Layer) if f.name not in _NOT_WRITTEN}


def is_fastlstm(source):
    return source.head[8 : 8 + len(_START)] == _START


# ---- writing


def plain(layer):
    """The fields that differ from the defaults, as JSON takes them."""
    found = {}
    for name, field in _FIELDS.items():
        value = getattr(layer, name)
        if name == "activations":
            value = [[[a.name, a.alpha, a.beta] for a in each] for each in value]
        elif isinstance(value, tuple):
            value = list(value)
        if value != field.default and value != []:
            found[name] = value
    return found


def write(path, layers):
    """Write {prefix: (Layer, {torch's name: array})} to `path`, whole or not at all. Arrays become
    float32, the matrices of a float16 layer float16: ready made, or rounded without a check. Those
    of an int8 layer are int8.Codes, those of a bfloat16 layer Bfloat16."""
    arrays, described = {}, {}
    for prefix, (layer, weights) in layers.items():
        described[prefix] = plain(dataclasses.replace(layer, cell=False))
        for name, array in weights.items():
            if isinstance(array, Codes):
                arrays[prefix + name] = array.codes
                arrays[f"{prefix}{name}_scale"] = array.scales
                continue
            if isinstance(array, Bfloat16):
                arrays[prefix + name] = array
                continue
            matrix = name.startswith("weight_")
            dtype = "<f2" if matrix and layer.dtype == "float16" else "<f4"
            arrays[prefix + name] = np.ascontiguousarray(array, dtype)
    config = json.dumps({"version": VERSION, "layers": described})
    if len(json.dumps(config)) > MAX_CONFIG:
        raise ValueError(f"{len(layers)} layers need more than {MAX_CONFIG} bytes of metadata")
    write_arrays(path, config, arrays)


# ---- reading


def _activations(value):
    return tuple(
        tuple(Activation(str(name), _number(a), _number(b)) for name, a, b in each)
        for each in value
    )


def _number(value):
    return None if value is None else float(value)


def described(source, fields):
    """The Layer of one entry of the metadata."""
    if not isinstance(fields, dict) or not fields.keys() <= _FIELDS.keys():
        raise source.error("metadata", "a layer's fields are not those of version 1")
    values = {}
    try:
        for name, value in fields.items():
            default = _FIELDS[name].default
            if name == "activations":
                value = _activations(value)
            elif name == "clip":
                value = float(value)
            elif isinstance(default, tuple):
                value = tuple(map(str, value))
            elif name == "kind":
                if value not in USUAL:
                    raise ValueError
            elif type(value) is not type(default):
                raise TypeError
            elif type(value) is int and abs(value) > _MAX_SIZE:
                raise ValueError
            values[name] = value
        layer = Layer(**values)
        if (
            layer.direction not in ("forward", "reverse", "bidirectional")
            or layer.dtype not in DTYPES
            or layer.precision not in LAYER_PRECISIONS
            or "float32" not in (layer.dtype, layer.precision)
            or layer.inputs not in INPUTS
            or not 0 <= layer.dropout <= 1
            or any(len(each) != len(USUAL[layer.kind]) for each in layer.directions)
        ):
            raise ValueError
    except (TypeError, ValueError, KeyError, OverflowError):
        raise source.error("metadata", f"a layer is malformed: {show(str(fields))}") from None
    return layer


def _config(source, text):
    """{prefix: Layer} of the metadata."""
    if text.startswith('{"version": ') and text[13:23] == ', "model":':
        raise source.error("metadata", "a whole model, which fastlstm.load_model reads")
    if len(text) > MAX_CONFIG:
        raise source.error("metadata", f"{len(text)} characters, {MAX_CONFIG} is the limit")
    try:
        config = json.loads(text)
        version = config["version"]
        layers = config["layers"] if version == VERSION else {}
        if type(version) is not int or not isinstance(layers, dict):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise source.error("metadata", "fastlstm's entry is malformed") from None
    if version != VERSION:
        raise source.error(
            "metadata", f"version {version} of fastlstm's format; this fastlstm reads {VERSION}: "
            "use a newer one",
        )  # fmt: skip
    return {prefix: described(source, fields) for prefix, fields in layers.items()}


def _check_weights(source, prefix, layer, groups):
    """LoadError unless the file's arrays under `prefix` are the weights of `layer`."""
    weights = layer_weights(groups, prefix, layer)
    problem = misfit(layer, weights)
    if problem is None:
        due = weight_shapes(layer)
        more = [n for n in weights if n.startswith(("weight_", "bias_")) and n not in due]
        problem = f"{more[0]} is not among them" if more else None
    if problem is not None:
        raise source.error("metadata", f"layer {show(prefix)} does not fit its weights: {problem}")


def _is_matrix(name):
    found = parse_name(name)
    return found is not None and found.part.startswith("weight_")


def read(source, options=None):
    """Contents, the arrays views of the mapped file (read-only)."""
    found, start, text = layout(source)
    layers = _config(source, text)
    mapped = source.mapped()
    arrays = {
        n: array_in(source, mapped, start, n, entry, Bfloat16 if _is_matrix(n) else None)
        for n, entry in found.items()
    }
    groups = group_by_prefix(arrays)
    for prefix, layer in layers.items():
        _check_weights(source, prefix, layer, groups)
    return Contents(arrays, layers, shared=True)
