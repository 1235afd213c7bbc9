# SPDX-License-Identifier: MIT
"""Operators that move, repeat, pick or fill elements."""

import numpy as np

from ..infer import RUN_DTYPES, run_dtype
from .builder import lowers


def perm_of(b, node):
    axes = len(b.shape(node.inputs[0]))
    return list(node.attrs.get("perm") or range(axes)[::-1])


@lowers("Transpose")
def transpose(b, node):
    perm, shape = perm_of(b, node), b.shape(node.inputs[0])
    moved = [i for i in perm if shape[i] != 1]
    if moved == sorted(moved):  # only axes of size 1 move, so that memory stays as it is
        keep = [i for i, n in enumerate(shape) if n == 1]
        (squeezed,) = b.emit(node, "squeeze", keep, outputs=1) if keep else [node.inputs[0]]
        new = [i for i, old in enumerate(perm) if shape[old] == 1]
        b.emit(node, "unsqueeze", new, inputs=[squeezed])
    else:
        b.emit(node, "transpose", perm)


@lowers("Slice")
def slice_(b, node):
    b.emit(node, "slice")


@lowers("Concat")
def concat(b, node):
    b.emit(node, "concat", [node.attrs["axis"]])


@lowers("Split")
def split(b, node):
    b.emit(node, "split", [node.attrs.get("axis", 0)])


@lowers("Expand")
def expand(b, node):
    b.emit(node, "expand")


@lowers("Tile")
def tile(b, node):
    b.emit(node, "tile")


@lowers("Pad")
def pad(b, node):
    modes = ("constant", "reflect", "edge", "wrap")
    mode = node.attrs.get("mode", "constant")
    if mode not in modes:
        raise node.error(f"the mode {mode!r} is unknown")
    b.emit(node, "pad", [modes.index(mode)])


@lowers("Gather")
def gather(b, node):
    b.emit(node, "gather", [node.attrs.get("axis", 0)])


@lowers("GatherElements")
def gather_elements(b, node):
    b.emit(node, "gather_elements", [node.attrs.get("axis", 0)])


@lowers("OneHot")
def one_hot(b, node):
    b.emit(node, "one_hot", [node.attrs.get("axis", -1)])


@lowers("ConstantOfShape")
def constant_of_shape(b, node):
    value = np.asarray(node.attrs.get("value", np.float32(0))).reshape(-1)
    kind = RUN_DTYPES.index(run_dtype(value.dtype))
    number = value[0] if value.size else 0
    whole = int(number) if kind else 0
    b.emit(node, "fill", [kind, whole], [0.0 if kind else float(number)])


@lowers("Range")
def range_(b, node):
    if b.dtype(node.outputs[0]) != RUN_DTYPES[1]:
        raise node.error("a range of floats that is computed as the model runs")
    b.emit(node, "range")


@lowers("MaskPack")
def mask_pack(b, node):
    b.emit(node, "mask_pack")


@lowers("MaskUnpack")
def mask_unpack(b, node):
    b.emit(node, "mask_unpack", [node.attrs.get("zeros", 0), node.attrs.get("reverse", 0)])
