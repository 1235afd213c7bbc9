# SPDX-License-Identifier: MIT
"""Dynamically quantised models (torch.ao.quantization.quantize_dynamic): their layers' weights are
packed parameters, objects of torch's own classes, in state dicts and TorchScript archives alike.

    <layer>._all_weight_values.<track>.param    of an LSTM or GRU: the state is
            ("quantized_dynamic" or "quantized_fp16", [...], [...], [...], [input, recurrent])
    <cell>._packed_weight_ih, _packed_weight_hh    of a cell: input, recurrent
    input, recurrent: objects whose state is (weight, bias or None)

An int8 weight is a call of torch._utils._rebuild_qtensor(storage, offset, sizes, strides,
quantizer, ...), and its value (q - zero point) scale, for the whole matrix or each row. Those of
float16 are float32 numbers that float16 holds. All become float32 here; matrices of int8 are kept
as codes with scales too, with which a layer computes, if they can be (engine/int8.py). Torch rounds
the layer's inputs to 8 bits, all rows of a call together.

PyTorch does not specify this; it is what torch/csrc/jit and aten/src/ATen/native/quantized write.
In a pickle such objects are made by NEWOBJ and filled by BUILD: here one becomes a dict of "state".
"""

import dataclasses
import re

import numpy as np

from ...engine import int8
from ...engine.variants import RELU
from ..contents import DEQUANTISED, Contents
from ..description import Layer
from ..find import find
from ..flatten import flatten
from ..inert_pickle import Interpreter
from ..pickle_tree import DICT, ORDERED, TUPLE, Global, Node, Unread
from ..source import show
from ..weight_shapes import misfit, tracks
from . import zip as torch_zip
from .rebuild import ALLOWED, Tensor
from .zip import Storages, arrays_of, storages_in

SCRIPT_OBJECT = "torch.ScriptObject"
_INTEGERS = {
    "QInt8Storage": "CharStorage",
    "QUInt8Storage": "ByteStorage",
    "QInt32Storage": "IntStorage",
}
_SCHEMES = ("per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams")
_BLOCK = 1 << 20  # elements made float32 at a time
_TRACK = re.compile(
    r"(|.*\.)_all_weight_values\.([0-9]{1,5})\.param\.state\.4\.([01])\.state\.([01])", re.DOTALL
)
_CELL = re.compile(r"(|.*\.)_packed_(weight_ih|weight_hh)\.state\.([01])", re.DOTALL)


def _qtensor(run, args):
    """A quantised tensor: its integers, and in run.quantised how they become numbers. Unread if its
    integers or scales are, or are of 4 bits, or if it is called in another way than torch does."""
    unread = ALLOWED["torch._utils._rebuild_qtensor"]
    if not 6 <= len(args) <= 7:
        return unread(run, args)
    scheme = args[4].items if args[4].__class__ is Node and args[4].type_name is TUPLE else ()
    name = scheme[0].name.removeprefix("torch.") if scheme and scheme[0].__class__ is Global else ""
    if Unread in [item.__class__ for item in (args[0], *scheme[1:3])]:
        return unread(run, args)
    numbers = [item.__class__ for item in scheme[1:3]]
    one = name == _SCHEMES[0] and len(scheme) == 3 and numbers == [float, int]
    rows = name in _SCHEMES[1:] and len(scheme) == 4 and numbers == [Tensor, Tensor]
    if not one and not (rows and scheme[3].__class__ is int):
        raise run.error("a quantised tensor needs a scheme, its scale and its zero point")
    if one and not -(1 << 31) <= scheme[2] < 1 << 31:
        raise run.error("the zero point of a quantised tensor must be an int of 32 bits")
    tensor = ALLOWED["torch._utils._rebuild_tensor"](run, args[:4])
    if tensor.__class__ is Unread:
        return tensor
    if tensor.dtype not in ("int8", "uint8", "int32"):
        raise run.error(f"a quantised tensor of {tensor.dtype}")
    run.charge(160)
    run.quantised[id(tensor)] = (tensor, *scheme[1:])
    return tensor


