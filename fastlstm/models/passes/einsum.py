# SPDX-License-Identifier: MIT
"""Einsum of two arrays as one MatMul between transposes. Letters are of four sorts:

    batch     in both arrays and in the result      summed   in both, not in the result
    left      in the first and the result alone     right    in the second and the result alone

One left letter becomes the rows of the first matrix, and one right letter the columns of the
second; further ones are batch axes along which the other array has size 1.
"""

import numpy as np


def _letters(node):
    """(letters of a, letters of b, letters of the result), or None if it is not of this sort."""
    equation = node.attrs["equation"].replace(" ", "")
    inputs, arrow, result = equation.partition("->")
    terms = inputs.split(",")
    if not arrow or len(terms) != 2 or "." in equation:
        return None
    a, b = terms
    for term in (a, b, result):
        if len(set(term)) != len(term):
            return None
    alone = (set(a) ^ set(b)) - set(result)
    return None if alone else (a, b, result)


def _arranged(edit, node, name, have, want):
    """Nodes that bring `name`, with the axes `have`, to the axes `want`, letters of which those
    that it does not have become axes of size 1; and the name of the result."""
    perm = [have.index(letter) for letter in want if letter in have]
    made = []
    if perm != sorted(perm):
        made.append(edit.node("Transpose", [name], 1, node, perm=perm))
        name = made[-1].outputs[0]
    new = [i for i, letter in enumerate(want) if letter not in have]
    if new:
        axes = edit.constant("axes", np.array(new))
        made.append(edit.node("Unsqueeze", [name, axes], 1, node))
        name = made[-1].outputs[0]
    return made, name


def _one(edit, node):
    """The nodes that take the place of an Einsum, or None."""
    found = _letters(node)
    if found is None:
        return None
    a, b, result = found
    summed = [n for n in a if n in b and n not in result]
    left = [n for n in a if n not in b]
    right = [n for n in b if n not in a]
    if len(summed) > 1:
        return None
    row, column = left[-1:] or ["-"], right[-1:] or ["+"]
    batch = [n for n in result if n not in (*row, *column)]
    k = summed or ["="]
    first, x = _arranged(edit, node, node.inputs[0], a, [*batch, *row, *k])
    second, y = _arranged(edit, node, node.inputs[1], b, [*batch, *k, *column])
    made = [*first, *second, edit.node("MatMul", [x, y], 1, node)]
    have = [*batch, *row, *column]
    gone = [i for i, n in enumerate(have) if n not in result]
    if gone:
        axes = edit.constant("axes", np.array(gone))
        made.append(edit.node("Squeeze", [made[-1].outputs[0], axes], 1, node))
        have = [n for n in have if n in result]
    perm = [have.index(n) for n in result]
    made.append(edit.node("Transpose", made[-1].outputs, node.outputs, node, perm=perm))
    return made


def einsum(edit):
    """All Einsums of two arrays; others stay."""
    nodes = []
    for node in edit.graph.nodes:
        made = _one(edit, node) if node.op == "Einsum" and len(node.inputs) == 2 else None
        nodes += [node] if made is None else made
    edit.graph.nodes = nodes
    edit.look()
