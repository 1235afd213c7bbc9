# SPDX-License-Identifier: MIT
"""The values that inert_pickle.Interpreter builds of a pickle, beside Python's None, bool, int,
float and str: Node for containers and objects, Global for names, Plain for values that hold no
tensor, Unread for tensors that cannot be read.

A dict is a Node with its keys and values in order, and may have a key twice: nothing is hashed.
An object of a class that the reader does not know is a Node of type OBJECT, which keeps the name of
its class and nothing else. If the pickle then gives it items as it gives them to dicts or to lists,
it becomes a DICT or a LIST: so a defaultdict is read like a dict, and a deque like a list.
How a pickle is run is not known here.
"""

MAX_DEPTH = 100  # containers inside containers; checkpoints nest about ten

TUPLE, LIST, DICT, ORDERED, OBJECT = "tuple", "list", "dict", "OrderedDict", "object"


class Node:
    """A container or an object.

    type_name   TUPLE, LIST, DICT, ORDERED or OBJECT
    items       the elements, in order; of a dict key, value, key, value ...; of an OBJECT ()
    depth       1, or 1 more than the largest depth that a child had when it was put in; at most
                MAX_DEPTH. A child that grows later does not change it.
    summary     None; flatten.py keeps there what it knows of the container
    origin      None; of an OBJECT, and of a container that was one, the name "module.name" of the
                class or function that made it
    """

    __slots__ = ("depth", "items", "origin", "summary", "type_name")

    def __init__(self, type_name, items, origin=None):
        self.type_name, self.items, self.origin = type_name, items, origin
        self.depth, self.summary = 1, None

    def children(self):
        """The elements, or a dict's values."""
        return self.items[1::2] if self.type_name in (DICT, ORDERED) else self.items


class Global:
    """The name "module.name" of a function or class that a pickle mentions, and only the name."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


class Plain:
    """A value without tensors, of which nothing is kept, such as a run of bytes or a NumPy number.
    type_name: what it is, for the code's reader."""

    __slots__ = ("type_name",)

    def __init__(self, type_name):
        self.type_name = type_name


class Unread:
    """A tensor or array that has no counterpart in NumPy, or is in a form that is not read.

    why   what it is, for messages: "a sparse tensor"
    """

    __slots__ = ("why",)

    def __init__(self, why):
        self.why = why


BYTES, SET = Plain("bytes"), Plain("set")
