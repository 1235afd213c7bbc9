# SPDX-License-Identifier: MIT
"""A whole model: a graph, its plans, and calls."""

import time
import weakref

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..config import check_isa, check_num_threads
from ..layers.error import difference
from ..layers.weights import checked_dtype, checked_inputs, checked_precision
from . import coded, half, saved, states
from .arguments import Input, Like, checked_size, tuple_class
from .graph import ModelError
from .plans import Plans
from .stream import ModelStream

# Operators that compute with the codes of a file.
_OF_CODES = {
    "com.microsoft.DynamicQuantizeLSTM", "ConvInteger", "MatMulInteger", "QLinearConv",
    "QLinearMatMul",
}  # fmt: skip


class _NoState(ModelError):
    """A model whose graph shows no state."""


class Model:
    """A model that runs whole: see `load_model`. Any number of threads may call it at once.

    inputs, outputs   lists of graph.Value: name, dtype, shape with free axes named
    graph             graph.Graph as it was read; with its weights rounded to float16 or bfloat16,
                      or as codes where int8 is asked for (coded.py)
    dtype             of weights: "float32", "float16", "bfloat16" or "int8"
    precision         of products of float32 weights: "float32", "bfloat16x3" or "bfloat16x6"
    asked             the dtype that was asked for, or None: what the file has
    codes             of an int8 model, the codes that rows of inputs become: "int16" or "int8"
    num_threads       at most so many threads work on a call; None: `fastlstm.get_num_threads()`
    """

    _original = None  # a weak reference to the model that `quantize` made this one of
    precision = "float32"

    def __init__(self, graph, *, dtype=None, codes="int16", precision="float32", isa=None,
                 num_threads=None, max_bytes=1 << 30):  # fmt: skip
        graph.check()
        self.precision = checked_precision(precision)
        self.asked = None if dtype is None else checked_dtype(dtype, half.DTYPES)
        self.codes, self.isa = checked_inputs(codes), check_isa(isa)
        if dtype in ("float16", "bfloat16"):
            graph = half.rounded(graph, dtype)
        self.graph = coded.coded(graph) if dtype == "int8" else graph
        self.max_bytes = checked_size("max_bytes", max_bytes)
        self.num_threads = check_num_threads(num_threads)
        self._made()

    def _made(self):
        """Everything that follows from the graph."""
        self._inputs = [Input(value) for value in self.graph.inputs]
        of_codes = any(node.op in _OF_CODES for node in self.graph.walk())
        self.dtype = self.asked or ("int8" if of_codes else "float32")
        options = {"isa": self.isa, "dtype": self.asked, "inputs": self.codes,
                   "max_bytes": self.max_bytes, "precision": self.precision}  # fmt: skip
        self._plans = Plans(self.graph, self._inputs, options)
        self._by_name = {each.name: each for each in self._inputs}
        # The latest call's arrays; integers of fewer than 64 bits are looked at one by one.
        self._last, self._alike = None, all(each.limits is None for each in self._inputs)
        self._names = list(self._by_name)
        self._outputs = tuple_class([v.name for v in self.graph.outputs])

    def __getstate__(self):
        return {
            name: getattr(self, name)
            for name in ("graph", "asked", "codes", "isa", "num_threads", "max_bytes", "precision")
        }

    def __setstate__(self, state):
        self.__dict__.update(state)
        try:
            check_isa(self.isa)
        except ValueError:
            self.isa = check_isa(None)  # made on another machine
        self._made()

    def __repr__(self):
        inputs, outputs = ("; ".join(map(str, each)) for each in (self.inputs, self.outputs))
        return f"Model({self.graph.name!r}: {inputs} -> {outputs})"

    @property
    def inputs(self):
        """What a call takes, in order: each has a name, a dtype and a shape, a tuple of ints and of
        the names of free axes (None: not even their number is known)."""
        return self.graph.inputs

    @property
    def outputs(self):
        """What a call gives, in order, as `inputs`."""
        return self.graph.outputs

    def __call__(self, *args, **kwargs):
        """The outputs for these inputs, in the graph's order or by name: an array, or a named tuple
        of arrays if there are several. Arrays are converted to the inputs' dtypes, if no value is
        lost. ValueError or TypeError, with both shapes, for what does not fit; MemoryError for more
        than max_bytes; KeyboardInterrupt."""
        last = self._last
        if kwargs or len(args) != len(self._inputs):
            made = self.run(self.named(args, kwargs, self._names))
        elif last is not None and last.fits(args):
            made = last.plan.run_given(list(args), self.num_threads or 0)
        else:
            arrays = [each.array(x) for each, x in zip(self._inputs, args, strict=True)]
            plan = self._plans.of(arrays)
            made = self.run_planned(plan, arrays)
            if self._alike and not plan.casted and plan.inputs == list(range(len(arrays))):
                self._last = Like(arrays, plan)
        return made[0] if len(made) == 1 else self._outputs(*made)

    @staticmethod
    def named(args, kwargs, names):
        """{name: what is given} of positional and keyword arguments for the inputs `names`."""
        if len(args) > len(names):
            raise TypeError(f"{len(names)} inputs are due ({', '.join(names)}), got {len(args)}")
        given = dict(zip(names, args, strict=False))
        for name in kwargs:
            if name not in names:
                raise TypeError(f"there is no input {name!r}; there are {', '.join(names)}")
            if name in given:
                raise TypeError(f"the input {name!r} is given twice")
        return given | kwargs if kwargs else given

    def run(self, given):
        """The list of outputs for {name of an input: array}."""
        try:
            arrays = [each.array(given[each.name]) for each in self._inputs]
        except KeyError:
            missing = [name for name in self._names if name not in given]
            if not missing:
                raise
            raise TypeError(f"missing inputs: {', '.join(missing)}") from None
        return self.run_planned(self.plan_of(arrays), arrays)

    def run_planned(self, plan, arrays, out=None):
        """The same for arrays that `array` made, in the inputs' order, by their Plan. out: a list
        with the arrays that some outputs go to, and None for the others; of plans without casts,
        with the C core."""
        made = plan.run(arrays, self.num_threads or 0, out)
        if plan.casted:
            for i, dtype in enumerate(plan.casts):
                if dtype is not None:
                    with np.errstate(over="ignore"):  # to float16: infinite
                        made[i] = made[i].astype(dtype)
        return made

    def plan_of(self, arrays, fixed=()):
        """The plan.Plan for arrays that `array` made, in the inputs' order; see Plans.of."""
        return self._plans.of(arrays, fixed)

    def input(self, name):
        """The arguments.Input of this name; TypeError."""
        if name not in self._by_name:
            raise TypeError(f"there is no input {name!r}; there are {', '.join(self._names)}")
        return self._by_name[name]

    def array(self, name, given):
        """`given` as the C core takes it for the input `name`; TypeError, ValueError."""
        return self.input(name).array(given)

    def stream(self, batch_size=1, state=None, **constants):
        """A ModelStream, whose state starts as zeros.

        batch_size   rows: the size of the states' free axis
        state        {name of an input: name of an output}: which are the state; None: those that
                     start and end the model's recurrent layers (states.py)
        constants    inputs that are the same in every step, such as a sample rate

        ModelError if no state is found.
        """
        batch_size = checked_size("batch_size", batch_size)
        constants = {name: self.array(name, given).copy() for name, given in constants.items()}
        if state is None:
            given = {each.name: each.zeros(batch_size) for each in self._inputs}
            try:
                state = self.state_pairs(given | constants, constants)
            except (ModelError, ValueError) as error:
                # Where sizes decide what the model does, those of the first step will tell.
                if isinstance(error, _NoState) and not self._plans.pins.axes:
                    raise
        return ModelStream(self, state, batch_size, constants)

    def pool(self, capacity, state=None, *, max_delay=1e-3, max_batch=None, max_queue=16, idle=None,
             clock=time.monotonic, **constants):  # fmt: skip
        """A fastlstm.Pool of at most `capacity` streams, which come and go and of which any may
        step together. A frame is the input without the batch's axis, or {name: array} of several;
        outputs and states have no such axis either.

        state, constants   as in `stream`      max_delay and the rest   as Pool says

        ModelError if no state is found, or if rows of this model cannot run as one batch: at the
        first frame, if its sizes decide what the model does.
        """
        from ..pool import Pool
        from .rows import ModelRows

        capacity = checked_size("capacity", capacity)
        constants = {name: self.array(name, given).copy() for name, given in constants.items()}
        rows = ModelRows(self, capacity, state, constants)
        return Pool(rows, capacity, max_delay=max_delay, max_batch=max_batch, max_queue=max_queue,
                    idle=idle, clock=clock)  # fmt: skip

    def state_pairs(self, given, fixed=()):
        """{input: output} of the states that the graph shows for these inputs, {name: array}, of
        which those named by `fixed` are the same in all steps; ModelError if it shows none."""
        found = states.pairs(self.planned(given, fixed).graph)
        if not found:
            inputs, outputs = (", ".join(v.name for v in vs) for vs in (self.inputs, self.outputs))
            raise _NoState(
                "no input is the state of a recurrent layer that an output gives on; say which: "
                f"stream(state={{input: output}}); inputs are {inputs}, outputs {outputs}"
            )
        return found

    def planned(self, given, fixed=()):
        """The plan.Plan that runs these inputs, {name: array}; fixed: names of those that are the
        same in all calls."""
        numbers = tuple(i for i, each in enumerate(self._inputs) if each.name in fixed)
        return self.plan_of([each.array(given[each.name]) for each in self._inputs], numbers)

    def planned_exactly(self, given):
        """A plan.Plan for these inputs, {name: array}, and no others: see Plans.exactly."""
        return self._plans.exactly([each.array(given[each.name]) for each in self._inputs])

    def facts_of(self, given):
        """{name: infer.Fact} of these inputs, {name: array}, all sizes known."""
        return self._plans.facts([each.array(given[each.name]) for each in self._inputs])

    def quantize(self, dtype, inputs="int16"):
        """A new model, otherwise like this one, with weights of `dtype`: see `load_model`. Of
        "int8", rows of inputs become codes of 16 bits, or of 8 with inputs="int8". Its precision is
        this one's if the dtype is "float32", else "float32"."""
        kept = {name: getattr(self, name) for name in ("isa", "num_threads", "max_bytes")}
        kept |= {"precision": self.precision} if dtype == "float32" else {}
        made = Model(self.graph, dtype=checked_dtype(dtype, half.DTYPES), codes=inputs, **kept)
        made._original = weakref.ref(self)
        return made

    def error(self, *args, reference=None, **kwargs):
        """How far the outputs of this model are from those of `reference`, a Model, for inputs as
        in a call: .max, .rms and .where the largest difference is. Of several outputs that are
        floats a dict of these, by their names.

        reference   None: the model that `quantize` made this one of, if it still exists
        """
        reference = reference or (self._original() if self._original else None)
        if reference is None:
            raise ValueError(
                "the model that this one was quantized from is gone, or there is none; pass it as "
                "reference"
            )
        given = self.named(args, kwargs, self._names)
        pairs = zip(self.outputs, self.run(given), reference.run(given), strict=True)
        found = {
            v.name: difference(y, due) for v, y, due in pairs if y.dtype.kind == "f" and y.size
        }
        if not found:
            raise ValueError("inputs of these shapes give no floats to compare")
        return next(iter(found.values())) if len(found) == 1 else found

    def save(self, path):
        """Writes the model to one safetensors file, whole or not at all, that load_model maps:
        processes share its memory. In it weights have the model's dtype, of int8 codes and scales:
        half or a quarter of the bytes. Loaded again it gives the same bits."""
        saved.write(
            path,
            self.graph,
            self.asked if self.dtype == "int8" else self.dtype,
            self.codes,
            self.precision,
        )

    def memory(self, *shapes, **values):
        """Bytes that one run on one thread takes beside its inputs and outputs.

        shapes   of the inputs, a tuple each, in the graph's order, but for those in `values`
        values   inputs by name, as in a call: where the model's work depends on what they are

        MemoryError if they are more than max_bytes; 0 without the C core, where NumPy's functions
        take what they need.
        """
        given = {name: self.array(name, value) for name, value in values.items()}
        left = [each for each in self._inputs if each.name not in given]
        if len(shapes) != len(left):
            names = ", ".join(each.name for each in left)
            raise TypeError(f"{len(left)} shapes are due ({names}), got {len(shapes)}")
        for each, shape in zip(left, shapes, strict=True):
            each.check(tuple(shape))
            # An array with strides of 0, of which only small ones are read (their values may be
            # pinned): a shape takes no memory, however large.
            given[each.name] = as_strided(np.zeros(1, each.dtype), shape, (0,) * len(shape))
        arrays = [given[each.name] for each in self._inputs]
        return self.plan_of(arrays).memory(arrays)
