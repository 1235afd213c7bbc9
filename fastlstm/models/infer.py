# SPDX-License-Identifier: MIT
"""What is known of every value of a graph without running it: type, shape, and what it is made of.

A size that may differ from run to run is None. A vector of integers may be known in part: the
shape of an x of (None, 40) is the vector (None, 40), whose second element is known. So what graphs
compute from shapes is known as far as it does not depend on free sizes.

    fact = infer(node, facts)      facts of the node's outputs, from those of its inputs

The number of axes is always known, or ModelError says which value would be needed.
"""

import dataclasses
import math

import numpy as np

from .reference.call import DTYPES
from .reference.shape import bounds
from .shapes import MAX_AXES, RULES, shape_parts, slices

RUN_DTYPES = (np.dtype(np.float32), np.dtype(np.int64), np.dtype(bool))
MOST_KNOWN = 64  # elements of a vector that is known in part
MOST = 2**63 - 1  # of a size


def run_dtype(dtype):
    """The type in which the C core holds a value of this NumPy dtype; None if it cannot."""
    kind = np.dtype(dtype).kind
    return {"f": RUN_DTYPES[0], "i": RUN_DTYPES[1], "u": RUN_DTYPES[1], "b": RUN_DTYPES[2]}.get(
        kind
    )


def narrow(dtype):
    """A NumPy dtype of integers of fewer than 64 bits as it is, another one as None."""
    dtype = np.dtype(dtype)
    return dtype if dtype.kind in "iu" and dtype.itemsize < 8 else None


@dataclasses.dataclass(frozen=True)
class Fact:
    """What is known of one value.

    dtype      float32, int64 or bool: as the C core holds it
    shape      a tuple of int, or None for a size that is free
    constant   the array that it is in every run, of the file's own dtype; or None
    parts      for int64 of at most one axis that is not constant: its elements, each an int or
               None; or None if nothing is known of them
    narrow     of integers of fewer than 64 bits in the file, their dtype; else None. Their values
               are always in its range
    """

    dtype: np.dtype
    shape: tuple
    constant: np.ndarray | None = None
    parts: tuple | None = None
    narrow: np.dtype | None = None

    @property
    def elements(self):
        """The elements of an integer scalar or vector as far as they are known; or None."""
        if self.constant is not None and self.constant.ndim <= 1:
            return tuple(int(n) for n in self.constant.reshape(-1)[:MOST_KNOWN])
        return self.parts


def constant(array):
    """The Fact of an array that is the same in every run."""
    dtype = run_dtype(array.dtype) or array.dtype
    return Fact(dtype, array.shape, array, narrow=narrow(array.dtype))


def of_parts(parts, scalar=False):
    """The Fact of an int64 vector, or scalar, of which some elements are known."""
    shape = () if scalar else (len(parts),)
    if all(n is not None for n in parts):
        return constant(np.array(parts, np.int64).reshape(shape))
    return Fact(RUN_DTYPES[1], shape, None, tuple(parts) if len(parts) <= MOST_KNOWN else None)


BOOLEAN = (
    "And", "Or", "Xor", "Not", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual",
    "IsNaN", "IsInf",
)  # fmt: skip


# Operators whose results may be beyond the range of narrow integers, where the file's numbers wrap
# around.
WRAPPING = {
    "Abs", "Add", "BitShift", "BitwiseNot", "CumProd", "CumSum", "Div", "Einsum", "Gemm", "MatMul",
    "Mul", "Neg", "Pow", "ReduceL1", "ReduceProd", "ReduceSum", "ReduceSumSquare",
    "ScatterElements", "ScatterND", "Sub", "Sum",
}  # fmt: skip


def _dtype(node, facts, index):
    """The dtype of an output, a narrow one too."""
    if node.op in BOOLEAN:
        return RUN_DTYPES[2]
    if node.op in ("Shape", "Size", "ArgMax", "ArgMin", "NonZero"):
        return RUN_DTYPES[1]
    if (node.op, index) in (("TopK", 1), ("MaskPack", 1)):
        return RUN_DTYPES[1]
    if node.op == "Cast":
        return DTYPES[node.attrs["to"]]
    if node.op == "ConstantOfShape":
        value = node.attrs.get("value")
        return RUN_DTYPES[0] if value is None else np.asarray(value).dtype
    if node.op == "EyeLike" and "dtype" in node.attrs:
        return DTYPES[node.attrs["dtype"]]
    if node.op in ("Where", "OneHot"):
        return _given(facts[node.inputs[1 if node.op == "Where" else 2]])
    if node.op in QUANTIZED:
        return _quantized_dtype(node, facts, index)
    if node.op == "Pointwise":
        return np.dtype(node.attrs.get("dtype", "float32"))
    return _given(facts[node.inputs[0]])


