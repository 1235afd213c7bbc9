# SPDX-License-Identifier: MIT
"""A model's graph in a safetensors file: its constants are the file's tensors, and everything else
is JSON in the metadata.

    "__metadata__": {"fastlstm": the text {"version": 1, "model": {"dtype": .., "graph": GRAPH}}}
            version is 2 where tensors are bfloat16, or a layer's are codes. dtype is "stored" where
            nothing was asked, and weights are codes; "codes" beside it is "int8" where an int8
            model's rows of inputs become codes of 8 bits
    GRAPH   {"name": .., "inputs": [VALUE], "outputs": [VALUE], "nodes": [NODE],
             "constants": {name: name of a tensor}}
    VALUE   [name, dtype, shape or null]
    NODE    [op, [inputs], [outputs], {name: ATTRIBUTE}, name]
    ATTRIBUTE   a number, a text, a list of these, or one of {"float": "inf"}, {"tensor": name},
            {"tensors": {key: name}}, {"graph": GRAPH}, {"layer": the fields of files' Layer};
            a layer's tensors that are codes have their scales under <key>_scale;
            "built", which NumPy's interpreter keeps at a node, is not written

Tensors are mapped, not read, so that processes share their memory.
"""

import json
import math
import os

import numpy as np

from ..engine.int8 import INPUTS, Codes, is_codes
from ..files.description import PRECISIONS, Layer
from ..files.safetensors import layers as layer_files
from ..files.safetensors.file import MAX_CONFIG, MAX_TENSORS, array_in, layout
from ..files.safetensors.write import write_arrays
from ..files.source import show
from .graph import Graph, Node, Value
from .half import DTYPES, narrowed, weights

VERSIONS = (1, 2)
_SCALE = "_scale"  # of a layer's codes, behind their name
STORED = "stored"  # the dtype of a model that was asked for none, and has codes
MAX_DEPTH = 64  # graphs in graphs
MAX_LISTS = 8  # lists in lists


class _Writer:
    """narrow: the names of constants that are written as `dtype`, float16 or bfloat16; None: none
    of any kind. version: of the format, which what is written needs."""

    def __init__(self, narrow, dtype):
        self.tensors, self.narrow, self.dtype, self.version = {}, narrow, dtype, 1
        self.names = {}  # {id of an array, whether it is narrowed: (its tensor's name, the array)}

    def tensor(self, array, narrow=False):
        key = id(array), narrow
        if key not in self.names:
            self.names[key] = self.new_tensor(array, narrow), array
        return self.names[key][0]

    def new_tensor(self, array, narrow):
        name = f"t{len(self.tensors)}"
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if narrow and array.dtype == np.float32:
            made = narrowed(array, self.dtype)
            array = array if made is None else made
            self.version = 2 if array.dtype.name == "bfloat16" else self.version
        self.tensors[name] = array
        return name

    def layer(self, arrays):
        """The tensors of a layer's weights, {torch's name: array or Codes}."""
        found = {}
        for key, array in arrays.items():
            if isinstance(array, Codes):
                self.version = 2
                found |= {key: self.tensor(array.codes), key + _SCALE: self.tensor(array.scales)}
            else:
                narrow = self.narrow is not None and key.startswith("weight_")
                found[key] = self.tensor(array, narrow)
        return found

    def attribute(self, value):
        if isinstance(value, Graph):
            return {"graph": self.graph(value)}
        if isinstance(value, Layer):
            return {"layer": layer_files.plain(value)}
        if isinstance(value, np.ndarray):
            return {"tensor": self.tensor(value)}
        if isinstance(value, dict):
            return {"tensors": self.layer(value)}
        if isinstance(value, (list, tuple)):
            return [self.attribute(each) for each in value]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": repr(value)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(f"an attribute of the type {type(value).__name__}")

    def graph(self, graph):
        wanted = {name for node in graph.walk() for name in node.inputs}
        wanted |= {value.name for value in graph.outputs}
        return {
            "name": os.path.basename(graph.name),
            "inputs": [self.value(value) for value in graph.inputs],
            "outputs": [self.value(value) for value in graph.outputs],
            "constants": {
                name: self.tensor(array, name in (self.narrow or ()))
                for name, array in graph.constants.items()
                if name in wanted or self.outer(graph, name)
            },
            "nodes": [
                [node.op, node.inputs, node.outputs, self.attributes(node), node.name]
                for node in graph.nodes
            ],
        }  # fmt: skip

    def attributes(self, node):
        return {key: self.attribute(value) for key, value in node.attrs.items() if key != "built"}

    @staticmethod
    def outer(graph, name):
        """Is a constant the output of a branch inside?"""
        return any(
            value.name == name
            for node in graph.walk()
            for branch in node.attrs.values()
            if isinstance(branch, Graph)
            for value in branch.outputs
        )

    @staticmethod
    def value(value):
        shape = None if value.shape is None else list(value.shape)
        return [value.name, np.dtype(value.dtype).name, shape]


def write(path, graph, dtype, codes="int16", precision="float32"):
    """Writes the graph to `path`, whole or not at all. dtype: of weights, as load_model has it; in
    a file of float16 or bfloat16 they have this dtype (half.weights). codes: of an int8 model's
    inputs. precision: of its products."""
    writer = _Writer(weights(graph) if dtype in ("float16", "bfloat16") else None, dtype)
    model = {"dtype": dtype or STORED, "graph": writer.graph(graph)}
    model |= {"codes": codes} if codes == "int8" else {}
    model |= {"precision": precision} if precision != "float32" else {}
    config = {"version": writer.version, "model": model}
    text = json.dumps(config)
    if len(json.dumps(text)) > MAX_CONFIG or len(writer.tensors) > MAX_TENSORS:
        raise ValueError(
            f"a graph of {len(text)} characters and {len(writer.tensors)} constants; a file holds "
            f"{MAX_CONFIG} and {MAX_TENSORS}"
        )
    write_arrays(path, text, writer.tensors)


