# SPDX-License-Identifier: MIT
"""A model of an ONNX file as one Graph: names, branches, functions, the order of nodes.

The file may be hostile. What a Graph takes is bounded by the file's size: all names, nodes and
constants are charged to the file's Wire (files/onnx/wire.py), those of functions at each call anew.
"""

import heapq
from collections import ChainMap

import numpy as np

from ...files.contents import Options
from ...files.onnx.graph import MAX_DEPTH, Model
from ...files.onnx.graph import Graph as FileGraph
from ...files.onnx.tensor import dtype_of
from ...files.source import Source, show
from ..graph import Graph, ModelError, Node, Value
from . import quantized as quantized  # it registers its functions in MICROSOFT
from .attributes import Unread, value
from .microsoft import MICROSOFT
from .older import NEWEST, normalised
from .target import Names, Target


def read(source, options=None):
    """The Graph of an ONNX file.

    source    a path, or an open files.source.Source
    options   files.contents.Options; its external_data says whether tensors may be read from other
              files of the model's folder

    Operators have the forms of the newest set (graph.OPSET) whatever the file's, functions are put
    in place of their calls, and every value of the model has a name of its own, those of branches
    too. Constants keep the file's dtypes, but bfloat16 becomes float32. A node that nothing covers
    (an unknown operator or domain, Loop, an attribute's value that is not read) stays as it is; if
    there is more to say of it, that is its attribute "refused".

    LoadError if the file is malformed; ModelError if its graph is.
    """
    if isinstance(source, Source):
        return _Reader(source, options or Options()).graph()
    with Source(source) as opened:
        return _Reader(opened, options or Options()).graph()


class _Call:
    """A call of a function that is being put in place.

    function   its body, a file's Graph       prefix   what its values are called after
    attrs      {name: value}, as the call gives them        outer   the _Call it stands in, or None
    """

    def __init__(self, function, prefix, attrs, outer):
        self.function, self.prefix, self.attrs, self.outer = function, prefix, attrs, outer
        self.depth = outer.depth + 1 if outer else 1

    def inside(self, function):
        """Whether the function is being put in place already."""
        call = self
        while call is not None:
            if call.function is function:
                return True
            call = call.outer
        return False


