# SPDX-License-Identifier: MIT
"""What does not depend on the inputs is computed now, and branches of If are chosen.

    flat, facts = simplify(graph, inputs, max_bytes)

`flat` has no If and no node whose outputs are constant or that nobody needs; facts tells of each of
its names what is known. A graph computes much from the shapes of its inputs, and sizes that are
free are not known here. A branch that depends on one cannot be chosen: graph.NotKnown says so, and
the caller plans again with the sizes of the call at hand.
"""

import dataclasses

import numpy as np

from ..graph import MALFORMED, Graph, ModelError, Node
from ..infer import WRAPPING, constant, infer, run_dtype
from ..reference import TABLE, compute
from ..reference.call import DTYPES
from .edit import dead_nodes_left_out

# Values computed when a model is planned may take this many bytes in all beside the file's own: 16
# times those, and MORE_FOLDED.
FOLDED, MORE_FOLDED = 16, 64 << 20
MOST_NODES = 200_000  # of a graph with its branches chosen
# Elements that may be read to compute them, for each of the file's bytes and of MORE_FOLDED: some
# seconds. Of PRODUCTS each element of one array may meet each of another.
WORK = 64
PRODUCTS = {
    "MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "MatMulInteger", "ConvInteger",
    "QLinearMatMul", "QLinearConv", "Linear", "LSTM", "GRU", "RNN", "DynamicQuantizeLSTM",
    "Compress", "Det", "DFT", "STFT", "Resize",
}  # fmt: skip

_CODES = {name: code for code, name in DTYPES.items() if code != 16}


def _of_one_float(values):
    """Arrays of which those of floats have one dtype. A file's have; but where it converts to the
    type of a value that the C core holds in float32, they may differ here."""
    kinds = {v.dtype for v in values if v is not None and v.dtype.kind == "f"}
    if len(kinds) < 2:
        return values
    return [v.astype(np.float32) if v is not None and v.dtype.kind == "f" else v for v in values]


