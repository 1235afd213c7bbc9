# SPDX-License-Identifier: MIT
"""The values that inert_pickle.Interpreter builds of a pickle, beside Python's None, bool, int,
float and str: Node for containers, Global for names, Opaque for what no loader looks into.

A dict is a Node with its keys and values in order, and may have a key twice: nothing is hashed.
How a pickle is run is not known here.
"""

MAX_DEPTH = 100  # containers inside containers; checkpoints nest about ten

TUPLE, LIST, DICT, ORDERED = "tuple", "list", "dict", "OrderedDict"


class Node:
    """A container.

    type_name   TUPLE, LIST, DICT or ORDERED
    items       the elements, in order; of a dict key, value, key, value ...
    depth       1, or 1 more than the largest depth that a child had when it was put in; at most
                MAX_DEPTH. A child that grows later does not change it.
    summary     None; flatten.py keeps there what it knows of the container
    """

    __slots__ = ("depth", "items", "summary", "type_name")

    def __init__(self, type_name, items):
        self.type_name, self.items, self.depth, self.summary = type_name, items, 1, None

    def children(self):
        """The elements, or a dict's values."""
        return self.items[1::2] if self.type_name in (DICT, ORDERED) else self.items


class Global:
    """The name "module.name" of a function or class that a pickle mentions, and only the name."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


class Opaque:
    """A value that no loader looks into. type_name: what it is, for the code's reader."""

    __slots__ = ("type_name",)

    def __init__(self, type_name):
        self.type_name = type_name


BYTES, SET = Opaque("bytes"), Opaque("set")
