# SPDX-License-Identifier: MIT
"""Variants: what layers have that torch's do not. Other activations, clipped sums, coupled gates,
peepholes, a reverse direction alone, directions merged otherwise than side by side (as ONNX and
Keras have them), and an initial state."""

from typing import ClassVar

import numpy as np

from ..engine import arguments
from ..training.checkpoint import turned_around
from ..training.merge import checked_merge


def flag(name, value):
    """A bool, or a TypeError."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a bool, got {type(value).__name__}")
    return bool(value)


class Variants:
    """The part of Recurrent that knows of variants.

    variant_arguments   {argument: default} of a class' constructor
    """

    variant_arguments: ClassVar = {
        "activations": None, "clip": None, "reverse": False, "merge": "concat",
    }  # fmt: skip
    activations = clip = None
    input_forget = peepholes = reverse = False
    merge = "concat"
    output_order = "time"  # or "processing": y[0] is a reverse direction's first result
    _start = None  # the arrays of the initial state; None: zeros

    def _set_variant(self, values):
        """Check and take those of `values`, {argument: value}, that are not the default."""
        # In the object, not in its class alone, each call finds these in half the time.
        self.merge, self.output_order, self._start = "concat", "time", None
        values = {k: v for k, v in values.items() if v is not self.variant_arguments[k]}
        if not values:
            return
        from ..engine.variants import checked_activations, checked_clip

        for name in values.keys() - {"activations", "clip", "merge"}:
            values[name] = flag(name, values[name])
        if values.get("reverse") and self.bidirectional:
            raise ValueError("a bidirectional layer has a reverse direction already: reverse=True")
        if "merge" in values:
            values["merge"] = checked_merge(values["merge"], self.bidirectional)
        if "clip" in values:
            values["clip"] = checked_clip(values["clip"])
        if "activations" in values:
            values["activations"] = checked_activations(
                self.kind, self.num_directions, values["activations"]
            )
        self.__dict__.update(values)

    @property
    def variant(self):
        """The engine's Variant, which says what sets the layer apart from torch's; None if nothing
        does that the engine knows of: `merge` it does not. For this package's own use."""
        usual = {name: value for name, value in self.variant_arguments.items() if name != "merge"}
        values = {name: getattr(self, name) for name in usual}
        if values == usual:
            return None
        from ..engine.variants import RELU, USUAL, Variant

        usual = (RELU,) if self.cell == "rnn_relu" else USUAL[self.kind]
        values["activations"] = self.activations or (usual,) * self.num_directions
        return Variant(**values)

    def start_state(self, parts, batch):
        """The arrays that a call of `batch` rows starts from: `parts`, those of its state, or the
        initial state's if it was given none; None: zeros. For this package's own use."""
        if parts is not None or self._start is None:
            return parts
        if self._start[0].shape[1] not in (1, batch):
            raise ValueError(
                f"initial_state is for {self._start[0].shape[1]} rows, the input has {batch}: give "
                "the call a state of its own"
            )
        return [
            np.ascontiguousarray(np.broadcast_to(part, shape))
            for part, shape in zip(self._start, self.state_shapes(batch), strict=True)
        ]

    @property
    def initial_state(self):
        """What calls without a state start from, settable: like a call's state, of one row for any
        batch or of as many as that; None: zeros. Streams start there and reset to it."""
        if self._start is None:
            return None
        return self.state_from_parts([part.copy() for part in self._start])

    @initial_state.setter
    def initial_state(self, state):
        if state is None:
            self._start = None
            return
        first = arguments.pair("initial_state", state)[0] if self.has_c else state
        first = arguments.real("initial_state", first)
        rows = first.shape[1] if first.ndim == 3 else 1
        parts = arguments.states(state, self.state_shapes(rows), first.ndim == 3)
        self._start = tuple(part.copy() for part in parts)

    def reorder(self, y, lengths):
        """Turn y in place from the order of time to output_order, or back; nothing to do if that is
        "time". y is (T, B, n), or (B, T, n) with batch_first. For this package's own use."""
        if self.output_order == "processing":
            by_time = y.swapaxes(0, 1) if self.batch_first else y
            by_time[...] = turned_around(by_time, lengths).copy()
