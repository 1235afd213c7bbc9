# SPDX-License-Identifier: MIT
"""The rows of a model's pool (fastlstm/pool): which axes are the batch, and where states lie.

The batch is the free axis of the states. Of an input it is the axis of that name, else the only
free axis, else the first one if that is free. Of an output it is the axis that grows with the
batch: the first frames are tried with two rows and with three, and where the engine promises bits
(the C core), each of these rows is run alone too, since only a model whose rows do not see one
another can be a pool.

A plan of another batch size is the same plan, and costs some 30 us for the places of its arrays
where a row of a voice detector takes 8, so batches are not rounded up to a few sizes.
"""

import threading

import numpy as np

from ..engine import NAME
from . import states
from .arguments import tuple_class
from .graph import ModelError


def _free(value):
    return [i for i, n in enumerate(value.shape or ()) if not isinstance(n, int)]


class ModelRows:
    """state, constants: as in Model.stream."""

    def __init__(self, model, capacity, state, constants):
        self._model, self._capacity, self._constants = model, capacity, constants
        self._lock, self._states = threading.Lock(), None
        self._tried = set()  # shapes of frames
        # {(shape, dtype): shape with the batch's axis} of frames of a model's only input, floats,
        # that need no other check
        self._plain = {}
        if state is None:
            pairs = model.stream(2, None, **constants).pairs  # None: the first frames will tell
        else:
            pairs = states.checked(model.graph, state)
        if pairs is not None:
            self._pair(pairs)
        for value in self._inputs():
            if self._states is not None or not _free(value):
                self._axis(value)  # or says that there is none

    def __repr__(self):
        return f"Model({self._model.graph.name!r})"

    # ---- what is state, what is batch

    def _pair(self, pairs):
        """Takes {input: output} of the states and makes their arrays."""
        model, outputs = self._model, [v.name for v in self._model.outputs]
        axes, arrays = {}, {}
        for value in model.inputs:
            if value.name not in pairs:
                continue
            free = _free(value)
            if value.name in self._constants:
                raise TypeError(f"the input {value.name!r} is a state and cannot be a constant")
            if value.shape is None or len(free) != 1:
                raise ModelError(
                    f"the state {value} must have one free axis, the batch, for streams to run "
                    "together"
                )
            axes[value.name] = free[0]
            shape = list(value.shape)
            shape[free[0]] = self._capacity
            arrays[value.name] = model.array(value.name, np.zeros(shape, value.dtype))
        self._state_axes = axes
        self._batch_names = {v.shape[axes[v.name]] for v in model.inputs if v.name in axes} - {""}
        self._next = [(name, outputs.index(other)) for name, other in pairs.items()]
        self._returned = [i for i, n in enumerate(outputs) if n not in pairs.values()]
        self._tuple = tuple_class([outputs[i] for i in self._returned])
        self._output_axes = None
        names = [value.name for value in model.inputs]
        self._same = tuple(i for i, name in enumerate(names) if name in self._constants)
        self._states = arrays

    def _axis(self, value):
        """The batch's axis of an input that frames give."""
        free = _free(value)
        if self._states is not None:
            named = [i for i in free if value.shape[i] in self._batch_names]
            free = named if len(named) == 1 else free
        if len(free) == 1 or 0 in free:
            return free[0]
        raise ModelError(
            f"which axis of the input {value} is the batch is not known, or it has none: inputs "
            "that are the same for all streams are given to `pool` by name"
        )

    def _inputs(self):
        """The graph.Values that a frame gives, in the model's order."""
        kept = self._states
        if kept is None:  # a frame has everything that is no constant and may not be a state
            return [v for v in self._model.inputs if v.name not in self._constants]
        return [
            v for v in self._model.inputs if v.name not in kept and v.name not in self._constants
        ]

    # ---- frames

    def _only(self):
        """The graph.Value of a frame that is one array."""
        values = self._inputs()
        if self._states is None:  # until the first frames tell, what comes first is no state
            values = values[:1]
        if len(values) != 1:
            names = ", ".join(v.name for v in values)
            raise TypeError(f"a frame is {{name: array}} of the inputs {names}")
        return values[0]

    def frame_shape(self):
        value = self._only()
        axis = self._axis(value)
        sizes = [n if isinstance(n, int) else None for n in value.shape]
        return (*sizes[:axis], *sizes[axis + 1 :])

    def _named(self, given):
        """{name: array} of what a caller gave."""
        return dict(given) if hasattr(given, "items") else {self._only().name: given}

    def _arrays(self, given, rows):
        given = self._named(given)
        by_name = {value.name: value for value in self._inputs()}
        unknown = [name for name in given if name not in by_name]
        if unknown:
            raise TypeError(
                f"there is no input {unknown[0]!r} in a frame; there are {', '.join(by_name)}"
            )
        made = {}
        for name, array in given.items():
            axis = self._axis(by_name[name])
            array = np.asarray(array)
            if rows is None:
                if axis > array.ndim:
                    raise ValueError(f"input {by_name[name]}: a frame of shape {array.shape}")
                array = np.expand_dims(array, axis)
            array = self._model.array(name, array)
            if array.shape[axis] != (rows or 1):
                raise ValueError(
                    f"input {by_name[name]}: frames of {rows} streams, got the shape {array.shape}"
                )
            made[name] = array
        self._try(made)  # also refuses a frame that lacks inputs
        return [made[value.name] for value in self._inputs()]

    def one(self, frame):
        if type(frame) is np.ndarray:
            shape = self._plain.get((frame.shape, frame.dtype))
            if shape is not None:
                return [frame.copy().reshape(shape)]
        return [array.copy() for array in self._arrays(frame, None)]

    def many(self, frames, n):
        return self._arrays(frames, n)

    def stacked(self, ones):
        axes = [self._axis(value) for value in self._inputs()]
        return [
            np.concatenate(arrays, axis)
            for arrays, axis in zip(zip(*ones, strict=True), axes, strict=True)
        ]

    @staticmethod
    def shapes(one):
        return tuple([array.shape for array in one])

    # ---- the first frames of their shapes

    def _try(self, given):
        """Finds the state, if it is not known, and the outputs' axes, with drawn frames shaped as
        {name: array} `given` is, whatever its batch. ModelError if this model's rows cannot run
        together."""
        axes = {v.name: self._axis(v) for v in self._inputs() if v.name in given}
        key = tuple((n, a.shape[: axes[n]] + a.shape[axes[n] + 1 :]) for n, a in given.items())
        if key in self._tried:
            return
        with self._lock:
            if self._states is None:
                zeros = {
                    each.name: each.zeros(2)
                    for each in self._model._inputs
                    if each.name not in given
                }
                two = {name: np.repeat(a[_at(axes[name], [0])], 2, axes[name])
                       for name, a in given.items()}  # fmt: skip
                made = zeros | two | self._constants
                self._pair(self._model.state_pairs(made, self._constants))
            batches = {n: self._drawn(given, n) for n in (1, 2, 3)}
            results = {n: self._call(*batches[n])[0] for n in (2, 3)}
            found = []
            for at, (two, three) in enumerate(zip(results[2], results[3], strict=True)):
                grown = [i for i, n in enumerate(two.shape) if n != three.shape[i]]
                if len(grown) != 1 or (two.shape[grown[0]], three.shape[grown[0]]) != (2, 3):
                    value = self._model.outputs[self._returned[at]]
                    raise ModelError(f"the output {value} has no row for each stream")
                found.append(grown[0])
            if NAME == "c":
                self._check_alone(batches[3], results[3], found)
            self._output_axes = found
            self._tried.add(key)
            ((name, array), *others) = given.items()
            if not others and array.dtype.kind == "f":
                shape = list(key[0][1])
                shape.insert(axes[name], 1)
                self._plain[key[0][1], array.dtype] = tuple(shape)

    def _drawn(self, given, n):
        """(frames, states) of n rows like those given: numbers between -1 and 1."""
        rng = np.random.default_rng(0)
        axes = {v.name: self._axis(v) for v in self._inputs()}

        def drawn(like, axis):
            shape = list(like.shape)
            shape[axis] = n
            array = np.zeros(shape, like.dtype)
            if like.dtype.kind == "f":
                array[...] = rng.uniform(-1, 1, shape)
            return array

        missing = [name for name in axes if name not in given]
        if missing:
            raise TypeError(f"missing inputs: {', '.join(missing)}")
        frames = [drawn(given[v.name], axes[v.name]) for v in self._inputs()]
        kept = [drawn(self._states[name], axis) for name, axis in self._state_axes.items()]
        return frames, dict(zip(self._state_axes, kept, strict=True))

    def _check_alone(self, batch, results, axes):
        """Each row of a batch of three has the bits that it has alone."""
        frames, kept = batch
        in_axes = [self._axis(value) for value in self._inputs()]
        for i in range(3):
            alone = [np.ascontiguousarray(a[_at(axis, [i])])
                     for a, axis in zip(frames, in_axes, strict=True)]  # fmt: skip
            state = {n: np.ascontiguousarray(a[_at(self._state_axes[n], [i])])
                     for n, a in kept.items()}  # fmt: skip
            for one, many, axis in zip(self._call(alone, state)[0], results, axes, strict=True):
                if one.tobytes() != np.ascontiguousarray(many[_at(axis, [i])]).tobytes():
                    raise ModelError(
                        f"{self._model.graph.name}: the rows of a batch depend on one another, so "
                        "they cannot be streams of a pool"
                    )

    # ---- running

    def _call(self, frames, kept):
        """(the outputs that are no state, {name: next state})"""
        model = self._model
        given = dict(zip((v.name for v in self._inputs()), frames, strict=True))
        given |= kept
        arrays = [given[v.name] if v.name in given else self._constants[v.name]
                  for v in model.inputs]  # fmt: skip
        made = model.run_planned(model.plan_of(arrays, self._same), arrays)
        fresh = {}
        for name, at in self._next:
            if made[at].shape != kept[name].shape:
                raise ValueError(
                    f"the state {name!r} has the shape {kept[name].shape} and would get "
                    f"{made[at].shape}"
                )
            fresh[name] = made[at]
        return [made[i] for i in self._returned], fresh

    def run(self, slots, batch):
        kept = {
            name: array.take(slots, self._state_axes[name]) for name, array in self._states.items()
        }
        return self._call(batch, kept)

    def store(self, slots, state):
        for name, array in self._states.items():
            array[_at(self._state_axes[name], slots)] = state[name]

    def whole(self, results):
        return results[0] if len(results) == 1 else self._tuple(*results)

    def part(self, results, i):
        made = [a[_at(axis, i)].copy() for a, axis in zip(results, self._output_axes, strict=True)]
        return self.whole(made)

    def forked(self):
        self._lock = threading.Lock()

    # ---- states

    def reset(self, slot):
        for name, array in (self._states or {}).items():
            array[_at(self._state_axes[name], slot)] = 0

    def _known(self):
        if self._states is None:
            raise ModelError("what the state is will be known after the first frame")
        return self._states

    def state(self, slot):
        return {
            name: array[_at(self._state_axes[name], slot)].copy()
            for name, array in self._known().items()
        }

    def set_state(self, slot, state):
        kept, fresh = self._known(), {}
        if not hasattr(state, "items"):
            raise TypeError(f"state must be what `state` gave, got {type(state).__name__}")
        for name, given in state.items():
            if name not in kept:
                raise ValueError(f"{name!r} is no state; there are {', '.join(kept)}")
            due = kept[name][_at(self._state_axes[name], slot)]
            fresh[name] = np.asarray(given)
            if fresh[name].shape != due.shape:
                raise ValueError(
                    f"the state {name!r} has the shape {due.shape}, got {fresh[name].shape}"
                )
            if not np.can_cast(fresh[name].dtype, due.dtype, "same_kind"):
                raise TypeError(f"the state {name!r} is {due.dtype}, got {fresh[name].dtype}")
        for name, array in fresh.items():
            kept[name][_at(self._state_axes[name], slot)] = array


def _at(axis, index):
    """The index of an array that takes `index` on one axis."""
    return (slice(None),) * axis + (index,)