# Operators between small integers and floats.
QUANTIZED = {
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv",
    "QLinearMatMul", "QuantizeLinear",
}  # fmt: skip


def _quantized_dtype(node, facts, index):
    if node.op in ("ConvInteger", "MatMulInteger"):
        return np.dtype(np.int32)
    if node.op == "DynamicQuantizeLinear":
        return np.dtype(np.float32 if index == 1 else np.uint8)
    if node.op.startswith("QLinear"):
        return _given(facts[node.inputs[7]])
    if node.attrs.get("output_dtype"):
        return np.dtype(DTYPES[node.attrs["output_dtype"]])
    if node.op == "DequantizeLinear":
        return facts[node.inputs[1]].dtype
    zero = node.inputs[2] if len(node.inputs) > 2 else ""
    return _given(facts[zero]) if zero else np.dtype(np.uint8)


def _given(fact):
    return fact.narrow or fact.dtype


_ARITHMETIC = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: math.trunc(a / b) if abs(a) < 2**53 and b else None,
    "Max": max,
    "Min": min,
}


def _parts(node, facts):
    """The elements of the output of a node that computes with sizes, as far as they are known: a
    tuple of int and None. None: nothing is known."""
    if node.op == "Shape":
        return shape_parts(node, facts)
    first = facts[node.inputs[0]] if node.inputs and node.inputs[0] else None
    if first is None or first.dtype != RUN_DTYPES[1] or len(first.shape) > 1:
        return None
    x = first.elements
    if x is None:
        return None
    if node.op in ("Identity", "Squeeze", "Unsqueeze", "Reshape", "Cast"):
        return x
    if node.op in _ARITHMETIC and len(node.inputs) == 2:
        y = facts[node.inputs[1]].elements
        if y is None or (1 not in (len(x), len(y)) and len(x) != len(y)):
            return None
        n = max(len(x), len(y)) if min(len(x), len(y)) else 0
        x, y = x * (n if len(x) == 1 else 1), y * (n if len(y) == 1 else 1)
        zero = node.op == "Mul"
        made = (
            (0 if zero and 0 in (a, b) else None) if None in (a, b) else _ARITHMETIC[node.op](a, b)
            for a, b in zip(x[:n], y[:n], strict=True)
        )
        return tuple(n if n is not None and abs(n) <= MOST else None for n in made)
    if node.op == "Gather" and first.shape:
        at = facts[node.inputs[1]].constant
        if at is None or at.ndim > 1 or not all(-len(x) <= i < len(x) for i in at.reshape(-1)):
            return None
        return tuple(x[int(i)] for i in at.reshape(-1))
    if node.op == "Concat":
        every = [facts[n].elements for n in node.inputs]
        return None if None in every else sum(every, ())
    if node.op == "Slice":
        ((_, start, end, step),) = slices(node, facts)
        if None in (start, end, step):
            return None
        return x[slice(*bounds(start, end, step, len(x)))]
    if node.op == "ReduceProd" and None not in x:
        return (math.prod(x),)
    return None


def infer(node, facts):
    """The Facts of the node's outputs. ModelError if its inputs do not fit."""
    if node.op not in RULES:
        raise node.not_covered()
    shapes = RULES[node.op](node, facts)
    shapes = shapes if isinstance(shapes, list) else [shapes] * len(node.outputs)
    found = []
    for i, shape in enumerate(shapes[: len(node.outputs)]):
        shape = tuple(None if n is None else int(n) for n in shape)
        if len(shape) > MAX_AXES:
            raise node.error(f"{len(shape)} axes; {MAX_AXES} is the most")
        if any(n is not None and not 0 <= n <= MOST for n in shape):
            raise node.error("a size that is negative, or more than int64 holds")
        dtype = _dtype(node, facts, i)
        found.append(Fact(run_dtype(dtype), shape, narrow=narrow(dtype)))
    if node.op == "Size" and None not in facts[node.inputs[0]].shape:
        return [constant(np.array(math.prod(facts[node.inputs[0]].shape), np.int64))]
    if len(found) == 1 and found[0].dtype == RUN_DTYPES[1] and len(found[0].shape) <= 1:
        parts = _parts(node, facts)
        if parts is not None and len(parts) <= MOST_KNOWN:
            size = math.prod(n for n in found[0].shape if n is not None)
            if None in found[0].shape or len(parts) == size:
                known = of_parts(parts, scalar=not found[0].shape)
                return [dataclasses.replace(known, narrow=found[0].narrow)]
    return found
