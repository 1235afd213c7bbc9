# SPDX-License-Identifier: MIT
"""A Graph while it is made of a file's: nodes, constants, and names that nobody else has."""

import numpy as np

from ..graph import Node


class Names:
    """The names of all values of a model: of its branches too, so that a branch can be put into
    the graph around it as it is.

    charge   f(bytes), which bounds the memory by the file's size
    """

    def __init__(self, charge):
        self.taken, self.counts, self.charge = set(), {}, charge

    def claim(self, name):
        """`name` if it is free, else it with a number behind it; taken from now on."""
        if name not in self.taken:
            self.taken.add(name)
            return name
        count = self.counts.get(name, 0)
        while True:
            count += 1
            self.charge(64 + len(name))
            other = f"{name}.{count}"
            if other not in self.taken:
                self.counts[name] = count
                self.taken.add(other)
                return other


class Target:
    """The nodes and constants of one graph, in the order in which the file has them.

    around   the Target of the graph whose node has this one as a branch, or None
    """

    def __init__(self, names, around=None):
        self.names, self.around, self.nodes, self.constants = names, around, [], {}

    def known(self, name):
        """The constant array of that name here or around, or None."""
        target = self
        while target is not None:
            if name in target.constants:
                return target.constants[name]
            target = target.around
        return None

    def fresh(self, node, what="value"):
        """A new name for a value that is made for `node`."""
        first = next(filter(None, node.outputs), node.op)
        return self.names.claim(f"{first}/{what}")

    def constant(self, node, values, what, dtype=np.int64):
        """The name of a new constant."""
        name = self.fresh(node, what)
        array = np.asarray(values, dtype)
        array.flags.writeable = False
        self.constants[name] = array
        return name

    def put(self, node):
        """Adds the node as it is."""
        self.names.charge(500)
        self.nodes.append(node)

    def add(self, node, op, inputs, outputs=None, **attrs):
        """Adds a Node in place of `node`, or of a part of it, and gives its first output's name.

        outputs   their names; None: one new name
        """
        outputs = [self.fresh(node, op.lower())] if outputs is None else outputs
        self.put(Node(op, list(inputs), list(outputs), attrs, node.name))
        return outputs[0]

    def refuse(self, node, version, why):
        """Adds `node` under the name of its operator in the old set, which nothing covers. The
        attribute "refused" says why: an error when the node is needed, which it may never be."""
        attrs = node.attrs | {"refused": why}
        self.put(Node(f"{node.op}-{version}", node.inputs, node.outputs, attrs, node.name))
