# SPDX-License-Identifier: MIT
"""Names for the tensors in the tree that a pickle describes: {"a": {"b": [t0, t1]}} has the tensors
a.b.0 and a.b.1. The objects in it of classes that are not known get such names too.

The tree is made of pickle_tree's Nodes, and a Node may be the child of several others: a list of
two references to a list of two references ... gives 2^100 names from a small file, and a list may
contain itself. Therefore each Node is looked at once, to count the names below it; only if the
counts are within the limits are the names made. What a tensor is, the caller says.
"""

import dataclasses

from .pickle_tree import DICT, MAX_DEPTH, OBJECT, ORDERED, TUPLE, Global, Node, Unread
from .source import show

MAX_NAMES = 100_000  # ten times the storages that an archive may have, which tensors may share
MAX_NAME = 4096  # characters in one name; torch's names of modules have at most a few hundred
# Characters in all names together: BASE_TEXT, and 4 for each byte of the pickle but MORE_TEXT at
# most. A state dict spends about 100 bytes of pickle on each tensor, its name among them, and
# characters take 4 bytes of memory at worst: so names stay near the pickle's size.
BASE_TEXT, MORE_TEXT = 256 << 10, 4 << 20
MAX_KEY_TUPLE = 32  # elements of a tuple that is a key on the way to a tensor
MAX_OPAQUE = 1000  # objects that are named; a file may have very many, and nobody reads further
_SHOWN = 5  # of those that a message names


@dataclasses.dataclass
class Found:
    """What is in a tree, in the file's order.

    tensors   {name: tensor}
    unread    {name: why}: tensors that are there and cannot be read
    opaque    {name: what it is}: objects, and names of classes and functions, that are not looked
              into; each once, under its first name; MAX_OPAQUE of them at most
    """

    tensors: dict
    unread: dict
    opaque: dict

    def refusal(self, leaves):
        """Why a file of no other tensors than these is refused, in words; None if it is not.

        leaves   whether the file has any tensors at all: those inside objects are not here
        """
        if self.tensors or not (self.unread or (leaves and self.opaque)):
            return None
        left = [f"{show(name)} is {what}" for name, what in (self.unread | self.opaque).items()]
        more = f"; and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        advice = "; where it was made, save `model.state_dict()` instead" if self.opaque else ""
        return f"no tensor in it can be read: {'; '.join(left[:_SHOWN])}{more}{advice}"


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
        self.leaves, self.run = (leaf, Unread), run
        self.text = BASE_TEXT + min(4 * len(run.data), MORE_TEXT)

    def summarise(self, root):
        """Set `summary` of `root` and of every Node inside it, children before parents. A Node that
        contains itself is looked at once: its tensors have their names on the way to it. The loop
        keeps its own stack, as Python's would overflow."""
        path = [(root, iter(root.children()))]
        root.summary = _VISITED
        while path:
            node, rest = path[-1]
            for child in rest:
                if child.__class__ is Node and child.summary is None:
                    if len(path) >= MAX_DEPTH:
                        raise self.run.error(f"nested deeper than {MAX_DEPTH}")
                    child.summary = _VISITED
                    path.append((child, iter(child.children())))
                    break
            else:
                path.pop()
                node.summary = self.summary(node)

    def summary(self, node):
        """The _Summary of a Node whose children have theirs, but those that contain it."""
        pairs, leaves, text, height = [], 0, 0, 1
        for index, child in enumerate(node.children()):
            if child.__class__ in self.leaves:
                inner = None
            elif child.__class__ is Node and child.summary is not _VISITED:
                inner = child.summary
                height = max(height, inner.height + 1)
                if not inner.leaves:
                    continue
            else:
                continue
            key = self.key(node, index)
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

    def key(self, node, index):
        """The text for the child `index` of a Node: of a dict's, its key as Python prints it."""
        if node.type_name not in (DICT, ORDERED):
            return str(index)
        key = node.items[2 * index]
        if key.__class__ is str:
            return key
        if key is None or key.__class__ in (bool, int, float):
            return str(key)
        if key.__class__ is Node and key.type_name is TUPLE:
            short = len(key.items) <= MAX_KEY_TUPLE
            if short and all(self._printable(item) for item in key.items):
                return repr(tuple(key.items))
        # Of other keys the value is not known. Their place in the dict tells them apart.
        what = getattr(key, "origin", None) or getattr(key, "name", None) or "key"
        return f"<{what} {index}>"

    def _printable(self, item):
        """Whether an element of a tuple may become part of a name."""
        if item.__class__ is str:
            return len(item) <= MAX_NAME
        return item is None or item.__class__ in (bool, int, float)

    def names(self, root):
        """{name: tensor or Unread} of those inside `root`, in the file's order."""
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

    def opaque(self, root):
        """{name: what it is} as in Found. Nodes must have summaries, which are taken from them:
        None then says that a Node was seen."""
        found, text, tries = {}, 0, 0
        path, keys = [(root, enumerate(root.children()))], []
        root.summary = None
        while path:
            node, rest = path[-1]
            for index, child in rest:
                if child.__class__ is Global:
                    what = f"the name {show(child.name)}"
                elif child.__class__ is not Node or child.summary is None:
                    continue
                else:
                    child.summary = None
                    if child.type_name is not OBJECT:
                        path.append((child, enumerate(child.children())))
                        keys.append((node, index))
                        break
                    what = f"an object of {show(child.origin)}"
                # A name is put together here alone, as few Nodes hold an object.
                name, tries = self.joined([*keys, (node, index)]), tries + 1
                text += len(name)
                if tries > MAX_OPAQUE or text > self.text:
                    return found
                if name:
                    found[name] = what
            else:
                path.pop()
                keys[-1:] = []
        return found

    def joined(self, steps):
        """The name of the child that the steps, [(Node, index)], lead to; "" for a long one."""
        parts, length = [], 0
        for node, index in steps:
            parts.append(self.key(node, index))
            length += len(parts[-1]) + 1
            if length > MAX_NAME:
                return ""
        return ".".join(parts)


def flatten(root, leaf, run):
    """Found of a pickle's value.

    root   the value that the Interpreter `run` gave
    leaf   the class of tensors, instances of which stand in the tree

    Keys on the way to a tensor are joined with dots; elements of lists and tuples are numbered. A
    key that is no text stands as Python prints it, or, if it is an object, as its class and its
    place in the dict. A root that is itself a tensor has the name "".

    LoadError for a value that is neither a tensor nor a container, for two tensors with one name,
    and for more names or longer ones than the limits allow.
    """
    if root.__class__ is leaf:
        return Found({"": root}, {}, {})
    if root.__class__ is Unread:
        raise run.error(f"{root.why}, which is not read")
    if root.__class__ is Global or (root.__class__ is Node and root.type_name is OBJECT):
        raise run.error(
            f"a whole pickled object of class {show(getattr(root, 'origin', None) or root.name)}, "
            "which needs its code to load; where it was made, save `model.state_dict()` instead"
        )
    if root.__class__ is not Node:
        raise run.error("the pickle holds neither a tensor nor a container of tensors")
    flattener = _Flattener(leaf, run)
    flattener.summarise(root)
    names = flattener.names(root)
    found = Found({}, {}, flattener.opaque(root))
    for name, tensor in names.items():
        if tensor.__class__ is Unread:
            found.unread[name] = tensor.why
        else:
            found.tensors[name] = tensor
    return found
