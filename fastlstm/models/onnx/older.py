# SPDX-License-Identifier: MIT
"""ONNX's operators as the newer operator sets define them, made of those of older sets.

By docs/Changelog.md of onnx/onnx, which has every version of every operator. A function here is
f(target, node, version): it puts what `node`, an operator of the set `version`, means into `target`
(a Target). An operator without a function means the same in all sets.
"""

import numpy as np

OLDER = {}  # {operator: function}
NEWEST = 28  # the newest set whose changes are known

# TensorProto.DataType by the names that Cast had before set 6.
_TYPES = {
    "FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "STRING": 8,
    "BOOL": 9, "FLOAT16": 10, "DOUBLE": 11, "UINT32": 12, "UINT64": 13,
}  # fmt: skip


def older(*ops):
    """Registers a function for these operators."""

    def register(function):
        for op in ops:
            OLDER[op] = function
        return function

    return register


def _moved(target, node, names, where, dtype=np.int64):
    """Makes the attribute of the first of `names` that the node has into its input `where`."""
    found = None
    for name in names:
        found = node.attrs.pop(name, found) if found is None else found
    if found is not None:
        inputs = node.inputs[:where]
        inputs += [""] * (where - len(inputs))
        node.inputs = [*inputs, target.constant(node, found, names[0], dtype)]
    return found


@older("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater")
def broadcasting(target, node, version):
    """Before set 7 the second input was broadcast only if asked, from a given axis on."""
    if version < 7:
        if "axis" in node.attrs:
            target.refuse(node, version, "its inputs are broadcast by an axis, as before set 7")
            return
        node.attrs.pop("broadcast", None)
    target.put(node)


@older("PRelu")
def parametric_relu(target, node, version):
    """Before set 7 a slope of one axis had a number for each channel, axis 1 of x."""
    old = version < 7 and len(node.inputs) > 1
    slope = target.known(node.inputs[1]) if old else None
    if old and (slope is None or (slope.ndim == 1 and slope.size > 1)):
        # (C, 1 ...), with as many ones as x has axes behind the channels
        shape = target.add(node, "Shape", node.inputs[:1], start=2)
        axes = target.add(node, "Shape", [shape])
        ones = target.add(node, "ConstantOfShape", [axes], value=np.ones(1, np.int64))
        count = target.constant(node, [-1], "channels")
        shape = target.add(node, "Concat", [count, ones], axis=0)
        node.inputs = [node.inputs[0], target.add(node, "Reshape", [node.inputs[1], shape])]
    target.put(node)


@older("Gemm")
def gemm(target, node, version):
    if version < 7:
        node.attrs.pop("broadcast", None)
    target.put(node)


@older("Squeeze", "Unsqueeze")
def squeeze(target, node, version):
    if version < 13:
        _moved(target, node, ["axes"], 1)
    target.put(node)


@older(
    "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare", "ReduceSum",
)  # fmt: skip
def reductions(target, node, version):
    if version < (13 if node.op == "ReduceSum" else 18):
        axes = _moved(target, node, ["axes"], 1)
        if axes == []:  # meant all axes then, and means so without the attribute now
            node.inputs = node.inputs[:1]
    target.put(node)


@older("Reshape")
def reshape(target, node, version):
    if version < 5:
        _moved(target, node, ["shape"], 1)
    target.put(node)


@older("Split")
def split(target, node, version):
    """Without sizes, the parts are equal: before set 18 as many as there are outputs."""
    if version < 13 and "split" in node.attrs:
        _moved(target, node, ["split"], 1)
    if not (len(node.inputs) > 1 and node.inputs[1]):
        node.attrs.setdefault("num_outputs", len(node.outputs))
    target.put(node)


@older("Slice")
def slices(target, node, version):
    if version < 10:
        for name in ("starts", "ends"):
            if name not in node.attrs:
                raise node.error(f"the attribute {name} is missing")
        _moved(target, node, ["starts"], 1)
        _moved(target, node, ["ends"], 2)
        _moved(target, node, ["axes"], 3)
    target.put(node)


