# SPDX-License-Identifier: MIT
"""Products in 8-bit codes: those of files whose weights are codes. few_bits.py has those of a model
that is asked to have them.

A file that ONNX Runtime's quantize_dynamic made has, for a product with a matrix,

    q, s, z = DynamicQuantizeLinear(x);  y = Cast(MatMulInteger(q, W, z, Wz)) * (s * Ws) + b

and ConvInteger likewise. What it stands for is (W - Wz) Ws times x, with x rounded to 8 bits for
all rows together. Here it becomes one Linear whose weights keep the file's codes and scales, while
x has codes of its own for each row, of 16 bits: closer to what the file's weights say. Where the
codes do not fit, -127 .. 127 around zero, or the scales are no numbers, the weights become float32,
and the attribute "note" says so.
"""

import dataclasses

import numpy as np

from ...engine import int8
from ...files.onnx import gates

MOST_INPUTS = 1 << 17  # of a product in codes: csrc/ops/linear.h


# ---- what quantize_dynamic writes ----


def _only(edit, name, op):
    """The node that alone reads `name`, if it is an `op`; else None."""
    reader = edit.only_reader(name)
    return reader if reader is not None and reader.op == op else None


def _other(node, name):
    """The other input of a node of two; None if both are `name`."""
    others = [n for n in node.inputs if n != name]
    return others[0] if len(others) == 1 and len(node.inputs) == 2 else None


def _scale_of(edit, name, s):
    """The array Ws, if `name` is s * Ws; or None."""
    if name is None:
        return None
    maker = edit.makers.get(name)
    if maker is None or maker.op != "Mul" or s not in maker.inputs:
        return None
    other = _other(maker, s)
    return edit.value(other) if other else None


class _Found:
    """What a node MatMulInteger or ConvInteger belongs to. x: the float input; w, zero, scale:
    arrays; bias: an array or None; last: the name of what all of it gives; gone: its nodes."""

    def __init__(self, x, w, zero, scale, bias, last, gone):
        self.x, self.w, self.zero, self.scale = x, w, zero, scale
        self.bias, self.last, self.gone = bias, last, gone


def _found(edit, node):
    """The _Found of a node; None if it is not such a product."""
    q, w, z, wz = [*node.inputs, "", ""][:4]
    first, w = edit.makers.get(q), edit.value(w)
    if first is None or first.op != "DynamicQuantizeLinear" or w is None or not w.size:
        return None
    if node.op == "MatMulInteger" and (w.ndim != 2 or not edit.shape(q)):
        return None
    names = [*first.outputs, "", ""][:3]
    zero = edit.value(wz) if wz else np.zeros((), w.dtype)
    cast = _only(edit, node.outputs[0], "Cast")
    if names[0] != q or names[2] != z or zero is None or cast is None or cast.attrs["to"] != 1:
        return None
    scaled = _only(edit, cast.outputs[0], "Mul")
    if scaled is None:
        return None
    scale = _scale_of(edit, _other(scaled, cast.outputs[0]), names[1])
    rows = w.shape[-1] if node.op == "MatMulInteger" else w.shape[0]
    last, bias, gone = scaled.outputs[0], None, [node, cast, scaled]
    if scale is None or scale.dtype != np.float32:
        return None
    flat = [a.reshape(-1) for a in (scale, zero)]
    if any(a.size not in (1, rows) for a in flat) or not _in_place(node, w, scale):
        return None
    add = _only(edit, last, "Add")
    other = edit.value(_other(add, last) or "") if add is not None else None
    if other is not None and other.dtype == np.float32 and _in_place(node, w, other):
        bias, last = np.broadcast_to(other.reshape(-1), (rows,)), add.outputs[0]
        gone.append(add)
    return _Found(first.inputs[0], w, flat[1], flat[0], bias, last, gone)


def _in_place(node, w, array):
    """Is the array one number, or one for each output along the axis of outputs?"""
    if array.size == 1:
        return array.ndim <= 1
    if node.op == "MatMulInteger":
        return array.ndim == 1 and array.size == w.shape[-1]
    due = [w.shape[0], *[1] * (w.ndim - 2)]
    return list(array.shape) in (due, [1, *due])


def _weights(edit, codes, zero, scale):
    """(the names of W and of its scales, "" if W is float32; the attributes that say which codes)
    of a Linear."""
    made, note = int8.of_integers(codes, zero, scale)
    attrs = {"note": note} if note and edit.dtype is None else {}
    if made is not None and edit.dtype in (None, "int8") and codes.shape[1] < MOST_INPUTS:
        attrs["codes"] = edit.inputs
        return edit.constant("codes", made.codes), edit.constant("scales", made.scales), attrs
    return edit.constant("weight", int8.numbers(codes, zero, scale)), "", attrs


def _with_scales(x, w, bias, scales):
    inputs = [x, w, bias, scales]
    while not inputs[-1]:
        inputs.pop()
    return inputs


def _linear(edit, node, found):
    w, scales, attrs = _weights(edit, found.w.T, found.zero, found.scale)
    bias = "" if found.bias is None else edit.constant("bias", np.ascontiguousarray(found.bias))
    inputs = _with_scales(found.x, w, bias, scales)
    return [edit.node("Linear", inputs, [found.last], node, **attrs)]


