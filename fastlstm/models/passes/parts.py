# SPDX-License-Identifier: MIT
"""Operators for which the C core has none of its own become several that it has: all but Einsum,
Resize and Fourier transforms, which have files of their own."""

import numpy as np

from ..infer import narrow
from ..reference.call import DTYPES
from ..shapes import fused_perm
from . import resize as resize  # these modules register their functions too
from . import signal as signal
from .put import TABLE, made_of_others, replaced


def parts(edit):
    """All of them, in the order of the graph."""
    replaced(edit, TABLE)


def _axis(put, node, default):
    axes = len(put.shape(node.inputs[0]))
    axis = node.attrs.get("axis", default)
    if not -axes <= axis < axes:
        raise node.error(f"axis {axis} of {axes} axes")
    return axis % axes


# ---- normalizations ----


@made_of_others("LpNormalization")
def lp_normalization(put, node):
    """0 where the norm is 0."""
    x, p = node.inputs[0], node.attrs.get("p", 2)
    if p not in (1, 2):
        raise node.error(f"p is {p}: 1 or 2 are due")
    axes = put.ints(_axis(put, node, -1))
    (norm,) = put(f"ReduceL{p}", [x, axes], keepdims=1)
    zero = put.constant(0)
    (none,) = put("Equal", [norm, zero])
    (y,) = put("Div", [x, norm])
    put("Where", [none, zero, y], last=True)


@made_of_others("MeanVarianceNormalization")
def mean_variance_normalization(put, node):
    axes = put.ints(*node.attrs.get("axes", [0, 2, 3]))
    (mean,) = put("ReduceMean", [node.inputs[0], axes], keepdims=1)
    (centred,) = put("Sub", [node.inputs[0], mean])
    (squares,) = put("Mul", [centred, centred])
    (variance,) = put("ReduceMean", [squares, axes], keepdims=1)
    (deviation,) = put("Sqrt", [variance])
    (deviation,) = put("Add", [deviation, put.constant(1e-9)])
    put("Div", [centred, deviation], last=True)


