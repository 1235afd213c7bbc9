# SPDX-License-Identifier: MIT
"""Softmax and normalizations. BatchNormalization is elementwise: pointwise.py."""

import numpy as np

from .builder import lowers


@lowers("Softmax")
def softmax(b, node):
    b.emit(node, "softmax", [node.attrs.get("axis", -1)])


@lowers("LogSoftmax")
def log_softmax(b, node):
    b.emit(node, "log_softmax", [node.attrs.get("axis", -1)])


@lowers("LayerNormalization")
def layer_normalization(b, node):
    _rows(b, node, "layer_norm")


@lowers("RMSNormalization")
def rms_normalization(b, node):
    _rows(b, node, "rms_norm")


@lowers("InstanceNormalization")
def instance_normalization(b, node):
    b.emit(node, "group_norm", [0], [node.attrs.get("epsilon", 1e-5)])


@lowers("GroupNormalization")
def group_normalization(b, node):
    groups = node.attrs.get("num_groups", 0)
    if groups < 1:
        raise node.error(f"num_groups is {groups}, at least 1 is due")
    b.emit(node, "group_norm", [groups], [node.attrs.get("epsilon", 1e-5)])


def _rows(b, node, operator):
    axis = node.attrs.get("axis", -1)
    sizes = b.shape(node.inputs[0])[axis:]
    inputs = [node.inputs[0], *(_expanded(b, name, sizes) for name in node.inputs[1:])]
    b.emit(node, operator, [axis], [node.attrs.get("epsilon", 1e-5)], inputs=inputs)


def _expanded(b, name, sizes):
    """A constant scale or bias repeated to the normalized axes, where it is smaller."""
    known = b.known(name)
    if known is None or known.shape == sizes or None in sizes:
        return name
    try:
        return b.constant(np.broadcast_to(known, sizes).astype(np.float32))
    except ValueError:
        return name  # the operator refuses it
