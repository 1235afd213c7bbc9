# SPDX-License-Identifier: MIT
"""Two builds of fastlstm beside each other, on the cases of `fastlstm bench` without a suite.

    python benchmarks/before_after.py BEFORE AFTER [--only WORDS] [--seconds 80]

BEFORE and AFTER are checkouts with a built extension and an environment in .venv. A process of each
does a few calls in turn, on one core and one thread; the ratio of two neighbouring times is one
sample, and a pass has many. Where memory lies differs from process to process and is worth a
percent or two, so each pass has new processes. Printed are the medians of the passes, AFTER's time
over BEFORE's, and the least and the most of them; more than 1.02 is slower by more than 2 %.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

SLICE = 0.01  # seconds of one turn of calls
TURNS = 24  # of each build, for each case of a pass
CASES = [
    "step, carried 64", "step, carried 128", "step, carried 256", "stream 10,1,80,128",
    "dense 1000,1,1,64", "dense 1000,1,80,128", "dense 100,1,256,256", "dense 100,1,512,512",
    "dense 100,4,256,256", "dense 100,8,512,512", "dense 100,32,128,128", "dense 100,32,256,256",
    "dense 100,8,256,256,2,2", "ragged 100,32,128,128", "train 100,16,64,64",
    "train 100,32,128,128",
]  # fmt: skip

# Runs in each build; only what both have is used.
WORKER = """
import sys, time
import numpy as np
import fastlstm
rng = np.random.default_rng(0)
def real(*shape):
    return rng.uniform(-1, 1, shape).astype(np.float32)
def made(I, H, L=1, D=1):
    layer = fastlstm.LSTM(I, H, num_layers=L, bidirectional=D == 2, num_threads=1)
    layer.load_state_dict({k: real(*v.shape) / np.float32(H**0.5)
                           for k, v in layer.state_dict().items()})
    return layer
def calls(case):
    kind, _, numbers = case.rpartition(" ")
    if kind == "step, carried":
        H = int(numbers)
        layer, x, state = made(H, H), real(1, 1, H), (real(1, 1, H), real(1, 1, H))
        def call():
            nonlocal state
            state = layer(x, state, num_threads=1)[1]
        return call
    T, B, I, H, *more = map(int, numbers.split(","))
    layer, x = made(I, H, *more), real(T, B, I)
    if kind == "stream":
        stream = layer.stream(B)
        return lambda: stream(x)
    if kind == "dense":
        return lambda: layer(x, num_threads=1)
    if kind == "ragged":
        lengths = np.linspace(1, T, B).astype(np.int64)
        return lambda: layer(x, lengths=lengths, num_threads=1)
    dy = real(T, B, H)
    def call():
        y, state, tape = layer.forward_train(x, num_threads=1)
        layer.backward(tape, dy, num_threads=1)
    return call
for line in sys.stdin:
    what, _, rest = line.strip().partition(" ")
    if what == "case":
        call = calls(rest)
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            call()
        print("ready", flush=True)
        continue
    start = time.perf_counter()
    for _ in range(int(rest)):
        call()
    print(time.perf_counter() - start, flush=True)
"""


class Build:
    """A process of one build, which computes when it is asked."""

    def __init__(self, root):
        env = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")}
        self.process = subprocess.Popen(
            [f"{root}/.venv/bin/python", "-c", WORKER], cwd=root, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env | {"PYTHONPATH": str(root)},
        )  # fmt: skip

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def seconds(self, calls):
        return float(self.ask(f"time {calls}"))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def one_pass(roots, cases, samples):
    """Adds to samples[case] a pair: the median of the ratios, and the second build's seconds."""
    builds = [Build(root) for root in roots]
    for case in cases:
        for build in builds:
            build.ask(f"case {case}")
        calls = max(1, int(SLICE / max(builds[0].seconds(1), builds[0].seconds(3) / 3)))
        ratios, seconds = [], []
        for turn in range(TURNS):
            order = (0, 1) if turn % 2 else (1, 0)
            times = dict(zip(order, [builds[i].seconds(calls) for i in order], strict=True))
            ratios.append(times[1] / times[0])
            seconds.append(times[1] / calls)
        samples[case].append((statistics.median(ratios), statistics.median(seconds)))
    for build in builds:
        build.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--only", help="cases whose names have this in them")
    parser.add_argument(
        "--seconds", type=float, default=80, help="no pass begins that would end later"
    )
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cases = [case for case in CASES if not given.only or given.only in case]
    samples = {case: [] for case in cases}
    start = now = time.perf_counter()
    longest = 0.0
    while now + longest < start + given.seconds or not longest:
        one_pass((given.before, given.after), cases, samples)
        longest = max(longest, time.perf_counter() - now)
        now = time.perf_counter()
    print(f"| case | after / before | least to most of {len(samples[cases[0]])} | us, after |")
    print("|---|---|---|---|")
    for case, pairs in samples.items():
        ratios = sorted(ratio for ratio, _ in pairs)
        us = 1e6 * statistics.median(seconds for _, seconds in pairs)
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
        print(f"| {case} | {statistics.median(ratios):.3f} | {spread} | {us:,.1f} |")


if __name__ == "__main__":
    sys.exit(main())
