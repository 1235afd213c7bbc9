# SPDX-License-Identifier: MIT
"""Files whose structure is sound and in which one value has another type than is due there: an
attribute of an ONNX node, a class in a Keras configuration, a number in fastlstm's own description
of a layer, a function in a TorchScript pickle. The functions called ..._cases yield (name, file,
what the error says).
"""

import functools
import io
import json

import h5py
import numpy as np

from .build import (
    DATA,
    NONE,
    Record,
    call,
    dict_of,
    name_of,
    number,
    safetensors_bytes,
    tensor,
    text,
    tuple_of,
    zip_bytes,
)
from .others import attribute, field, model, node, onnx_tensor

# ---- ONNX

_SIZES = {"LSTM": 4, "GRU": 3, "RNN": 1}  # gates
_I, _H, _D = 1, 2, 2


def _tensors(op):
    """The weights of a bidirectional node: W, R, B, and of an LSTM P, with small values."""
    gates = _SIZES[op]
    shapes = {"W": (_D, gates * _H, _I), "R": (_D, gates * _H, _H), "B": (_D, 2 * gates * _H)}
    shapes |= {"P": (_D, 3 * _H)} if op == "LSTM" else {}
    return [onnx_tensor(f"{op}{n}", np.full(shape, 0.5, "<f4")) for n, shape in shapes.items()]


# {attribute: (AttributeProto's field, *values)}: all that ONNX gives recurrent nodes but the
# activations, which differ, and linear_before_reset, which only GRU has.
_COMMON = {
    "clip": (2, 3.0), "direction": (4, "bidirectional"), "hidden_size": (3, _H), "layout": (3, 1),
}  # fmt: skip
_ATTRIBUTES = {
    "LSTM": _COMMON | {
        "activations": (9, *("HardSigmoid", "Elu", "ScaledTanh") * _D), "input_forget": (3, 1),
        "activation_alpha": (7, *(0.25, 0.5, 0.75) * _D), "activation_beta": (7, *(0.5, 1.5) * _D),
    },
    "GRU": _COMMON | {
        "activations": (9, *("Sigmoid", "Affine") * _D), "linear_before_reset": (3, 1),
        "activation_alpha": (7, *(0.5,) * _D), "activation_beta": (7, *(0.25,) * _D),
    },
    "RNN": _COMMON | {"activations": (9, *("LeakyRelu",) * _D), "activation_alpha": (7, 0.1, 0.2)},
}  # fmt: skip


def _node(op, changes=None):
    """A node of `op` with all attributes; changes: {attribute: as in _ATTRIBUTES}."""
    inputs = ["X", f"{op}W", f"{op}R", f"{op}B", *([""] * 3 + ["LSTMP"] if op == "LSTM" else [])]
    given = _ATTRIBUTES[op] | (changes or {})
    made = [attribute(name, *value) for name, value in given.items()]
    return node(op, inputs, [f"{op}y"], made, name=op.lower())


@functools.cache
def all_attributes():
    """A sound ONNX file of an LSTM, a GRU and an RNN that have every attribute."""
    return model([_node(op) for op in _SIZES], [each for op in _SIZES for each in _tensors(op)])


# AttributeProto's field: (a sound value of the type, what errors call the type)
_TYPES = {
    2: (1.5, "a float"), 3: (1, "an int"), 4: ("Elu", "a string"),
    5: (onnx_tensor("t", np.ones(1, "<f4")), "a tensor"), 6: (field(2, "g"), "a graph"),
    7: (0.5, "floats"), 8: (1, "ints"), 9: ("Elu", "strings"),
}  # fmt: skip


def onnx_cases():
    """Each attribute of a recurrent node with a value of each type that is not its own, and
    attributes of operators on constants."""
    attributes = [("LSTM", name) for name in _ATTRIBUTES["LSTM"]] + [("GRU", "linear_before_reset")]
    for op, name in attributes:
        due = _ATTRIBUTES[op][name][0]
        for key, (value, called) in _TYPES.items():
            if key != due:
                made = model([_node(op, {name: (key, value)})], _tensors(op))
                says = f"'{name}' is {called}, {_TYPES[due][1]} due"
                yield f"{name}-{called.split()[-1]}", made, says
    far = field(1, "activation_alpha") + field(7, 1 << 40)  # a varint of more than 4 bytes
    made = [attribute("direction", *_COMMON["direction"]), far]
    wrong = node("LSTM", ["X", "LSTMW", "LSTMR"], ["y"], made)
    yield "floats-varint", model([wrong], _tensors("LSTM")), "is malformed, floats due"
    for op, made, says in (
        ("Cast", attribute("to", 8, 1), "'to' is ints, an int due"),
        ("Concat", attribute("axis", 4, "0"), "'axis' is a string, an int due"),
        ("Transpose", attribute("perm", 4, "\0\1\2"), "'perm' is a string, ints due"),
        ("Constant", attribute("value", 3, 1), "'value' is an int, a tensor due"),
        ("Constant", attribute("value_float", 9, "1"), "'value_float' is strings, a float due"),
    ):
        folded = node(op, [] if op == "Constant" else ["V"], ["W"], [made])
        lstm = node("LSTM", ["X", "W", "LSTMR"], ["y"])
        stored = [onnx_tensor("V", np.ones((2, 8, 1), "<f4")), *_tensors("LSTM")]
        yield f"{op}-{says.split()[0][1:-1]}", model([folded, lstm], stored), says


# ---- Keras


