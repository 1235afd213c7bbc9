# SPDX-License-Identifier: MIT
"""The shapes of what operators make, from the shapes of what they are given: a rule for each.

A rule is a function (node, facts) -> a shape, for all outputs, or a list of shapes. The sizes that
are not known before a run are None. The rules are those of ONNX's docs/Operators.md, and for this
package's own operators those of graph.py. An operator without a rule is not covered.
"""

import math

from .equation import einsum
from .spatial import (
    axis_of,
    blocks,
    center_crop_pad,
    conv,
    dft,
    global_pool,
    pool,
    resize,
    stft,
)  # fmt: skip

MAX_AXES = 8


def shown(shapes):
    return " and ".join(map(str, shapes[:8])) + (" and more" if len(shapes) > 8 else "")


def broadcast(node, *shapes):
    """The shape of elementwise work on these shapes."""
    axes = max(map(len, shapes), default=0)
    out = []
    for each in zip(*[(1,) * (axes - len(s)) + tuple(s) for s in shapes], strict=True):
        sizes = {n for n in each if n is not None and n != 1}
        if len(sizes) > 1:
            raise node.error(f"shapes {shown(shapes)} do not fit together")
        # A free size may be 1 and be stretched, or be the size of the others.
        out.append(sizes.pop() if sizes else None if None in each else 1)
    return tuple(out)


def _axes(node, facts, index, attribute, axes):
    """The axes that an input or an attribute names, or None if it is not there or not known."""
    name = node.inputs[index] if index < len(node.inputs) else ""
    if name:
        found = facts[name].elements
        if found is None or None in found:
            raise node.not_known(f"the axes ({name!r}) are computed as the model runs")
    else:
        found = node.attrs.get(attribute)
    return None if found is None else [axis_of(node, int(a), axes) for a in found]


def _elementwise(node, facts):
    return broadcast(node, *[facts[n].shape for n in node.inputs if n])


def fused_perm(node, which, axes):
    """The order of the axes of A or B in which a com.microsoft.FusedMatMul takes them: transBatch
    moves the first to the place before the last, and trans exchanges the last two."""
    perm = list(range(axes))
    if node.attrs.get(f"transBatch{which}") and axes > 2:
        perm = [*perm[1:-1], 0, perm[-1]]
    if node.attrs.get(f"trans{which}") and axes > 1:
        perm = [*perm[:-2], perm[-1], perm[-2]]
    return perm


def _fused_matmul(node, facts):
    shapes = [facts[n].shape for n in node.inputs[:2]]
    shapes = [
        tuple(shape[i] for i in fused_perm(node, which, len(shape)))
        for which, shape in zip("AB", shapes, strict=True)
    ]
    return _product(node, *shapes)


def _matmul(node, facts):
    return _product(node, *(facts[n].shape for n in node.inputs[:2]))


def _product(node, a, b):
    if not a or not b:
        raise node.error("a scalar has no rows")
    k = (a[-1], b[-2] if len(b) > 1 else b[-1])
    if None not in k and k[0] != k[1]:
        raise node.error(f"{a} times {b}: {k[0]} and {k[1]} are summed")
    batch = broadcast(node, a[:-2], b[:-2])
    return (*batch, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))


def _gemm(node, facts):
    a, b = (facts[n].shape for n in node.inputs[:2])
    if len(a) != 2 or len(b) != 2:
        raise node.error(f"{a} times {b}: matrices are due")
    return (a[1 if node.attrs.get("transA") else 0], b[0 if node.attrs.get("transB") else 1])


def _transpose(node, facts):
    x = facts[node.inputs[0]].shape
    perm = node.attrs.get("perm") or list(range(len(x)))[::-1]
    if sorted(perm) != list(range(len(x))):
        raise node.error(f"perm {perm} of {len(x)} axes")
    return tuple(x[i] for i in perm)


