# SPDX-License-Identifier: MIT
"""A model's state, kept between calls."""

import numpy as np

from . import states
from .arguments import Like, tuple_class
from .graph import ModelError

MOST_PLANS = 16  # kept by a stream


class _Like(Like):
    """What a step needs whose inputs are like those of the step before.

    plan     gives no output another dtype than the C core's
    given    what the plan takes; None for what a step gives, `at`, and for the state (number, name)
    spare    the outputs of the step before the last one that are states, which nobody else has, and
             None for what was returned; None where outputs cannot be written to given arrays
    """

    def __init__(self, plan, arrays, places, states, outputs):
        self.given = [arrays[i] for i in plan.inputs]
        self.at = [plan.inputs.index(i) for i, name in places if name not in states]
        self.state = [(plan.inputs.index(i), name) for i, name in places if name in states]
        self.spare = [None] * outputs if plan.program is not None else None
        super().__init__([self.given[i] for i in self.at], plan)
        for i in (*self.at, *(i for i, _ in self.state)):
            self.given[i] = None  # the caller's, perhaps large, and a state that will be an old one


class ModelStream:
    """Calls of a model one after the other, each of which starts from the state that the one before
    it left. Made by `Model.stream`, which says what the arguments are.

    pairs   {name of an input that is a state: name of the output that is its next value}; None
            before the first step, if the graph shows the pairs only for certain sizes of inputs
    state   {name of such an input: array}: copies; assign a dict to set all or some of them

    One thread at a time may use a stream; any number of streams of one model run at the same time.
    Copies (copy, deepcopy) are of the same model and go on from a copy of the state. A pickle holds
    the model too.
    """

    def __init__(self, model, pairs, batch_size, constants):
        self._model, self._constants, self.batch_size = model, constants, batch_size
        self.pairs, self._state = None, {}
        self._made()
        if pairs is not None:
            self._pair(states.checked(model.graph, pairs))

    def _pair(self, pairs):
        self.pairs = pairs
        for name in pairs:
            if name in self._constants:
                raise TypeError(
                    f"the input {name!r} is a state and cannot be the same in all steps"
                )
        self._made()
        self.reset()

    def _made(self):
        """What follows from the pairs."""
        model, self._last = self._model, None  # _last: a _Like
        if self.pairs is None:
            return
        outputs = [value.name for value in model.outputs]
        self._given = [
            value.name
            for value in model.inputs
            if value.name not in self.pairs and value.name not in self._constants
        ]
        self._returned = [i for i, n in enumerate(outputs) if n not in self.pairs.values()]
        self._next = [(one, outputs.index(other)) for one, other in self.pairs.items()]
        self._tuple = tuple_class([outputs[i] for i in self._returned])
        # The inputs in the model's order: what is the same in every step, and where the rest goes.
        names = [value.name for value in model.inputs]
        self._arrays = [self._constants.get(name) for name in names]
        self._same = tuple(i for i, name in enumerate(names) if name in self._constants)
        self._at = [(i, name) for i, name in enumerate(names) if name not in self._constants]
        # {shapes of all inputs: Plan}, of plans that do not depend on values that steps give
        self._plans = {}
        # Integers of fewer than 64 bits are looked at one by one.
        self._alike = all(model.input(name).limits is None for name in self._given)

    def __getstate__(self):
        made = ("_given", "_returned", "_next", "_tuple", "_arrays", "_same", "_at", "_plans",
                "_last", "_alike")  # fmt: skip
        return {name: value for name, value in self.__dict__.items() if name not in made}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._made()

    def __repr__(self):
        pairs = self.pairs or {}
        kept = ", ".join(f"{one} <- {other}" for one, other in pairs.items())
        return f"ModelStream({self._model.graph.name!r}: {kept or 'state found at the first step'})"

    def find_pairs(self, *args, **kwargs):
        """Finds the pairs for a step with these inputs: what it leaves out is the state. The first
        step does so by itself."""
        model = self._model
        free = [v.name for v in model.inputs if v.name not in self._constants]
        given = model.named(args, kwargs, free)
        for value in model.inputs:
            if value.name not in given and value.name not in self._constants:
                given[value.name] = self._zeros(value)
        self._pair(model.state_pairs(given | self._constants, self._constants))

    def _zeros(self, value):
        """The state that a stream starts from: free axes are the batch."""
        if value.shape is None:
            raise ModelError(f"the state {value.name!r} has no shape in the file: set `state`")
        shape = [n if isinstance(n, int) else self.batch_size for n in value.shape]
        return self._model.array(value.name, np.zeros(shape, value.dtype))

    def reset(self, rows=None):
        """Sets the state to zeros: all of it, or of the rows (an index or a list of them) alone.
        Rows are those of the state's free axis, which is the batch. A state of which the file tells
        no shape is dropped, to be set before the next step."""
        if self.pairs is None:
            return
        self._last = None
        values = [value for value in self._model.inputs if value.name in self.pairs]
        if rows is None:
            self._state = {v.name: self._zeros(v) for v in values if v.shape is not None}
            return
        fresh = {}
        for value in values:
            axes = [i for i, n in enumerate(value.shape or ()) if not isinstance(n, int)]
            if len(axes) != 1:
                raise ModelError(f"which axis of the state {value} is the batch is not known")
            array = self._state[value.name].copy()
            try:
                np.moveaxis(array, axes[0], 0)[rows] = 0
            except IndexError:
                raise IndexError(
                    f"rows {rows!r} of the state {value}, which has the shape {array.shape}"
                ) from None
            fresh[value.name] = array
        self._state = fresh

    @property
    def state(self):
        """{name of an input that is a state: array}, copies. Settable, all or some of them;
        ValueError for other shapes and names."""
        return {name: array.copy() for name, array in self._state.items()}

    @state.setter
    def state(self, given):
        if self.pairs is None:
            raise ModelError("what the state is will be known after the first step: see `stream`")
        for name in given:
            if name not in self.pairs:
                raise ValueError(f"{name!r} is no state; there are {', '.join(self.pairs)}")
        fresh = {name: self._model.array(name, array) for name, array in given.items()}
        for name, array in fresh.items():
            due = self._state[name].shape if name in self._state else array.shape
            if array.shape != due:
                raise ValueError(f"the state {name!r} has the shape {due}, got {array.shape}")
        self._last = None
        self._state.update((name, array.copy()) for name, array in fresh.items())

    def step(self, *args, **kwargs):
        """The outputs that are no state, for the inputs that are none and were not fixed: an array,
        or a named tuple of several. The inputs may hold one step or several, as the model takes
        them. A call that fails leaves the state as it was."""
        if self._last is not None and not kwargs and self._last.fits(args):
            return self._again(args)
        if self.pairs is None:
            self.find_pairs(*args, **kwargs)
        model, arrays = self._model, self._arrays.copy()
        given = model.named(args, kwargs, self._given)
        for at, name in self._at:
            if name in given:
                arrays[at] = model.array(name, given[name])
            elif name in self._state:
                arrays[at] = self._state[name]
            else:
                missing = [n for n in self._given if n not in given]
                raise TypeError(f"missing inputs: {', '.join(missing) or name}")
        shapes = tuple([array.shape for array in arrays])
        plan = self._plans.get(shapes)
        if plan is None:
            plan = model.plan_of(arrays, self._same)
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            if {at for at, _ in self._at}.issubset(plan.inputs):
                self._plans[shapes] = plan
        made = model.run_planned(plan, arrays)
        fresh = {}
        for name, at in self._next:
            array = made[at]
            if array.shape != self._state[name].shape:
                raise ValueError(
                    f"the state {name!r} has the shape {self._state[name].shape} and would get "
                    f"{array.shape}: how many rows are inputs of, and is batch_size the same?"
                )
            fresh[name] = array
        self._state = fresh
        if self._alike and not plan.casted and shapes in self._plans:
            self._last = _Like(plan, arrays, self._at, self.pairs, len(made))
        return self._outputs(made)

    __call__ = step

    def _again(self, args):
        """A step that fits `_last`. The state's next values go to the arrays of the values before
        the present ones, which stay until the step is done."""
        last, state = self._last, self._state
        given, spare = last.given.copy(), last.spare
        for at, array in zip(last.at, args, strict=True):
            given[at] = array
        for at, name in last.state:
            given[at] = state[name]
        made = last.plan.run_given(given, self._model.num_threads or 0, spare)
        # An interrupt at any place from here on finds a whole state, and none of its arrays spare.
        last.spare = None if spare is None else [None] * len(made)
        self._state = {name: made[at] for name, at in self._next}
        if spare is not None:
            for name, at in self._next:
                last.spare[at] = state[name]
        return self._outputs(made)

    def _outputs(self, made):
        """What a step returns of all of the model's outputs."""
        if len(self._returned) == 1:
            return made[self._returned[0]]
        return self._tuple(*[made[i] for i in self._returned])

    def __copy__(self):
        twin = object.__new__(ModelStream)
        twin.__setstate__(self.__getstate__() | {"_state": self.state})
        return twin

    def __deepcopy__(self, memo):
        return self.__copy__()