@older("Pad")
def pad(target, node, version):
    if version < 11:
        if _moved(target, node, ["pads", "paddings"], 1) is None:
            raise node.error("the attribute pads is missing")
        if node.attrs.get("value"):
            _moved(target, node, ["value"], 2, np.float32)
        node.attrs.pop("value", None)
    target.put(node)


@older("Clip")
def clip(target, node, version):
    if version < 11:
        _moved(target, node, ["min"], 1, np.float32)
        _moved(target, node, ["max"], 2, np.float32)
    target.put(node)


@older("TopK")
def top_k(target, node, version):
    if version < 10:
        if "k" not in node.attrs:
            raise node.error("the attribute k is missing")
        node.attrs["k"] = [node.attrs["k"]]
        _moved(target, node, ["k"], 1)
    target.put(node)


@older("Dropout")
def dropout(target, node, version):
    """In inference its output is its input, and the mask is all true."""
    if version < 7 and not node.attrs.get("is_test", 0):
        target.refuse(node, version, "dropout of training (is_test is 0)")
        return
    if version >= 12 and len(node.inputs) > 2 and node.inputs[2]:
        training = target.known(node.inputs[2])
        if training is None or training.any():
            target.put(node)
            return
    if node.outputs[0]:
        target.add(node, "Identity", node.inputs[:1], node.outputs[:1])
    if len(node.outputs) > 1 and node.outputs[1]:
        shape = target.add(node, "Shape", node.inputs[:1])
        ones = np.ones(1, bool if version >= 10 else np.float32)
        target.add(node, "ConstantOfShape", [shape], node.outputs[1:2], value=ones)


@older("BatchNormalization")
def batch_normalization(target, node, version):
    """The statistics that training gives as outputs were there before set 14 too, and training was
    told by their number (before set 7 by is_test)."""
    if not node.attrs.pop("spatial", 1):
        target.refuse(node, version, "spatial=0: statistics for each element")
        return
    if version < 7 and not node.attrs.pop("is_test", 0):
        target.refuse(node, version, "batch normalisation of training (is_test is 0)")
        return
    if 7 <= version < 14 and any(node.outputs[1:]):
        target.refuse(node, version, "batch normalisation of training (more than one output)")
        return
    if version < 14:
        node.outputs = node.outputs[:1]
    target.put(node)


@older("Softmax", "LogSoftmax", "Hardmax")
def softmax(target, node, version):
    """Before set 13 the axes from `axis` on were taken as one, those before it as rows."""
    if version >= 13:
        target.put(node)
        return
    axis = node.attrs.pop("axis", 1)
    if axis == -1:
        target.add(node, node.op, node.inputs, node.outputs, axis=-1)
        return
    shape = target.add(node, "Shape", node.inputs[:1])
    rows = target.add(node, "Flatten", node.inputs[:1], axis=axis)
    found = target.add(node, node.op, [rows], axis=-1)
    target.add(node, "Reshape", [found, shape], node.outputs, allowzero=1)


@older("Cast")
def cast(target, node, version):
    to = node.attrs.get("to")
    if isinstance(to, str):
        if to.upper() not in _TYPES:
            raise node.error(f"the type {to!r} is unknown")
        node.attrs["to"] = _TYPES[to.upper()]
    elif to is None:
        raise node.error("the attribute to is missing")
    target.put(node)


@older("Upsample")
def upsample(target, node, version):
    """Resize from set 11 on, where the place of an output is divided by the scale."""
    if version < 9:
        scales = node.attrs.pop("scales", None)
        if scales is None and {"height_scale", "width_scale"} <= set(node.attrs):
            scales = [1.0, 1.0, node.attrs["height_scale"], node.attrs["width_scale"]]
        if scales is None:
            raise node.error("the attribute scales is missing")
        node.inputs = [node.inputs[0], target.constant(node, scales, "scales", np.float32)]
    if len(node.inputs) < 2:
        raise node.error("its input scales is missing")
    _resize(target, node, "floor")