PACKED_ALLOWED = ALLOWED | {"torch._utils._rebuild_qtensor": _qtensor}


def storages(archive, folder):
    """As zip.storages_in, and the integers of quantised tensors."""
    plain = storages_in(archive, folder)

    def storage(run, pid):
        items = pid.items if pid.__class__ is Node and pid.type_name is TUPLE else ()
        if len(items) > 1 and items[1].__class__ is Global:
            integers = _INTEGERS.get(items[1].name.removeprefix("torch."))
            if integers:
                run.charge(256)
                pid = Node(TUPLE, [items[0], Global(f"torch.{integers}"), *items[2:]])
        return plain(run, pid)

    return storage


class Objects(Interpreter):
    """Takes torch's ScriptObjects. quantised: {id of a Tensor: (the Tensor, its scale, its zero
    point, of rows their axis)}."""

    def __init__(self, *args):
        super().__init__(*args)
        self.quantised = {}

    def new(self, cls, args):
        if cls.__class__ is not Global or cls.name != SCRIPT_OBJECT:
            return super().new(cls, args)
        self.charge(144)
        return Node(DICT, [], SCRIPT_OBJECT)

    def build(self, state, target):
        if target.__class__ is not Node or target.origin != SCRIPT_OBJECT:
            super().build(state, target)
            return
        named = state.__class__ is Node and state.type_name is TUPLE and len(state.items) == 2
        if target.items or not named:
            raise self.error("attributes are set on a value that has none")
        self.extend((DICT,), ["state", state.items[0]])


# ---- numbers and layers


def numbers(tensors, run, made_by, contents):
    """{name: array} of `tensors`, {name: Tensor}; the quantised ones as float32, and matrices of
    layers as codes too, in contents.coded.

    made_by    f({name: Tensor}) -> {name: array}
    contents   Contents, whose bound on what is made holds for these
    """
    scales = {}
    for tensor in tensors.values():
        for part in run.quantised.get(id(tensor), ())[1:3]:
            if part.__class__ is Tensor:
                scales[f"\0{id(part)}"] = part
    arrays = made_by(tensors | scales)
    done = {}
    for name, tensor in tensors.items():
        if id(tensor) not in run.quantised:
            continue
        if id(tensor) not in done:
            _, scale, zero, *axis = run.quantised[id(tensor)]
            if axis:
                scale, zero = (arrays[f"\0{id(each)}"] for each in (scale, zero))
            in_layer = _TRACK.fullmatch(name) or _CELL.fullmatch(name)
            contents.charge((5 if in_layer else 4) * arrays[name].size)
            done[id(tensor)] = _float32(run, name, arrays[name], scale, zero, *axis)
            if in_layer and arrays[name].ndim == 2 and arrays[name].dtype.itemsize == 1:
                codes, _ = int8.of_integers(arrays[name], zero, scale)
                contents.coded[id(done[id(tensor)])] = codes
        arrays[name] = done[id(tensor)]
    return {name: array for name, array in arrays.items() if name in tensors}


