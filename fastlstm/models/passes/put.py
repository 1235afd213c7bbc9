# SPDX-License-Identifier: MIT
"""What puts several nodes in place of one. A function that does so for an operator is

    @made_of_others("Sum of two squares")
    def sum_of_squares(put, node):
        (y,) = put("Mul", [node.inputs[0], node.inputs[0]])
        (z,) = put("Mul", [node.inputs[1], node.inputs[1]])
        put("Add", [y, z], last=True)

`put` adds a node and gives the names of its outputs: with `last` those of the node itself. A
function that answers False leaves the node as it is.
"""

import numpy as np

TABLE = {}  # {operator: f(put, node)}


def made_of_others(*ops):
    def register(function):
        TABLE.update(dict.fromkeys(ops, function))
        return function

    return register


def replaced(edit, table):
    """Puts others in place of all nodes whose operators are in `table`, in the graph's order."""
    nodes = []
    for node in edit.graph.nodes:
        function = table.get(node.op)
        put = Put(edit, node)
        if function is None or function(put, node) is False:
            nodes.append(node)
        else:
            nodes += put.nodes
    edit.graph.nodes = nodes
    edit.tidy()


class Put:
    """The nodes that take the place of `node`."""

    def __init__(self, edit, node):
        self.edit, self.node, self.nodes = edit, node, []
        self.shape, self.value = edit.shape, edit.value

    def __call__(self, op, inputs, last=False, count=1, **attrs):
        outputs = self.node.outputs if last else count
        made = self.edit.node(op, inputs, outputs, self.node, **attrs)
        self.nodes.append(made)
        return made.outputs

    def to(self, op, inputs, output, **attrs):
        """Adds a node that gives a certain output of the node itself."""
        self.nodes.append(self.edit.node(op, inputs, [output], self.node, **attrs))

    def constant(self, value, dtype=np.float32):
        return self.edit.constant("constant", np.asarray(value, dtype))

    def ints(self, *values):
        return self.constant(values, np.int64)

    def size(self, name, axis):
        """The name of a vector of one number, the size of an axis."""
        known = self.shape(name)[axis]
        if known is not None:
            return self.ints(known)
        return self("Shape", [name], start=axis, end=axis + 1)[0]

    def sizes(self, name):
        """The name of the vector of all sizes."""
        known = self.shape(name)
        return self("Shape", [name])[0] if None in known else self.ints(*known)

    def reshaped(self, name, sizes, last=False):
        """sizes: ints, or names that `size` gave."""
        parts = [n if isinstance(n, str) else self.ints(n) for n in sizes]
        values = [self.value(n) for n in parts]
        if all(v is not None for v in values):
            target = self.constant(np.concatenate(values), np.int64)
        else:
            (target,) = self("Concat", parts, axis=0)
        return self("Reshape", [name, target], last)[0]

    def due(self, index, what):
        """The array that an input always is; None if it is not given."""
        name = self.node.inputs[index] if index < len(self.node.inputs) else ""
        if name and self.value(name) is None:
            raise self.node.not_known(f"{what} must be constant, and is computed as the model runs")
        return self.value(name) if name else None
