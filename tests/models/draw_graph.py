# SPDX-License-Identifier: MIT
"""Random ONNX models of a few nodes, valid by construction, with their inputs.

A drawer of an operator takes (draw, value), a Draw and a value to begin with, adds one node, and is
registered with the first operator set in which it is drawn. What a drawer asks of its value, its
type and number of axes, is in `drawer`'s arguments.
"""

import dataclasses
import math

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F, I = np.float32, np.int64
DRAWERS = []  # (first set, kinds, fewest axes, most axes, exact, function)


@dataclasses.dataclass
class Value:
    """exact: every engine has the same bits, so that rounding and comparing it is no lottery."""

    name: str
    kind: str  # f, i or b
    shape: tuple
    exact: bool


def drawer(since=7, kinds="f", axes=(0, 5), exact=False):
    def register(function):
        DRAWERS.append((since, kinds, *axes, exact, function))
        return function

    return register


class Draw:
    """One model while it is drawn. version: of its operator set."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.version = int(self.rng.integers(7, 23))
        self.nodes, self.values, self.constants, self.inputs = [], [], [], {}
        for _ in range(int(self.rng.integers(1, 4))):
            self.input(self.shape(int(self.rng.integers(0, 5))))

    def one_of(self, choices):
        return choices[int(self.rng.integers(len(choices)))]

    def size(self):
        return self.one_of((0, 1, 1, 2, 2, 3, 4, 5, 7) if self.rng.random() < 0.3 else (1, 2, 3, 5))

    def shape(self, axes):
        return tuple(self.size() for _ in range(axes))

    def name(self):
        return f"v{len(self.values) + len(self.constants)}"

    def array(self, kind, shape):
        if kind == "f":
            return np.array(self.rng.standard_normal(shape), F)
        if kind == "i":
            return np.asarray(self.rng.integers(-4, 5, shape), I)
        return np.asarray(self.rng.random(shape) < 0.5)

    def input(self, shape, kind="f"):
        value = Value(f"x{len(self.inputs)}", kind, tuple(shape), True)
        self.inputs[value.name] = self.array(kind, shape)
        self.values.append(value)
        return value

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def other(self, shape, kind="f"):
        """The name of a constant, or of a new input, of that shape."""
        if self.rng.random() < 0.5:
            return self.constant(self.array(kind, shape))
        return self.input(shape, kind).name

    def add(self, op, inputs, shapes, kind="f", exact=False, **attrs):
        """A node whose outputs have these shapes; only the outputs become values."""
        made = [Value(self.name() + f"_{i}", kind, tuple(s), exact) for i, s in enumerate(shapes)]
        names = [v.name if isinstance(v, Value) else v for v in inputs]
        self.nodes.append(helper.make_node(op, names, [v.name for v in made], **attrs))
        self.values += made
        return made

    def axis(self, axes, since=11):
        """One of so many axes, counted from the end from set `since` on."""
        at = int(self.rng.integers(axes))
        return at - axes if self.version >= since and self.rng.random() < 0.4 else at

    def broadcast(self, shape):
        """A shape that fits `shape`, and what they make together."""
        other = [
            self.size() if n == 1 and self.rng.random() < 0.3 else self.one_of((1, n, n))
            for n in shape
        ]
        if self.rng.random() < 0.4:
            other = other[int(self.rng.integers(len(other) + 1)) :]
        wide = [1] * (len(shape) - len(other)) + other
        return tuple(other), tuple(b if a == 1 else a for a, b in zip(shape, wide, strict=True))

    def ints(self, numbers):
        return self.constant(np.asarray(numbers, I))

    def node(self):
        """Adds one node, or nothing if what was drawn does not fit."""
        since, kinds, fewest, most, exact, function = self.one_of(DRAWERS)
        fit = [
            v for v in self.values
            if v.kind in kinds and fewest <= len(v.shape) <= most and (v.exact or not exact)
        ]  # fmt: skip
        if since <= self.version and fit:
            function(self, fit[-1] if self.rng.random() < 0.6 else self.one_of(fit))

    def model(self):
        """(ModelProto, {name: array}). Outputs are what nobody reads, and one more."""
        read = {n for node in self.nodes for n in node.input}
        wanted = [v for v in self.values if v.name not in read | set(self.inputs)]
        extra = self.one_of(self.values)
        wanted += [extra] if extra.name not in self.inputs and extra not in wanted else []
        types = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}
        given = []
        for name, array in self.inputs.items():
            free = self.rng.random(array.ndim) < 0.4
            axes = [f"{name}_{i}" if free[i] else n for i, n in enumerate(array.shape)]
            given.append(helper.make_tensor_value_info(name, types[array.dtype.kind], axes))
        outputs = [helper.make_tensor_value_info(v.name, types[v.kind], None) for v in wanted]
        graph = helper.make_graph(self.nodes, "drawn", given, outputs, self.constants)
        opset = helper.make_opsetid("", self.version)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8), self.inputs


def drawn(seed):
    """(ModelProto, {name: array}) of 3 to 12 nodes."""
    draw = Draw(seed)
    count = int(draw.rng.integers(3, 13))
    while len(draw.nodes) < count:
        draw.node()
    return draw.model()


# ---- elementwise


@drawer()
def unary(d, v):
    ops = ["Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Softplus", "Softsign", "LeakyRelu", "Elu",
           "Selu", "HardSigmoid", "Sin", "Cos", "Identity"]  # fmt: skip
    ops += ["Erf"] if d.version >= 9 else []
    ops += ["Celu"] if d.version >= 12 else []
    ops += ["HardSwish"] if d.version >= 14 else []
    ops += ["Mish"] if d.version >= 18 else []
    ops += ["Gelu"] if d.version >= 20 else []
    d.add(d.one_of(ops), [v], [v.shape])


@drawer(exact=True)
def exact_unary(d, v):
    ops = ["Floor", "Ceil", "Neg", "Abs"] + (["Sign"] if d.version >= 9 else [])
    d.add(d.one_of(ops + (["Round"] if d.version >= 11 else [])), [v], [v.shape], exact=True)


@drawer()
def binary(d, v):
    other, shape = d.broadcast(v.shape)
    pair = [v, d.other(other)]
    op = d.one_of(["Add", "Sub", "Mul"] + (["Max", "Min", "Sum", "Mean"] if d.version >= 8 else []))
    d.add(op, pair if d.rng.random() < 0.5 else pair[::-1], [shape])


@drawer()
def quotient(d, v):
    safe = d.constant(np.abs(d.array("f", ())) + F(0.5))
    d.add("Div", [v, safe], [v.shape])


@drawer()
def of_positive(d, v):
    """Functions of numbers that are cut to 0.2 .. 3 before."""
    if d.version >= 11:
        cut = d.add("Clip", [v, d.constant(F(0.2)), d.constant(F(3))], [v.shape])
    else:
        cut = d.add("Clip", [v], [v.shape], min=0.2, max=3.0)
    op = d.one_of(("Sqrt", "Exp", "Log", "Reciprocal", "Pow"))
    d.add(op, [*cut, d.constant(F(1.5))] if op == "Pow" else cut, [v.shape])


@drawer(exact=True)
def compare(d, v):
    other, shape = d.broadcast(v.shape)
    op = d.one_of(["Less", "Greater"] + (["Equal"] if d.version >= 11 else [])
                  + (["LessOrEqual", "GreaterOrEqual"] if d.version >= 12 else []))  # fmt: skip
    if d.version >= 9:
        d.add(op, [v, d.other(other)], [shape], "b", True)


@drawer(kinds="b")
def logic(d, v):
    if d.rng.random() < 0.3:
        d.add("Not", [v], [v.shape], "b", True)
    else:
        other, shape = d.broadcast(v.shape)
        d.add(d.one_of(("And", "Or", "Xor")), [v, d.other(other, "b")], [shape], "b", True)


@drawer(9, "b")
def where(d, v):
    other, shape = d.broadcast(v.shape)
    d.add("Where", [v, d.other(other), d.constant(d.array("f", ()))], [shape])


@drawer(kinds="fib", exact=True)
def cast(d, v):
    kind = d.one_of("fib")
    if d.version >= 9:
        d.add("Cast", [v], [v.shape], kind, True, to={"f": 1, "i": 7, "b": 9}[kind])


@drawer(kinds="i")
def whole(d, v):
    other, shape = d.broadcast(v.shape)
    d.add(d.one_of(("Add", "Sub", "Mul")), [v, d.other(other, "i")], [shape], "i", True)


@drawer()
def prelu(d, v):
    if v.shape:
        d.add("PRelu", [v, d.constant(d.array("f", (v.shape[-1],)))], [v.shape])


# ---- shapes


@drawer(kinds="fib", axes=(1, 5))
def transpose(d, v):
    perm = d.rng.permutation(len(v.shape)).tolist()
    d.add("Transpose", [v], [[v.shape[i] for i in perm]], v.kind, v.exact, perm=perm)


@drawer(kinds="fib")
def reshape(d, v):
    count = math.prod(v.shape)
    if count == 0:
        return
    target, rest = [], count
    for n in (2, 3, 5):
        if rest % n == 0 and d.rng.random() < 0.5:
            target.append(n)
            rest //= n
    target.append(rest)
    shown = list(target)
    if d.rng.random() < 0.5:
        shown[int(d.rng.integers(len(shown)))] = -1
    if v.shape and shown[0] == v.shape[0] and d.rng.random() < 0.5:
        shown[0] = 0
    d.add("Reshape", [v, d.ints(shown)], [target], v.kind, v.exact)


@drawer(kinds="fib", axes=(1, 5))
def flatten(d, v):
    axis = d.axis(len(v.shape))
    at = axis % len(v.shape)
    shape = math.prod(v.shape[:at]), math.prod(v.shape[at:])
    d.add("Flatten", [v], [shape], v.kind, v.exact, axis=axis)


def with_axes(d, op, v, axes, shape, since=13, **attrs):
    """A node whose axes are an input from set `since` on."""
    if d.version >= since:
        d.add(op, [v, d.ints(axes)], [shape], v.kind, v.exact and op[0] != "R", **attrs)
    else:
        d.add(op, [v], [shape], v.kind, v.exact and op[0] != "R", axes=list(axes), **attrs)


@drawer(kinds="fib", axes=(0, 4))
def unsqueeze(d, v):
    axis = d.axis(len(v.shape) + 1)
    shape = list(v.shape)
    shape.insert(axis % (len(shape) + 1), 1)
    with_axes(d, "Unsqueeze", v, [axis], shape)


@drawer(kinds="fib", axes=(1, 5))
def squeeze(d, v):
    ones = [i for i, n in enumerate(v.shape) if n == 1]
    if ones:
        at = d.one_of(ones)
        axis = at - len(v.shape) if d.version >= 11 and d.rng.random() < 0.4 else at
        with_axes(d, "Squeeze", v, [axis], v.shape[:at] + v.shape[at + 1 :])


@drawer(kinds="fib", axes=(1, 4))
def concat(d, v):
    axis = d.axis(len(v.shape))
    at, others = axis % len(v.shape), [v]
    shape = list(v.shape)
    for _ in range(int(d.rng.integers(0, 3))):
        size = d.size()
        others.append(d.other((*v.shape[:at], size, *v.shape[at + 1 :]), v.kind))
        shape[at] += size
    d.add("Concat", others, [shape], v.kind, v.exact, axis=axis)


@drawer(kinds="fib", axes=(1, 5))
def split(d, v):
    axis = d.axis(len(v.shape))
    n = v.shape[axis]
    first = int(d.rng.integers(0, n + 1))
    sizes = [first, n - first]
    shapes = [
        (*v.shape[: axis % len(v.shape)], s, *v.shape[axis % len(v.shape) + 1 :]) for s in sizes
    ]
    if d.version >= 13:
        d.add("Split", [v, d.ints(sizes)], shapes, v.kind, v.exact, axis=axis)
    else:
        d.add("Split", [v], shapes, v.kind, v.exact, axis=axis, split=sizes)


@drawer(10, "fib", (1, 5))
def slices(d, v):
    axes = sorted(d.rng.permutation(len(v.shape))[: int(d.rng.integers(1, 3))].tolist())
    starts, ends, steps, shape = [], [], [], list(v.shape)
    for axis in axes:
        n = v.shape[axis]
        step = d.one_of((1, 1, 2, -1, -2, 3))
        start, end = (int(d.rng.integers(-n - 2, n + 3)) for _ in range(2))
        end = d.one_of((end, 2**31 - 1, 2**63 - 1) if step > 0 else (end, -(2**31), -(2**63) + 1))
        low, high = (0, n) if step > 0 else (0, n - 1)
        begin = min(max(start + n if start < 0 else start, low), high)
        low, high = (0, n) if step > 0 else (-1, n - 1)
        stop = min(max(end + n if end < 0 else end, low), high)
        shape[axis] = max(-(-(stop - begin) // step), 0)
        starts.append(start), ends.append(end), steps.append(step)
    shown = [a - len(v.shape) if d.rng.random() < 0.3 else a for a in axes]
    d.add("Slice", [v, *map(d.ints, (starts, ends, shown, steps))], [shape], v.kind, v.exact)


@drawer(8, "fib")
def expand(d, v):
    other, shape = d.broadcast(v.shape)
    more = (
        (d.size(),) if len(shape) < 4 and len(other) == len(shape) and d.rng.random() < 0.3 else ()
    )
    d.add("Expand", [v, d.ints((*more, *other))], [(*more, *shape)], v.kind, v.exact)


@drawer(kinds="fi", axes=(1, 4))
def tile(d, v):
    times = [
        int(d.rng.integers(0, 3)) if d.rng.random() < 0.2 else d.one_of((1, 2)) for _ in v.shape
    ]
    shape = [n * t for n, t in zip(v.shape, times, strict=True)]
    d.add("Tile", [v, d.ints(times)], [shape], v.kind, v.exact)


@drawer(11, axes=(1, 4))
def pad(d, v):
    mode = d.one_of(("constant", "reflect", "edge"))
    if mode != "constant" and (min(v.shape) < 2 or d.rng.random() < 0.2):
        return
    low = 0 if mode != "constant" or d.rng.random() < 0.7 else -1
    before, after = ([int(d.rng.integers(low, 2)) for _ in v.shape] for _ in range(2))
    shape = [b + n + a for b, n, a in zip(before, v.shape, after, strict=True)]
    if min(shape) < 0 or (low < 0 and 0 in v.shape):
        return
    value = [d.constant(F(1.5))] if d.rng.random() < 0.5 and mode == "constant" else []
    d.add("Pad", [v, d.ints(before + after), *value], [shape], mode=mode)


@drawer(kinds="fib", axes=(1, 4))
def gather(d, v):
    axis = d.axis(len(v.shape))
    n = v.shape[axis]
    if n:
        low = -n if d.version >= 11 else 0
        at = d.rng.integers(low, n, d.shape(int(d.rng.integers(0, 3)))).astype(I)
        i = axis % len(v.shape)
        shape = (*v.shape[:i], *at.shape, *v.shape[i + 1 :])
        d.add("Gather", [v, d.constant(at)], [shape], v.kind, v.exact, axis=axis)


@drawer(kinds="fib")
def shape_of(d, v):
    d.add("Shape", [v], [(len(v.shape),)], "i", True)


@drawer(9, "i", (1, 1))
def one_hot(d, v):
    values = d.constant(np.array([-1, 2], F))
    d.add("OneHot", [v, d.constant(np.array(5)), values], [(*v.shape, 5)], exact=True, axis=-1)