def _float32(run, name, stored, scale, zero, axis=None):
    """(stored - zero) scale. scale, zero: numbers, or arrays along `axis`, which must be 0."""
    scale, zero = np.float32(scale), np.float64(zero)
    fits = axis == 0 and scale.shape == zero.shape == stored.shape[:1]
    if axis is not None and not fits:
        raise run.error(f"{show(name)}: its scales do not fit its rows")
    if not stored.ndim:
        return np.asarray((stored - zero) * scale, np.float32)
    made = np.empty(stored.shape, np.float32)
    shape, step = (-1, *[1] * (stored.ndim - 1)), max(1, _BLOCK // max(1, stored[:1].size))
    for at in range(0, len(stored), step):
        rows = slice(at, at + step)
        by = [
            each.reshape(-1)[rows].reshape(shape) if each.ndim else each for each in (scale, zero)
        ]
        made[rows] = (stored[rows] - by[1]).astype(np.float32) * by[0]
    return made


class _Attributes:
    """The attributes of TorchScript objects, below the value `root` of the pickle. Each object that
    is asked is gone through once, however many layers are in it."""

    def __init__(self, root):
        self.root, self.known = root, {}

    def _inside(self, node):
        """{key: value} of an object or dict, of its keys that are text; of two the first counts."""
        if node.__class__ is not Node or node.type_name not in (DICT, ORDERED):
            return {}
        if id(node) not in self.known:
            pairs = zip(node.items[-2::-2], node.items[::-2], strict=True)
            self.known[id(node)] = {key: value for key, value in pairs if key.__class__ is str}
        return self.known[id(node)]

    def get(self, prefix, name):
        """The attribute `name` of the object at `prefix`, or None."""
        node = self.root
        for key in [*filter(None, prefix.split(".")), name]:
            node = self._inside(node).get(key)
        return node


def _layer(parts, both, first):
    """(Layer, {torch's name: array}) of the tracks `parts`, [{part's name: array}]. both, first:
    whether it is bidirectional and batch_first, or None if the file does not say."""
    matrices = [track.get(name) for track in parts for name in ("weight_ih", "weight_hh")]
    if any(m is None or m.ndim != 2 or m.dtype.kind != "f" or 0 in m.shape for m in matrices):
        return Layer(
            "recurrent layer", problem="its packed parameters are not two matrices a track"
        ), {}
    rows, hidden = parts[0]["weight_hh"].shape
    inputs = [track["weight_ih"].shape[1] for track in parts]
    if both is None and len(parts) == 2 and inputs[0] == inputs[1] == hidden:
        return Layer(
            "recurrent layer", problem="a quantised layer of two tracks with as many inputs as "
            "units: the file does not say whether they are two layers or two directions; name the "
            "weights of read_state_dict yourself and give them to from_state_dict",
        ), {}  # fmt: skip
    if both is None:
        both = (
            len(parts) % 2 == 0
            and inputs[1] == inputs[0]
            and (len(parts) > 2 or inputs[0] != hidden)
        )
        if len(parts) > 2 and both:
            both = inputs[2] == 2 * hidden
    kind = {4: "LSTM", 3: "GRU"}.get(rows // hidden)
    if kind is None or rows % hidden or (both and len(parts) % 2):
        return Layer(
            "recurrent layer", problem=f"weight_hh {(rows, hidden)} fits no LSTM or GRU"
        ), {}
    layer = Layer(
        kind, inputs[0], hidden, 0, len(parts) // (2 if both else 1), "bias_ih" in parts[0],
        "bidirectional" if both else "forward", batch_first=bool(first),
        assumed=("batch_first",) if first is None else (),
    )  # fmt: skip
    weights = {
        name + end: array
        for (*_, end), track in zip(
            tracks(layer.num_layers, layer.num_directions), parts, strict=True
        )
        for name, array in track.items()
    }
    problem = misfit(layer, weights)
    return (layer, weights) if problem is None else (Layer(kind, problem=problem), {})


def _cell(parts):
    """(Layer, {torch's name: array}) of a cell's packed weights."""
    hh = parts.get("weight_hh")
    if hh is None or hh.ndim != 2 or 0 in hh.shape or len(hh) // hh.shape[1] not in (1, 3, 4):
        return Layer("recurrent layer", problem="its packed parameters fit no cell"), {}
    kind = {4: "LSTM", 3: "GRU", 1: "RNN"}[len(hh) // hh.shape[1]]
    ih = parts.get("weight_ih", hh)
    inputs = ih.shape[1] if ih.ndim == 2 else 0
    layer = Layer(
        kind, inputs, hh.shape[1], bias="bias_ih" in parts,
        assumed=("nonlinearity",) * (kind == "RNN"),
    )  # fmt: skip
    weights = {f"{name}_l0": array for name, array in parts.items()}
    problem = misfit(layer, weights)
    return (layer, weights) if problem is None else (Layer(kind, problem=problem), {})


def _with_nonlinearity(layer, attributes, prefix):
    """The Layer at `prefix`, with an RNN's activation where a scripted module says it."""
    if "nonlinearity" not in layer.assumed:
        return layer
    said = attributes.get(prefix, "nonlinearity")
    if said not in ("tanh", "relu"):
        return layer
    return dataclasses.replace(
        layer, assumed=tuple(name for name in layer.assumed if name != "nonlinearity"),
        activations=((RELU,),) * layer.num_directions if said == "relu" else (),
    )  # fmt: skip


def _codes(contents, weights):
    """{torch's name: int8.Codes} of those of a layer's weights that the file has as codes."""
    found = {name: contents.coded.get(id(array)) for name, array in weights.items()}
    return {name: codes for name, codes in found.items() if codes is not None}


def with_layers(contents, root, options):
    """`contents` with the layers whose packed parameters are among contents.arrays, and those that
    names tell among the others. root: the pickle's value; options: the caller's Options."""
    found, cells, packed = {}, {}, set()
    for name, array in contents.arrays.items():
        match = _TRACK.fullmatch(name)
        if match:
            prefix, track, product, part = match.groups()
            tracks_of = found.setdefault(prefix, {}).setdefault(int(track), {})
            tracks_of[
                f"{'weight' if part == '0' else 'bias'}_{'ih' if product == '0' else 'hh'}"
            ] = array
        else:
            match = _CELL.fullmatch(name)
            if match:
                prefix, weight, part = match.groups()
                end = weight if part == "0" else weight.replace("weight", "bias")
                cells.setdefault(prefix, {})[end] = array
        if match or "._all_weight_values." in f".{name}":
            packed.add(name)
    plain = {n: a for n, a in contents.arrays.items() if n not in packed}
    others = find(plain, contents.source, options, contents.unread)
    contents.arrays |= others.arrays
    attributes = _Attributes(root)
    contents.layers |= {
        prefix: _with_nonlinearity(each, attributes, prefix)
        for prefix, each in others.layers.items()
    }
    for prefix, parts in found.items():
        both, first = (attributes.get(prefix, name) for name in ("bidirectional", "batch_first"))
        both, first = (each if each.__class__ is bool else None for each in (both, first))
        if sorted(parts) != list(range(len(parts))):
            made = Layer("recurrent layer", problem="its packed tracks are not numbered from 0"), {}
        else:
            made = _layer([parts[n] for n in range(len(parts))], both, first)
        contents.add(prefix.removesuffix("."), *made, True, _codes(contents, made[1]))
    for prefix, parts in cells.items():
        made = _cell(parts)
        contents.add(prefix.removesuffix("."), *made, True, _codes(contents, made[1]))
    return contents


def read(source, options=None):
    """Contents of a checkpoint of torch.save: as zip.contents, and quantised layers' if there are
    any, which the class in the pickle tells."""
    checkpoint = torch_zip.opened(source)
    if b"ScriptObject" not in checkpoint.pickle:
        return torch_zip.contents(checkpoint)
    archive, folder, order, record, pickle = checkpoint
    run = Objects(pickle, record, source, PACKED_ALLOWED, storages(archive, folder))
    value = run.run()
    found, known = flatten(value, Tensor, run), Storages(archive, order)
    refusal = found.refusal(run.leaves)
    if refusal:
        raise source.error(record, refusal)
    contents = Contents(
        {}, {}, source=source, per_byte=DEQUANTISED, unread=found.unread, opaque=found.opaque
    )
    contents.arrays = numbers(
        found.tensors, run, lambda t: arrays_of(t, known, source, record), contents
    )
    return with_layers(contents, value, options)