def _reduce(node, facts):
    x = facts[node.inputs[0]].shape
    axes = _axes(node, facts, 1, "axes", len(x))
    if not axes:
        axes = [] if node.attrs.get("noop_with_empty_axes") else range(len(x))
    keep = node.attrs.get("keepdims", 1)
    return tuple(1 if i in axes else n for i, n in enumerate(x) if keep or i not in axes)


def _arg(node, facts):
    x = facts[node.inputs[0]].shape
    axis = axis_of(node, node.attrs.get("axis", 0), len(x))
    return (*x[:axis], *([1] if node.attrs.get("keepdims", 1) else []), *x[axis + 1 :])


def _gather(node, facts):
    x, indices = (facts[n].shape for n in node.inputs[:2])
    axis = axis_of(node, node.attrs.get("axis", 0), len(x))
    return (*x[:axis], *indices, *x[axis + 1 :])


def _concat(node, facts):
    shapes = [facts[n].shape for n in node.inputs]
    axis = axis_of(node, node.attrs["axis"], len(shapes[0]))
    if len({len(s) for s in shapes}) != 1:
        raise node.error(f"shapes {shown(shapes)} have different numbers of axes")
    sizes = [s[axis] for s in shapes]
    rest = []
    for i in range(len(shapes[0])):
        known = {s[i] for s in shapes if s[i] is not None}
        if i != axis and len(known) > 1:
            raise node.error(f"shapes {shown(shapes)} differ outside axis {axis}")
        rest.append(known.pop() if known and i != axis else None)
    rest[axis] = None if None in sizes else sum(sizes)
    return tuple(rest)


def _reshape(node, facts):
    x, target = facts[node.inputs[0]].shape, facts[node.inputs[1]]
    if len(target.shape) != 1 or target.shape[0] is None:
        raise node.not_known("how many axes the new shape has is computed as the model runs")
    sizes = target.elements or (None,) * target.shape[0]
    zero = node.attrs.get("allowzero", 0)
    out = [
        (x[i] if i < len(x) else None) if n == 0 and not zero else n for i, n in enumerate(sizes)
    ]
    if -1 in out:
        at = out.index(-1)
        # What the two shapes have in common may be free: it cancels.
        old, new = list(x), [n for i, n in enumerate(out) if i != at]
        for i, n in enumerate(sizes):
            if n == 0 and not zero and i < len(x) and x[i] is None and None in new:
                old.remove(None)
                new.remove(None)
        if None in old or None in new or math.prod(new) == 0:
            out[at] = None
        elif math.prod(old) % math.prod(new):
            raise node.error(f"{x} does not become {sizes}")
        else:
            out[at] = math.prod(old) // math.prod(new)
    return tuple(out)


def _squeeze(node, facts):
    x = facts[node.inputs[0]].shape
    axes = _axes(node, facts, 1, "axes", len(x))
    if axes is None:
        if None in x:
            raise node.not_known(f"which axes of {x} are 1 is not known before it runs")
        axes = [i for i, n in enumerate(x) if n == 1]
    if any(x[i] not in (1, None) for i in axes):
        raise node.error(f"axes {axes} of {x} are not all 1")
    return tuple(n for i, n in enumerate(x) if i not in axes)


def _unsqueeze(node, facts):
    x = facts[node.inputs[0]].shape
    count = facts[node.inputs[1]].shape[0] if len(facts[node.inputs[1]].shape) else 1
    axes = _axes(node, facts, 1, "axes", len(x) + (count or 0))
    rest = iter(x)
    if len(set(axes)) != len(axes):
        raise node.error(f"axes {axes}: one is named twice")
    return tuple(1 if i in axes else next(rest) for i in range(len(x) + len(axes)))


def _flatten(node, facts):
    x = facts[node.inputs[0]].shape
    axis = node.attrs.get("axis", 1)
    if not -len(x) <= axis <= len(x):
        raise node.error(f"axis {axis} of {len(x)} axes")
    axis = axis + len(x) if axis < 0 else axis
    return tuple(None if None in part else math.prod(part) for part in (x[:axis], x[axis:]))


