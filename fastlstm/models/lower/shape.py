# SPDX-License-Identifier: MIT
"""Operators that change or tell shapes and move nothing."""

import numpy as np

from .builder import lowers


@lowers("Reshape")
def reshape(b, node):
    b.emit(node, "reshape", [node.attrs.get("allowzero", 0)])


def _axes(b, node):
    if len(node.inputs) < 2 or not node.inputs[1]:
        return []
    return [int(n) for n in b.due(node, 1, "axes").reshape(-1)]


@lowers("Squeeze")
def squeeze(b, node):
    b.emit(node, "squeeze", _axes(b, node), inputs=node.inputs[:1])


@lowers("Unsqueeze")
def unsqueeze(b, node):
    b.emit(node, "unsqueeze", _axes(b, node), inputs=node.inputs[:1])


@lowers("Flatten")
def flatten(b, node):
    b.emit(node, "flatten", [node.attrs.get("axis", 1)])


@lowers("Identity")
def identity(b, node):
    axes = len(b.shape(node.inputs[0]))
    if axes:
        b.emit(node, "reshape", [0], inputs=[node.inputs[0], b.constant(np.zeros(axes, np.int64))])
    else:
        b.emit(node, "unsqueeze", [])


@lowers("Shape")
def shape(b, node):
    end = node.attrs.get("end")
    b.emit(node, "shape", [node.attrs.get("start", 0), 2**31 if end is None else end],
           of_shapes=True)  # fmt: skip


@lowers("Size")
def size(b, node):
    b.emit(node, "size", of_shapes=True)
