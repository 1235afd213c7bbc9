# SPDX-License-Identifier: MIT
"""The graph of a whole model: what every front end makes and every plan is made of.

Its operators are ONNX's, by the definitions of the newest operator set that this package knows
(OPSET), whatever the file's: a front end rewrites what older sets or Keras say otherwise. In
particular, what became an input (the axes of Squeeze, the pads of Pad) is an input here, a constant
one where the file had an attribute. Operators of this package's own, which ONNX does not have, are
listed in `OWN`. Nothing here computes, and nothing here knows files.
"""

import dataclasses

import numpy as np

from ..errors import LoadError

OPSET = 21

# What Python raises where a malformed graph is taken for a well-formed one.
MALFORMED = (
    KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError, ZeroDivisionError,
)  # fmt: skip

# Operators beyond ONNX's.
OWN = {
    # y[.., O] = x[.., I] W^T + b: inputs x, W (O, I), b (O,) or "". torch's Linear. With a fourth
    # input, scales (O,), W are int8 codes, and rows of x become codes too (engine/int8.py).
    # Attributes, all optional, which go with constant W and b alone: activation, (name, alpha,
    # beta) of a function that is applied to y (lower/activation.py); window, (taps, stride): x is
    # (.., T, I / taps), and each row is `taps` consecutive ones of it, as of a Conv1d; codes,
    # "int16" or "int8": what rows of x become; dtype, "bfloat16": W and rows of x are rounded to
    # it, and sums are float32's (engine/bfloat16.py); note: why weights stay floats where they were
    # to be others.
    "Linear",
    # ONNX's Conv, ConvTranspose, MaxPool, AveragePool and LpPool over one or two axes, with their
    # attributes, but of arrays with channels last: x (N, S.., C) -> y (N, O.., M). Inputs of the
    # convolutions: x, W, b (M,) or "", where W has ONNX's (torch's) layout, (M, C / group, k..) or
    # transposed (C, M / group, k..); W and b are constant. They take `activation` as Linear does.
    "ConvLast",
    "ConvTransposeLast",
    "MaxPoolLast",
    "AveragePoolLast",
    "LpPoolLast",
    # A stack of recurrent layers in torch's layout. Attributes: layer (files.description.Layer),
    # weights {torch's name: array}. Inputs: x (T, B, I); lengths (B,) or ""; h0 (L D, B, K) or "";
    # c0 (L D, B, H) or "". Outputs, later ones optional: y (T, B, D K), hn, cn.
    "Recurrent",
    # Keras' masks. Inputs: x (B, T, ..), mask (B, T) bool. MaskPack moves the steps of each row
    # whose mask is true to the front, in order; outputs: the moved x, and lengths (B,) int64.
    # MaskUnpack undoes it for a recurrent layer's outputs: where the mask is false it repeats the
    # output of the last true step before (zeros before the first), or gives zeros with the
    # attribute zeros=1; with reverse=1 "before" counts from the row's end.
    "MaskPack",
    "MaskUnpack",
    # Elementwise work, broadcast as NumPy does. Attributes: code [(instruction, a, b, c)] and
    # consts [float], as elementwise.py says. Inputs: one or more. One output: what the last
    # instruction computes.
    "Pointwise",
}


class ModelError(LoadError):
    """A model that cannot run, and why: the node, the operator, the rule."""


class WeightsAlone(ModelError):
    """A file that holds weights and does not say how the model computes."""


class NotKnown(ModelError):
    """A plan that could be made if more were known of the inputs: of their values or sizes."""


@dataclasses.dataclass
class Value:
    """An input or output of a model.

    name    the file's own
    dtype   a NumPy dtype
    shape   a tuple: an int, or a str that names a free axis ("" if it has no name); None where
            even the number of axes is not known
    """

    name: str
    dtype: np.dtype
    shape: tuple | None

    def __str__(self):
        axes = "?" if self.shape is None else ", ".join(str(n) or "?" for n in self.shape)
        return f"{self.name}: {self.dtype} ({axes})"


@dataclasses.dataclass
class Node:
    """One operation.

    op        the operator's name; domain "" is left out, others stand before it: "com.microsoft.X"
    inputs    names of values; "" for an optional one that is not given
    outputs   names; "" for an output that nobody wants
    attrs     {name: int, float, str, list of these, ndarray, or Graph (the branches of If)};
              what is not said is not there, and the default is the operator's
    name      for messages
    """

    op: str
    inputs: list
    outputs: list
    attrs: dict = dataclasses.field(default_factory=dict)
    name: str = ""

    def error(self, rule, kind=ModelError):
        title = self.name or next(filter(None, self.outputs), self.op)
        op = self.op if self.op.isprintable() else repr(self.op)
        return kind(f"node {title!r} ({op}): {rule}")

    def not_covered(self):
        """The error of an operator that nothing computes; a front end may say more of it."""
        return self.error(self.attrs.get("refused", "the operator is not covered"))

    def not_known(self, rule):
        """The error of something that follows from the inputs and has to be known before."""
        return self.error(rule, NotKnown)


@dataclasses.dataclass
class Graph:
    """Nodes in an order in which each comes after what it needs, and what goes in and out.

    inputs      [Value] that a caller gives; in a branch of If, []: it sees the values around it
    outputs     [Value]
    nodes       [Node]
    constants   {name: ndarray}, read only
    name        for messages: the file's
    results     in a planned graph: the names of the outputs' values, which may be an input, a
                constant, or the same value twice; else None
    """

    inputs: list
    outputs: list
    nodes: list
    constants: dict
    name: str = ""
    results: list | None = None

    def walk(self):
        """Every node, those of branches included."""
        for node in self.nodes:
            yield node
            for value in node.attrs.values():
                if isinstance(value, Graph):
                    yield from value.walk()

    def check(self):
        """ModelError unless every name is given once, before it is used, and nothing is missing."""
        _check(self, set())


def _check(graph, known):
    """known: the names around the graph, to which its own are added; they are gone at the end."""
    own = []

    def give(name, what):
        if name in known:
            raise ModelError(f"{graph.name}: {what} {name!r} is the second value of that name")
        known.add(name)
        own.append(name)

    for value in graph.inputs:
        give(value.name, "input")
    for name in graph.constants:
        give(name, "constant")
    for node in graph.nodes:
        for name in node.inputs:
            if name and name not in known:
                raise node.error(f"its input {name!r} is not there before it")
        for value in node.attrs.values():
            if isinstance(value, Graph):
                _check(value, known)
        for name in filter(None, node.outputs):
            give(name, "output")
    for value in graph.outputs:
        if value.name not in known:
            raise ModelError(f"{graph.name}: no node gives the output {value.name!r}")
    known.difference_update(own)
