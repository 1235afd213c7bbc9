# SPDX-License-Identifier: MIT
"""The plans of a model: made when a call first needs one, kept, and as general as they can be."""

import contextlib
import threading
import typing

from .graph import ModelError, NotKnown
from .infer import Fact, constant, narrow
from .plan import plan

MOST_PLANS = 16  # kept
MOST_PINNED = 64  # elements of an input whose values a plan may depend on


class Pins(typing.NamedTuple):
    """What plans depend on beside types and numbers of axes: on the values of inputs, by their
    numbers, and on sizes, (number of the input, axis)."""

    values: tuple = ()
    axes: tuple = ()


class Plans:
    """The plans of a graph. inputs: [arguments.Input]; options: the keywords of plan.plan.

    pins   what plans have had to know so far
    """

    def __init__(self, graph, inputs, options):
        self.graph, self.inputs, self.options = graph, inputs, options
        self.pins = Pins()
        self._kept = {}  # {key: Plan}, the latest MOST_PLANS
        self._lock = threading.Lock()
        self._any_rank = any(each.ndim is None for each in inputs)

    def __len__(self):
        return len(self._kept)

    def of(self, arrays, fixed=()):
        """The Plan for inputs like these, made if there is none yet. ModelError.

        fixed   numbers of inputs that will have these very values in all calls: what follows from
                them is computed once. Of large ones only types and sizes are used
        """
        pins = self.pins if not fixed else self._pins_with(arrays, fixed)
        found = self._kept.get(self._key(arrays, pins))
        if found is not None:
            return found
        with self._lock:
            pins = self._pins_with(arrays, fixed)
            found = self._kept.get(self._key(arrays, pins))
            if found is not None:  # another thread has made it meanwhile
                return found
            made, pins = self._made(arrays, pins, fixed)
            while len(self._kept) >= MOST_PLANS:
                self._kept.pop(next(iter(self._kept)))
            self._kept[self._key(arrays, pins)] = made
            self.pins = pins._replace(values=tuple(i for i in pins.values if i not in fixed))
            return made

    def exactly(self, arrays):
        """A Plan for these inputs and no others, not kept: all sizes are known in it, and the
        values of small inputs of whole numbers. ModelError."""
        return self._plan(arrays, self._all_known(arrays))

    def facts(self, arrays):
        """{name: infer.Fact} of these inputs, as `exactly` knows them."""
        return self._facts(arrays, self._all_known(arrays))

    def _all_known(self, arrays):
        small = [i for i, a in enumerate(arrays) if a.size <= MOST_PINNED and a.ndim <= 1]
        values = tuple(i for i in small if arrays[i].dtype.kind != "f")
        return Pins(values, tuple(self._free_axes(arrays)))

    def _pins_with(self, arrays, fixed):
        if not fixed:
            return self.pins
        small = [i for i in fixed if arrays[i].size <= MOST_PINNED]
        return self.pins._replace(values=tuple(sorted({*self.pins.values, *small})))

    def _made(self, arrays, pins, fixed):
        """(the Plan, its Pins). If a plan cannot be made, it may be when more is known of the
        inputs: the values of small ones of whole numbers, then sizes, then the values of small ones
        of floats, such as scales. Then each that need not be known is left free again, since a plan
        takes milliseconds, and inputs may differ at every call."""
        values, axes = known = pins
        small = {i for i, a in enumerate(arrays) if a.size <= MOST_PINNED and a.ndim <= 1}
        floats = {i for i in small if arrays[i].dtype.kind == "f"}
        ints = small - floats
        every = set(self._free_axes(arrays))
        while True:
            try:
                made = self._plan(arrays, pins)
                if pins == known:  # as few as plans before have needed
                    return made, pins
                return self._fewest(arrays, made, pins, fixed)
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

    def _fewest(self, arrays, made, pins, fixed):
        """(a Plan, its Pins) that depends on as little as it can, of one that depends on `pins`."""
        for kind in ("axes", "values"):
            for one in getattr(pins, kind):
                if kind == "values" and one in fixed:
                    continue
                fewer = tuple(each for each in getattr(pins, kind) if each != one)
                with contextlib.suppress(ModelError):
                    fewer = pins._replace(**{kind: fewer})
                    made, pins = self._plan(arrays, fewer), fewer
        return made, pins

    def _plan(self, arrays, pins):
        return plan(self.graph, self._facts(arrays, pins), **self.options)

    def _free_axes(self, arrays):
        """(number of the input, axis) of all sizes that the file leaves free."""
        for i, (each, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            fixed = {axis for axis, _ in each.fixed}
            yield from ((i, axis) for axis in range(array.ndim) if axis not in fixed)

    def _key(self, arrays, pins):
        if not (pins.values or pins.axes or self._any_rank):
            return (pins,)
        key = [a.ndim for a in arrays] if self._any_rank else []
        key += [(arrays[i].shape, arrays[i].tobytes()) for i in pins.values]
        key += [arrays[i].shape[axis] for i, axis in pins.axes if axis < arrays[i].ndim]
        return (pins, *key)

    def _facts(self, arrays, pins):
        facts = {}
        for i, (each, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            if i in pins.values:
                facts[each.name] = constant(array.astype(each.value.dtype))
                continue
            sizes = dict(each.fixed)
            shape = [
                array.shape[axis] if (i, axis) in pins.axes else sizes.get(axis)
                for axis in range(array.ndim)
            ]
            facts[each.name] = Fact(array.dtype, tuple(shape), narrow=narrow(each.value.dtype))
        return facts