class _Reader:
    """The JSON of one file; every rule that is broken is a LoadError."""

    def __init__(self, source, arrays):
        self.source, self.arrays = source, arrays

    def error(self, rule):
        return self.source.error("metadata", rule)

    def due(self, value, kind, what):
        if type(value) is not kind:
            raise self.error(f"{what} must be a {kind.__name__}: {show(str(value)[:200])}")
        return value

    def texts(self, value, what):
        return [self.due(each, str, what) for each in self.due(value, list, what)]

    def tensor(self, name):
        name = self.due(name, str, "a tensor's name")
        if name not in self.arrays:
            raise self.error(f"the tensor {show(name)} is not in the file")
        array = self.arrays[name]
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def layer(self, names):
        """{torch's name: array or Codes}."""
        found = {key: self.tensor(name) for key, name in names.items()}
        for key in [k for k, a in found.items() if a.dtype == np.int8]:
            scales = found.pop(key + _SCALE, np.empty(0))
            if not is_codes(found[key], scales):
                raise self.error(f"the codes of {show(key)} or their scales are none")
            found[key] = Codes(found[key], scales)
        return found

    def value(self, fields):
        if len(self.due(fields, list, "a value")) != 3:
            raise self.error("a value has three fields")
        name, dtype, shape = fields
        if shape is not None:
            for n in self.due(shape, list, "a shape"):
                if type(n) is not str and not (type(n) is int and 0 <= n < 1 << 48):
                    raise self.error(f"a size {show(str(n)[:50])}")
        if dtype not in ("float64", "float32", "float16", "int64", "int32", "int16", "int8",
                         "uint64", "uint32", "uint16", "uint8", "bool"):  # fmt: skip
            raise self.error(f"the dtype {show(str(dtype)[:50])}")
        shape = None if shape is None else tuple(shape)
        return Value(self.due(name, str, "a name"), np.dtype(dtype), shape)

    def attribute(self, value, depth, lists=0):
        if isinstance(value, list):
            if lists == MAX_LISTS:
                raise self.error(f"lists nested deeper than {MAX_LISTS}")
            return [self.attribute(each, depth, lists + 1) for each in value]
        if not isinstance(value, dict):
            return value
        if len(value) != 1:
            raise self.error("an attribute with several kinds")
        ((kind, inner),) = value.items()
        if kind == "graph":
            return self.graph(inner, depth + 1)
        if kind == "tensor":
            return self.tensor(inner)
        if kind == "tensors":
            return self.layer(self.due(inner, dict, "tensors"))
        if kind == "layer":
            return layer_files.described(self.source, self.due(inner, dict, "a layer"))
        if kind == "float" and inner in ("inf", "-inf", "nan"):
            return float(inner)
        raise self.error(f"an attribute of the kind {show(kind)}")

    def node(self, fields, depth):
        if len(self.due(fields, list, "a node")) != 5:
            raise self.error("a node has five fields")
        op, inputs, outputs, attrs, name = fields
        return Node(
            self.due(op, str, "an operator"),
            self.texts(inputs, "inputs"),
            self.texts(outputs, "outputs"),
            {
                key: self.attribute(value, depth)
                for key, value in self.due(attrs, dict, "attributes").items()
            },
            self.due(name, str, "a name"),
        )

    def graph(self, fields, depth=0):
        if depth > MAX_DEPTH:
            raise self.error(f"graphs nested deeper than {MAX_DEPTH}")
        self.due(fields, dict, "a graph")
        if set(fields) != {"name", "inputs", "outputs", "nodes", "constants"}:
            raise self.error("a graph without its five fields")
        return Graph(
            [self.value(v) for v in self.due(fields["inputs"], list, "inputs")],
            [self.value(v) for v in self.due(fields["outputs"], list, "outputs")],
            [self.node(n, depth) for n in self.due(fields["nodes"], list, "nodes")],
            {
                name: self.tensor(tensor)
                for name, tensor in self.due(fields["constants"], dict, "constants").items()
            },
            self.due(fields["name"], str, "a name"),
        )


def is_model(source):
    """Whether the file is one that `write` made."""
    return layer_files.is_fastlstm(source) and b'\\"model\\":' in source.head[:200]


def read(source):
    """(Graph, {"dtype", "codes"}) of a file, its constants views of the mapped file."""
    found, start, text = layout(source)
    mapped = source.mapped()
    arrays = {n: array_in(source, mapped, start, n, entry) for n, entry in found.items()}
    reader = _Reader(source, arrays)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise reader.error("fastlstm's entry is malformed") from None
    version = reader.due(config, dict, "fastlstm's entry").get("version")
    if type(version) is not int or version not in VERSIONS:
        read = " and ".join(map(str, VERSIONS))
        raise reader.error(f"version {show(str(version)[:20])}; this fastlstm reads {read}")
    model = reader.due(config.get("model"), dict, "the model")
    dtype = model.get("dtype")
    if dtype not in (STORED, *DTYPES):
        raise reader.error(f"the dtype {show(str(dtype)[:50])}")
    codes = model.get("codes", "int16")
    if codes not in INPUTS:
        raise reader.error(f"the codes {show(str(codes)[:50])}")
    precision = model.get("precision", "float32")
    if precision not in PRECISIONS:
        raise reader.error(f"the precision {show(str(precision)[:50])}")
    graph = reader.graph(model.get("graph"))
    graph.name = source.name
    dtype = None if dtype == STORED else dtype
    return graph, {"dtype": dtype, "codes": codes, "precision": precision}
