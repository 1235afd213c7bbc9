# SPDX-License-Identifier: MIT
"""Single operators, run at once: each is a plan (models/plan.py) of a graph of a node or two.

    apply("Softmax", [x], axis=1)                              the outputs' first, a Tensor
    Packed([Node(...)], {"weight": w, "bias": b}, [x])         the same with weights that it keeps

Both run in the C core, or on the other backends by NumPy. A plan serves all sizes of its inputs:
it is chosen by their types and numbers of axes alone.
"""

import numpy as np

from ..models.graph import Graph, ModelError, Node, Value
from ..models.infer import Fact
from ..models.plan import plan
from .array import Tensor, plain, wrap

MOST_PLANS = 512
MAX_BYTES = 1 << 34  # of all arrays of one operator's run
_plans = {}
_view = np.ndarray.view


class Packed:
    """A few nodes from inputs "x0", "x1" .. to "y" (or "y0", "y1" ..) with constant arrays.

    packed.run([arrays], threads) is the list of outputs, plain arrays; ValueError for arrays that
    do not fit, in the plan's words. packed(arrays..) is the first output as a Tensor.
    """

    __slots__ = ("program", "run")

    def __init__(self, nodes, constants, kinds, outputs=1, **few):
        """kinds: [(dtype, number of axes)] of the inputs; few: dtype and inputs of plan.plan, if
        weights are to have fewer bits."""
        names = [f"x{i}" for i in range(len(kinds))]
        results = ["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]
        values = [Value(n, k[0], None) for n, k in zip(names, kinds, strict=True)]
        graph = Graph(values, [Value(n, None, None) for n in results], nodes, constants)
        facts = {n: Fact(k[0], (None,) * k[1]) for n, k in zip(names, kinds, strict=True)}
        made = plan(graph, facts, max_bytes=MAX_BYTES, **few)
        for i, name in enumerate(made.graph.results):  # the interpreter asks for their types
            made.graph.outputs[i] = Value(results[i], made.facts[name].dtype, None)
        if made.program is not None and len(made.inputs) == len(kinds):
            self.program, self.run = made, made.program.run
        else:
            self.program, self.run = made, self._interpret

    def _interpret(self, arrays, threads=0):
        return self.program.run([np.asarray(a) for a in arrays], threads)

    def __call__(self, *arrays):
        try:
            return wrap(self.run(list(arrays), 0)[0])
        except (ValueError, BufferError):
            return wrap(self.run_checked(arrays)[0])

    def run_checked(self, arrays):
        """The outputs of any arrays: made contiguous, of the types that are due. RuntimeError."""
        kinds = [v.dtype for v in self.program.graph.inputs]
        ready = [
            np.ascontiguousarray(plain(a), k).reshape(np.shape(a))
            for a, k in zip(arrays, kinds, strict=True)
        ]
        try:
            return self.run(ready, 0)
        except (ValueError, ModelError) as error:
            shapes = ", ".join(str(a.shape) for a in ready)
            text = str(error)
            if "out of range" in text:
                raise IndexError("index out of range in self") from None
            op = self.program.graph.nodes[-1].op if self.program.graph.nodes else "operator"
            raise RuntimeError(f"{op}: inputs of the shapes {shapes} do not fit: {text}") from None


def packed(op, arrays, constants=(), outputs=1, **attrs):
    """The Packed of an operator for arrays of these types and axes; plans are kept.

    constants   tuples of numbers that follow the arrays as constant inputs, int64 or, if they hold
                a float, float32; None for one that is not given
    """
    kinds = [(a.dtype.kind, a.ndim) for a in arrays]
    key = (op, constants, outputs, *attrs.values(), *kinds)
    found = _plans.get(key)
    if found is None:
        found = _made(op, arrays, constants, outputs, attrs)
        while len(_plans) >= MOST_PLANS:
            _plans.pop(next(iter(_plans)), None)
        _plans[key] = found
    return found


def _made(op, arrays, constants, outputs, attrs):
    held, names = {}, [f"x{i}" for i in range(len(arrays))]
    for i, value in enumerate(constants):
        names.append("" if value is None else f"c{i}")
        if value is not None:
            array = np.asarray(value)
            held[f"c{i}"] = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
    made = ["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]
    attrs = {k: list(v) if isinstance(v, tuple) else v for k, v in attrs.items()}
    kinds = [(a.dtype, a.ndim) for a in arrays]
    return Packed([Node(op, names, made, attrs)], held, kinds, outputs)


def apply(op, arrays, constants=(), **attrs):
    """The one output, a Tensor, of an operator of Tensors or plain arrays of the three types."""
    return packed(op, arrays, constants, **attrs)(*arrays)


def apply_all(op, arrays, constants, outputs, **attrs):
    """The list of several outputs."""
    return [wrap(y) for y in packed(op, arrays, constants, outputs, **attrs).run_checked(arrays)]


def quick(runs, key, x):
    """What runs[key], a Packed's `run`, makes of one Tensor; None if there is none yet, or if x is
    not of its type, layout or shape: the caller then checks, converts and keeps what is missing."""
    run = runs.get(key)
    if run is not None:
        try:
            return _view(run([x], 0)[0], Tensor)
        except (ValueError, BufferError):
            pass
    return None


def unary(op, **attrs):
    """A function of one float32 Tensor by an operator without more inputs."""
    runs = {}

    def call(x):
        y = quick(runs, x.ndim, x)
        if y is None:
            found = packed(op, [x], **attrs)
            runs[x.ndim] = found.run
            y = found(x)
        return y

    return call
