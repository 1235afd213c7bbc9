# SPDX-License-Identifier: MIT
"""Names for the tensors in the tree that a pickle describes: {"a": {"b": [t0, t1]}} has the tensors
a.b.0 and a.b.1.

The tree is made of pickle_tree's Nodes, and a Node may be the child of several others: a list of
two references to a list of two references ... gives 2^100 names from a small file, and a list may
contain itself. Therefore each Node is looked at once, to count the names below it; only if the
counts are within the limits are the names made. What a tensor is, the caller says.
"""

from .pickle_tree import DICT, MAX_DEPTH, ORDERED, Node
from .source import show

MAX_NAMES = 100_000  # ten times the storages that an archive may have, which tensors may share
MAX_NAME = 4096  # characters in one name; torch's names of modules have at most a few hundred
# Characters in all names together: BASE_TEXT, and 4 for each byte of the pickle but MORE_TEXT at
# most. A state dict spends about 100 bytes of pickle on each tensor, its name among them, and
# characters take 4 bytes of memory at worst: so names stay near the pickle's size.
BASE_TEXT, MORE_TEXT = 256 << 10, 4 << 20


class _Summary:
    """What is known of one Node once its children were looked at.

    pairs    [(key as text, child)] of the children that are tensors or contain some
    leaves   how many names there are for the tensors inside the Node
    text     characters of those names, without the part that leads to the Node
    height   Nodes on the longest path from this one, itself included, to one without Nodes in it
    """

    __slots__ = ("height", "leaves", "pairs", "text")

    def __init__(self, height):
        self.pairs, self.leaves, self.text, self.height = (), 0, 0, height


_VISITED = object()  # the summary of a Node whose children are being looked at
# The summaries of Nodes without a tensor inside, by height: shared, as they are all the same.
_NOTHING = [_Summary(height) for height in range(MAX_DEPTH + 1)]


class _Flattener:
    """leaf: the class of the caller's tensors; run: the Interpreter, for its errors and its budget
    of memory; text: characters that all names may have."""

    def __init__(self, leaf, run):
        self.leaf, self.run = leaf, run
        self.text = BASE_TEXT + min(4 * len(run.data), MORE_TEXT)

    def summarise(self, root):
        """Set `summary` of `root` and of every Node inside it, children before parents. The loop
        keeps its own stack, as Python's would overflow."""
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
        """The _Summary of a Node whose children have theirs."""
        named = node.type_name in (DICT, ORDERED)
        pairs, leaves, text, height = [], 0, 0, 1
        for index, child in enumerate(node.children()):
            if child.__class__ is self.leaf:
                inner = None
            elif child.__class__ is Node:
                inner = child.summary
                height = max(height, inner.height + 1)
                if not inner.leaves:
                    continue
            else:
                continue
            key = node.items[2 * index] if named else index
            if key.__class__ is int:
                key = str(key)
            elif key.__class__ is not str:
                raise self.run.error("a tensor under a key that is neither text nor an int")
            pairs.append((key, child))
            leaves += inner.leaves if inner else 1
            text += inner.text + inner.leaves * (len(key) + 1) if inner else len(key)
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
        """{name: tensor} of the tensors inside `root`, in the file's order."""
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
    """{name: tensor} of all tensors in a pickle's value, in the file's order.

    root   the value that the Interpreter `run` gave
    leaf   the class of tensors, instances of which stand in the tree

    Keys on the way to a tensor are joined with dots; elements of lists and tuples are numbered. A
    root that is itself a tensor has the name "". LoadError for a value without containers, a
    container that contains itself, a key on the way to a tensor that is neither text nor an int,
    two tensors with one name, and more names or longer ones than the limits allow.
    """
    if root.__class__ is leaf:
        return {"": root}
    if root.__class__ is not Node:
        raise run.error("the pickle holds neither a tensor nor a container of tensors")
    flattener = _Flattener(leaf, run)
    flattener.summarise(root)
    return flattener.names(root)
