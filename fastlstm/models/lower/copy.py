# SPDX-License-Identifier: MIT
"""Operators that move, repeat, pick or fill elements."""

import numpy as np

from ..elementwise import numbers_of
from ..infer import RUN_DTYPES, run_dtype
from .builder import lowers

CAST_INT = numbers_of([("cast_int", 0)], 1)


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


# In the order of csrc/ops/scatter.h.
REDUCTIONS = ("none", "add", "mul", "max", "min")


def _reduction(node):
    given = node.attrs.get("reduction", "none")
    if given not in REDUCTIONS:
        raise node.error(f"the reduction {given!r} is unknown")
    return REDUCTIONS.index(given)


@lowers("GatherND")
def gather_nd(b, node):
    b.emit(node, "gather_nd", [node.attrs.get("batch_dims", 0)])


@lowers("ScatterElements")
def scatter_elements(b, node):
    b.emit(node, "scatter_elements", [node.attrs.get("axis", 0), _reduction(node)])


@lowers("ScatterND")
def scatter_nd(b, node):
    b.emit(node, "scatter_nd", [_reduction(node)])


@lowers("Trilu")
def trilu(b, node):
    k = 0
    if len(node.inputs) > 1 and node.inputs[1]:
        found = b.due(node, 1, "k").reshape(-1)
        if found.size != 1:
            raise node.error(f"k has {found.size} numbers, one is due")
        k = int(found[0])
    b.emit(node, "trilu", [k, int(node.attrs.get("upper", 1) != 0)], inputs=node.inputs[:1])


@lowers("OneHot")
def one_hot(b, node):
    """The C core's depth is int64, and its indices are."""
    indices, depth, values = node.inputs
    if b.dtype(indices).kind == "f":
        (indices,) = b.emit(node, "pointwise", CAST_INT, inputs=[indices], outputs=1)
    known = b.known(depth)
    if known is not None and known.dtype != np.int64:
        depth = b.constant(known.astype(np.int64))
    b.emit(node, "one_hot", [node.attrs.get("axis", -1)], inputs=[indices, depth, values])


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
        raise node.not_known("a range of floats that is computed as the model runs")
    b.emit(node, "range")


@lowers("MaskPack")
def mask_pack(b, node):
    b.emit(node, "mask_pack")


@lowers("MaskUnpack")
def mask_unpack(b, node):
    b.emit(node, "mask_unpack", [node.attrs.get("zeros", 0), node.attrs.get("reverse", 0)])
