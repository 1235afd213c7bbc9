# SPDX-License-Identifier: MIT
"""Recurrent cells that an exporter wrote out as single operators become Recurrent again.

    LSTM    z = x W^T + h R^T + b, parted into four gates;  c' = f c + i g;  h' = o tanh(c')
    RNN     h' = tanh(x W^T + h R^T + b), or relu; h must be a state, since much else looks alike
    GRU     p = x W^T + b, q = h R^T + b, parted into three;  r, z = sigmoid(p + q);
            n = tanh(p_n + r q_n);  h' = n + z (h - n), or (1 - z) n + z h

The order of the gates is read off the parts that are used, so any exporter's will do. The cells of
an unrolled loop become one layer in join.py.
"""

import dataclasses

import numpy as np

from ...engine.variants import RELU
from ...files.description import Layer
from .edit import in_order


class _Cell:
    """How to look at the graph around one node."""

    def __init__(self, edit):
        self.edit = edit
        self.names = {value.name for value in edit.graph.inputs}
        self.layers = {}  # {what a cell is made of: (Layer, weights)}

    def maker(self, name, op):
        """The node that makes `name`, if it is an `op`; else None."""
        node = self.edit.makers.get(name)
        return node if node is not None and node.op == op else None

    def operands(self, name, op):
        """[(one, other), (other, one)] of a node `op` with two inputs that makes `name`."""
        node = self.maker(name, op)
        if node is None or len(node.inputs) != 2:
            return []
        one, other = node.inputs
        return [(one, other), (other, one)]

    def of(self, name, op):
        """What `op` is applied to to give `name`, or None."""
        node = self.maker(name, op)
        return node.inputs[0] if node is not None else None

    def part(self, name, count):
        """(whole, i) if `name` is part i of `count` equal parts of a matrix's columns; or None."""
        edit, node = self.edit, self.edit.makers.get(name)
        if node is None or not edit.shape(name) or edit.shape(name)[-1] is None:
            return None
        width, whole = edit.shape(name)[-1], node.inputs[0]
        rank = len(edit.shape(whole))
        if edit.shape(whole)[-1] != count * width or rank != len(edit.shape(name)):
            return None
        outputs = len(node.outputs)
        if node.op == "Split" and outputs <= count and node.attrs.get("axis", 0) % rank == rank - 1:
            sizes = [edit.shape(n)[-1] if n else width for n in node.outputs]
            if len(node.outputs) > 1 and set(sizes) == {width}:
                return whole, node.outputs.index(name)
        if node.op == "Slice" and len(node.inputs) in (4, 5):
            starts, ends, axes, *steps = (edit.value(n) for n in node.inputs[1:])
            if any(v is None or v.size != 1 for v in (starts, ends, axes, *steps)):
                return None
            start, axis = int(starts.reshape(-1)[0]), int(axes.reshape(-1)[0])
            step = int(steps[0].reshape(-1)[0]) if steps else 1
            start = start + count * width if start < 0 else start
            if axis % rank == rank - 1 and step == 1 and start % width == 0:
                return whole, start // width
        return None

    def linear(self, name):
        """(x, W, b or None) of a Linear that makes `name`; or None."""
        node = self.maker(name, "Linear")
        if node is None or node.attrs or len(node.inputs) > 3 or len(self.edit.shape(name)) != 2:
            return None
        b = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2] else None
        return node.inputs[0], self.edit.value(node.inputs[1]), b and self.edit.value(b)

    def two_linears(self, name, gates):
        """(the input's, the state's) of the two Linears whose sum is `name`; or None."""
        for one, other in self.operands(name, "Add")[:1]:
            a, b = self.linear(one), self.linear(other)
            if a is not None and b is not None and a[1].shape[0] == b[1].shape[0]:
                return self.ordered(a, b, gates)
        return None

    def is_state(self, name):
        """How likely is this value a state, and not an input? 2: the state of a cell that was
        found, or the same number in all places; 1: an input of the model, cut and reshaped; 0."""
        for _ in range(8):
            if name in self.names:
                return 1
            node = self.edit.makers.get(name)
            if node is None:
                return 2 * (self.edit.value(name) is not None)
            if node.op == "Recurrent":
                return 2 * (node.outputs.index(name) > 0)
            if node.op == "ConstantOfShape":
                return 2
            if node.op not in ("Squeeze", "Unsqueeze", "Reshape", "Slice", "Gather", "Split",
                               "Expand", "Identity"):  # fmt: skip
                return 0
            name = node.inputs[0]
        return 0

    def ordered(self, one, other, gates):
        """(input, state) of two Linears, of which the state's has as many columns as each of the
        gates has rows; or None."""
        hidden = one[1].shape[0] // gates
        fits = [n for n in (other, one) if n[1].shape[1] == hidden]
        if not fits:
            return None
        state = max(fits, key=lambda n: self.is_state(n[0]))
        return (other, state) if state is one else (one, state)

    def lstm(self, c_next, h_next):
        """(x, h, c, Layer, weights) if these are an LSTM cell's; or None."""
        for kept, new in self.operands(c_next, "Add"):
            for f, c in self.operands(kept, "Mul"):
                for i, g in self.operands(new, "Mul"):
                    found = self._lstm(h_next, c_next, f, c, i, g)
                    if found is not None:
                        return found
        return None

    def _lstm(self, h_next, c_next, f, c, i, g):
        gates = [self.of(f, "Sigmoid"), self.of(i, "Sigmoid"), self.of(g, "Tanh")]
        if None in gates:
            return None
        for o, tanh in self.operands(h_next, "Mul"):
            if self.of(tanh, "Tanh") == c_next and self.of(o, "Sigmoid") is not None:
                f, i, g, o = *gates, self.of(o, "Sigmoid")
                parts = [self.part(name, 4) for name in (i, f, g, o)]
                break
        else:
            return None
        if None in parts or len({whole for whole, _ in parts}) != 1:
            return None
        if sorted(at for _, at in parts) != [0, 1, 2, 3]:
            return None
        linears = self.two_linears(parts[0][0], 4)
        return self._made("LSTM", linears, [at for _, at in parts], c)

    def _made(self, kind, linears, order, c):
        """linears: the input's and the state's, or None."""
        if linears is None:
            return None
        (x, w, b), (h, r, b2) = linears
        hidden = w.shape[0] // len(order)
        rows = [self.edit.shape(name)[0] for name in (x, h)]
        if r.shape != (w.shape[0], hidden) or rows[0] != rows[1]:
            return None
        if c and self.edit.shape(c) != (rows[0], hidden):
            return None
        key = kind, *(id(a) for a in (w, b, r, b2)), *order
        if key in self.layers:  # of a loop's step before: all have the same arrays
            return x, h, c, *self.layers[key]
        weights = {"weight_ih_l0": w, "weight_hh_l0": r}
        if b is not None or b2 is not None:
            none = np.zeros(w.shape[0], np.float32)
            weights["bias_ih_l0"] = none if b is None else b
            weights["bias_hh_l0"] = none if b2 is None else b2
        parts = np.concatenate([np.arange(at * hidden, (at + 1) * hidden) for at in order])
        self.edit.charge(w.nbytes + r.nbytes)
        weights = {n: np.ascontiguousarray(a[parts], np.float32) for n, a in weights.items()}
        layer = Layer(kind, w.shape[1], hidden, bias="bias_ih_l0" in weights)
        self.layers[key] = layer, weights
        return x, h, c, layer, weights

    def gru(self, h_next):
        """The same of a GRU cell; c is ""."""
        for one, other in self.operands(h_next, "Add"):
            for z, rest in self.operands(one, "Mul"):
                gate = self.of(z, "Sigmoid")
                if gate is None:
                    continue
                difference = self.maker(rest, "Sub")
                if difference is not None and difference.inputs[1] == other:
                    found = self._gru(gate, other, difference.inputs[0])
                else:
                    found = self._weighted_gru(z, gate, rest, other)
                if found is not None:
                    return found
        return None

    def _weighted_gru(self, z, gate, h, other):
        """h' = z h + (1 - z) n."""
        for left, n in self.operands(other, "Mul"):
            difference = self.maker(left, "Sub")
            if difference is None or difference.inputs[1] != z:
                continue
            one = self.edit.value(difference.inputs[0])
            if one is not None and one.size == 1 and one.reshape(-1)[0] == 1:
                found = self._gru(gate, n, h)
                if found is not None:
                    return found
        return None

    def _gru(self, z, n, h):
        """z: the sum under the gate z; n: the new values; h: the state."""
        inner = self.of(n, "Tanh")
        for p_n, product in self.operands(inner, "Add") if inner else []:
            for r, q_n in self.operands(product, "Mul"):
                reset = self.of(r, "Sigmoid")
                sums = [self.operands(name, "Add") for name in (reset, z)] if reset else [[]]
                if not all(sums):
                    continue
                p, q = self.part(p_n, 3), self.part(q_n, 3)
                if p is None or q is None or p[1] != q[1]:
                    continue
                order = [self._same_part(s[0], p[0], q[0]) for s in sums] + [p[1]]
                if None in order or sorted(order) != [0, 1, 2]:
                    continue
                linears = self.linear(p[0]), self.linear(q[0])
                if None in linears or linears[1][0] != h:
                    continue
                found = self._made("GRU", linears, order, "")
                if found is not None:
                    return found
        return None

    def rnn(self, node):
        """The same of an RNN cell."""
        linears = self.two_linears(node.inputs[0], 1)
        if linears is None or not self.is_state(linears[1][0]):
            return None
        found = self._made("RNN", linears, [0], "")
        if found is None:
            return None
        x, h, c, layer, weights = found
        if node.op == "Relu":
            layer = dataclasses.replace(layer, activations=((RELU,),))
        return x, h, c, layer, weights

    def _same_part(self, names, p, q):
        """Which part of p and of q the two names are, if it is the same of both; or None."""
        parts = [self.part(name, 3) for name in names]
        if None in parts or {parts[0][0], parts[1][0]} != {p, q} or parts[0][1] != parts[1][1]:
            return None
        return parts[0][1]