@functools.cache
def keras_weights():
    """A small HDF5 file with the weights of an LSTM, a Bidirectional LSTM, an RNN of LSTMCell, one
    of stacked cells and an LSTM in a wrapper, as they stand in .keras files."""
    file = io.BytesIO()
    sides = ("bidirectional/forward_layer", "bidirectional/backward_layer")
    with h5py.File(file, "w") as h5:
        for place in ("lstm", "rnn", *sides, "time_distributed/layer"):
            h5[f"layers/{place}/cell/vars/0"] = np.ones((1, 8), "f4")
            h5[f"layers/{place}/cell/vars/1"] = np.ones((2, 8), "f4")
        for cell, inputs in (("lstm_cell", 1), ("lstm_cell_1", 2)):
            h5[f"layers/rnn/cell/cells/{cell}/vars/0"] = np.ones((inputs, 8), "f4")
            h5[f"layers/rnn/cell/cells/{cell}/vars/1"] = np.ones((2, 8), "f4")
    return file.getvalue()


LSTM = {"class_name": "LSTM", "config": {"name": "lstm", "units": 2}}
BACKWARD = {"class_name": "LSTM", "config": {"name": "b", "units": 2, "go_backwards": True}}
CELL = {"class_name": "LSTMCell", "config": {"units": 2, "activation": "elu"}}


def keras_model(layer):
    """The configuration, as JSON, of a model of one layer."""
    return json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}).encode()


def bidirectional(**parts):
    return {"class_name": "Bidirectional", "config": {"name": "b", "layer": LSTM} | parts}


def rnn_of(cell):
    return {"class_name": "RNN", "config": {"name": "r", "cell": cell}}


def stacked(*cells):
    return rnn_of({"class_name": "StackedRNNCells", "config": {"cells": list(cells)}})


def wrapped(layer):
    return {"class_name": "TimeDistributed", "config": {"name": "t", "layer": layer}}


def keras_cases():
    """Classes, and what else a configuration names, that are no text."""
    for kind, wrong in (("list", ["LSTM"]), ("dict", {"LSTM": 1}), ("number", 3), ("flag", True)):
        says = "class_name is"
        for place, layer in (
            ("layer", bidirectional(layer=LSTM | {"class_name": wrong})),
            ("backward", bidirectional(backward_layer=BACKWARD | {"class_name": wrong})),
            ("cell", rnn_of(CELL | {"class_name": wrong})),
            ("stacked", stacked(CELL, CELL | {"class_name": wrong})),
            ("wrapped", wrapped(bidirectional(layer=LSTM | {"class_name": wrong}))),
        ):
            config = keras_model(layer)
            parts = {"config.json": config, "metadata.json": b'{"keras_version": "3.1.0"}'}
            parts["model.weights.h5"] = keras_weights()
            made = zip_bytes([Record(name, raw) for name, raw in parts.items()])
            yield f"{place}-{kind}", made, says


# ---- fastlstm's own files


def described(data):
    """A file of `lstm.save` with the arrays of RNN(1, 1); data: its description of the layers."""
    said = json.dumps(data.decode("utf-8", "replace"))
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    arrays = ",".join(
        f'"{name}":{{"dtype":"F32","shape":{[1, 1] if n < 2 else [1]},'
        f'"data_offsets":[{4 * n},{4 * n + 4}]}}'
        for n, name in enumerate(names)
    )
    header = f'{{"__metadata__":{{"fastlstm":{said}}},{arrays}}}'
    return safetensors_bytes(header, DATA)


def own_cases():
    """Numbers in the description of a layer that are no floats, or that no layer can have."""
    far = 10**400  # more than a float can be
    long = 9 * 10**4299  # as many digits as Python reads; four times this has too many to print
    for name, fields in (
        ("clip-far", {"clip": far}), ("clip-text", {"clip": "x"}), ("clip-list", {"clip": [1]}),
        ("alpha-far", {"activations": [[["elu", far, None]]]}),
        ("alpha-dict", {"activations": [[["elu", {}, None]]]}),
        ("kind-list", {"kind": ["RNN"]}), ("size-float", {"hidden_size": 1.0}),
        ("size-far", {"hidden_size": long, "kind": "LSTM"}),
        ("layers-far", {"num_layers": long}),
        ("dropout-text", {"dropout": "0.5"}), ("dropout-bool", {"dropout": True}),
        ("dropout-nan", {"dropout": float("nan")}), ("dropout-far", {"dropout": far}),
        ("dropout-above", {"dropout": 2.0}), ("dropout-below", {"dropout": -0.5}),
    ):  # fmt: skip
        layer = {"kind": "RNN", "input_size": 1, "hidden_size": 1} | fields
        said = json.dumps({"version": 1, "layers": {"": layer}}).encode()
        yield name, described(said), "a layer is malformed"


# ---- TorchScript


def script_cases():
    """Classes of TorchScript where torch's functions and classes are due."""

    def archive(body):
        pickle = b"\x80\2" + body + b"."
        return zip_bytes([Record("a/data.pkl", pickle), Record("a/code/m.py", b"x"),
                          Record("a/data/0", DATA)])  # fmt: skip

    for name, module in (("class", "__torch__.m.Net"), ("escape", "__torch__.\x1b[2J.Net")):
        rebuilt = call(
            "torch._tensor._rebuild_from_type_v2", name_of(module), NONE, tuple_of(), NONE
        )
        yield f"rebuild-{name}", archive(rebuilt), "a tensor of the class"
        pid = tuple_of(text("storage"), name_of(module), text("0"), text("cpu"), number(4))
        yield f"storage-{name}", archive(dict_of(w=tensor(pid + b"Q"))), "is no storage"
