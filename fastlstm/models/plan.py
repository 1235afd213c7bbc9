# SPDX-License-Identifier: MIT
"""A plan: a graph made ready to run for inputs of certain types, and its program in the C core.

    made = plan(graph, facts, ...)       made.program.run([arrays])

The order of the passes: what is constant is computed and branches are chosen; recurrent operators
become layers of the engine; products take their biases and normalisations, and are in codes where
that is asked or the file's way; operators on small integers become plain ones; convolutions get
channels last; elementwise chains become one operator. Then every node becomes a step of a program
(lower/), or, without the C core, is run by its NumPy function (reference).
"""

import dataclasses

import numpy as np

from ..engine import NAME, backend
from . import lower, reference
from .graph import MALFORMED, Graph, ModelError, Value
from .infer import run_dtype
from .passes.cells import cells
from .passes.channels_last import channels_last, transposes
from .passes.codes import dynamic
from .passes.edit import Edit
from .passes.einsum import einsum
from .passes.few_bits import few_bits
from .passes.fuse import fuse
from .passes.integers import integers
from .passes.join import join
from .passes.parts import parts
from .passes.products import batch_norm, epilogues, linear
from .passes.recurrent import recurrent
from .passes.simplify import FOLDED, MORE_FOLDED, simplify
from .passes.stack import stack

PASSES = (dynamic, recurrent, linear, cells, join, stack, batch_norm, few_bits, integers)
FOR_C = (parts, einsum, channels_last, transposes, epilogues, fuse)  # what NumPy gains nothing by


@dataclasses.dataclass
class Plan:
    """graph      flat and rewritten
    inputs     indices of the model's inputs that the program takes; the others are pinned
    program    the C core's Program, or None: then `graph` is interpreted
    titles     the Node of each step of the program
    casts      of each output the dtype that it is converted to, or None
    max_bytes  of all arrays of one run, or, interpreted, of each array
    held       interpreted: the constants as NumPy's functions take them
    """

    graph: object
    facts: dict
    inputs: list
    program: object
    titles: list
    casts: list
    max_bytes: int
    held: dict | None = None

    def __post_init__(self):
        self.casted = any(dtype is not None for dtype in self.casts)

    def run(self, arrays, threads, out=None):
        """The list of outputs of a list of arrays, all the model's inputs. out: as Program.run has
        it."""
        return self.run_given([arrays[i] for i in self.inputs], threads, out)

    def run_given(self, given, threads, out=None):
        """The same of the arrays for `inputs` alone."""
        if self.program is None:
            names = [self.graph.inputs[i].name for i in self.inputs]
            return self.interpret(dict(zip(names, given, strict=True)))
        try:
            return self.program.run(given, threads, out)
        except backend.OperatorError as error:
            raise self.error(error, given) from None

    def memory(self, arrays):
        """Bytes that one run on one thread takes beside its inputs and outputs, for inputs of the
        shapes of `arrays`; 0 without the C core. MemoryError, ModelError."""
        if self.program is None:
            return 0
        given = [arrays[i] for i in self.inputs]
        try:
            return self.program.layout(tuple(a.shape for a in given), 1).nbytes
        except backend.OperatorError as error:
            raise self.error(error, given) from None

    def interpret(self, given):
        """The list of outputs of {name: array}, node by node in NumPy."""
        flat = self.graph
        outputs = [Value(name, flat.outputs[i].dtype, None) for i, name in enumerate(flat.results)]
        inputs = [flat.inputs[i] for i in self.inputs]
        if self.held is None:  # once, so that operators can keep what they make of weights
            self.held = {n: np.asarray(a, run_dtype(a.dtype)) for n, a in flat.constants.items()}
        plain = Graph(inputs, outputs, flat.nodes, self.held, flat.name)
        made = reference.run(plain, given, self.max_bytes, run_dtype)
        # Copies: an output may be a view of another one or of an input.
        return [np.array(a, run_dtype(a.dtype), order="C") for a in made]

    def error(self, error, given):
        shapes = ", ".join(str(a.shape) for a in given[:8]) + (", .." if len(given) > 8 else "")
        if error.step is None:
            return ModelError(f"inputs of the shapes {shapes}: {error}")
        node = self.titles[error.step]
        return node.error(f"does not fit inputs of the shapes {shapes} ({error})")


def lowered(builder, node):
    """Adds the node's steps to the program. ModelError, also where attributes are of other types
    than the operator's, as a malformed file can have them."""
    function = lower.TABLE.get(node.op)
    if function is None:
        raise node.not_covered()
    try:
        function(builder, node)
    except ModelError:
        raise
    except MALFORMED as error:
        raise node.error(f"its inputs and attributes do not fit together ({error!r})") from error


def plan(graph, facts, *, isa=None, dtype=None, inputs="int16", max_bytes=1 << 30,
         precision="float32"):  # fmt: skip
    """The Plan of a graph for inputs of which `facts`, {name: infer.Fact}, is known.

    isa         the instruction set, None for the best
    dtype       of weights: one of half.DTYPES, or None: as the file has them, codes or float32;
                inputs: of "int8", the codes of rows of inputs
    precision   of products of float32 weights: one of description.PRECISIONS
    max_bytes   of one array, or of all arrays of one run

    ModelError; graph.NotKnown if more has to be known of the inputs.
    """
    flat, known = simplify(graph, facts, max_bytes)
    bytes_left = FOLDED * sum(a.nbytes for a in graph.constants.values()) + MORE_FOLDED
    edit = Edit(flat, known, bytes_left, dtype, inputs)
    for change in PASSES + (FOR_C if NAME == "c" else ()):
        try:
            change(edit)
        except ModelError:
            raise
        except MALFORMED as error:
            raise ModelError(
                f"{flat.name}: operators' inputs and attributes do not fit together ({error!r})"
            ) from error
    inputs = [i for i, value in enumerate(graph.inputs) if known[value.name].constant is None]
    casts = [
        _cast(value.dtype, edit.facts[name])
        for value, name in zip(flat.outputs, flat.results, strict=True)
    ]
    if NAME != "c":
        return Plan(flat, edit.facts, inputs, None, [], casts, max_bytes)
    builder = lower.Builder(
        backend, edit.facts, isa, int(dtype == "float16"), bytes_left, precision
    )
    for i in inputs:
        name = graph.inputs[i].name
        builder.input(name, known[name])
    for node in flat.nodes:
        lowered(builder, node)
    builder.outputs(flat.results)
    builder.program.memory_limit = max_bytes
    return Plan(flat, edit.facts, inputs, builder.program, builder.titles, casts, max_bytes)


def _cast(dtype, fact):
    """The dtype that an output is converted to, which the C core has in another: what the file
    says, if that may be, or what its values are."""
    dtype = dtype if run_dtype(dtype) == fact.dtype else fact.narrow or fact.dtype
    return None if dtype == fact.dtype else dtype
