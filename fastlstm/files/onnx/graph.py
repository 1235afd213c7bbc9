# SPDX-License-Identifier: MIT
"""ONNX graphs: their nodes, and those values that are constants, known without running the model.

By onnx.proto (onnx/onnx on GitHub). Field numbers:
    ModelProto       graph 7, opset_import 8, metadata_props 14, functions 25
    GraphProto       node 1, initializer 5, input 11, output 12, sparse_initializer 15
    NodeProto        input 1, output 2, name 3, op_type 4, attribute 5, domain 7, overload 8
    FunctionProto    name 1, input 4, output 5, attribute 6 (names), node 7, opset_import 9,
                     domain 10, attribute_proto 11 (those with defaults), overload 13
    ValueInfoProto   name 1, type 2 (TypeProto: tensor_type 1, and other kinds of values)
    TypeProto.Tensor elem_type 1, shape 2 (dim 1, in each: dim_value 1 or dim_param 2)
    OperatorSetIdProto   domain 1, version 2          StringStringEntryProto   key 1, value 2

A node names its inputs. A name belongs to the graph that has an initializer (a stored constant), a
node's output or an input so called; the body of If, Loop or Scan sees the names of the graphs
around it. Nothing here knows recurrent layers.
"""

import numpy as np

from ..source import show
from .attribute import Attribute
from .fold import FOLDED, fold
from .tensor import MAX_DIMS, Tensor
from .wire import LEN, VARINT, Span, Wire, signed

# Graphs inside graphs, and constants computed from constants: exporters nest two or three graphs,
# and put about ten operators between a weight and a layer. It keeps the recursion within Python's.
MAX_DEPTH = 64
_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")  # operators whose attributes hold graphs
_KINDS = {1: "tensor", 4: "sequence", 5: "map", 8: "sparse tensor", 9: "optional"}


class Node:
    """A NodeProto.

    op, domain        the operator and its operator set ("" or "ai.onnx" is ONNX's)
    overload          which of several functions of that name; "" usually
    inputs, outputs   names of values; "" for an optional input that is not given
    attributes        {name: Attribute}, decoded when first asked for
    span              the message
    """

    __slots__ = (
        "_attributes", "_spans", "domain", "inputs", "name", "op", "outputs", "overload", "span",
    )  # fmt: skip

    def __init__(self, span):
        wire = span.wire
        wire.charge(500)
        self.span, self.name, self.op, self.domain, self.overload = span, "", "", "", ""
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
            elif number == 8:
                self.overload = value.text(256)

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


class ValueInfo:
    """A ValueInfoProto: an input or output of a graph.

    name    its name
    kind    "tensor", "sequence", "map", "optional" or "sparse tensor"; "" if its type is not said
    code    the element type of a tensor, as TensorProto's data_type; 0 if it is not said
    shape   a tensor's: a tuple with an int, or a str for a free axis ("" without a name), for each
            axis; None if not even their number is said
    """

    __slots__ = ("code", "kind", "name", "shape")

    def __init__(self, span):
        self.name, self.kind, self.code, self.shape = "", "", 0, None
        span.wire.charge(300)
        for number, wire_type, value in span.fields():
            if number == 1 and wire_type == LEN:
                self.name = value.text()
            elif number == 2 and wire_type == LEN:
                for kind, _, tensor in value.fields():
                    self.kind = _KINDS.get(kind, self.kind)
                    if kind == 1 and isinstance(tensor, Span):
                        self._tensor(tensor)

    def _tensor(self, span):
        for number, wire_type, value in span.fields():
            if number == 1 and wire_type == VARINT:
                self.code = value
            elif number == 2 and wire_type == LEN:
                axes = [v for n, wire_type, v in value.fields() if n == 1 and wire_type == LEN]
                if len(axes) > MAX_DIMS:
                    raise span.error(f"a value of {len(axes)} axes, {MAX_DIMS} is the limit")
                self.shape = tuple(map(_axis, axes))


def _axis(span):
    """The size or the name of one axis, a TensorShapeProto.Dimension. A size below 0, which some
    exporters write for a free one, is a free axis without a name."""
    found = ""
    for number, wire_type, value in span.fields():
        if number == 1 and wire_type == VARINT:
            found = signed(value) if signed(value) >= 0 else ""
        elif number == 2 and wire_type == LEN:
            found = value.text(1024)
    return found


