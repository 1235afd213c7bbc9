# SPDX-License-Identifier: MIT
"""Matrices and convolutions of whole models whose products are made of bfloat16 parts, beside
float32: which sizes pay (fastlstm/engine/parts.py).

    python benchmarks/parts_operators.py [SECONDS]

Each shape's three operators of the C core are called by turns for SECONDS (default 0.5), on one
thread. Printed is a table in Markdown: the median in us of float32, and how many times as fast x3
and x6 are.
"""

import os
import statistics
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTLSTM_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402

from fastlstm.engine import backend  # noqa: E402

MATRICES = [  # inputs, outputs, rows
    (128, 128, 512), (128, 384, 512), (256, 128, 512), (192, 256, 512), (256, 256, 512),
    (1024, 64, 512), (1024, 96, 512), (512, 512, 512), (2048, 1024, 256), (256, 256, 32),
    (256, 256, 1),
]  # fmt: skip
CONVOLUTIONS = [  # channels, outputs, taps of an axis, the axes of each of four images
    (32, 64, 3, (28, 28)), (64, 64, 3, (28, 28)), (64, 128, 3, (28, 28)), (128, 128, 3, (28, 28)),
    (256, 256, 3, (14, 14)), (128, 256, 1, (28, 28)), (512, 512, 3, (7, 7)), (32, 128, 5, (300,)),
    (64, 128, 3, (500,)), (128, 128, 3, (500,)), (256, 256, 3, (200,)),
]  # fmt: skip
KINDS = ((0, []), (3, [32]), (3, [48]))  # formats of csrc/fastlstm.h, and bits of parts


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def packed(name, ints, w):
    made = backend.Operator(name, ints, [], None)
    made.pack(w, drawn(len(w)))
    return made


def matrix(inputs, outputs, rows):
    w = drawn(outputs, inputs)
    ours = [
        packed("linear", [kind, inputs, outputs, -1, *([1, 1] if bits else []), *bits], w)
        for kind, bits in KINDS
    ]
    return ours, drawn(rows, inputs)


def convolution(channels, outputs, taps, sizes):
    n = len(sizes)
    w = drawn(outputs, channels, *[taps] * n)
    window = [*[taps] * n, *[1] * n, *[1] * n, *[taps // 2] * 2 * n]
    ours = [
        packed("conv", [kind, n, channels, outputs, 1, 0, -1, *window, *bits], w)
        for kind, bits in KINDS
    ]
    return ours, drawn(4, *sizes, channels)


def medians(operators, x, seconds):
    times = [[] for _ in operators]
    for one in operators:
        one.run([x], threads=1)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for one, taken in zip(operators, times, strict=True):
            start = time.perf_counter()
            one.run([x], threads=1)
            taken.append(1e6 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
    print("| operator | float32, us | x3 | x6 |\n|---|---:|---:|---:|")
    for k, n, rows in MATRICES:
        plain, two, three = medians(*matrix(k, n, rows), seconds)
        print(
            f"| {k} to {n}, {rows} rows | {plain:,.4g} | {plain / two:.2f} | {plain / three:.2f} |"
        )
    for c, m, taps, sizes in CONVOLUTIONS:
        plain, two, three = medians(*convolution(c, m, taps, sizes), seconds)
        shape, window = " x ".join(map(str, sizes)), " x ".join([str(taps)] * len(sizes))
        title = f"{c} to {m} channels, {window}, 4 of {shape}"
        print(f"| {title} | {plain:,.4g} | {plain / two:.2f} | {plain / three:.2f} |", flush=True)


if __name__ == "__main__":
    main()