def _expand(node, facts):
    x, target = facts[node.inputs[0]].shape, facts[node.inputs[1]]
    if len(target.shape) != 1 or target.shape[0] is None:
        raise node.not_known("how many axes the new shape has is computed as the model runs")
    return broadcast(node, x, target.elements or (None,) * target.shape[0])


def slices(node, facts):
    """[(axis, start, end, step)] of a Slice, numbers that are not known None."""
    x = facts[node.inputs[0]].shape
    starts, ends, axes, steps = (
        facts[node.inputs[i]].elements if i < len(node.inputs) and node.inputs[i] else None
        for i in range(1, 5)
    )
    count = facts[node.inputs[1]].shape[0]
    if count is None:
        raise node.not_known("how many axes are cut is computed as the model runs")
    if axes is None and len(node.inputs) > 3 and node.inputs[3]:
        raise node.not_known("the axes are computed as the model runs")
    axes = range(count) if axes is None else [axis_of(node, a, len(x)) for a in axes]
    if steps is None:
        steps = [1 if len(node.inputs) < 5 or not node.inputs[4] else None] * count
    starts, ends = starts or [None] * count, ends or [None] * count
    if not len(starts) == len(ends) == len(list(axes)) == len(steps):
        raise node.error("starts, ends, axes and steps have different lengths")
    return list(zip(axes, starts, ends, steps, strict=True))


