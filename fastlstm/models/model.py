# SPDX-License-Identifier: MIT
"""A whole model: a graph, its plans, and calls."""

import contextlib
import threading
import typing

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..config import check_isa, check_num_threads
from ..layers.weights import checked_dtype
from . import half, saved, states
from .arguments import Input, checked_size, tuple_class
from .graph import ModelError
from .infer import Fact, constant
from .plan import plan
from .stream import ModelStream

MOST_PLANS = 16  # kept by a model


class Pins(typing.NamedTuple):
    """What a plan depends on beside types and numbers of axes: whether on the values of small
    integer inputs, and on the sizes of which axes, (number of the input, axis)."""

    values: bool = False
    axes: tuple | None = None


class _NoState(ModelError):
    """A model whose graph shows no state."""


class Model:
    """A model that runs whole: see `load_model`. Any number of threads may call it at once.

    inputs, outputs   lists of graph.Value: name, dtype, shape with free axes named
    graph             graph.Graph as it was read; a float16 model's with its weights rounded
    num_threads       at most so many threads work on a call; None: `fastlstm.get_num_threads()`
    """

    def __init__(self, graph, *, dtype="float32", isa=None, num_threads=None, max_bytes=1 << 30):
        graph.check()
        self.dtype, self.isa = checked_dtype(dtype), check_isa(isa)
        self.graph = half.rounded(graph) if self.dtype == "float16" else graph
        self.max_bytes = checked_size("max_bytes", max_bytes)
        self.num_threads = check_num_threads(num_threads)
        self._made()

    def _made(self):
        """Everything that follows from the graph."""
        self._plans = {}  # {key: Plan}, the latest MOST_PLANS
        self._lock = threading.Lock()
        self._pins = Pins()  # what plans have had to know so far
        self._inputs = [Input(value) for value in self.graph.inputs]
        self._by_name = {each.name: each for each in self._inputs}
        self._names = list(self._by_name)
        self._any_rank = any(each.ndim is None for each in self._inputs)
        self._outputs = tuple_class([v.name for v in self.graph.outputs])
        self._converted = [
            (i, v.dtype)
            for i, v in enumerate(self.graph.outputs)
            if v.dtype not in (np.float32, np.int64, np.bool_)
        ]

    def __getstate__(self):
        return {
            name: getattr(self, name)
            for name in ("graph", "dtype", "isa", "num_threads", "max_bytes")
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
        return self.graph.inputs

    @property
    def outputs(self):
        return self.graph.outputs

    def __call__(self, *args, **kwargs):
        """The outputs for these inputs, in the graph's order or by name: an array, or a named tuple
        of arrays if there are several. Arrays are converted to the inputs' dtypes, if no value is
        lost. ValueError or TypeError, with both shapes, for what does not fit; MemoryError for more
        than max_bytes; KeyboardInterrupt."""
        made = self.run(self.named(args, kwargs, self._names))
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
        return self.run_arrays(arrays)

    def run_arrays(self, arrays, plan=None):
        """The same for arrays that `array` made, in the inputs' order. plan: theirs, if known."""
        made = (plan or self.plan_of(arrays)).run(arrays, self.num_threads or 0)
        for i, dtype in self._converted:
            made[i] = made[i].astype(dtype)
        return made

    def array(self, name, given):
        """`given` as the C core takes it for the input `name`; TypeError, ValueError."""
        if name not in self._by_name:
            raise TypeError(f"there is no input {name!r}; there are {', '.join(self._names)}")
        return self._by_name[name].array(given)

    def stream(self, batch_size=1, state=None, **constants):
        """A ModelStream, whose state starts as zeros.

        batch_size   rows: the size of the states' free axis
        state        {name of an input: name of an output}: which are the state; None: those that
                     start and end the model's recurrent layers (states.py)
        constants    inputs that are the same in every step, such as a sample rate

        ModelError if no state is found.
        """
        batch_size = checked_size("batch_size", batch_size)
        constants = {name: self.array(name, given) for name, given in constants.items()}
        if state is None:
            given = {each.name: each.zeros(batch_size) for each in self._inputs}
            try:
                state = self.state_pairs(given | constants)
            except _NoState:
                raise
            except (ModelError, ValueError):  # the sizes do not fit: the first step's will
                pass
        return ModelStream(self, state, batch_size, constants)

    def state_pairs(self, given):
        """{input: output} of the states that the graph shows for these inputs, {name: array};
        ModelError if it shows none."""
        found = states.pairs(self.planned(given).graph)
        if not found:
            inputs, outputs = (", ".join(v.name for v in vs) for vs in (self.inputs, self.outputs))
            raise _NoState(
                "no input is the state of a recurrent layer that an output gives on; say which: "
                f"stream(state={{input: output}}); inputs are {inputs}, outputs {outputs}"
            )
        return found

    def planned(self, given):
        """The plan.Plan that runs these inputs, {name: array}."""
        return self.plan_of([each.array(given[each.name]) for each in self._inputs])

    def plan_for(self, given):
        """A Plan for these inputs, {name: array}, and no others: all sizes are known in it. It is
        made anew and not kept."""
        arrays = [each.array(given[each.name]) for each in self._inputs]
        return self._plan(arrays, Pins(True, tuple(self._free_axes(arrays))))

    def facts_for(self, given):
        """{name: infer.Fact} of these inputs, {name: array}, with all sizes known."""
        arrays = [each.array(given[each.name]) for each in self._inputs]
        return self._facts(arrays, Pins(True, tuple(self._free_axes(arrays))))

    def plan_of(self, arrays):
        """The Plan for inputs like these, made if there is none yet."""
        pins = self._pins
        found = self._plans.get(self._key(arrays, pins))
        if found is not None:
            return found
        with self._lock:
            pins = self._pins
            found = self._plans.get(self._key(arrays, pins))
            if found is not None:  # another thread has made it meanwhile
                return found
            made, pins = self._made_plan(arrays, pins)
            while len(self._plans) >= MOST_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[self._key(arrays, pins)] = made
            self._pins = pins
            return made

    def _made_plan(self, arrays, pins):
        """(the Plan, its Pins). If a plan cannot be made, it may be when more is known of the
        inputs: the values of small ones, then sizes. Once sizes have to be known, each that need
        not be is left free again, since a plan takes milliseconds and sizes may change at every
        call."""
        try:
            return self._plan(arrays, pins), pins
        except ModelError:
            if pins.axes is not None:
                raise
        try:
            return self._plan(arrays, Pins(True)), Pins(True)
        except ModelError:
            pins = Pins(True, tuple(self._free_axes(arrays)))
        made = self._plan(arrays, pins)
        for axis in pins.axes:
            fewer = Pins(True, tuple(a for a in pins.axes if a != axis))
            with contextlib.suppress(ModelError):
                made, pins = self._plan(arrays, fewer), fewer
        return made, pins

    def _plan(self, arrays, pins):
        return plan(
            self.graph, self._facts(arrays, pins), isa=self.isa, dtype=self.dtype,
            max_bytes=self.max_bytes,
        )  # fmt: skip

    def _free_axes(self, arrays):
        """(number of the input, axis) of all sizes that the file leaves free."""
        for i, (each, array) in enumerate(zip(self._inputs, arrays, strict=True)):
            fixed = dict(each.fixed)
            for axis in range(array.ndim):
                if axis not in fixed:
                    yield i, axis

    def _key(self, arrays, pins):
        key = [a.ndim for a in arrays] if self._any_rank else []
        if pins.values:
            key += [
                array.tobytes() if each.pinned(array) else None
                for each, array in zip(self._inputs, arrays, strict=True)
                if each.may_pin
            ]
        if pins.axes:
            key += [arrays[i].shape[axis] for i, axis in pins.axes]
        return (pins, *key)

    def _facts(self, arrays, pins):
        facts = {}
        for i, (each, array) in enumerate(zip(self._inputs, arrays, strict=True)):
            if pins.values and each.pinned(array):
                facts[each.name] = constant(array.copy())
                continue
            known = dict(each.fixed)
            known |= {axis: array.shape[axis] for at, axis in pins.axes or () if at == i}
            facts[each.name] = Fact(array.dtype, tuple(known.get(n) for n in range(array.ndim)))
        return facts

    def save(self, path):
        """Writes the model to one safetensors file, whole or not at all, that load_model maps:
        processes share its memory. A float16 model's weights are float16 in it."""
        saved.write(path, self.graph, self.dtype)

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
