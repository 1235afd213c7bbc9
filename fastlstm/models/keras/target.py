# SPDX-License-Identifier: MIT
"""The Graph while it is made of a Keras model."""

import dataclasses
import math

import numpy as np

from ..graph import Graph, ModelError, Node
from ..infer import Fact, constant, infer, run_dtype


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A value of the Graph as Keras' layers hand it on: its name, and the name of its mask, "" if
    it has none. The mask of a (B, T, ...) is a bool (B, T): which steps count."""

    name: str
    mask: str = ""


class Target:
    """Nodes, constants, inputs and outputs, and what is known of each value.

    facts   {name: infer.Fact}
    most    how many nodes may be made, which bounds the work by the file's size
    """

    def __init__(self, name, most):
        self.name, self.most = name, most
        self.inputs, self.outputs, self.nodes, self.constants = [], [], [], {}
        self.facts, self._counts, self._made, self._emitted = {}, {}, {}, {}

    def fresh(self, name):
        """`name`, or if it is taken that with a number behind it."""
        found = name
        while found in self.facts:
            self._counts[name] = self._counts.get(name, 0) + 1
            found = f"{name}:{self._counts[name]}"
        return found

    def input(self, value):
        self.inputs.append(value)
        shape = tuple(n if isinstance(n, int) else None for n in value.shape)
        self.facts[value.name] = Fact(run_dtype(value.dtype), shape)
        return value.name

    def constant(self, title, array, key=None):
        """The name of a constant. What has the same key, or is small and equal, is made once."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        if key is None and array.size <= 16:
            key = (array.dtype.str, array.shape, array.tobytes())
        if key is not None and key in self._made:
            return self._made[key]
        named = key is not None and isinstance(key[-1], str)
        name = self.fresh(key[-1] if named else f"{title}/constant")
        array.flags.writeable = False
        self.constants[name] = array
        self.facts[name] = constant(array)
        if key is not None:
            self._made[key] = name
        return name

    def made(self, key):
        return self._made.get(key)

    def emit(self, title, op, inputs, outputs=1, **attrs):
        """The list of the outputs' names of a new node. outputs: how many, or their names. A node
        that there is already is not made again."""
        key = None
        if isinstance(outputs, int) and op not in ("Recurrent", "ConstantOfShape"):
            plain = [(n, tuple(v) if isinstance(v, list) else v) for n, v in attrs.items()]
            key = (op, tuple(inputs), outputs, tuple(sorted(plain)))
            if key in self._emitted:
                return list(self._emitted[key])
        if len(self.nodes) >= self.most:
            raise ModelError(f"{self.name}: more than {self.most} operators for such a file")
        if isinstance(outputs, int):
            outputs = [f"{title}/{op.lower()}" for _ in range(outputs)]
        names = []
        for name in outputs:
            names.append(self.fresh(name) if name else "")
            if name:
                self.facts[names[-1]] = None
        inputs = list(inputs)
        while inputs and not inputs[-1]:
            inputs.pop()
        node = Node(op, inputs, names, attrs, title)
        try:
            found = infer(node, self.facts)
        except ModelError:
            raise
        except (KeyError, IndexError, ValueError, TypeError, OverflowError, ZeroDivisionError):
            raise node.error("its inputs and attributes do not fit together") from None
        for name, fact in zip(names, found, strict=False):
            if any(n is not None and not 0 <= n < 1 << 40 for n in fact.shape):
                raise node.error(f"its output would have the shape {fact.shape}")
            if name:
                self.facts[name] = fact
        self.nodes.append(node)
        if key is not None:
            self._emitted[key] = tuple(names)
        return names

    def shape(self, name):
        return self.facts[name].shape

    def graph(self):
        graph = Graph(self.inputs, self.outputs, self.nodes, self.constants, self.name)
        graph.check()
        return graph


def size_of(shape):
    """The product of sizes, None if one is not known."""
    return None if None in shape else math.prod(shape)