def _convolution(edit, node, found):
    rows, *_ = shape = found.w.shape
    bias = "" if found.bias is None else edit.constant("bias", np.ascontiguousarray(found.bias))
    why = why_not(node, shape)
    if why is None and edit.dtype in (None, "int8"):
        flat = found.w.transpose(0, 2, 1).reshape(rows, -1)
        w, scales, attrs = _weights(edit, flat, found.zero, found.scale)
        if scales:
            made = (w, bias, scales), attrs
            return windows(edit, node, found.x, *made, shape[2], [found.last])
        why = attrs.get("note")
    numbers = int8.numbers(found.w.reshape(rows, -1), found.zero, found.scale)
    w = edit.constant("weight", numbers.reshape(shape))
    attrs = node.attrs | ({"note": why} if edit.dtype is None else {})
    return [edit.node("Conv", _with_scales(found.x, w, bias, ""), [found.last], node, **attrs)]


def dynamic(edit):
    """All products of files that quantize_dynamic made; see the head of this file."""
    made, gone = {}, set()
    for node in edit.graph.nodes:
        if node.op not in ("MatMulInteger", "ConvInteger"):
            continue
        found = _found(edit, node)
        if found is not None:
            product = _linear if node.op == "MatMulInteger" else _convolution
            made[id(found.gone[-1])] = product(edit, node, found)
            gone.update(map(id, found.gone))
    if made:
        nodes = []
        for node in edit.graph.nodes:
            nodes += made.get(id(node), [] if id(node) in gone else [node])
        edit.graph.nodes = nodes
        edit.tidy()


def _rows(edit, node, index, what):
    """Codes (D, 4 H, I or H) of W or R of a DynamicQuantizeLSTM, and their zero points and scales,
    (D, 4 H): input `index` and those that its scale and zero point are."""
    at = 8 if index == 1 else 10
    names = [*node.inputs, *[""] * 12]
    codes, scale, zero = (edit.value(names[i]) for i in (index, at, at + 1))
    if codes is None or scale is None or (names[at + 1] and zero is None):
        raise node.error(f"{what}, its scale and its zero point must be constant")
    zero = np.zeros((), codes.dtype) if zero is None else zero
    if codes.ndim != 3 or codes.dtype.name not in ("int8", "uint8") or zero.dtype != codes.dtype:
        raise node.error(f"{what} is {codes.dtype} of the shape {codes.shape}")
    count, _, gates_h = codes.shape
    if any(a.shape not in ((), (1,), (count,), (count, gates_h)) for a in (scale, zero)):
        raise node.error(f"{what} {codes.shape} has scales {scale.shape} and {zero.shape}")
    wide = (
        np.broadcast_to(a.reshape(-1, 1) if a.ndim < 2 else a, (count, gates_h))
        for a in (zero, scale)
    )
    edit.charge(2 * codes.size)
    return codes.transpose(0, 2, 1), *wide


def lstm(edit, node, b, p):
    """(Layer, {torch's name: array}, a note or None) of a DynamicQuantizeLSTM, whose biases and
    peepholes are b and p. gates.Problem."""
    parts = [_rows(edit, node, 1, "W"), _rows(edit, node, 2, "R")]
    layer, weights = gates.layer_of("LSTM", node.attrs, parts[0][0], parts[1][0], b, p)
    made, integers, notes = {}, dict(weights), []
    for name, (_, zeros, scales) in zip(("weight_ih", "weight_hh"), parts, strict=True):
        for d, end in zip(range(len(zeros)), ("_l0", "_l0_reverse"), strict=False):
            name_d = name + end
            of_row = [
                gates.in_torch_order(a[d], "LSTM", layer.hidden_size) for a in (zeros, scales)
            ]
            made[name_d], note = int8.of_integers(integers[name_d], *of_row)
            weights[name_d] = of_row
            notes += [note] if note else []
    note = notes[0] if notes and edit.dtype is None else None
    if None not in made.values() and edit.dtype in (None, "int8"):
        return dataclasses.replace(layer, dtype="int8"), weights | made, note
    weights |= {n: int8.numbers(integers[n], *weights[n]) for n in made}
    return layer, weights, note


# ---- convolutions over one axis ----


def why_not(node, shape, kind="codes"):
    """Why a convolution with weights of that shape is not computed in codes, or in bfloat16, as
    `kind` says; None if it is."""
    get, what = node.attrs.get, f"convolutions in {kind}"
    if len(shape) != 3:
        return f"{what} are over one axis, this one has {len(shape) - 2}"
    if get("group", 1) != 1 or set(get("dilations") or [1]) != {1}:
        return f"{what} have one group and no dilation"
    if get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        return f"{what} have pads in numbers"
    if not 0 < shape[1] * shape[2] < MOST_INPUTS:
        return f"{what} have less than {MOST_INPUTS} numbers in a window"
    return None


def windows(edit, node, x, weights, attrs, taps, outputs):
    """The nodes of a convolution over one axis as a Linear of windows of x (N, C, T). weights: the
    names of W (M, taps C), bias and scales; attrs: of the Linear, beside its window."""
    pads = list(node.attrs.get("pads") or [0, 0])
    if node.attrs.get("auto_pad") == "VALID":
        pads = [0, 0]
    stride = (node.attrs.get("strides") or [1])[0]
    made = [edit.node("Transpose", [x], 1, node, perm=[0, 2, 1])]
    if any(pads):
        ends = edit.constant("pads", np.array(pads, np.int64))
        axes = edit.constant("axes", np.array([1], np.int64))
        made.append(edit.node("Pad", [made[-1].outputs[0], ends, "", axes], 1, node))
    inputs = _with_scales(made[-1].outputs[0], *weights)
    made.append(edit.node("Linear", inputs, 1, node, window=(taps, stride), **attrs))
    made.append(edit.node("Transpose", made[-1].outputs, outputs, node, perm=[0, 2, 1]))
    return made
