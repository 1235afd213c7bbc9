# SPDX-License-Identifier: MIT
"""Recurrent cells that an exporter wrote as single operators instead of as LSTM, GRU or RNN, which
no reader puts together again: they are found here so that the error can name them.

With s = Sigmoid and t = Tanh of anything, * = Mul, what is looked for are
    LSTM  Add(s * c, s * t)                                    c' = f c + i g
    GRU   Add((h - n) * z, n)  or  Add((1 - z) * n, z * h)     h' = n + z (h - n), where z is an s,
                                                               and n a t of r * something, r an s
    RNN   Tanh or Relu of W @ x + R @ h, where h is such a value with one of the same constants; or
          where h is an input and h' an output of a graph: a Loop's body, or a model of one step
PyTorch's exporters write loops over LSTMCell, GRUCell and RNNCell so, and the one that goes through
torch.export nn.RNN too. Every step of a loop makes such a group of nodes: those whose products have
the same constants are one cell. Operators that only cut or move values are looked through.
"""

from .graph import Node
from .tensor import Tensor

_MOVES = {
    "Identity", "Cast", "Split", "Slice", "Gather", "Squeeze", "Unsqueeze", "Reshape", "Flatten",
    "Transpose", "Dropout",
}  # fmt: skip
_PRODUCTS = ("Gemm", "MatMul")
_HOPS = 6  # operators of _MOVES that are looked through between two of a pattern
_TERMS = 6  # of one sum, and Adds that it is made by


class _Values:
    """How the values of one graph are made. A value is given by its name.

    origins    {name: (the name before all _MOVES, the Node or Tensor that makes it, or None)}
    sums       {name: what terms gave}         products   {name: what product_terms gave}
    """

    def __init__(self, graph):
        self.graph, self.origins, self.sums, self.products = graph, {}, {}, {}

    def origin(self, name):
        """(the value that `name` is a cut of, or moved; the Node or Tensor that makes that, None
        for a graph's input)."""
        if name not in self.origins:
            self.graph.wire.charge(200)
            last, (_, made) = name, self.graph.scope(name)
            for _ in range(_HOPS):
                if made.__class__ is not Node or made.op not in _MOVES or not made.inputs:
                    break
                last = made.inputs[0]
                _, made = self.graph.scope(last)
            self.origins[name] = (last, made)
        return self.origins[name]

    def made_by(self, name, *ops):
        """The Node that makes a value, if its operator is one of `ops`, else None."""
        made = (self.origins[name] if name in self.origins else self.origin(name))[1]
        return made if made.__class__ is Node and made.op in ops else None

    def factors(self, name):
        """The two factors of a product by Mul; () for any other value."""
        node = self.made_by(name, "Mul")
        return node.inputs if node and len(node.inputs) == 2 else ()

    def terms(self, name):
        """The values whose sum `name` is, at most _TERMS; one that is no sum is its only term."""
        if name not in self.sums:
            self.graph.wire.charge(160)
            found, waiting, adds = [], [name], 0
            while waiting and len(found) < _TERMS:
                each = waiting.pop()
                node = self.made_by(each, "Add") if adds < _TERMS else None
                if node and len(node.inputs) == 2:
                    adds += 1
                    waiting += node.inputs
                else:
                    found.append(each)
            self.sums[name] = found
        return self.sums[name]

    def is_constant(self, name):
        made = self.origin(name)[1]
        return made.__class__ is Tensor or self.made_by(name, "Constant") is not None

    def product_terms(self, name):
        """{constant: value} of the terms value @ constant of the sum `name`. The terms inside its
        products by Mul count as well, such as r * (R @ h) of a GRU."""
        if name not in self.products:
            self.graph.wire.charge(400)
            found = {}
            for term in self.terms(name):
                inner = self.made_by(term, "Mul", *_PRODUCTS)
                if inner and inner.op == "Mul":
                    for factor in inner.inputs[:2]:
                        for each in self.terms(factor):
                            found |= self._product(each)
                elif inner:
                    found |= self._product(term)
            self.products[name] = found
        return self.products[name]

    def _product(self, name):
        node = self.made_by(name, *_PRODUCTS)
        if node and len(node.inputs) > 1:
            for constant, value in (node.inputs[1::-1], node.inputs[:2]):
                if self.is_constant(constant):
                    return {self.origin(constant)[0]: value}
        return {}

    def gate_products(self, name):
        """product_terms of the input of the Sigmoid or Tanh that makes `name`."""
        node = self.origin(name)[1]
        return self.product_terms(node.inputs[0]) if node.inputs else {}


