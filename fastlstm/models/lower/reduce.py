# SPDX-License-Identifier: MIT
"""Reductions, and what else goes along axes: ArgMax, ArgMin, TopK, CumSum, CumProd."""

from .builder import lowers

# In the order of the enum of csrc/ops/reduce.h.
REDUCTIONS = (
    "ReduceSum",
    "ReduceMean",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceProd",
    "ReduceMax",
    "ReduceMin",
)


@lowers(*REDUCTIONS)
def reduce(b, node):
    axes = []
    if len(node.inputs) > 1 and node.inputs[1]:
        axes = b.due(node, 1, "axes").reshape(-1).tolist()
    if not axes and not node.attrs.get("noop_with_empty_axes", 0):
        axes = list(range(len(b.shape(node.inputs[0]))))
    ints = [REDUCTIONS.index(node.op), node.attrs.get("keepdims", 1), *axes]
    b.emit(node, "reduce", ints, inputs=node.inputs[:1])


@lowers("ArgMax", "ArgMin")
def argmax(b, node):
    get = node.attrs.get
    ints = [get("axis", 0), get("keepdims", 1), get("select_last_index", 0)]
    b.emit(node, node.op.lower(), ints)


@lowers("TopK")
def topk(b, node):
    b.emit(node, "topk", [node.attrs.get("axis", -1), node.attrs.get("largest", 1)])


@lowers("CumSum", "CumProd")
def cumsum(b, node):
    axis = b.due(node, 1, "axis").reshape(-1)
    if axis.size != 1:
        raise node.error(f"axis has {axis.size} numbers, one is due")
    get = node.attrs.get
    ints = [axis[0], get("exclusive", 0), get("reverse", 0)]
    b.emit(node, node.op.lower(), ints, inputs=node.inputs[:1])
