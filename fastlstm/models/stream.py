# SPDX-License-Identifier: MIT
"""A model's state, kept between calls."""

import numpy as np

from . import states
from .graph import ModelError
from .infer import run_dtype

MOST_PLANS = 16  # kept by a stream


class ModelStream:
    """Calls of a model one after the other, each of which starts from the state that the one before
    it left. Made by `Model.stream`, which says what the arguments are.

    pairs   {name of an input that is a state: name of the output that is its next value}; None
            before the first step, if the graph shows the pairs only for certain sizes of inputs
    state   {name of such an input: array}: copies; assign a dict to set all or some of them

    One thread at a time may use a stream; any number of streams of one model run at the same time.
    """

    def __init__(self, model, pairs, batch_size, constants):
        self._model, self._constants, self.batch_size = model, constants, batch_size
        self._names = [value.name for value in model.inputs]
        for name in constants:
            if name not in self._names:
                raise TypeError(f"there is no input {name!r}; there are {', '.join(self._names)}")
        self.pairs, self._state = None, {}
        if pairs is not None:
            self._pair(pairs)

    def _pair(self, pairs):
        self.pairs = states.checked(self._model.graph, pairs)
        outputs = [value.name for value in self._model.outputs]
        self._given = [n for n in self._names if n not in self.pairs and n not in self._constants]
        self._returned = [i for i, n in enumerate(outputs) if n not in self.pairs.values()]
        self._next = {one: outputs.index(other) for one, other in self.pairs.items()}
        inputs = list(enumerate(self._model.inputs))
        self._arrays = [
            self._model.array(v, self._constants[v.name]) if v.name in self._constants else None
            for _, v in inputs
        ]
        self._varying = [(i, v) for i, v in inputs if v.name in self._given]
        self._kept = [(i, v.name) for i, v in inputs if v.name in self.pairs]
        # {shapes of all inputs: Plan}, unless plans depend on values that steps give
        self._plans = {}
        self._of_shapes = all(v.dtype.kind == "f" for _, v in self._varying)
        self._tuple = self._model.tuple_class([outputs[i] for i in self._returned])
        self.reset()

    def _pair_by(self, args, kwargs):
        """Finds the pairs by the first step: the inputs that it leaves out are the state."""
        free = [n for n in self._names if n not in self._constants and n not in kwargs]
        given = dict(zip(free, args, strict=False)) | kwargs | self._constants
        for value in self._model.inputs:
            if value.name not in given:
                given[value.name] = np.zeros(self._shape(value), run_dtype(value.dtype))
        self._pair(self._model.state_pairs(given))

    def _shape(self, value):
        """The state's shape: free axes are the batch."""
        if value.shape is None:
            raise ModelError(f"the state {value.name!r} has no shape in the file: set `state`")
        free = [i for i, n in enumerate(value.shape) if not isinstance(n, int)]
        return tuple(self.batch_size if i in free else n for i, n in enumerate(value.shape))

    def reset(self, rows=None):
        """Sets the state to zeros: all of it, or of the rows (an index or a list of them) alone.
        Rows are those of the state's free axis, which is the batch."""
        if self.pairs is None:
            return
        for value in self._model.inputs:
            if value.name not in self.pairs:
                continue
            if rows is None:
                self._state[value.name] = np.zeros(self._shape(value), run_dtype(value.dtype))
                continue
            axes = [i for i, n in enumerate(value.shape or ()) if not isinstance(n, int)]
            if len(axes) != 1:
                raise ModelError(f"which axis of the state {value} is the batch is not known")
            fresh = self._state[value.name].copy()
            np.moveaxis(fresh, axes[0], 0)[rows] = 0
            self._state[value.name] = fresh

    @property
    def state(self):
        return {name: array.copy() for name, array in self._state.items()}

    @state.setter
    def state(self, given):
        if self.pairs is None:
            raise ModelError("what the state is will be known after the first step: see `stream`")
        values = {value.name: value for value in self._model.inputs}
        fresh = {}
        for name, array in given.items():
            if name not in self.pairs:
                raise ValueError(f"{name!r} is no state; there are {', '.join(self.pairs)}")
            fresh[name] = self._model.array(values[name], array).copy()
        self._state.update(fresh)

    def step(self, *args, **kwargs):
        """The outputs that are no state, for the inputs that are none and were not fixed: an array,
        or a named tuple of several. A call that fails leaves the state as it was."""
        if self.pairs is None:
            self._pair_by(args, kwargs)
        if len(args) > len(self._given):
            raise TypeError(f"{len(self._given)} inputs are due, got {len(args)}")
        given = dict(zip(self._given, args, strict=False))
        for name in kwargs:
            if name in given or name not in self._given:
                raise TypeError(f"{name!r} is no input of a step, or is given twice")
        given.update(kwargs)
        if len(given) < len(self._given):
            missing = [name for name in self._given if name not in given]
            raise TypeError(f"missing inputs: {', '.join(missing)}")
        model, arrays = self._model, self._arrays
        for at, value in self._varying:
            arrays[at] = model.array(value, given[value.name])
        for at, name in self._kept:
            arrays[at] = self._state[name]
        shapes = tuple([array.shape for array in arrays])
        plan = self._plans.get(shapes) if self._of_shapes else None
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[shapes] = model.plan_of(arrays)
        made = model.run_arrays(list(arrays), plan)
        self._state = {name: made[at] for name, at in self._next.items()}
        found = [made[i] for i in self._returned]
        return found[0] if len(found) == 1 else self._tuple(*found)

    __call__ = step

    def __copy__(self):
        """A stream of the same model that goes on from a copy of this one's state."""
        twin = ModelStream(self._model, self.pairs, self.batch_size, self._constants)
        twin._state.update(self.state)
        return twin

    def __deepcopy__(self, memo):
        return self.__copy__()
