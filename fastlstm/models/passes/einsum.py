# SPDX-License-Identifier: MIT
"""Einsum as MatMuls between transposes, two arrays after the other from the left. Before, each
array loses the letters that it has alone and the result does not have: they are summed. Of two
arrays the letters are then of four sorts:

    batch     in both arrays and in the rest        summed   in both, not in the rest
    left      in the first alone                    right    in the second alone

where the rest is the result and the arrays that follow. One left letter becomes the rows of the
first matrix, and one right letter the columns of the second; further ones are batch axes along
which the other array has size 1. Several summed letters become one axis. A letter that one array
has twice stands for its diagonal. An ellipsis has letters of its own (equation.py).
"""

import numpy as np

from ..equation import terms_of


class _Sum:
    """An Einsum while its nodes are made. Arrays are pairs: (name, letters of its axes)."""

    def __init__(self, edit, node):
        self.edit, self.node, self.made = edit, node, []

    def add(self, op, inputs, outputs=1, **attrs):
        self.made.append(self.edit.node(op, inputs, outputs, self.node, **attrs))
        return self.made[-1].outputs[0]

    def ints(self, *values):
        return self.edit.constant("ints", np.array(values, np.int64))

    def diagonal(self, name, letters):
        """Of the first letter that is there twice: its two axes become the last ones, then one of
        n * n elements, of which every (n + 1)st stays."""
        twice = next((c for c in letters if letters.count(c) > 1), None)
        if twice is None:
            return name, letters
        first = letters.index(twice)
        second = letters.index(twice, first + 1)
        rest = [i for i in range(len(letters)) if i not in (first, second)]
        sizes = {self.edit.shape(name)[i] for i in (first, second)}
        if None in sizes or len(sizes) > 1:
            raise self.node.not_known(f"the diagonal of axes of the sizes {sorted(sizes, key=str)}")
        n = sizes.pop()
        name = self.add("Transpose", [name], perm=[*rest, first, second])
        name = self.add("Reshape", [name, self.ints(*[0] * len(rest), n * n)])
        ends = self.ints(0), self.ints(n * n), self.ints(len(rest)), self.ints(n + 1)
        name = self.add("Slice", [name, *ends])
        return self.diagonal(name, "".join(letters[i] for i in rest) + twice)

    def without(self, name, letters, kept):
        """The sum over all letters that are not among `kept`."""
        axes = [i for i, c in enumerate(letters) if c not in kept]
        if axes:
            name = self.add("ReduceSum", [name, self.ints(*axes)], keepdims=0)
        return name, "".join(c for c in letters if c in kept)

    def arranged(self, name, have, want):
        """`name` with the axes `want`: letters that it does not have become axes of size 1."""
        perm = [have.index(c) for c in want if c in have]
        if perm != sorted(perm):
            name = self.add("Transpose", [name], perm=perm)
        new = [i for i, c in enumerate(want) if c not in have]
        return self.add("Unsqueeze", [name, self.ints(*new)]) if new else name

    def one_axis(self, name, before, count):
        """The last `count` axes as one, behind `before` others."""
        return self.add("Reshape", [name, self.ints(*[0] * before, -1)]) if count > 1 else name

    def product(self, one, other, kept):
        """Two arrays become one, whose letters are among `kept`."""
        (x, a), (y, b) = one, other
        summed = [c for c in a if c in b and c not in kept]
        both = [c for c in a if c in b and c in kept]
        left = [c for c in a if c not in b]
        right = [c for c in b if c not in a]
        row, column = left[-1:] or ["-"], right[-1:] or ["+"]
        batch = [*both, *left[:-1], *right[:-1]]
        k = summed or ["="]
        x = self.one_axis(self.arranged(x, a, [*batch, *row, *k]), len(batch) + 1, len(k))
        if len(k) > 1:
            y = self.one_axis(self.arranged(y, b, [*batch, *column, *k]), len(batch) + 1, len(k))
            y = self.add("Transpose", [y], perm=[*range(len(batch)), len(batch) + 1, len(batch)])
        else:
            y = self.arranged(y, b, [*batch, *k, *column])
        name = self.add("MatMul", [x, y])
        letters = [*batch, *row, *column]
        gone = [i for i, c in enumerate(letters) if c in "-+"]
        if gone:
            name = self.add("Squeeze", [name, self.ints(*gone)])
        return name, "".join(c for c in letters if c not in "-+")


def _one(edit, node):
    """The nodes that take the place of an Einsum."""
    terms, result = terms_of(node, [len(edit.shape(name)) for name in node.inputs])
    sum = _Sum(edit, node)
    arrays = [sum.diagonal(*pair) for pair in zip(node.inputs, terms, strict=True)]
    for i, (name, letters) in enumerate(arrays):
        others = "".join(other for j, (_, other) in enumerate(arrays) if j != i)
        arrays[i] = sum.without(name, letters, result + others)
    whole = arrays[0]
    for i in range(1, len(arrays)):
        rest = "".join(letters for _, letters in arrays[i + 1 :])
        whole = sum.product(whole, arrays[i], result + rest)
    name, letters = whole
    perm = [letters.index(c) for c in result]
    sum.add("Transpose", [name], node.outputs, perm=perm)
    return sum.made


def einsum(edit):
    """All Einsums."""
    nodes = []
    for node in edit.graph.nodes:
        nodes += _one(edit, node) if node.op == "Einsum" else [node]
    edit.graph.nodes = nodes
    edit.look()
