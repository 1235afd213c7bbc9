# SPDX-License-Identifier: MIT
"""Training of one LSTM layer through PyTorch in every precision, one thread, gradients' errors.

    python benchmarks/training_precision.py [ROUNDS [T,B,I,H ...]]     # pip install -e ".[bench]"

One step is forward, loss.backward() and a change of every weight, so that packing them is in it.
PyTorch's nn.LSTM in float32 and under torch.autocast in bfloat16; the same module after
fastlstm.torch.accelerate in float32, bfloat16x6, bfloat16x3 and bfloat16. Each round runs every one
of them once, one after the other, from another one on in each round. Printed is a table in
Markdown: medians in ms, the quartiles' distance in % of them, how many times as fast as PyTorch's
float32, as the median of the rounds' own ratios, and the largest errors of the gradients of the
weights and of the input, each against float64 as a part of its largest element. ROUNDS of 0: the
errors alone. Beside each table stand the multiply-adds per second of one core before and after it
and, where the CPU has AMX, those of its tiles: a core whose neighbour is busy has fewer.
"""

import copy
import statistics
import sys
import time

import numpy as np
import torch

import fastlstm.torch
from fastlstm.engine import backend

SHAPES = [(100, 24, 300, 300), (100, 32, 256, 256), (100, 32, 512, 512), (50, 128, 256, 256)]
PRECISIONS = ("float32", "bfloat16x6", "bfloat16x3", "bfloat16")
SECONDS = 20  # of one shape, at most about so many


class Trained:
    """One module, and a step of its training on x whose loss is the sum of y times `up`."""

    def __init__(self, module, x, up, autocast=False):
        self.module, self.x, self.up = module, x.clone().requires_grad_(), up
        self.autocast = autocast

    def step(self):
        for p in (self.x, *self.module.parameters()):
            p.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            y = self.module(self.x)[0]
            loss = (y * self.up).sum()
        loss.backward()
        with torch.no_grad():
            for p in self.module.parameters():
                p.add_(p.grad, alpha=0.0)

    def errors(self, due):
        """The largest error of a weight's gradient, and that of the input's."""
        self.step()
        parts = [self.x, *self.module.parameters()]
        errors = [
            float((p.grad.double() - d).abs().max() / d.abs().max())
            for p, d in zip(parts, due, strict=True)
        ]
        return max(errors[1:]), errors[0]


def double_gradients(module, x, up):
    """The gradients of x and of the weights in float64."""
    exact = Trained(copy.deepcopy(module).double(), x.double(), up.double())
    exact.step()
    return [p.grad for p in (exact.x, *exact.module.parameters())]


def contestants(module, x, up):
    """{name: Trained}."""
    made = {
        "PyTorch float32": Trained(copy.deepcopy(module), x, up),
        "PyTorch bfloat16 autocast": Trained(copy.deepcopy(module), x, up, autocast=True),
    }
    for precision in PRECISIONS:
        holder = torch.nn.Sequential(copy.deepcopy(module))
        options = {} if precision == "float32" else {"precision": precision}
        try:
            fastlstm.torch.accelerate(holder, **options)
        except TypeError as e:
            print(f"{precision} is left out: {e}", file=sys.stderr)
            continue
        made[f"fastlstm {precision}"] = Trained(holder[0], x, up)
    return made


def timed(made, rounds, seconds):
    """{name: [seconds of each round]}; fewer rounds if they would take longer than `seconds`."""
    samples = {name: [] for name in made}
    names = list(made)
    for name in names:
        made[name].step()
    end = time.monotonic() + seconds
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            begun = time.perf_counter()
            made[name].step()
            samples[name].append(time.perf_counter() - begun)
        if i >= 4 and time.monotonic() > end:
            break
    return samples


def probes():
    """What one core does now, in words."""
    fma = backend.fma_rate() if hasattr(backend, "fma_rate") else 0
    return f"{fma / 1e9:.0f} GFLOP/s" if fma else ""


def table(shape, rounds):
    T, B, I, H = shape
    torch.manual_seed(0)
    module = torch.nn.LSTM(I, H)
    x, up = torch.randn(T, B, I), torch.randn(T, B, H) / (T * B)
    due = double_gradients(module, x, up)
    made = contestants(module, x, up)
    errors = {name: one.errors(due) for name, one in made.items()}
    samples = timed(made, rounds, SECONDS) if rounds else {}
    print(f"\n### T, B, I, H = {T}, {B}, {I}, {H}\n")
    print("| | ms | spread % | over PyTorch f32 | over autocast | weights' error | input's error |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in made:
        cells = ["", "", "", ""]
        if samples:
            mine = samples[name]
            low, middle, high = np.percentile(mine, (25, 50, 75))
            over = [
                statistics.median(b / a for a, b in zip(mine, samples[base], strict=True))
                for base in ("PyTorch float32", "PyTorch bfloat16 autocast")
            ]
            cells = [f"{middle * 1e3:.1f}", f"{(high - low) / middle * 100:.0f}"]
            cells += [f"{ratio:.2f}" for ratio in over]
        print(f"| {name} | {' | '.join(cells)} | {errors[name][0]:.1e} | {errors[name][1]:.1e} |")
    sys.stdout.flush()


def main(arguments):
    torch.set_num_threads(1)
    fastlstm.set_num_threads(1)
    rounds = int(arguments[0]) if arguments else 21
    shapes = [tuple(map(int, a.split(","))) for a in arguments[1:]] or SHAPES
    for shape in shapes:
        table(shape, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
