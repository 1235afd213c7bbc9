# SPDX-License-Identifier: MIT
"""A whole model: a graph, its plans, and calls."""

import collections
import contextlib
import keyword
import re
import threading
import typing

import numpy as np

from . import saved, states
from .graph import ModelError, NotKnown
from .infer import Fact, constant, narrow, run_dtype
from .plan import plan
from .stream import ModelStream

MOST_PLANS = 16  # kept by a model
MOST_PINNED = 64  # elements of an input whose values a plan may depend on


class Pins(typing.NamedTuple):
    """What a plan depends on beside types and numbers of axes: on the values of inputs, by their
    numbers, and on sizes, (number of the input, axis)."""

    values: tuple = ()
    axes: tuple = ()


class _NoState(ModelError):
    """A model whose graph shows no state."""


def tuple_class(names):
    """A named tuple's class for outputs, under names that Python allows."""
    fields = []
    for i, name in enumerate(names):
        field = re.sub(r"\W", "_", name).strip("_")
        if not field.isidentifier() or keyword.iskeyword(field) or field in fields:
            field = f"output_{i}"
        fields.append(field)
    return collections.namedtuple("Outputs", fields)


class Model:
    """A model that runs whole: see `load_model`.

    inputs, outputs   lists of graph.Value: name, dtype, shape with free axes named
    """

    tuple_class = staticmethod(tuple_class)

    def __init__(self, graph, *, dtype="float32", isa=None, num_threads=None, max_bytes=1 << 30):
        graph.check()
        self.graph = graph
        self.dtype, self.isa, self.max_bytes = dtype, isa, max_bytes
        self.num_threads = num_threads
        self._plans = {}  # {key: Plan}, the latest MOST_PLANS
        self._lock = threading.Lock()
        self._pins = Pins()  # what plans have had to know so far
        self._outputs = tuple_class([v.name for v in graph.outputs])
        self._names = [v.name for v in graph.inputs]
        # of each input: its type in the C core, how many axes it has, [(axis, size)] of fixed ones,
        # and the limits of integers of fewer than 64 bits
        self._due = {
            v.name: (
                run_dtype(v.dtype),
                None if v.shape is None else len(v.shape),
                [(i, n) for i, n in enumerate(v.shape or ()) if isinstance(n, int)],
                None if narrow(v.dtype) is None else np.iinfo(v.dtype),
            )
            for v in graph.inputs
        }
        self._any_rank = any(v.shape is None for v in graph.inputs)

    @property
    def inputs(self):
        return self.graph.inputs

    @property
    def outputs(self):
        return self.graph.outputs

    def __call__(self, *args, **kwargs):
        """The outputs for these inputs, in the graph's order or by name: an array, or a named tuple
        of arrays if there are several. Arrays are converted to the inputs' dtypes, if no value is
        lost. ValueError or TypeError, with both shapes, for what does not fit; MemoryError for more
        than max_bytes; KeyboardInterrupt."""
        if len(args) > len(self._names):
            raise TypeError(f"{len(self._names)} inputs are due, got {len(args)}")
        given = dict(zip(self._names, args, strict=False))
        for name in kwargs:
            if name not in self._names:
                raise TypeError(f"there is no input {name!r}; there are {', '.join(self._names)}")
            if name in given:
                raise TypeError(f"the input {name!r} is given twice")
        made = self.run(given | kwargs)
        return made[0] if len(made) == 1 else self._outputs(*made)

    def run(self, given):
        """The list of outputs for {name of an input: array}."""
        if len(given) < len(self._names):
            missing = [name for name in self._names if name not in given]
            raise TypeError(f"missing inputs: {', '.join(missing)}")
        return self.run_arrays([self.array(v, given[v.name]) for v in self.graph.inputs])

    def run_arrays(self, arrays, plan=None):
        """The same for arrays that `array` made, in the inputs' order. plan: theirs, if known."""
        plan = plan or self.plan_of(arrays)
        made = plan.run(arrays, self.num_threads or 0)
        for i, dtype in enumerate(plan.casts):
            if dtype is not None:
                with np.errstate(over="ignore"):  # to float16: infinite
                    made[i] = made[i].astype(dtype)
        return made

    def array(self, value, given):
        """`given` as a contiguous array of the type that the C core has for the input `value`."""
        due, ndim, sizes, limits = self._due[value.name]
        array = given if type(given) is np.ndarray else np.asarray(given)
        if limits is not None and array.dtype != value.dtype and array.dtype.kind in "iu":
            least, most = array.min(initial=0), array.max(initial=0)
            if least < limits.min or most > limits.max:
                raise ValueError(f"input {value}: there are numbers beyond {value.dtype}")
        if array.dtype != due:
            if not np.can_cast(array.dtype, due, "same_kind") and not (
                due.kind == "f" and array.dtype.kind in "iu"
            ):
                raise TypeError(f"input {value} is not made of {array.dtype}")
            array = array.astype(due)
        shape = array.shape
        if ndim is not None:
            fits = len(shape) == ndim
            for axis, size in sizes:
                fits = fits and shape[axis] == size
            if not fits:
                raise ValueError(f"input {value}: an array of the shape {shape} does not fit")
        return array if array.flags.c_contiguous else array.copy()

    def stream(self, batch_size=1, state=None, **constants):
        """A ModelStream, whose state starts as zeros.

        batch_size   rows: the size of the states' free axis
        state        {name of an input: name of an output}: which are the state; None: those that
                     start and end the model's recurrent layers (states.py)
        constants    inputs that are the same in every step, such as a sample rate

        ModelError if no state is found.
        """
        if state is None:
            given = dict(constants)
            for value in self.inputs:
                shape = [n if isinstance(n, int) else batch_size for n in value.shape or ()]
                given.setdefault(value.name, np.zeros(shape, run_dtype(value.dtype)))
            try:
                state = self.state_pairs(given)
            except _NoState:
                raise
            except (ModelError, ValueError):  # the sizes do not fit: the first step's will
                pass
        return ModelStream(self, state, batch_size, constants)

    def state_pairs(self, given):
        """{input: output} of the states that the graph shows for these inputs, {name: array};
        ModelError if it shows none."""
        arrays = [self.array(value, given[value.name]) for value in self.inputs]
        found = states.pairs(self.plan_of(arrays).graph)
        if not found:
            inputs, outputs = (", ".join(v.name for v in vs) for vs in (self.inputs, self.outputs))
            raise _NoState(
                "no input is the state of a recurrent layer that an output gives on; say which: "
                f"stream(state={{input: output}}); inputs are {inputs}, outputs {outputs}"
            )
        return found

    def plan_of(self, arrays):
        """The Plan for inputs like these, made if there is none yet."""
        pins = self._pins
        found = self._plans.get(self._key(arrays, pins))
        if found is not None:
            return found
        with self._lock:
            made, pins = self._made_plan(arrays, pins)
            while len(self._plans) >= MOST_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[self._key(arrays, pins)] = made
            self._pins = pins
            return made

    def _made_plan(self, arrays, pins):
        """(the Plan, its Pins). If a plan cannot be made, it may be when more is known of the
        inputs: the values of small ones of whole numbers, then sizes, then the values of small ones
        of floats, such as scales. Then each that need not be known is left free again, since a plan
        takes milliseconds, and inputs may differ at every call."""
        values, axes = pins
        small = {i for i, a in enumerate(arrays) if a.size <= MOST_PINNED and a.ndim <= 1}
        floats = {i for i in small if arrays[i].dtype.kind == "f"}
        ints = small - floats
        every = set(self._free_axes(arrays))
        while True:
            try:
                return self._fewest(arrays, self._plan(arrays, pins), pins)
            except ModelError as error:
                of_values = isinstance(error, NotKnown)
                if of_values and not ints <= set(values):
                    values = {*values, *ints}
                elif not every <= set(axes):
                    axes = every
                elif of_values and not floats <= set(values):
                    values = {*values, *floats}
                else:
                    raise
                pins = Pins(tuple(sorted(values)), tuple(sorted(axes)))

    def _fewest(self, arrays, made, pins):
        """(a Plan, its Pins) that depends on as little as it can, of one that depends on `pins`."""
        for kind in ("axes", "values"):
            for one in getattr(pins, kind):
                fewer = tuple(each for each in getattr(pins, kind) if each != one)
                with contextlib.suppress(ModelError):
                    fewer = pins._replace(**{kind: fewer})
                    made, pins = self._plan(arrays, fewer), fewer
        return made, pins

    def _plan(self, arrays, pins):
        return plan(
            self.graph, self._facts(arrays, pins), isa=self.isa, dtype=self.dtype,
            max_bytes=self.max_bytes,
        )  # fmt: skip

    def _free_axes(self, arrays):
        """(number of the input, axis) of all sizes that the file leaves free."""
        for i, (value, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            for axis in range(array.ndim):
                if value.shape is None or not isinstance(value.shape[axis], int):
                    yield i, axis

    def _key(self, arrays, pins):
        key = [a.ndim for a in arrays] if self._any_rank else []
        key += [arrays[i].tobytes() for i in pins.values]
        key += [arrays[i].shape[axis] for i, axis in pins.axes if axis < arrays[i].ndim]
        return (pins, *key)

    def _facts(self, arrays, pins):
        facts = {}
        for i, (value, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            if i in pins.values:
                facts[value.name] = constant(array.astype(value.dtype))
                continue
            shape = [
                array.shape[axis] if (i, axis) in pins.axes
                else value.shape[axis] if value.shape and isinstance(value.shape[axis], int)
                else None
                for axis in range(array.ndim)
            ]  # fmt: skip
            facts[value.name] = Fact(array.dtype, tuple(shape), narrow=narrow(value.dtype))
        return facts

    def save(self, path):
        """Writes the model to one safetensors file, whole or not at all, that load_model maps:
        processes share its memory."""
        saved.write(path, self.graph, self.dtype)

    def memory(self, *shapes):
        """Bytes that one run takes beside its inputs and outputs, for inputs of these shapes."""
        arrays = [
            np.zeros(shape, run_dtype(value.dtype))
            for value, shape in zip(self.inputs, shapes, strict=True)
        ]
        found = self.plan_of(arrays)
        given = tuple(tuple(arrays[i].shape) for i in found.inputs)
        return 0 if found.program is None else found.program.layout(given, 1).nbytes