class _Reader:
    def __init__(self, source, options):
        self.source, self.external = source, options.external_data
        self.model = Model(source)
        self.wire = self.model.main.wire
        self.names = Names(self.wire.charge)
        self.functions = {(f.domain, f.name, f.overload): f for f in self.model.functions}
        self.opsets = self._checked(self.model.opsets)

    def _checked(self, opsets):
        if opsets.get("", 1) > NEWEST:
            raise self.error(
                f"its operator set {opsets['']} is newer than {NEWEST}, the last known"
            )
        return opsets

    def error(self, rule):
        return ModelError(f"{self.source.name}: {rule}")

    def graph(self):
        main = self.model.main
        scope, target = ChainMap(), Target(self.names)
        for info in main.given:
            if info.name not in main.initializers:
                if not info.name or info.name in scope:
                    raise self.error(f"input {show(info.name)} is there twice, or has no name")
                scope[info.name] = self.names.claim(info.name)
        self._fill(main, target, scope, self.opsets, None)
        inputs = [self._value(i, i.name) for i in main.given if i.name not in main.initializers]
        outputs = [self._value(i, self._known(scope, i.name, "output")) for i in main.results]
        if not outputs:
            raise self.error("its graph has no outputs")
        graph = Graph(inputs, outputs, target.nodes, target.constants, self.source.name)
        graph.check()
        return graph

    def _known(self, scope, name, what):
        if name not in scope:
            raise self.error(f"no node gives the {what} {show(name)}")
        return scope[name]

    def _value(self, info, name, inner=False):
        """The Value of an input or output. inner: of a branch, whose types need not be said."""
        dtype = dtype_of(info.code)
        if not inner and (info.kind != "tensor" or dtype is None):
            what = f"a {info.kind}" if info.kind not in ("tensor", "") else "of a type not read"
            raise self.error(f"{show(info.name)} is {what}: only tensors of numbers go in and out")
        shape = info.shape if info.kind == "tensor" else None
        return Value(name, None if dtype is None else np.dtype(dtype), shape)

    def _fill(self, file_graph, target, scope, opsets, call):
        """Puts the constants and nodes of a file's graph into `target`, and their names into the
        first map of `scope`, {name in the file: name in the Graph}."""
        if file_graph.repeated is not None:
            raise self.error(f"initializer {show(file_graph.repeated)} is there twice")
        if file_graph.sparse:
            raise self.error("its graph has sparse initializers, which are not read")
        prefix = f"{call.prefix}/" if call else ""

        def define(name, what):
            if name in scope.maps[0]:
                raise self.error(f"{what} {show(name)} is the second value of that name")
            self.wire.charge(64 + len(prefix))
            scope[name] = self.names.claim(prefix + name)

        for name in file_graph.initializers:
            if not name:
                raise self.error("an initializer has no name")
            define(name, "initializer")
        for node in file_graph.nodes:
            for name in filter(None, node.outputs):
                define(name, f"of node {show(node.title)}: output")
        start = len(target.nodes)
        for name, tensor in file_graph.initializers.items():
            self._constant(target, tensor, scope[name])
        for node in file_graph.nodes:
            self._node(file_graph, node, target, scope, opsets, call)
        target.nodes[start:] = _in_order(target.nodes[start:])

    def _constant(self, target, tensor, name):
        if tensor.readable:
            array = tensor.array(self.external)
            array.flags.writeable = False
            target.constants[name] = array
        else:
            why = f"a constant with elements of type {tensor.code}, which are not read"
            target.put(Node("Constant", [], [name], {"refused": why}, tensor.name))

    def _node(self, file_graph, file_node, target, scope, opsets, call):
        title = f"{call.prefix}/{file_node.title}" if call else file_node.name
        self.wire.charge(300 + len(title) + 60 * len(file_node.inputs))
        domain = "" if file_node.domain == "ai.onnx" else file_node.domain
        node = Node(f"{domain}.{file_node.op}" if domain else file_node.op, [], [], {}, title)
        node.outputs = [scope[name] if name else "" for name in file_node.outputs]
        for name in file_node.inputs:
            if name and name not in scope:
                raise node.error(f"no node, input or constant gives its input {show(name)}")
            node.inputs.append(scope[name] if name else "")
        of_parts = node.op == "Split"  # as many as there are outputs, with names or without
        for names in (node.inputs,) if of_parts else (node.inputs, node.outputs):
            while names and not names[-1]:
                names.pop()
        function = self.functions.get((file_node.domain, file_node.op, file_node.overload))
        node.attrs = self._attrs(file_graph, file_node, target, scope, opsets, call)
        if function is not None:
            self._inline(function, file_node, node, target, call)
            return
        if not any(node.outputs):
            return  # nobody can use it
        unread = [v.why for v in node.attrs.values() if isinstance(v, Unread)]
        if unread:
            node.attrs = {n: v for n, v in node.attrs.items() if not isinstance(v, Unread)}
            node.attrs["refused"] = unread[0]
            target.put(node)
        elif node.op == "Constant":
            self._constant_node(target, node)
        elif node.op in MICROSOFT:
            MICROSOFT[node.op](target, node)
        elif domain:
            target.put(node)
        else:
            if node.op == "If":
                _check_branches(node)
            normalised(target, node, opsets.get("", 1))

    def _attrs(self, file_graph, file_node, target, scope, opsets, call):
        """{name: value} of a node's attributes."""

        def body(span):
            inner = FileGraph(span, file_graph)
            return self._branch(inner, file_node, target, scope, opsets, call)

        found = {}
        for name, attribute in file_node.attributes.items():
            if not attribute.reference:
                found[name] = value(file_node, attribute, self.external, body)
            elif call is None:
                raise file_node.error(f"the attribute {show(name)} stands for one of a function's")
            elif attribute.reference in call.attrs:
                found[name] = call.attrs[attribute.reference]
                if isinstance(found[name], Graph):
                    raise file_node.error(f"the attribute {show(name)} of a function is a graph")
        return found

    def _branch(self, inner, file_node, around, scope, opsets, call):
        """The Graph of a branch of If, or of a loop's body. It sees the names around it."""
        target, scope = Target(self.names, around), scope.new_child()
        prefix = f"{call.prefix}/" if call else ""
        inputs = []
        for info in inner.given:
            if info.name in inner.initializers:
                continue
            if info.name in scope.maps[0]:
                raise self.error(f"input {show(info.name)} is the second value of that name")
            scope[info.name] = self.names.claim(prefix + info.name)
            inputs.append(self._value(info, scope[info.name], inner=True))
        self._fill(inner, target, scope, opsets, call)
        outputs = []
        for info in inner.results:
            name = self._known(scope, info.name, f"output of a branch of node {file_node.title!r},")
            outputs.append(self._value(info, name, inner=True))
        title = file_node.title
        return Graph(
            inputs, outputs, target.nodes, target.constants, f"{self.source.name}: {title}"
        )

    def _constant_node(self, target, node):
        """The value of a Constant becomes one of the graph's constants."""
        forms = {
            "value": None, "value_float": np.float32, "value_int": np.int64,
            "value_floats": np.float32, "value_ints": np.int64,
        }  # fmt: skip
        given = [name for name in forms if name in node.attrs]
        if not given and set(node.attrs) & {"value_string", "value_strings", "sparse_value"}:
            target.put(Node("Constant", [], node.outputs, {"refused": "a constant that is not a "
                            "tensor of numbers"}, node.name))  # fmt: skip
            return
        if len(given) != 1:
            raise node.error("it has no value, or several")
        array = np.asarray(node.attrs[given[0]], forms[given[0]])
        array.flags.writeable = False
        target.constants[node.outputs[0]] = array

    def _inline(self, function, file_node, node, target, call):
        """Puts the body of a function in place of `node`, a call of it."""
        title = node.name or next(filter(None, node.outputs), node.op)
        inner = _Call(function, title, {}, call)
        if inner.depth > MAX_DEPTH or (call and call.inside(function)):
            raise node.error("the function calls itself, or functions are nested too deep")
        if len(node.inputs) > len(function.given) or len(node.outputs) > len(function.results):
            raise node.error(
                f"a call with {len(node.inputs)} inputs and {len(node.outputs)} outputs of a "
                f"function of {len(function.given)} and {len(function.results)}"
            )
        for name, attribute in function.defaults.items():
            inner.attrs[name] = value(file_node, attribute, self.external, node.error)
        inner.attrs.update(node.attrs)
        scope = ChainMap()
        for i, name in enumerate(function.given):
            if name in scope:
                raise node.error(f"its function has two inputs {show(name)}")
            scope[name] = node.inputs[i] if i < len(node.inputs) else ""
        self._fill(function, target, scope, self._checked(function.opsets), inner)
        for name, output in zip(function.results, node.outputs):
            if not output:
                continue
            if name not in scope:
                raise node.error(f"its function gives no output {show(name)}")
            target.put(Node("Identity", [scope[name]], [output], {}, title))