@made_of_others("LRN")
def local_response_normalization(put, node):
    """The sum over neighbouring channels is an average over the first axis of images (N, 1, C, S)
    with as many zeros around them as channels are missing."""
    x, get = node.inputs[0], node.attrs.get
    size, axes = get("size", 0), len(put.shape(x))
    if size < 1 or axes < 2:
        raise node.error(f"size is {size}, of {axes} axes")
    (squares,) = put("Mul", [x, x])
    image = put.reshaped(squares, [put.size(x, 0), 1, put.size(x, 1), -1])
    pads = [(size - 1) // 2, 0, size // 2, 0]
    (mean,) = put("AveragePool", [image], kernel_shape=[size, 1], pads=pads, count_include_pad=1)
    mean = put.reshaped(mean, [put.size(x, i) for i in range(axes)])
    (sums,) = put("Mul", [mean, put.constant(get("alpha", 1e-4))])
    (sums,) = put("Add", [sums, put.constant(get("bias", 1.0))])
    (factor,) = put("Pow", [sums, put.constant(get("beta", 0.75))])
    put("Div", [x, factor], last=True)


@made_of_others("BatchNormalization")
def batch_normalization(put, node):
    """With parameters that are computed as the model runs; constant ones have become products
    before. y = a x + (bias - mean a) with a = scale / sqrt(variance + epsilon)."""
    if node.attrs.get("training_mode", 0) or any(node.outputs[1:]):
        raise node.error("training_mode is not covered")
    x, axes = node.inputs[0], len(put.shape(node.inputs[0]))
    if axes < 2 or any(len(put.shape(n)) != 1 for n in node.inputs[1:5]):
        raise node.error("its parameters are not vectors, or x has no channels")
    new = put.ints(*range(1, axes - 1))
    columns = [put("Unsqueeze", [n, new])[0] if axes > 2 else n for n in node.inputs[1:5]]
    scale, bias, mean, variance = columns
    (variance,) = put("Add", [variance, put.constant(node.attrs.get("epsilon", 1e-5))])
    (deviation,) = put("Sqrt", [variance])
    (slope,) = put("Div", [scale, deviation])
    (centred,) = put("Sub", [x, mean])
    (y,) = put("Mul", [centred, slope])
    put("Add", [y, bias], last=True)


@made_of_others("GlobalLpPool")
def global_lp_pool(put, node):
    p = node.attrs.get("p", 2)
    axes = put.ints(*range(2, len(put.shape(node.inputs[0]))))
    if p in (1, 2):
        put(f"ReduceL{p}", [node.inputs[0], axes], last=True, keepdims=1)
        return
    (sizes,) = put("Abs", node.inputs[:1])
    (powers,) = put("Pow", [sizes, put.constant(p)])
    (sums,) = put("ReduceSum", [powers, axes], keepdims=1)
    put("Pow", [sums, put.constant(1 / p)], last=True)


# ---- pools ----


@made_of_others("LpPool")
def lp_pool(put, node):
    """By powers of p above 2: the C core has 1 and 2. The sum is the mean of all positions, those
    of the padding, which are 0, too, times their number."""
    p, kernel = node.attrs.get("p", 2), node.attrs.get("kernel_shape")
    if p in (1, 2) or not kernel:
        return False
    (sizes,) = put("Abs", node.inputs[:1])
    (powers,) = put("Pow", [sizes, put.constant(p)])
    kept = {n: v for n, v in node.attrs.items() if n != "p"}
    (sums,) = put("LpPool", [powers], p=1, **kept)
    put("Pow", [sums, put.constant(1 / p)], last=True)
    return True


@made_of_others("MaxPool")
def max_pool(put, node):
    """Of bytes, which floats hold exactly; others stay."""
    kind = put.edit.facts[node.inputs[0]]
    if any(node.outputs[1:]):
        raise node.error("the output of indices is not covered")
    if kind.narrow is None or kind.narrow.itemsize > 1:
        return False
    code = next(c for c, name in DTYPES.items() if name == kind.narrow.name)
    (x,) = put("Cast", node.inputs[:1], to=1)
    (y,) = put("MaxPool", [x], **node.attrs)
    put("Cast", [y], last=True, to=code)
    return True


# ---- elements moved ----


def _blocks(put, node, to_depth):
    x, block = node.inputs[0], node.attrs.get("blocksize", 0)
    if len(put.shape(x)) != 4 or block < 1:
        raise node.error(f"blocksize {block} of x of the shape {put.shape(x)}")
    first = node.attrs.get("mode", "DCR") == "DCR"
    n, c, h, w = (put.size(x, i) for i in range(4))
    step = put.ints(block)

    def part(size, by):
        known, factor = put.value(size), put.value(by)
        if known is not None and int(known[0]) % int(factor[0]):
            raise node.error(f"blocksize {block} of x of the shape {put.shape(x)}")
        return put("Div", [size, by])[0]

    if to_depth:
        split = [n, c, part(h, step), block, part(w, step), block]
        perm = [0, 3, 5, 1, 2, 4] if first else [0, 1, 3, 5, 2, 4]
        after = [n, put("Mul", [c, put.ints(block * block)])[0], part(h, step), part(w, step)]
    else:
        less = part(c, put.ints(block * block))
        split = [n, block, block, less, h, w] if first else [n, less, block, block, h, w]
        perm = [0, 3, 4, 1, 5, 2] if first else [0, 1, 4, 2, 5, 3]
        after = [n, less, put("Mul", [h, step])[0], put("Mul", [w, step])[0]]
    y = put.reshaped(x, split)
    (y,) = put("Transpose", [y], perm=perm)
    put.reshaped(y, after, last=True)


@made_of_others("DepthToSpace")
def depth_to_space(put, node):
    _blocks(put, node, False)


@made_of_others("SpaceToDepth")
def space_to_depth(put, node):
    _blocks(put, node, True)


@made_of_others("ReverseSequence")
def reverse_sequence(put, node):
    """Rows (batch, time) are picked by index: lengths - 1 - t for t below a row's length, else
    t."""
    x, lengths = node.inputs[:2]
    batch, time = node.attrs.get("batch_axis", 1), node.attrs.get("time_axis", 0)
    if {batch, time} != {0, 1} or len(put.shape(x)) < 2:
        raise node.error(f"batch_axis {batch} and time_axis {time}: 0 and 1 are due")
    swap = [1, 0, *range(2, len(put.shape(x)))]
    if batch == 1:
        (x,) = put("Transpose", [x], perm=swap)
    (size,) = put("Squeeze", [put.size(x, 1), put.ints(0)])
    scalar = [put.constant(n, np.int64) for n in (0, 1)]
    (steps,) = put("Range", [scalar[0], size, scalar[1]])
    (lengths,) = put("Unsqueeze", [lengths, put.ints(1)])
    (inside,) = put("Less", [steps, lengths])
    (ends,) = put("Sub", [lengths, scalar[1]])
    (back,) = put("Sub", [ends, steps])
    (index,) = put("Where", [inside, back, steps])
    (index,) = put("Unsqueeze", [index, put.ints(2)])
    (y,) = put("GatherND", [x, index], last=batch == 0, batch_dims=1)
    if batch == 1:
        put("Transpose", [y], last=True, perm=swap)


@made_of_others("CenterCropPad")
def center_crop_pad(put, node):
    """The middle of x along each axis, or x in the middle of zeros: sizes are known."""
    x, axes = node.inputs[0], len(put.shape(node.inputs[0]))
    named = [a % axes for a in node.attrs.get("axes") or range(axes)]
    sizes = dict(zip(named, put.due(1, "the new shape").reshape(-1).tolist(), strict=True))
    old = [put.shape(x)[a] for a in named]
    if None in old:
        raise node.not_known(f"which part of x, {put.shape(x)}, is the middle, is not known before")
    cut = [max(n - sizes[a], 0) // 2 for a, n in zip(named, old, strict=True)]
    ends = [c + min(n, sizes[a]) for a, n, c in zip(named, old, cut, strict=True)]
    more = [max(sizes[a] - n, 0) for a, n in zip(named, old, strict=True)]
    where = put.ints(*named)
    (y,) = put("Slice", [x, put.ints(*cut), put.ints(*ends), where])
    pads = put.ints(*[n // 2 for n in more], *[n - n // 2 for n in more])
    put("Pad", [y, pads, "", where], last=True)


# ---- others ----


@made_of_others("Hardmax")
def hardmax(put, node):
    axis = _axis(put, node, -1)
    (best,) = put("ArgMax", node.inputs[:1], axis=axis, keepdims=0)
    values = put.constant([0, 1])
    put("OneHot", [best, put.size(node.inputs[0], axis), values], last=True, axis=axis)


@made_of_others("com.microsoft.FusedMatMul")
def fused_mat_mul(put, node):
    names = []
    for which, name in zip("AB", node.inputs, strict=True):
        perm = fused_perm(node, which, len(put.shape(name)))
        names.append(put("Transpose", [name], perm=perm)[0] if perm != sorted(perm) else name)
    (y,) = put("MatMul", names)
    put("Mul", [y, put.constant(node.attrs.get("alpha", 1.0))], last=True)


@made_of_others("EyeLike")
def eye_like(put, node):
    """Ones that are on or above diagonal k, and on or below it."""
    given = put.edit.facts[node.inputs[0]]
    dtype = np.dtype(DTYPES[node.attrs["dtype"]] if "dtype" in node.attrs else given.dtype)
    k = put.constant(node.attrs.get("k", 0), np.int64)
    sizes = put.sizes(node.inputs[0])
    held = np.int64 if narrow(dtype) is not None else dtype
    (ones,) = put("ConstantOfShape", [sizes], value=np.ones(1, held))
    (upper,) = put("Trilu", [ones, k], upper=1)
    put("Trilu", [upper, k], last=True, upper=0)


@made_of_others("Dropout")
def dropout(put, node):
    """In inference: x itself, and a mask that is all true."""
    y, mask = [*node.outputs, ""][:2]
    if y:
        put.to("Identity", node.inputs[:1], y)
    put.to("ConstantOfShape", [put.sizes(node.inputs[0])], mask, value=np.ones(1, bool))