@older("Resize")
def resize(target, node, version):
    """In set 10 as Upsample; of the nearest elements, ONNX Runtime takes the upper one where it
    makes an axis smaller."""
    if version >= 11:
        target.put(node)
        return
    if len(node.inputs) < 2:
        raise node.error("its input scales is missing")
    scales = target.known(node.inputs[1])
    nearest = node.attrs.get("mode", "nearest") == "nearest"
    if nearest and (scales is None or (scales.min() < 1 < scales.max() if scales.size else False)):
        target.refuse(node, version, "nearest elements by scales that are computed, or on both "
                      "sides of 1")  # fmt: skip
        return
    _resize(target, node, "ceil" if nearest and scales.size and scales.min() < 1 else "floor")


def _resize(target, node, nearest):
    target.add(
        node, "Resize", [node.inputs[0], "", node.inputs[1]], node.outputs,
        mode=node.attrs.get("mode", "nearest"), coordinate_transformation_mode="asymmetric",
        nearest_mode=nearest,
    )  # fmt: skip


@older("Scatter")
def scatter(target, node, version):
    target.add(node, "ScatterElements", node.inputs, node.outputs, **node.attrs)


@older("Concat")
def concat(target, node, version):
    if version < 4:
        node.attrs.setdefault("axis", 1)
    target.put(node)


@older("Selu")
def selu(target, node, version):
    """Set 6 gave its default numbers more digits."""
    if version < 6:
        node.attrs.setdefault("alpha", 1.6732)
        node.attrs.setdefault("gamma", 1.0507)
    target.put(node)


@older("LSTM", "GRU", "RNN")
def recurrent(target, node, version):
    """Before set 7 the whole output was wanted with output_sequence=1 only."""
    node.attrs.pop("output_sequence", None)
    target.put(node)


@older("GroupNormalization")
def group_normalization(target, node, version):
    """In set 18 scale and bias are of groups, since set 21 of channels. Each group as a channel is
    what InstanceNormalization takes."""
    if version >= 21:
        target.put(node)
        return
    groups = node.attrs.get("num_groups", 0)
    if groups < 1 or len(node.inputs) < 3:
        raise node.error("num_groups, or its inputs scale and bias, are missing")
    shape = target.add(node, "Shape", node.inputs[:1])
    form = target.constant(node, [0, groups, -1], "groups")
    x = target.add(node, "Reshape", [node.inputs[0], form])
    epsilon = node.attrs.get("epsilon", 1e-5)
    y = target.add(node, "InstanceNormalization", [x, *node.inputs[1:3]], epsilon=epsilon)
    target.add(node, "Reshape", [y, shape], node.outputs)


@older("DFT")
def dft(target, node, version):
    if version < 20:
        node.inputs = [*node.inputs, "", ""][:2]
        axis = target.constant(node, node.attrs.pop("axis", 1), "axis")
        node.inputs = [*node.inputs, axis]
    target.put(node)


@older("MeanVarianceNormalization")
def mean_variance(target, node, version):
    if version < 9 and "across_channels" in node.attrs:
        axes = [0, 1, 2, 3] if node.attrs.pop("across_channels") else [0, 2, 3]
        node.attrs.setdefault("axes", axes)
    target.put(node)


@older("Tile")
def tile(target, node, version):
    if version < 6:
        target.refuse(node, version, "its inputs are those of before set 6")
        return
    target.put(node)


@older("LpPool", "GlobalLpPool")
def lp_pool(target, node, version):
    if version < 2:
        node.attrs["p"] = int(node.attrs.get("p", 2))
    target.put(node)


@older("SimplifiedLayerNormalization")
def root_mean_square(target, node, version):
    """x / sqrt(mean(x^2) + epsilon) * scale over the axes from `axis` on. ONNX Runtime has it in
    ONNX's domain; ONNX itself since set 23, as RMSNormalization."""
    target.add(node, "RMSNormalization", node.inputs[:2], node.outputs[:1], **node.attrs)


def normalised(target, node, version):
    """Puts `node`, of ONNX's operator set `version`, into `target` in the newest form."""
    node.attrs.pop("consumed_inputs", None)
    if node.op in OLDER and node.inputs:
        OLDER[node.op](target, node, version)
    else:
        target.put(node)