class Graph:
    """A GraphProto, or a FunctionProto (function=True).

    outer          the Graph whose node has this one as its body, or None
    nodes          its Nodes, in order
    initializers   {name: Tensor}          producers   {name of an output: Node}
    inputs         set of names            known       {name: array or None}, what constant() found
    given, results   its inputs and outputs in order: [ValueInfo], of a function [name]
    repeated       the name of an initializer that is there twice, or None
    sparse         whether it has sparse initializers, which are not read

    Of a function: name, domain, overload, opsets {domain: version}; parameters, the set of names of
    its attributes; defaults {name: Attribute} of those that a call need not give.
    """

    def __init__(self, span, outer=None, function=False):
        self.wire, self.outer = span.wire, outer
        self.depth = outer.depth + 1 if outer else 0
        if self.depth > MAX_DEPTH:
            raise span.error(f"graphs nested deeper than {MAX_DEPTH}")
        self.nodes, self.initializers, self.producers, self.inputs = [], {}, {}, set()
        self.known, self.given, self.results = {}, [], []
        self.repeated, self.sparse = None, False
        if function:
            self.name, self.domain, self.overload, self.opsets = "", "", "", {}
            self.parameters, self.defaults = set(), {}
        for number, wire_type, value in span.fields():
            if wire_type == LEN:
                (self._of_function if function else self._of_graph)(number, value)

    def _node(self, span):
        node = Node(span)
        self.nodes.append(node)
        for output in node.outputs:
            self.producers.setdefault(output, node)

    def _of_graph(self, number, span):
        if number == 1:
            self._node(span)
        elif number == 5:
            tensor = Tensor(span)
            if tensor.name in self.initializers:
                self.repeated = tensor.name
            self.initializers[tensor.name] = tensor
        elif number == 11:
            self.given.append(ValueInfo(span))
            self.inputs.add(self.given[-1].name)
        elif number == 12:
            self.results.append(ValueInfo(span))
        elif number == 15:
            self.sparse = True

    def _of_function(self, number, span):
        if number == 7:
            self._node(span)
        elif number == 1:
            self.name = span.text(256)
        elif number == 4:
            self.given.append(span.text())
            self.inputs.add(self.given[-1])
        elif number == 5:
            self.results.append(span.text())
        elif number == 6:
            self.parameters.add(span.text(256))
        elif number == 9:
            self.opsets.update([_opset(span)])
        elif number == 10:
            self.domain = span.text(256)
        elif number == 11:
            attribute = Attribute(span)
            self.defaults[attribute.name] = attribute
        elif number == 13:
            self.overload = span.text(256)

    @property
    def outputs(self):
        """The names of its results."""
        return {getattr(each, "name", each) for each in self.results}

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


def _opset(span):
    """(domain, version) of an OperatorSetIdProto; the domain "ai.onnx" is ""."""
    domain, version = "", 0
    for number, wire_type, value in span.fields():
        if number == 1 and wire_type == LEN:
            domain = value.text(256)
        elif number == 2 and wire_type == VARINT:
            version = signed(value)
    span.wire.charge(200)
    return "" if domain == "ai.onnx" else domain, version


class Model:
    """A ModelProto.

    main        its Graph                   functions   [Graph], the bodies of its functions
    opsets      {domain: version} of the operator sets that it uses
    metadata    {key: text}, what its maker added
    """

    def __init__(self, source):
        wire = Wire(source, source.read_into(0, np.empty(source.size, np.uint8)))
        self.main, self.functions, self.opsets, self.metadata = None, [], {}, {}
        for number, wire_type, value in wire.span().fields():
            if wire_type != LEN:
                continue
            if number == 7:
                if self.main is not None:
                    raise value.error("a second graph")
                self.main = Graph(value)
            elif number == 8:
                self.opsets.update([_opset(value)])
            elif number == 14:
                wire.charge(200)
                pair = {n: v.text(1 << 24) for n, kind, v in value.fields() if kind == LEN}
                self.metadata[pair.get(1, "")] = pair.get(2, "")
            elif number == 25:
                self.functions.append(Graph(value, function=True))
        if self.main is None:
            raise source.error("model", "it has no graph")

    @property
    def graphs(self):
        """[Graph]: the main one, then the bodies of the functions."""
        return [self.main, *self.functions]
