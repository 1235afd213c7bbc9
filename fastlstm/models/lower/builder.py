# SPDX-License-Identifier: MIT
"""From a planned graph to a program of the C core: one function for each operator of the graph.

A module of this folder registers its functions with `lowers`:

    @lowers("Softmax")
    def softmax(b, node):
        axis = node.attrs.get("axis", -1) % len(b.shape(node.inputs[0]))
        b.emit(node, "softmax", [axis])

b is the Builder. What it is asked of a value is what the plan knows without running it.
"""

import numpy as np

from ..graph import ModelError
from ..infer import run_dtype

TABLE = {}  # {operator of the graph: function(builder, node)}

# {C operator: which of its inputs decide shapes, so that they are read before a run}
DECIDES = {
    "expand": (1,), "fill": (0,), "one_hot": (1,), "pad": (1, 3), "range": (0, 1, 2),
    "reshape": (1,), "resize": (1,), "slice": (1, 2, 3, 4), "split": (1,), "tile": (1,),
    "topk": (1,),
}  # fmt: skip


def lowers(*ops):
    """Registers a function for these operators."""

    def register(function):
        for op in ops:
            TABLE[op] = function
        return function

    return register


class Builder:
    """A program while it is built.

    core      the C extension's module
    isa       the instruction set, or None for the best
    format    0: weights are packed as float32; 1: as float16
    precision of products of weights that are packed as float32: one of description.PRECISIONS
    facts     {name: infer.Fact}: type, shape and value of every name, as far as known
    titles    [Node] of each step, for messages
    bytes_left      bytes of weights that steps may still have
    """

    def __init__(
        self, core, facts, isa=None, format=0, bytes_left=1 << 40, precision="float32"
    ):  # fmt: skip
        self.precision = precision
        self.core, self.isa, self.format, self.facts, self.bytes_left = (
            core,
            isa,
            format,
            facts,
            bytes_left,
        )
        self.program = core.Program()
        self.places, self.early, self.titles, self.fresh = {}, set(), [], 0

    def dtype(self, name):
        """float32, int64 or bool, as a NumPy dtype."""
        return self.facts[name].dtype

    def shape(self, name):
        """A tuple with an int for each axis whose size is the same in every run, else None."""
        return self.facts[name].shape

    def known(self, name):
        """The array that a value is in every run, or None."""
        return self.facts[name].constant if name else None

    def due(self, node, index, what):
        """The constant input `index`; ModelError if it is not constant."""
        found = self.known(node.inputs[index]) if index < len(node.inputs) else None
        if found is None:
            raise node.not_known(f"{what} must be constant, and is computed as the model runs")
        return found

    def charge(self, node, arrays):
        """ModelError if weights like these are more than the program may have: each step packs its
        own, and a small file may name the same ones again and again."""
        self.bytes_left -= sum(a.nbytes for a in arrays if a is not None)
        if self.bytes_left < 0:
            raise node.error("its weights are packed once more, and far more than the file has")

    def input(self, name, fact):
        """The next input of the program."""
        try:
            self.places[name] = self.program.input(fact.dtype, len(fact.shape))
        except ValueError as error:
            raise ModelError(f"the input {name!r}: {error}") from None

    def outputs(self, names):
        """The program's outputs. Nothing can be added behind them."""
        for name, place in [(name, self.place(name)) for name in names]:
            try:
                self.program.output(place)
            except ValueError as error:
                raise ModelError(f"the output {name!r}: {error}") from None

    def constant(self, array):
        """The place of a constant array of float32, int64 or bool."""
        array = np.asarray(array)
        held = np.ascontiguousarray(array, run_dtype(array.dtype)).reshape(array.shape)
        place = self.program.constant(held)
        self.early.add(place)
        return place

    def place(self, name):
        """The place of a value; None for ""."""
        if not name:
            return None
        if name not in self.places:
            known = self.known(name)
            if known is None:
                raise ModelError(f"the value {name!r} has no place")
            self.places[name] = self.constant(known)
        return self.places[name]

    def emit(self, node, operator, ints=(), floats=(), weights=None, inputs=None, outputs=None,
             of_shapes=False):  # fmt: skip
        """Adds the C operator `operator` (or a made core.Operator) as one step of `node`.

        ints, floats   its numbers             weights   arrays or None, for its pack
        inputs         names or places; None: all of the node's
        outputs        names, "" for what nobody wants, or a count of fresh ones; None: the node's
        of_shapes      the operator reads only its inputs' shapes
        Returns the list of the outputs' places.
        """
        inputs = node.inputs if inputs is None else inputs
        outputs = node.outputs if outputs is None else outputs
        places = [self.place(x) if isinstance(x, str) else x for x in inputs]
        fresh = isinstance(outputs, int)
        names = [None] * outputs if fresh else list(outputs)
        for i in DECIDES.get(operator, ()) if isinstance(operator, str) else ():
            if i < len(places) and places[i] is not None and places[i] not in self.early:
                raise node.not_known(
                    f"its input {i} decides a shape, and is computed as the model runs"
                )
        try:
            if isinstance(operator, str):
                operator = self.core.Operator(operator, ints, floats, self.isa)
                if weights is not None:
                    self.charge(node, weights)
                    operator.pack(*weights)
        except ValueError as error:
            raise node.error(str(error)) from None
        early = all(p is None or p in self.early for p in places) or of_shapes
        early = early and (fresh or all(self.dtype(n).kind != "f" for n in names if n))
        wanted = [True] * len(names) if fresh else [bool(n) for n in names]
        try:
            made = self.program.step(operator, places, len(names), early, wanted)
        except ValueError as error:
            raise node.error(str(error)) from None
        self.titles.append(node)
        for name, place in zip(names, made, strict=True):
            if place is not None:
                if early:
                    self.early.add(place)
                if name:
                    self.places[name] = place
        return made