def sliced(n, start, end, step):
    """How many elements of n a slice has; None if that is not known."""
    if None in (n, start, end, step):
        return None
    start, end = ((at + n if at < 0 else at) for at in (start, end))
    start = min(max(start, 0), n if step > 0 else n - 1)
    end = min(max(end, 0 if step > 0 else -1), n if step > 0 else n - 1)
    return max(-(-(end - start) // step), 0)


def _slice(node, facts):
    out = list(facts[node.inputs[0]].shape)
    for axis, start, end, step in slices(node, facts):
        if step == 0:
            raise node.error("a step of 0")
        if start == 0 and step == 1 and end is not None and end >= 2**31 - 1:
            continue
        out[axis] = sliced(out[axis], start, end, step)
    return tuple(out)


def _split(node, facts):
    x = facts[node.inputs[0]].shape
    axis = axis_of(node, node.attrs.get("axis", 0), len(x))
    given = facts[node.inputs[1]] if len(node.inputs) > 1 and node.inputs[1] else None
    count = len(node.outputs)
    if given is not None:
        sizes = given.elements or (None,) * count
    elif x[axis] is None:
        sizes = (None,) * count
    else:
        each = -(-x[axis] // count)
        sizes = [max(min(each, x[axis] - i * each), 0) for i in range(count)]
    if len(sizes) != count or (x[axis] is not None and None not in sizes and sum(sizes) != x[axis]):
        raise node.error(f"{x[axis]} is not split into {list(sizes)}")
    return [(*x[:axis], n, *x[axis + 1 :]) for n in sizes]


def _pad(node, facts):
    x = facts[node.inputs[0]].shape
    axes = _axes(node, facts, 3, "axes", len(x))
    pads = facts[node.inputs[1]].elements
    axes = list(range(len(x))) if axes is None else axes
    pads = (None,) * (2 * len(axes)) if pads is None else pads
    if len(pads) != 2 * len(axes):
        raise node.error(f"{len(pads)} pads for {len(axes)} axes")
    out = list(x)
    for i, axis in enumerate(axes):
        parts = (out[axis], pads[i], pads[len(axes) + i])
        out[axis] = None if None in parts else sum(parts)
        if out[axis] is not None and out[axis] < 0:
            raise node.error(f"pads {list(pads)} of {x}")
    return tuple(out)


def _tile(node, facts):
    x, times = facts[node.inputs[0]].shape, facts[node.inputs[1]].elements
    times = (None,) * len(x) if times is None else times
    if len(times) != len(x):
        raise node.error(f"{len(times)} repeats for {len(x)} axes")
    return tuple(None if None in (n, t) else n * t for n, t in zip(x, times, strict=True))


def _recurrent(node, facts):
    x = facts[node.inputs[0]].shape
    layer = node.attrs["layer"]
    if len(x) != 3 or x[2] not in (None, layer.input_size):
        raise node.error(f"x has the shape {x}, (T, B, {layer.input_size}) is due")
    dirs, tracks = layer.num_directions, layer.num_layers * layer.num_directions
    width = layer.proj_size or layer.hidden_size
    return [
        (*x[:2], dirs * width),
        (tracks, x[1], width),
        (tracks, x[1], layer.hidden_size),
    ]


def _onnx_recurrent(node, facts):
    x, r = facts[node.inputs[0]].shape, facts[node.inputs[2]].shape
    if len(x) != 3 or len(r) != 3:
        raise node.error(f"x has the shape {x} and R {r}")
    dirs = 2 if node.attrs.get("direction") == "bidirectional" else 1
    hidden = node.attrs.get("hidden_size", r[1 if "Quantize" in node.op else 2])
    if node.attrs.get("layout"):
        return [(*x[:2], dirs, hidden), *[(x[0], dirs, hidden)] * 2]
    return [(x[0], dirs, x[1], hidden), *[(dirs, x[1], hidden)] * 2]


def _constant_of_shape(node, facts):
    target = facts[node.inputs[0]]
    if len(target.shape) != 1 or target.shape[0] is None:
        raise node.not_known("how many axes the shape has is computed as the model runs")
    return target.elements or (None,) * target.shape[0]


def _top_k(node, facts):
    x, k = facts[node.inputs[0]].shape, facts[node.inputs[1]].elements
    axis = axis_of(node, node.attrs.get("axis", -1), len(x))
    return [(*x[:axis], k[0] if k else None, *x[axis + 1 :])] * 2


def _one_hot(node, facts):
    x, depth = facts[node.inputs[0]].shape, facts[node.inputs[1]].elements
    axis = axis_of(node, node.attrs.get("axis", -1), len(x) + 1)
    return (*x[:axis], depth[0] if depth else None, *x[axis:])


def _linear(node, facts):
    x, w = facts[node.inputs[0]].shape, facts[node.inputs[1]].shape
    taps, stride = node.attrs.get("window") or (1, 1)
    if len(x) < (1 if taps == stride == 1 else 2) or len(w) != 2:
        raise node.error(f"x has the shape {x} and W {w}")
    if None not in (x[-1], w[1]) and taps * x[-1] != w[1]:
        raise node.error(f"x has the shape {x} and W {w}")
    if "window" not in node.attrs:
        return (*x[:-1], w[0])
    steps = None if x[-2] is None else max((x[-2] - taps) // stride + 1, 0)
    return (*x[:-2], steps, w[0])


def _q_product(node, facts):
    return _product(node, facts[node.inputs[0]].shape, facts[node.inputs[3]].shape)


def _range(node, facts):
    ends = [facts[n].constant for n in node.inputs]
    if any(e is None for e in ends):
        return (None,)
    start, limit, delta = (float(e) for e in ends)
    return (max(math.ceil((limit - start) / delta), 0) if delta else None,)


def _gather_nd(node, facts):
    x, indices = (facts[n].shape for n in node.inputs[:2])
    batch = node.attrs.get("batch_dims", 0)
    if not indices or indices[-1] is None:
        raise node.not_known("how many axes are indexed is computed as the model runs")
    return (*indices[:-1], *x[batch + indices[-1] :])


def _layer_norm(node, facts):
    x = facts[node.inputs[0]].shape
    axis = axis_of(node, node.attrs.get("axis", -1), len(x))
    return [x, *[(*x[:axis], *[1] * (len(x) - axis))] * 2]


def _of_numbers(node, facts):
    """Windows and weights that are made from a few numbers: constants, once these are known."""
    raise node.not_known("its numbers must be constant, and are computed as the model runs")


def same(node, facts):
    """The shape of the first input."""
    return facts[node.inputs[0]].shape


def _mask_pack(node, facts):
    x = facts[node.inputs[0]].shape
    return [x, x[:1]]


def shape_parts(node, facts):
    """The sizes that a node Shape tells."""
    return facts[node.inputs[0]].shape[node.attrs.get("start", 0) : node.attrs.get("end")]


ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Mod", "Pow", "Min", "Max", "Sum", "Mean", "And", "Or", "Xor",
    "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Where", "PRelu", "BitwiseAnd",
    "BitwiseOr", "BitwiseXor", "BitShift", "Pointwise", "Clip",
)  # fmt: skip
SAME = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "BitwiseNot",
    "Cast", "Ceil", "Celu", "Cos", "Cosh", "CumProd", "CumSum", "Dropout", "Elu", "Erf", "Exp",
    "EyeLike", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax",
    "Identity", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LeakyRelu", "Log", "LogSoftmax",
    "LpNormalization", "MaskUnpack", "MeanVarianceNormalization", "Mish", "Neg", "Not",
    "RMSNormalization", "Reciprocal", "Relu", "ReverseSequence", "Round", "ScatterElements",
    "ScatterND", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus",
    "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Trilu",
)  # fmt: skip
REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip
RULES = {
    "Conv": conv, "MatMul": _matmul, "Gemm": _gemm, "Transpose": _transpose,
    "ConvLast": lambda n, f: conv(n, f, last=True),
    "ConvTranspose": lambda n, f: conv(n, f, transposed=True),
    "ConvTransposeLast": lambda n, f: conv(n, f, last=True, transposed=True),
    "MaxPool": pool, "AveragePool": pool, "LpPool": pool,
    "MaxPoolLast": lambda n, f: pool(n, f, last=True),
    "AveragePoolLast": lambda n, f: pool(n, f, last=True),
    "LpPoolLast": lambda n, f: pool(n, f, last=True),
    "GlobalAveragePool": global_pool, "GlobalMaxPool": global_pool,
    "GlobalLpPool": global_pool, "DepthToSpace": lambda n, f: blocks(n, f, False),
    "DFT": dft, "STFT": stft, "SpaceToDepth": lambda n, f: blocks(n, f, True),
    "CenterCropPad": center_crop_pad,
    "ArgMax": _arg, "ArgMin": _arg, "Gather": _gather, "Concat": _concat, "Reshape": _reshape,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Flatten": _flatten, "Expand": _expand,
    "Slice": _slice, "Split": _split, "Pad": _pad, "Tile": _tile, "Recurrent": _recurrent,
    "LSTM": _onnx_recurrent, "GRU": _onnx_recurrent, "RNN": _onnx_recurrent,
    "com.microsoft.DynamicQuantizeLSTM": _onnx_recurrent, "MatMulInteger": _matmul,
    "DynamicQuantizeLinear": lambda n, f: [f[n.inputs[0]].shape, (), ()],
    "ConvInteger": conv, "QLinearMatMul": _q_product, "QuantizeLinear": same,
    "DequantizeLinear": same,
    "QLinearConv": lambda n, f: conv(n, f, weights=3),
    "ConstantOfShape": _constant_of_shape, "TopK": _top_k, "OneHot": _one_hot, "Einsum": einsum,
    "Linear": _linear, "Resize": resize, "Range": _range, "GatherND": _gather_nd,
    "GatherElements": lambda n, f: f[n.inputs[1]].shape, "MaskPack": _mask_pack,
    "Shape": lambda n, f: (len(shape_parts(n, f)),), "Size": lambda n, f: (),
    "LayerNormalization": _layer_norm, "com.microsoft.FusedMatMul": _fused_matmul,
    **dict.fromkeys(SAME, same),
    **dict.fromkeys(
        ("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"), _of_numbers
    ),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduce),
}  # fmt: skip
