# SPDX-License-Identifier: MIT
"""Forward and backward: fastlstm's own calls, fastlstm.torch.LSTM, and torch.nn.LSTM.

One call is what a training step asks of the layer: outputs, then the gradients of the input and of
every weight from a given gradient of the outputs. The optimizer is not in it, but its effect is:
"module" and "forward_train" find new weights at each call, as in training, and pack them.
"""

from __future__ import annotations

import numpy as np
from peers import Runner

from . import measure, model
from .forward import to_row
from .measure import Entry
from .shapes import Shape

SHAPES = [
    Shape(100, 1, 128, 128),
    Shape(100, 16, 64, 64),
    Shape(100, 32, 128, 128),
    Shape(100, 32, 256, 256),
    Shape(50, 64, 512, 512),
]
TOLERANCE = 1e-4  # of a gradient's largest element, between two float32 results


class NumpyRunner(Runner):
    """forward_train and backward on arrays; "repack" loads new weights first."""

    def __init__(self, weights, x, dy, threads, repack):
        import fastlstm

        lstm = fastlstm.LSTM.from_state_dict(weights, num_threads=threads)
        statement = "y, hc, tape = lstm.forward_train(x); grads = lstm.backward(tape, dy)"
        if repack:
            statement = "lstm.load_state_dict(weights); " + statement
        super().__init__(statement, {"lstm": lstm, "x": x, "dy": dy, "weights": weights})

    def gradients(self):
        grads = self.namespace["grads"]
        return {"x": grads.x, **grads.params}


class TorchRunner(Runner):
    """A module; `change` moves every weight a little before each call."""

    def __init__(self, module, weights, x, dy, threads, change):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.threads = torch, threads
        module.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()})
        names = {
            "lstm": module,
            "x": torch.from_numpy(x).requires_grad_(),
            "dy": torch.from_numpy(dy),
            "grad": torch.autograd.grad,
            "inputs": list(module.parameters()),
        }
        statement = "y, hc = lstm(x); grads = grad(y, [x, *inputs], dy)"
        if change:  # the first element of each: cheap, and all must be packed again
            names["flat"] = [p.data.view(-1)[:1] for p in names["inputs"]]
            statement = "for w in flat: w.mul_(-1)\n" + statement
        super().__init__(statement, names)

    def start(self):
        self.torch.set_num_threads(self.threads)
        super().start()

    def gradients(self):
        names = ["x", *(n for n, _ in self.namespace["lstm"].named_parameters())]
        return {n: g.numpy() for n, g in zip(names, self.namespace["grads"], strict=True)}


def entries_of(shape, threads):
    import torch

    import fastlstm.torch

    weights, x = model.make_weights(shape), model.make_input(shape)
    dy = np.random.default_rng(2).standard_normal(shape.output_shape(), dtype=np.float32)
    sizes = shape.I, shape.H, shape.layers
    two = {"bidirectional": shape.bidirectional}
    return [
        Entry("fastlstm", NumpyRunner(weights, x, dy, threads, False), "arrays"),
        Entry("fastlstm", NumpyRunner(weights, x, dy, threads, True), "arrays, new weights"),
        Entry(
            "fastlstm",
            TorchRunner(fastlstm.torch.LSTM(*sizes, **two), weights, x, dy, threads, True),
            "module, new weights",
        ),
        Entry(
            "torch",
            TorchRunner(torch.nn.LSTM(*sizes, **two), weights, x, dy, threads, False),
            "nn.LSTM",
        ),
    ]


def check(entries):
    """The gradients of all, against the last one's; before any weight has moved twice."""
    found = []
    for entry in entries:
        entry.first_call()
        if "flat" in entry.runner.namespace:
            entry.runner.call()  # the second change of sign undoes the first
        found.append(entry.runner.gradients())
    for entry, grads in zip(entries, found, strict=True):
        entry.error = max(
            float(np.abs(grads[n] - want).max() / np.abs(want).max())
            for n, want in found[-1].items()
        )
        entry.wrong = not entry.error <= TOLERANCE
        entry.notes = [f"WRONG by {entry.error:.1e}"] if entry.wrong else []


def training_rows(ctx):
    """Rows for every training shape. GFLOP/s counts three times the forward pass."""
    if not {"fastlstm", "torch"} <= set(ctx.peers):
        return []
    rows = []
    for shape in SHAPES:
        ctx.log(f"training: {shape}")
        entries = entries_of(shape, ctx.threads)
        check(entries)
        for entry in entries:
            entry.calibrate(ctx.rounds)
        before = ctx.peak()
        measure.alternate(entries, ctx.rounds, ctx.threads)
        peak = ctx.peak_of_run(before)
        for entry in entries:
            row = to_row("training", shape, entry, 3 * shape.flops(), peak)
            if entry is not entries[-1]:
                row.ratio, row.ratio_spread = measure.ratio(entries[-1], entry)
                row.cpu_ratio = measure.cpu_ratio(entries[-1], entry)
                row.ratio_of = "torch / this"
                row.aim("over torch", row.ratio, ">=", 1.5 if shape.B <= 16 else 1.2)
            rows.append(row)
            entry.runner.close()
    return rows
