# SPDX-License-Identifier: MIT
"""ONNX graphs: nodes in their scopes, and the values that can be known without running them.

ModelProto: graph 7, functions 25. GraphProto: node 1, initializer 5, input 11.
NodeProto: input 1, output 2, name 3, op_type 4, attribute 5, domain 7.
AttributeProto: name 1, f 2, i 3, s 4, t 5, g 6, floats 7, ints 8, strings 9, graphs 11.
FunctionProto: name 1, input 4, node 7.
"""

import struct

import numpy as np

from ..source import show
from .fold import FOLDED, fold
from .tensor import Tensor
from .wire import BYTES, SHORT, VARINT, Wire, float32, signed

MAX_DEPTH = 64  # graphs inside graphs, and constants computed from constants
_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")


class Node:
    """One node. attributes: {name: Attribute}, decoded when first asked for."""

    __slots__ = ("_attributes", "_spans", "domain", "inputs", "name", "op", "outputs", "span")

    def __init__(self, span):
        wire = span.wire
        wire.charge(500)
        self.span, self.name, self.op, self.domain = span, "", "", ""
        self.inputs, self.outputs, self._spans, self._attributes = [], [], [], None
        for number, kind, value in span.fields():
            if kind != BYTES:
                continue
            if number in (1, 2):
                (self.inputs if number == 1 else self.outputs).append(value.text())
            elif number == 3:
                self.name = value.text()
            elif number == 4:
                self.op = value.text(256)
            elif number == 5:
                wire.charge(80)
                self._spans.append(value)
            elif number == 7:
                self.domain = value.text(256)

    @property
    def attributes(self):
        if self._attributes is None:
            self._attributes = {}
            for span in self._spans:
                attribute = Attribute(span)
                if attribute.name in self._attributes:
                    raise self.error(f"two attributes {show(attribute.name)}")
                self._attributes[attribute.name] = attribute
        return self._attributes

    def get(self, name, default=None):
        """An attribute's value as Python's; `default` if there is none."""
        return self.attributes[name].value() if name in self.attributes else default

    def input(self, index):
        return self.inputs[index] if index < len(self.inputs) else ""

    @property
    def title(self):
        """The name, or something that stands for it."""
        return self.name or next(filter(None, self.outputs), self.op)

    def error(self, rule):
        return self.span.wire.source.error(f"node {show(self.title)} ({show(self.op)})", rule)


class Attribute:
    __slots__ = ("name", "span")

    def __init__(self, span):
        self.span, self.name = span, ""
        span.wire.charge(160)
        for number, kind, value in span.fields():
            if number == 1 and kind == BYTES:
                self.name = value.text()

    def value(self):
        """float, int, bytes, Tensor, or a list of floats, ints or bytes."""
        single, floats, ints, texts = None, [], [], []
        for number, kind, value in self.span.fields():
            if number == 2 and kind == SHORT:
                single = float32(value)
            elif number == 3 and kind == VARINT:
                single = signed(value)
            elif number == 4 and kind == BYTES:
                single = value.bytes() if len(value) < 65536 else None
            elif number == 5 and kind == BYTES:
                single = Tensor(value)
            elif number == 7:
                raw = value.bytes() if kind == BYTES else value.to_bytes(4, "little")
                self.span.wire.charge(16 * len(raw))
                if len(raw) % 4:
                    raise self.span.error("floats of odd length")
                floats += struct.unpack(f"<{len(raw) // 4}f", raw)
            elif number == 8:
                self.span.wire.charge(48 * (len(value) if kind == BYTES else 1))
                ints += map(signed, value.varints() if kind == BYTES else [value])
            elif number == 9 and kind == BYTES:
                self.span.wire.charge(80 + len(value))
                texts.append(value.bytes())
        return single if single is not None else floats or ints or texts

    def graphs(self):
        for number, kind, value in self.span.fields():
            if number in (6, 11) and kind == BYTES:
                yield value


class Graph:
    """A graph, or a function's body. outer: the scope around it, or None."""

    def __init__(self, span, outer=None, function=False):
        self.wire, self.outer = span.wire, outer
        self.depth = outer.depth + 1 if outer else 0
        if self.depth > MAX_DEPTH:
            raise span.error(f"graphs nested deeper than {MAX_DEPTH}")
        self.nodes, self.initializers, self.producers, self.inputs = [], {}, {}, set()
        self.known = {}  # {name: array or None}, of values asked for
        node_field, input_field = (7, 4) if function else (1, 11)
        for number, kind, value in span.fields():
            if kind != BYTES:
                continue
            if number == node_field:
                node = Node(value)
                self.nodes.append(node)
                for output in node.outputs:
                    self.producers.setdefault(output, node)
            elif number == 5 and not function:
                tensor = Tensor(value)
                self.initializers[tensor.name] = tensor
            elif number == input_field:
                self.inputs.add(value.text() if function else _first_text(value))

    def scope(self, name):
        """(graph, node or Tensor) where `name` gets its value; (graph, None) for an input."""
        graph = self
        while graph is not None:
            if name in graph.initializers:
                return graph, graph.initializers[name]
            if name in graph.producers:
                return graph, graph.producers[name]
            if name in graph.inputs:
                return graph, None
            graph = graph.outer
        return self, None

    def constant(self, name, external=False, depth=0):
        """The array that `name` always is, or None if it depends on the model's inputs."""
        graph, found = self.scope(name)
        if found is None or not name:
            return None
        if name not in graph.known:
            if depth > MAX_DEPTH:
                return None
            graph.known[name] = None  # a cycle finds this
            if isinstance(found, Tensor):
                graph.known[name] = found.array(external)
            elif found.op in FOLDED and found.domain in ("", "ai.onnx"):
                values = [graph.constant(each, external, depth + 1) for each in found.inputs]
                if all(v is not None or not n for v, n in zip(values, found.inputs)):
                    graph.known[name] = fold(found, name, values, external)
        return graph.known[name]

    def bodies(self, node):
        """The graphs inside a node."""
        if node.op in _GRAPHS:
            for attribute in node.attributes.values():
                for span in attribute.graphs():
                    yield Graph(span, self)

    def walk(self):
        """(graph, node) of every node, bodies of If and Loop after their node."""
        for node in self.nodes:
            yield self, node
            for body in self.bodies(node):
                yield from body.walk()


def _first_text(span):
    """Field 1 of a message: a ValueInfoProto's name."""
    for number, kind, value in span.fields():
        if number == 1 and kind == BYTES:
            return value.text()
    return ""


def read_model(source):
    """The graphs of a model: the main one, then its functions' bodies."""
    wire = Wire(source, source.read_into(0, np.empty(source.size, np.uint8)))
    main, functions = None, []
    for number, kind, value in wire.span().fields():
        if number == 7 and kind == BYTES:
            if main is not None:
                raise value.error("a second graph")
            main = Graph(value)
        elif number == 25 and kind == BYTES:
            functions.append(Graph(value, function=True))
    if main is None:
        raise source.error("model", "it has no graph")
    return [main, *functions]