def cells(edit):
    """All cells of the graph. The nodes that computed them stay if somebody else reads them."""
    look, axis = _Cell(edit), None
    nodes, made = [], {}
    for node in edit.graph.nodes:
        nodes.append(node)
        if node.op not in ("Mul", "Add", "Tanh", "Relu"):
            continue
        h_next, found, c_next = node.outputs[0], None, ""
        if node.op in ("Tanh", "Relu"):
            found = look.rnn(node)
        elif node.op == "Mul":
            for _, tanh in look.operands(h_next, "Mul"):
                c_next = look.of(tanh, "Tanh")
                found = look.lstm(c_next, h_next) if c_next else None
                if found is not None:
                    break
        else:
            found = look.gru(h_next)
        if found is None:
            continue
        x, h, c, layer, weights = found
        axis = axis or edit.constant("axes", np.array([0]))
        lifted = [edit.node("Unsqueeze", [n, axis], 1, node) for n in (x, h, c) if n]
        names = [n.outputs[0] for n in lifted]
        states = 2 if c else 1
        run = edit.node(
            "Recurrent", [names[0], "", *names[1:]], 1 + states, node, layer=layer, weights=weights
        )
        lowered = [edit.node("Squeeze", [run.outputs[1], axis], [h_next], node)]
        if c:
            lowered.append(edit.node("Squeeze", [run.outputs[2], axis], [c_next], node))
        made[id(node)] = [*lifted, run, *lowered]
        for new in made[id(node)]:
            for name in new.outputs:
                edit.makers[name] = new
    if made:
        _put(edit, made)


def _put(edit, made):
    """Puts the new nodes where the last node of each cell was, and leaves out the nodes that made
    the same values before, and what nobody reads any more."""
    new = {name for group in made.values() for node in group for name in node.outputs}
    nodes = []
    for node in edit.graph.nodes:
        if id(node) in made:
            nodes += made[id(node)]
        elif new.isdisjoint(node.outputs):
            nodes.append(node)
    # c' may be read before h' is made: by tanh, which nobody reads now, or by others.
    edit.graph.nodes = in_order(nodes)
    edit.tidy()
