# SPDX-License-Identifier: MIT
"""Forward and backward: calls of fastlstm on arrays, fastlstm.torch's module, and torch.nn's.

One call is what a training step asks of the layer: outputs, then the gradients of the input and of
every weight from a given gradient of the outputs. The optimizer is not in it, but its effect is:
"new weights" finds them changed at each call, as in training, and packs them.
"""

from __future__ import annotations

import numpy as np

from . import measure, model
from .forward import doubt, to_row
from .measure import Entry
from .peers.ours import LAYERS
from .peers.runner import Call

TOLERANCE = 1e-4  # of a gradient's largest element, between two float32 results
FORWARD = "y, s, tape = lstm.forward_train(x)"
BOTH = f"{FORWARD}\ngrads = lstm.backward(tape, dy)"
NEW_WEIGHTS = f"lstm.load_state_dict(weights)\n{BOTH}"


class ArraysCall(Call):
    """`statement` on arrays; its gradients stay in `grads`."""

    results = "y, grads"

    def __init__(self, statement, shape, weights, x, dy, threads):
        lstm = LAYERS[shape.cell].from_state_dict(weights, num_threads=threads)
        super().__init__(statement, {"lstm": lstm, "x": x, "dy": dy, "weights": weights})

    def gradients(self):
        grads = self.namespace["grads"]
        return {"x": grads.x, **grads.params}


class ForwardCall(ArraysCall):
    """forward_train alone: there are no gradients."""

    results = "y"


def entries_of(shape, threads, peers) -> tuple[list[Entry], Entry | None]:
    """(ours, PyTorch's if it is there). Ours are "arrays" first, "forward" last."""
    weights, x = model.make_weights(shape), model.make_input(shape)
    dy = np.random.default_rng(2).standard_normal(shape.output_shape(), dtype=np.float32)
    arguments = shape, weights, x, dy, threads
    ours = [
        Entry("fastlstm", lambda: ArraysCall(BOTH, *arguments), "arrays"),
        Entry("fastlstm", lambda: ArraysCall(NEW_WEIGHTS, *arguments), "arrays, new weights"),
    ]
    torch = None
    if "torch" in peers:
        from .peers import autograd

        module, torch = (Entry(*each) for each in autograd.entries(*arguments))
        ours.append(module)
    ours.append(
        Entry("fastlstm, forward", lambda: ForwardCall(FORWARD, *arguments), "forward", "fastlstm")
    )
    return ours, torch


def check(entries, expected) -> None:
    """Compare the gradients of `entries` with those of `expected`, one of them, before any weight
    has moved twice."""
    found = {}
    for entry in entries:
        entry.first = entry.runner.once()
        if "flat" in entry.runner.namespace:
            entry.runner.once()  # the second change of sign undoes the first
        found[entry] = entry.runner.gradients()
    for entry, grads in found.items():
        entry.error = max(
            float(np.abs(grads[n] - want).max() / np.abs(want).max())
            for n, want in found[expected].items()
        )
        entry.wrong = not entry.error <= TOLERANCE


def train_rows(case, ctx):
    """Rows of a training step. See forward.py for how it is called.

    GFLOP/s counts three times the forward pass. "max error" is the gradients', against PyTorch's
    over their largest element.
    """
    shape, threads = case.shape, case.threads
    (arrays, *others, forward), torch = entries_of(shape, threads, ctx.peers)
    ours = [arrays, *others]
    entries = [*ours, forward] + ([torch] if torch else [])
    check([entry for entry in entries if entry is not forward], torch or arrays)
    forward.first = forward.runner.once()
    for entry in entries:
        entry.calibrate(ctx.rounds)
    peak = yield entries
    rows = {
        entry: to_row(case, entry, shape.flops() * (1 if entry is forward else 3), peak)
        for entry in entries
    }
    if torch:
        for entry in ours:
            row = rows[entry]
            row.ratio = measure.ratio(torch, entry, "torch / this")
            row.cpu_ratio = measure.cpu_ratio(torch, entry)
            row.measured[f"over torch, {entry.way}"] = row.ratio.median
        fastest = min(ours, key=lambda entry: entry.median)
        rows[torch].ratio = measure.ratio(torch, fastest, "this / fastlstm")
        rows[torch].cpu_ratio = measure.cpu_ratio(torch, fastest)
    backward = measure.ratio(arrays, forward, "").median - 1
    rows[arrays].measured["backward over forward"] = backward
    rows[arrays].notes.append(f"backward / forward {backward:.2f}")
    doubt(rows.values())
    return list(rows.values())
