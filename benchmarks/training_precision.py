# SPDX-License-Identifier: MIT
"""Training of one LSTM layer through PyTorch in every precision, one thread, gradients' errors.

    python benchmarks/training_precision.py [ROUNDS [T,B,I,H ...]]     # pip install -e ".[bench]"

One step is forward, loss.backward() and a change of every weight, so that packing them is in it.
PyTorch's nn.LSTM in float32 and under torch.autocast in bfloat16; the same module after
fastlstm.torch.accelerate in float32, bfloat16x6, bfloat16x3 and bfloat16. Each round runs every one
of them once, one after the other, from another one on in each round.

A core whose sibling is busy, with another virtual machine's work say, has a quarter of its products
of tiles, and whether it is changes from second to second. So a short call whose products are of
tiles is timed before and after each step, and a step counts only if both took at most 1.4 times as
long as the fastest ever did. Where a step does not count it is taken once more, up to three times.

Printed is a table in Markdown: medians in ms of the steps that count, how many these are of all,
the quartiles' distance in %, how many times as fast as PyTorch's float32 and autocast by these
medians, and the largest errors of the gradients of the weights and of the input, each against
float64 as a part of its largest element. ROUNDS of 0: the errors alone.
"""

import copy
import math
import sys
import time

import numpy as np
import torch

import fastlstm.torch

SHAPES = [(100, 24, 300, 300), (100, 32, 256, 256), (100, 32, 512, 512), (50, 128, 256, 256)]
AUTOCAST = "bfloat16 autocast"
PRECISIONS = ("float32", "bfloat16x6", "bfloat16x3", "bfloat16")
SECONDS = 16  # of one shape, at most about so many


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
        f"PyTorch {AUTOCAST}": Trained(copy.deepcopy(module), x, up, autocast=True),
    }
    for precision in PRECISIONS:
        holder = torch.nn.Sequential(copy.deepcopy(module))
        fastlstm.torch.accelerate(holder, precision=precision)
        made[f"fastlstm {precision}"] = Trained(holder[0], x, up)
    return made


class Probe:
    """Whether the core has its full rate of products of tiles now."""

    def __init__(self):
        self.layer = fastlstm.LSTM(256, 256, precision="bfloat16x3")
        self.x = np.zeros((2, 64, 256), np.float32)
        self.fastest = min(self.seconds() for _ in range(100))

    def seconds(self):
        """Of the fastest of a few calls: the first of them fetches the weights."""
        fastest = math.inf
        for _ in range(5):
            begun = time.perf_counter()
            self.layer(self.x)
            fastest = min(fastest, time.perf_counter() - begun)
        return fastest

    def quiet(self):
        took = self.seconds()
        self.fastest = min(self.fastest, took)
        return took <= 1.4 * self.fastest


def timed(made, rounds, seconds):
    """({name: [seconds of each step that counts]}, how many did of how many); fewer rounds if they
    would take longer than `seconds`."""
    samples, names, count, probe = {name: [] for name in made}, list(made), 0, Probe()
    for name in names:
        made[name].step()
    end = time.monotonic() + seconds
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            for _ in range(3):
                count += 1
                before = probe.quiet()
                begun = time.perf_counter()
                made[name].step()
                took = time.perf_counter() - begun
                if probe.quiet() and before:
                    samples[name].append(took)
                    break
        if time.monotonic() > end:
            break
    return samples, sum(map(len, samples.values())), count


def table(shape, rounds):
    T, B, I, H = shape
    torch.manual_seed(0)
    module = torch.nn.LSTM(I, H)
    x, up = torch.randn(T, B, I), torch.randn(T, B, H) / (T * B)
    due = double_gradients(module, x, up)
    made = contestants(module, x, up)
    errors = {name: one.errors(due) for name, one in made.items()}
    samples, kept, count = timed(made, rounds, SECONDS) if rounds else ({}, 0, 0)
    print(f"\n### T, B, I, H = {T}, {B}, {I}, {H}; {kept} of {count} steps count\n")
    print("| | ms | spread % | over PyTorch f32 | over autocast | weights' error | input's error |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    base = [np.median(samples.get(f"PyTorch {n}") or [np.nan]) for n in ("float32", AUTOCAST)]
    for name in made:
        cells = [""] * 4
        if samples.get(name):
            low, middle, high = np.percentile(samples[name], (25, 50, 75))
            cells = [f"{middle * 1e3:.1f}", f"{(high - low) / middle * 100:.0f}"]
            cells += [f"{other / middle:.2f}" for other in base]
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