def _check_branches(node):
    for name in ("then_branch", "else_branch"):
        branch = node.attrs.get(name)
        if not isinstance(branch, Graph):
            raise node.error(f"it has no {name}")
        if branch.inputs or len(branch.outputs) < len(node.outputs):
            raise node.error(
                f"its {name} has {len(branch.inputs)} inputs and {len(branch.outputs)} outputs, "
                f"0 and {len(node.outputs)} are due"
            )


def _needs(node):
    """The names that a node uses: its inputs, and what its branches take from around them."""
    found = set(filter(None, node.inputs))
    for branch in node.attrs.values():
        if isinstance(branch, Graph):
            found.update(value.name for value in branch.outputs)
            for inner in branch.nodes:
                found |= _needs(inner)
    return found


def _in_order(nodes):
    """The nodes, each after those that give what it needs; in the file's order where that is so
    already. ModelError for a circle."""
    producers = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    needs = [{producers[n] for n in _needs(node) if n in producers} for node in nodes]
    if all(not found or max(found) < i for i, found in enumerate(needs)):
        return nodes
    users = [[] for _ in nodes]
    for i, found in enumerate(needs):
        for j in found:
            users[j].append(i)
    missing = [len(found) for found in needs]
    ready = [i for i, count in enumerate(missing) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(nodes[i])
        for j in users[i]:
            missing[j] -= 1
            if not missing[j]:
                heapq.heappush(ready, j)
    if len(order) < len(nodes):
        at = next(i for i, count in enumerate(missing) if count)
        seen = set()
        while at not in seen:  # to a node of the circle, from one that comes after it
            seen.add(at)
            at = next(j for j in needs[at] if missing[j])
        raise nodes[at].error("its inputs are made of its own outputs")
    return order
