# SPDX-License-Identifier: MIT
"""What passes share: a flat graph with who makes and who reads each value."""

import heapq

from ..graph import ModelError, Node
from ..infer import constant, infer


def in_order(nodes):
    """The nodes in an order in which each comes after those whose outputs it reads; apart from that
    they stay as they are. Nodes that need one another in a circle are left out."""
    makers = {n: i for i, node in enumerate(nodes) for n in node.outputs if n}
    needs = [{makers[n] for n in node.inputs if n in makers} for node in nodes]
    readers = [[] for _ in nodes]
    for i, needed in enumerate(needs):
        for j in needed:
            readers[j].append(i)
    ready = [i for i, needed in enumerate(needs) if not needed]
    heapq.heapify(ready)
    found = []
    while ready:
        i = heapq.heappop(ready)
        found.append(nodes[i])
        for j in readers[i]:
            needs[j].discard(i)
            if not needs[j]:
                heapq.heappush(ready, j)
    return found


def circles(nodes):
    """The nodes that need one another in a circle, or lie between two circles."""
    makers = {n: i for i, node in enumerate(nodes) for n in node.outputs if n}
    needs = [{makers[n] for n in node.inputs if n in makers} for node in nodes]
    readers = [set() for _ in nodes]
    for i, needed in enumerate(needs):
        for j in needed:
            readers[j].add(i)
    left = set(range(len(nodes)))
    for before, after in ((needs, readers), (readers, needs)):
        count = [len(others & left) for others in before]
        ready = [i for i in left if not count[i]]
        while ready:
            i = ready.pop()
            left.discard(i)
            for j in after[i] & left:
                count[j] -= 1
                if not count[j]:
                    ready.append(j)
    return [nodes[i] for i in sorted(left)]


def dead_nodes_left_out(nodes, wanted):
    """(the nodes that some value of `wanted`, a set of names, needs, in their order; all names that
    are needed). Outputs that nobody needs become ""."""
    needed, kept = set(wanted), []
    for node in reversed(nodes):
        if needed.isdisjoint(n for n in node.outputs if n):
            continue
        node.outputs = [n if n in needed else "" for n in node.outputs]
        # Into how many parts a Split splits is told by the number of its outputs.
        while len(node.outputs) > 1 and not node.outputs[-1] and node.op != "Split":
            node.outputs.pop()
        kept.append(node)
        needed.update(n for n in node.inputs if n)
    return kept[::-1], needed


class Edit:
    """A flat graph while passes change it.

    graph    the Graph; a pass gives `graph.nodes` anew
    facts    {name: infer.Fact}, kept up by `node` and `constant`
    bytes_left     bytes that new constants may still take
    dtype    of weights, as the model was asked: None (the file's own) or one of half.DTYPES
    inputs   "int16" or "int8": what rows of inputs become where weights become codes
    notes    a pass's own, of values of which the tables say the same all the time
    """

    def __init__(self, graph, facts, bytes_left=1 << 40, dtype=None, inputs="int16"):
        self.graph, self.facts, self.bytes_left = graph, facts, bytes_left
        self.dtype, self.inputs = dtype, inputs
        self._count = 0
        self.look()

    def look(self):
        """Makes the tables anew: makers {name: Node}, readers {name: [Node]}."""
        self.makers, self.readers, self.notes = {}, {}, {}
        for node in self.graph.nodes:
            for name in node.outputs:
                if name:
                    self.makers[name] = node
            for name in node.inputs:
                if name:
                    self.readers.setdefault(name, []).append(node)
        self.wanted = set(self.graph.results)

    def tidy(self):
        """Leaves out nodes and constants that nobody needs, and makes the tables anew."""
        graph = self.graph
        graph.nodes, needed = dead_nodes_left_out(graph.nodes, graph.results)
        needed.update(graph.results)
        graph.constants = {n: a for n, a in graph.constants.items() if n in needed}
        self.look()

    def replace(self, made, gone):
        """Puts `made`, {id of a node: the node that it becomes}, into the graph; the other nodes
        whose ids are in `gone` go."""
        if not made:
            return
        nodes = []
        for node in self.graph.nodes:
            nodes += made.get(id(node), [] if id(node) in gone else [node])
        self.graph.nodes = in_order(nodes)
        self.tidy()

    def fresh(self, base):
        """A name that the graph does not have."""
        self._count += 1
        name = f"{base}@{self._count}"
        while name in self.facts:
            self._count += 1
            name = f"{base}@{self._count}"
        return name

    def constant(self, base, array):
        """The name of a new constant."""
        self.charge(array.nbytes)
        name = self.fresh(base)
        self.graph.constants[name] = array
        self.facts[name] = constant(array)
        return name

    def charge(self, nbytes):
        """ModelError if so many more bytes of constants are more than the graph may have."""
        self.bytes_left -= nbytes
        if self.bytes_left < 0:
            raise ModelError(
                f"{self.graph.name}: its constants, made ready to run, need far more memory than "
                "the file has bytes"
            )

    def value(self, name):
        """The array that a value is in every run, or None."""
        return self.facts[name].constant if name else None

    def shape(self, name):
        return self.facts[name].shape

    def node(self, op, inputs, outputs, like, **attrs):
        """A new node named as the node `like`; outputs: names, or a count of fresh ones. Facts of
        fresh names are inferred."""
        if isinstance(outputs, int):
            outputs = [self.fresh(next(filter(None, like.outputs))) for _ in range(outputs)]
        made = Node(op, list(inputs), list(outputs), attrs, like.name or like.outputs[0])
        for name, fact in zip(made.outputs, infer(made, self.facts), strict=False):
            if name and name not in self.facts:
                self.facts[name] = fact
        return made

    def only_reader(self, name):
        """The node that alone reads `name`, which is no output of the graph; or None."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.wanted else None
