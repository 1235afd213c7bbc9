# SPDX-License-Identifier: MIT
"""What layers have beyond torch's: other activations, clipped sums, coupled gates, peepholes, a
reverse direction alone (as ONNX and Keras have them), and a state of their own to start from."""

from typing import ClassVar

import numpy as np

from ..engine import arguments
from ..training.checkpoint import turned_around


def flag(name, value):
    """A bool, or a TypeError."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a bool, got {type(value).__name__}")
    return bool(value)


class Varied:
    """The part of Recurrent that knows of them. odd: {argument: default}, a class' own."""

    odd: ClassVar = {"activations": None, "clip": None, "reverse": False}
    activations = clip = None
    input_forget = peepholes = reverse = False
    output_order = "time"  # or "processing": y[0] is a reverse direction's first result
    _start = None  # the arrays of the state that calls without one start from

    def _check_odd(self, odd):
        """Take those of the arguments `odd` that are not the default."""
        odd = {name: value for name, value in odd.items() if value is not self.odd[name]}
        if not odd:
            return
        from ..engine.variants import checked_activations, checked_clip

        for name in odd.keys() - {"activations", "clip"}:
            odd[name] = flag(name, odd[name])
        if odd.get("reverse") and self.bidirectional:
            raise ValueError("a bidirectional layer has a reverse direction already: reverse=True")
        if "clip" in odd:
            odd["clip"] = checked_clip(odd["clip"])
        if "activations" in odd:
            odd["activations"] = checked_activations(
                self.kind, self.num_directions, odd["activations"]
            )
        if odd.get("peepholes"):
            self._kinds = (*self._kinds, "peephole")
        self.__dict__.update(odd)

    def _variant(self):
        """What sets the layer apart from torch's, for a backend; None if nothing does."""
        odd = {name: getattr(self, name) for name in self.odd}
        if odd == self.odd:
            return None
        from ..engine.variants import RELU, USUAL, Variant

        usual = (RELU,) if self.core == "rnn_relu" else USUAL[self.kind]
        odd["activations"] = self.activations or (usual,) * self.num_directions
        return Variant(**odd)

    def _started(self, parts, batch):
        """The parts of a state, or of the one that a call without one starts from; or None."""
        if parts is not None or self._start is None:
            return parts
        if self._start[0].shape[1] not in (1, batch):
            raise ValueError(
                f"initial_state is for {self._start[0].shape[1]} rows, the input has {batch}: give "
                "the call a state of its own"
            )
        shapes = self._state_shapes(batch)
        return [
            np.ascontiguousarray(np.broadcast_to(part, shape))
            for part, shape in zip(self._start, shapes, strict=True)
        ]

    @property
    def initial_state(self):
        """What calls without a state start from, settable: like a call's state, of one row for any
        batch or of as many as that; None: zeros. Streams start there and reset to it."""
        return None if self._start is None else self._state([part.copy() for part in self._start])

    @initial_state.setter
    def initial_state(self, state):
        if state is None:
            self.__dict__.pop("_start", None)
            return
        parts = (state,) if not self.has_c else tuple(state)
        first = np.asarray(parts[0]) if parts else np.empty(0)
        rows = first.shape[1] if first.ndim == 3 else 1
        parts = arguments.states(state, self._state_shapes(rows), first.ndim == 3)
        self._start = tuple(part.copy() for part in parts)

    def _reorder(self, y, lengths):
        """y between the order of time and that of processing, in place."""
        if self.output_order == "processing":
            by_time = y.swapaxes(0, 1) if self.batch_first else y
            by_time[...] = turned_around(by_time, lengths).copy()