def _lstm(values, node):
    """(i, g, f) of the LSTM whose c' is the Add `node`; () if it is none."""
    first, second = map(values.factors, node.inputs)
    for new, kept in ((first, second), (second, first)):
        i = [n for n in new if values.made_by(n, "Sigmoid")]
        g = [n for n in new if values.made_by(n, "Tanh")]
        f = [n for n in kept if values.made_by(n, "Sigmoid")]
        if i and g and f:
            return (*i, *g, *f)
    return ()


def _is_gru_candidate(values, name):
    """Whether the value is a GRU's n: Tanh of a sum with a product r * something, where r is made
    by Sigmoid, or with the matrix product of such a product (a GRU that resets first)."""
    node = values.made_by(name, "Tanh")
    for term in values.terms(node.inputs[0]) if node and node.inputs else ():
        product = values.made_by(term, *_PRODUCTS)
        inner = product.inputs[0] if product and product.inputs else term
        if any(values.made_by(n, "Sigmoid") for n in values.factors(inner)):
            return True
    return False


def _gru(values, node):
    """(z, n) of the GRU whose h' is the Add `node`; () if it is none."""
    for mixed, other in (node.inputs, node.inputs[::-1]):
        factors = values.factors(mixed)
        for one, two in (factors, factors[::-1]) if factors else ():
            difference = values.made_by(two, "Sub")
            if not difference or len(difference.inputs) != 2:
                continue
            taken = difference.inputs[1]
            if values.origin(taken)[0] == values.origin(other)[0]:  # (h - n) * z + n
                z, n = one, other
            elif values.origin(taken)[0] in [values.origin(f)[0] for f in values.factors(other)]:
                z, n = taken, one  # (1 - z) * n + z * h
            else:
                continue
            if values.made_by(z, "Sigmoid") and _is_gru_candidate(values, n):
                return (z, n)
    return ()


def _rnn(values, node, steps, outputs):
    """The constants of the RNN whose h' the Tanh or Relu `node` makes; () if it is none.

    steps     {value: constants of its products} of the nodes before that may be a step of an RNN
    outputs   the origins of the graph's outputs
    """
    mine = values.product_terms(node.inputs[0]) if node.inputs and node.outputs else {}
    if node.outputs:
        steps[node.outputs[0]] = set(mine)
    if len(mine) < 2:
        return ()
    for value in mine.values():
        before = values.origin(value)[0]
        carried = before in values.graph.inputs and node.outputs[0] in outputs
        if carried or steps.get(before, set()) & mine.keys():
            return tuple(mine)
    return ()


def _merged(found):
    """{(kind, constants): [title, count]} as [(kind, title, count)], those whose constants are a
    part of another's joined to it: the first step of a loop starts from zeros, and may lack R."""
    merged, having = [], {}  # having: {(kind, constant): the first entry of merged that has it}
    for (kind, constants), (title, count) in sorted(found.items(), key=lambda e: -len(e[0][1])):
        whole = having.get((kind, next(iter(constants), None)))
        if whole is not None and constants < whole[3]:
            whole[2] += count
            continue
        merged.append([kind, title, count, constants])
        for constant in constants:
            having.setdefault((kind, constant), merged[-1])
    return [(kind, title, count) for kind, title, count, _ in merged]


def find(graph):
    """[(kind, title of a node, number of places)] of the cells of one graph. kind: "LSTM", "GRU" or
    "RNN"; the places are the steps of an unrolled loop."""
    values, found, steps = _Values(graph), {}, {}
    outputs = {values.origin(name)[0] for name in graph.outputs}
    for node in graph.nodes:
        kind, constants = None, ()
        if node.op == "Add" and len(node.inputs) == 2:
            gates, kind = _lstm(values, node), "LSTM"
            if not gates:
                gates, kind = _gru(values, node), "GRU"
            constants = [c for n in gates for c in values.gate_products(n)]
            kind = kind if gates else None
        elif node.op in ("Tanh", "Relu"):
            constants = _rnn(values, node, steps, outputs)
            kind = "RNN" if constants else None
        if kind:
            entry = found.setdefault((kind, frozenset(constants)), [node.title, 0])
            entry[1] += 1
    return _merged(found)