class _Walk:
    """One walk over a graph and the branches it takes."""

    def __init__(self, size, max_bytes):
        self.facts, self.constants, self.nodes = {}, {}, []
        self.names = {}  # {a name of the graph at hand: the value it stands for here}
        self.used = set()
        self.left = FOLDED * size + MORE_FOLDED
        self.work = WORK * (size + MORE_FOLDED)
        self.max_bytes = max_bytes

    def charge(self, node, nbytes):
        self.left -= nbytes
        if self.left < 0:
            raise node.error("its constants need far more memory than the file has bytes")

    def charge_work(self, node, values):
        """About how many elements a node reads, and how many it multiplies by one another: where
        two arrays share a size, that is what is summed over."""
        arrays = sorted((v for v in values if v is not None), key=lambda v: -v.size)
        work = sum(v.size for v in arrays)
        if node.op in PRODUCTS and len(arrays) > 1:
            summed = max(set(arrays[0].shape) & set(arrays[1].shape), default=1)
            work += arrays[0].size * arrays[1].size // max(summed, 1)
        self.work -= work
        if self.work < 0:
            raise node.error("its constants need far more work than the file has bytes")

    def unique(self, name):
        """A name that no other value of the flat graph has."""
        found, count = name, 1
        while found in self.used:
            count += 1
            found = f"{name}#{count}"
        self.used.add(found)
        return found

    def give(self, name, fact):
        """A new value of the flat graph for a name of the graph at hand."""
        self.names[name] = own = self.unique(name)
        self.facts[own] = fact
        if fact.constant is not None:
            self.constants[own] = fact.constant
        return own

    def graph(self, graph):
        for name, array in graph.constants.items():
            self.give(name, constant(array))
        for node in graph.nodes:
            if len(self.nodes) > MOST_NODES:
                raise ModelError(f"more than {MOST_NODES} nodes")
            self.node(node)

    def node(self, node):
        try:
            self.of_node(node)
        except ModelError:
            raise
        except MALFORMED:
            raise node.error("its inputs and attributes do not fit together") from None

    def of_node(self, node):
        if node.op == "If":
            return self.branch(node)
        if node.op == "Identity" and node.inputs[0]:
            self.names[node.outputs[0]] = self.names[node.inputs[0]]
            return None
        inputs = [self.names[n] if n else "" for n in node.inputs]
        here = Node(node.op, inputs, node.outputs, node.attrs, node.name)
        if node.op == "CastLike":
            fact = self.facts[inputs[1]]
            to = _CODES[(fact.narrow or fact.dtype).name]
            here = Node("Cast", inputs[:1], node.outputs, {"to": to}, node.name)
        found = self.fold(here)
        if found is None and self.does_nothing(here):
            self.names[node.outputs[0]] = inputs[0]
            return None
        if found is None:
            if node.op not in TABLE:
                raise node.not_covered()
            found = [
                constant(f) if isinstance(f, np.ndarray) else f for f in infer(here, self.facts)
            ]
        here.outputs = [
            self.give(n, f) if n else "" for n, f in zip(node.outputs, found, strict=False)
        ]
        if any(self.facts[n].constant is None for n in here.outputs if n):
            self.append(here)
        return None

    def append(self, node):
        """A node of the flat graph; one whose numbers may be out of their range gets a Cast behind
        it, which wraps them around."""
        self.nodes.append(node)
        fact = self.facts[node.outputs[0]] if node.outputs[0] else None
        if fact is None or node.op not in WRAPPING or not fact.narrow or fact.parts:
            return
        wide = self.unique(f"{node.outputs[0]}@wide")
        self.facts[wide] = dataclasses.replace(fact, narrow=None)
        to = {"to": _CODES[fact.narrow.name]}
        self.nodes.append(Node("Cast", [wide], [node.outputs[0]], to, node.name))
        node.outputs = [wide, *node.outputs[1:]]

    def does_nothing(self, node):
        """Is its output its input, as the C core holds it?"""
        if node.op == "Dropout":
            self.check_dropout(node)
            return not any(node.outputs[1:])
        if node.op == "Cast":
            due = np.dtype(DTYPES.get(node.attrs.get("to"), "O"))
            fact = self.facts[node.inputs[0]]
            return run_dtype(due) == fact.dtype and (
                due.kind == "f" or due == (fact.narrow or fact.dtype)
            )
        if node.op in ("Slice", "Expand", "Reshape", "Tile", "Pad"):
            shape = self.facts[node.inputs[0]].shape
            # A Slice with a step of -1 keeps the shape, and Pad may take as much as it gives.
            return (
                None not in shape and self._kept(node) and infer(node, self.facts)[0].shape == shape
            )
        return False

    def check_dropout(self, node):
        """ModelError unless it is that of inference, which does nothing."""
        ratio, training = (
            self.facts[n] if n else constant(np.array(default))
            for n, default in zip([*node.inputs, "", ""][1:3], (0.5, False), strict=True)
        )
        if training.constant is None or ratio.constant is None:
            raise node.not_known("whether it is dropout of training is computed as the model runs")
        if training.constant.any() and ratio.constant.any():
            raise node.error("dropout of training: random numbers are not drawn")

    def _kept(self, node):
        values = [self.facts[n].constant for n in node.inputs[1:] if n]
        if any(v is None for v in values):
            return False
        if node.op == "Slice":
            return len(values) < 4 or (values[3] > 0).all()
        return node.op != "Pad" or not values[0].any()

    def fold(self, node):
        """[Fact] of outputs that are constant, or None."""
        values = [self.facts[n].constant if n else None for n in node.inputs]
        if node.op not in TABLE or not all(
            v is not None or not n for v, n in zip(values, node.inputs, strict=True)
        ):
            return None
        if node.op in ("Shape", "Size") or node.op.startswith("Random"):
            return None
        self.charge_work(node, values)
        made = compute(node, _of_one_float(values), min(self.left, self.max_bytes))
        self.charge(node, sum(a.nbytes for a in made if a is not None))
        if any(a is not None and run_dtype(a.dtype) is None for a in made):
            raise node.error(f"a constant of the type {made[0].dtype}")
        return [constant(a) for a in made]

    def branch(self, node):
        condition = self.facts[self.names[node.inputs[0]]].constant
        if condition is None:
            raise node.not_known("which branch it takes depends on the values or sizes of inputs")
        if condition.size != 1:
            raise node.error(f"a condition of the shape {condition.shape}")
        body = node.attrs["then_branch" if condition.reshape(-1)[0] else "else_branch"]
        if len(body.outputs) != len(node.outputs):
            raise node.error(f"{len(node.outputs)} outputs, its branch has {len(body.outputs)}")
        # Its names stay, since no node behind the If has one of them: Graph.check has seen to it.
        self.graph(body)
        made = [self.names[value.name] for value in body.outputs]
        for name, value in zip(node.outputs, made, strict=True):
            if name:
                self.names[name] = value


def simplify(graph, inputs, max_bytes=1 << 30):
    """(the flat Graph, {name: Fact}).

    inputs      {name: Fact} of graph.inputs; an input whose value is pinned has a constant
    max_bytes   of any one array that is computed here

    ModelError, with the node, for what does not fit or is not covered; NotKnown.
    """
    size = sum(a.nbytes for a in graph.constants.values())
    walk = _Walk(size, max_bytes)
    for value in graph.inputs:
        walk.give(value.name, inputs[value.name])
    walk.graph(graph)
    for value in graph.outputs:
        if value.name not in walk.names:
            raise ModelError(f"{value.name!r} is an output that its node's operator does not have")
    outputs = [walk.names[value.name] for value in graph.outputs]
    nodes, needed = dead_nodes_left_out(walk.nodes, outputs)
    constants = {n: a for n, a in walk.constants.items() if n in needed or n in outputs}
    flat = Graph(graph.inputs, graph.outputs, nodes, constants, graph.name)
    flat.results = outputs
    return flat, walk.facts
