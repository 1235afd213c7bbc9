# SPDX-License-Identifier: MIT
"""A plan: a graph made ready to run for inputs of certain types, and its program in the C core.

    made = plan(graph, facts, ...)       made.program.run([arrays])

The order of the passes: what is constant is computed and branches are chosen; recurrent operators
become layers of the engine; products take their biases and normalisations; convolutions get
channels last; elementwise chains become one operator. Then every node becomes a step of a program
(lower/), or, without the C core, is run by its NumPy function (reference).
"""

import dataclasses
import math

from ..engine import NAME, backend
from . import lower, reference
from .graph import ModelError
from .passes.cells import cells
from .passes.channels_last import channels_last, transposes
from .passes.edit import Edit
from .passes.fuse import fuse
from .passes.products import batch_norm, epilogues, linear
from .passes.recurrent import recurrent
from .passes.simplify import simplify

PASSES = (recurrent, linear, cells, batch_norm, channels_last, transposes, epilogues, fuse)


@dataclasses.dataclass
class Plan:
    """graph      flat and rewritten
    inputs     indices of the model's inputs that the program takes; the others are pinned
    program    the C core's Program, or None: then `graph` is interpreted
    titles     the Node of each step of the program
    flops      of the products that do not depend on free sizes: see `work`
    """

    graph: object
    facts: dict
    inputs: list
    program: object
    titles: list

    def run(self, arrays, threads, out=None):
        """The list of outputs of a list of arrays, all the model's inputs."""
        given = [arrays[i] for i in self.inputs]
        if self.program is None:
            return reference.run(self.graph, arrays)
        try:
            return self.program.run(given, threads, out)
        except backend.OperatorError as error:
            raise self.error(error, given) from None

    def error(self, error, given):
        shapes = ", ".join(str(a.shape) for a in given)
        if error.step is None:
            return ModelError(f"inputs of the shapes {shapes}: {error}")
        node = self.titles[error.step]
        return node.error(f"does not fit inputs of the shapes {shapes} ({error})")


def plan(graph, facts, *, isa=None, dtype="float32", max_bytes=1 << 30):
    """The Plan of a graph for inputs of which `facts`, {name: infer.Fact}, is known.

    isa         the instruction set, None for the best; dtype: of weights, "float32" or "float16"
    max_bytes   of one array, or of all arrays of one run

    ModelError; passes.simplify.NotKnown if more has to be known of the inputs.
    """
    flat, known = simplify(graph, facts, max_bytes)
    edit = Edit(flat, known)
    for change in PASSES:
        change(edit)
    inputs = [i for i, value in enumerate(graph.inputs) if known[value.name].constant is None]
    if NAME != "c":
        return Plan(flat, edit.facts, inputs, None, [])
    builder = lower.Builder(backend, edit.facts, isa, int(dtype == "float16"))
    for i in inputs:
        name = graph.inputs[i].name
        fact = known[name]
        builder.places[name] = builder.program.input(fact.dtype, len(fact.shape))
    for node in flat.nodes:
        function = lower.TABLE.get(node.op)
        if function is None:
            raise node.error("an operator that fastlstm does not run")
        function(builder, node)
    for name in flat.results:
        builder.program.output(builder.place(name))
    builder.program.memory_limit = max_bytes
    return Plan(flat, edit.facts, inputs, builder.program, builder.titles)


def size_of(fact):
    """The number of elements if it is known, else None."""
    return None if None in fact.shape else math.prod(fact.shape)
