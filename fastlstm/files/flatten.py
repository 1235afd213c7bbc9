# SPDX-License-Identifier: MIT
"""From the tree that a pickle described to names: {"a": {"b": [t0, t1]}} -> a.b.0, a.b.1.

The tree may share nodes, so that a small file can describe 2^100 names, or contain itself. Each
node is therefore summed up once; only when the sums are within bounds are names made.
"""

from .inert_pickle import DICT, MAX_DEPTH, ORDERED, Node
from .source import show

MAX_NAMES = 100_000
MAX_NAME = 4096  # characters in one name
# Characters in all names: the first, and 4 for each byte of the pickle up to the second.
BASE_TEXT, MORE_TEXT = 256 << 10, 4 << 20


class _Summary:
    """What is known of one node.

    pairs    (key, child) for the children that are tensors or have some below them
    leaves   names below the node      text    their characters, counted from the node on
    height   nodes on the longest way down
    """

    __slots__ = ("height", "leaves", "pairs", "text")

    def __init__(self, height):
        self.pairs, self.leaves, self.text, self.height = (), 0, 0, height


_VISITED = object()  # the summary of a node whose children are being summed up
_NOTHING = [_Summary(height) for height in range(MAX_DEPTH + 1)]  # nodes with no tensor below


class _Flattener:
    def __init__(self, leaf, run):
        self.leaf, self.run = leaf, run
        self.text = BASE_TEXT + min(4 * len(run.data), MORE_TEXT)

    def summarise(self, root):
        """Set `summary` of every node below `root`, the children first."""
        path = [(root, iter(root.children()))]
        root.summary = _VISITED
        while path:
            node, rest = path[-1]
            for child in rest:
                if child.__class__ is not Node:
                    continue
                if child.summary is None:
                    if len(path) >= MAX_DEPTH:
                        raise self.run.error(f"nested deeper than {MAX_DEPTH}")
                    child.summary = _VISITED
                    path.append((child, iter(child.children())))
                    break
                if child.summary is _VISITED:
                    raise self.run.error("a container that contains itself")
            else:
                path.pop()
                node.summary = self.summary(node)

    def summary(self, node):
        named = node.kind in (DICT, ORDERED)
        pairs, leaves, text, height = [], 0, 0, 1
        for index, child in enumerate(node.children()):
            if child.__class__ is self.leaf:
                below = None
            elif child.__class__ is Node:
                below = child.summary
                height = max(height, below.height + 1)
                if not below.leaves:
                    continue
            else:
                continue
            key = node.items[2 * index] if named else index
            if key.__class__ is int:
                key = str(key)
            elif key.__class__ is not str:
                raise self.run.error("a tensor under a key that is neither text nor an int")
            pairs.append((key, child))
            leaves += below.leaves if below else 1
            text += below.text + below.leaves * (len(key) + 1) if below else len(key)
            if leaves > MAX_NAMES or text > self.text:
                raise self.run.error(
                    f"more than {MAX_NAMES} tensor names, or {self.text} characters in them"
                )
        if height > MAX_DEPTH:
            raise self.run.error(f"nested deeper than {MAX_DEPTH}")
        if not pairs:
            return _NOTHING[height]
        self.run.charge(160 + 128 * len(pairs))
        total = _Summary(height)
        total.pairs, total.leaves, total.text = pairs, leaves, text
        return total

    def names(self, root):
        found = {}
        path = [("", iter(root.summary.pairs))]
        while path:
            prefix, rest = path[-1]
            for key, child in rest:
                if len(prefix) + len(key) > MAX_NAME:
                    raise self.run.error(f"a tensor's name longer than {MAX_NAME}")
                name = prefix + key
                if child.__class__ is Node:
                    path.append((name + ".", iter(child.summary.pairs)))
                    break
                if name in found:
                    raise self.run.error(f"two tensors have the name {show(name)}")
                self.run.charge(192 + len(name))
                found[name] = child
            else:
                path.pop()
        return found


def flatten(root, leaf, run):
    """{name: leaf object} in the file's order.

    root   what the interpreter `run` gave        leaf   the class of tensors
    A root that is itself a tensor has the name ""; keys are text or ints where tensors are below.
    """
    if root.__class__ is leaf:
        return {"": root}
    if root.__class__ is not Node:
        raise run.error("the pickle holds neither a tensor nor a container of tensors")
    flattener = _Flattener(leaf, run)
    flattener.summarise(root)
    return flattener.names(root)
