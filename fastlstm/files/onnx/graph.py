# SPDX-License-Identifier: MIT
"""ONNX graphs: their nodes, and those values that are constants, known without running the model.

By onnx.proto (onnx/onnx on GitHub). Field numbers:
    ModelProto       graph 7, functions 25
    GraphProto       node 1, initializer 5, input 11, output 12
    NodeProto        input 1, output 2, name 3, op_type 4, attribute 5, domain 7
    FunctionProto    name 1, input 4, output 5, node 7

A node names its inputs. A name belongs to the graph that has an initializer (a stored constant), a
node's output or an input so called; the body of If, Loop or Scan sees the names of the graphs
around it. Nothing here knows recurrent layers.
"""

import numpy as np

from ..source import show
from .attribute import Attribute
from .fold import FOLDED, fold
from .tensor import Tensor
from .wire import LEN, Wire

# Graphs inside graphs, and constants computed from constants: exporters nest two or three graphs,
# and put about ten operators between a weight and a layer. It keeps the recursion within Python's.
MAX_DEPTH = 64
_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")  # operators whose attributes hold graphs


class Node:
    """A NodeProto.

    op, domain        the operator and its operator set ("" or "ai.onnx" is ONNX's)
    inputs, outputs   names of values; "" for an optional input that is not given
    attributes        {name: Attribute}, decoded when first asked for
    span              the message
    """

    __slots__ = ("_attributes", "_spans", "domain", "inputs", "name", "op", "outputs", "span")

    def __init__(self, span):
        wire = span.wire
        wire.charge(500)
        self.span, self.name, self.op, self.domain = span, "", "", ""
        self.inputs, self.outputs, self._spans, self._attributes = [], [], [], None
        for number, wire_type, value in span.fields():
            if wire_type != LEN:
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

    def get(self, name, due, default=None):
        """The value of an attribute, of the type `due` (see Attribute.value); `default` if the node
        does not have the attribute."""
        if name not in self.attributes:
            return default
        return self.attributes[name].value(due, self.error)

    def input(self, index):
        """The name of input `index`; "" if it is not given."""
        return self.inputs[index] if index < len(self.inputs) else ""

    @property
    def title(self):
        """What to call the node: its name, else its first output's, else its operator's."""
        return self.name or next(filter(None, self.outputs), self.op)

    def error(self, rule):
        return self.span.wire.source.error(f"node {show(self.title)} ({show(self.op)})", rule)


class Graph:
    """A GraphProto, or a FunctionProto (function=True).

    outer          the Graph whose node has this one as its body, or None
    nodes          its Nodes, in order
    initializers   {name: Tensor}          producers   {name of an output: Node}
    inputs, outputs   sets of names
    known          {name: array or None}, what constant() found
    """

    def __init__(self, span, outer=None, function=False):
        self.wire, self.outer = span.wire, outer
        self.depth = outer.depth + 1 if outer else 0
        if self.depth > MAX_DEPTH:
            raise span.error(f"graphs nested deeper than {MAX_DEPTH}")
        self.nodes, self.initializers, self.producers, self.inputs = [], {}, {}, set()
        self.known, self.outputs = {}, set()
        node_field, input_field, output_field = (7, 4, 5) if function else (1, 11, 12)
        for number, wire_type, value in span.fields():
            if wire_type != LEN:
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
            elif number == output_field:
                self.outputs.add(value.text() if function else _first_text(value))

    def scope(self, name):
        """(the Graph to which `name` belongs, the Tensor or Node that gives its value). The second
        is None for a graph's input and for a name that is nowhere."""
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
        """The array that the value `name` is in every run of the model; None if it depends on the
        model's inputs, or is computed by an operator that fold.py does not have.

        external   whether tensors may be read from files other than <model>.data
        depth      how many values are being computed that need this one
        """
        graph, found = self.scope(name)
        if found is None or not name:
            return None
        if name not in graph.known:
            if depth > MAX_DEPTH:
                return None
            graph.known[name] = None  # what a value finds that is computed from itself
            if isinstance(found, Tensor):
                graph.known[name] = found.array(external)
            elif found.op in FOLDED and found.domain in ("", "ai.onnx"):
                values = [graph.constant(each, external, depth + 1) for each in found.inputs]
                if all(v is not None or not n for v, n in zip(values, found.inputs)):
                    graph.known[name] = fold(found, values, external)
        return graph.known[name]

    def bodies(self, node):
        """The Graphs inside `node`, one of this graph's."""
        if node.op in _GRAPHS:
            for attribute in node.attributes.values():
                for span in attribute.graphs():
                    yield Graph(span, self)

    def walk(self):
        """(graph, node) of every node here and in the graphs inside; those follow their node."""
        for node in self.nodes:
            yield self, node
            for body in self.bodies(node):
                yield from body.walk()


def _first_text(span):
    """The text of field 1 of a message, which is a ValueInfoProto's name; "" without one."""
    for number, wire_type, value in span.fields():
        if number == 1 and wire_type == LEN:
            return value.text()
    return ""


def read_model(source):
    """[Graph] of a model: the main one, then the bodies of its functions."""
    wire = Wire(source, source.read_into(0, np.empty(source.size, np.uint8)))
    main, functions = None, []
    for number, wire_type, value in wire.span().fields():
        if number == 7 and wire_type == LEN:
            if main is not None:
                raise value.error("a second graph")
            main = Graph(value)
        elif number == 25 and wire_type == LEN:
            functions.append(Graph(value, function=True))
    if main is None:
        raise source.error("model", "it has no graph")
    return [main, *functions]
