# SPDX-License-Identifier: MIT
"""Forward and backward: fastlstm's own calls, fastlstm.torch's module, and torch.nn's.

One call is what a training step asks of the layer: outputs, then the gradients of the input and of
every weight from a given gradient of the outputs. The optimizer is not in it, but its effect is:
"new weights" finds them changed at each call, as in training, and packs them.
"""

from __future__ import annotations

import numpy as np

from . import measure, model
from .forward import doubt, to_row
from .measure import Entry
from .peers import Call
from .peers.ours import LAYERS

TOLERANCE = 1e-4  # of a gradient's largest element, between two float32 results
BOTH = "y, s, tape = lstm.forward_train(x)\ngrads = lstm.backward(tape, dy)"
STATEMENTS = {
    "arrays": BOTH,
    "arrays, new weights": "lstm.load_state_dict(weights)\n" + BOTH,
    "forward": "y, s, tape = lstm.forward_train(x)",
}


class ArraysCall(Call):
    """forward_train and backward on arrays; of the forward pass alone there are no gradients."""

    results = "y, grads"

    def __init__(self, variant, shape, weights, x, dy, threads):
        lstm = LAYERS[shape.cell].from_state_dict(weights, num_threads=threads)
        names = {"lstm": lstm, "x": x, "dy": dy, "weights": weights}
        if variant == "forward":
            self.results = "y"
        super().__init__(STATEMENTS[variant], names)

    def gradients(self):
        grads = self.namespace["grads"]
        return {"x": grads.x, **grads.params}


def entries_of(shape, threads, peers) -> list[Entry]:
    """Ours, torch last if it is there."""
    weights, x = model.make_weights(shape), model.make_input(shape)
    dy = np.random.default_rng(2).standard_normal(shape.output_shape(), dtype=np.float32)
    arguments = shape, weights, x, dy, threads
    entries = []
    for variant in STATEMENTS:
        who = "fastlstm, forward" if variant == "forward" else "fastlstm"
        entries.append(Entry(who, lambda v=variant: ArraysCall(v, *arguments), variant))
    if "torch" in peers:
        from .peers import autograd

        entries += [Entry(who, build, v) for who, v, build in autograd.builders(*arguments)]
    return entries


def check(entries) -> None:
    """The gradients of all, against the last one's; before any weight has moved twice."""
    found = {}
    for entry in entries:
        entry.first = entry.runner.once()
        if "flat" in entry.runner.namespace:
            entry.runner.once()  # the second change of sign undoes the first
        if entry.variant != "forward":
            found[entry] = entry.runner.gradients()
    wanted = found[entries[-1]] if entries[-1] in found else found[entries[0]]
    for entry, grads in found.items():
        entry.error = max(
            float(np.abs(grads[n] - want).max() / np.abs(want).max()) for n, want in wanted.items()
        )
        entry.wrong = not entry.error <= TOLERANCE


def train_rows(case, ctx):
    """GFLOP/s counts three times the forward pass. "max error" is the gradients', against the last
    engine's, over their largest element."""
    shape, threads = case.shape, case.threads
    entries = entries_of(shape, threads, ctx.peers)
    check(entries)
    for entry in entries:
        entry.calibrate(ctx.rounds)
    peak = yield entries
    torch = entries[-1] if entries[-1].who == "torch" else None
    forward = next(entry for entry in entries if entry.variant == "forward")
    ours = [entry for entry in entries if entry.who == "fastlstm"]
    fastest = min(ours, key=lambda entry: entry.median)
    rows = []
    for entry in entries:
        work = shape.flops() * (1 if entry is forward else 3)
        row = to_row(case, entry, work, peak)
        if torch and entry in ours:
            row.ratio = measure.ratio(torch, entry, "torch / this")
            row.cpu_ratio = measure.cpu_ratio(torch, entry)
            row.measured[f"over torch, {entry.variant}"] = row.ratio.median
        elif entry is torch:
            row.ratio = measure.ratio(torch, fastest, "this / fastlstm")
            row.cpu_ratio = measure.cpu_ratio(torch, fastest)
        if entry.variant == "arrays":
            both = measure.ratio(entry, forward, "").median
            row.measured["backward over forward"] = both - 1
            row.notes.append(f"backward / forward {both - 1:.2f}")
        rows.append(row)
    doubt(rows)
    return rows
