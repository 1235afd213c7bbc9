# SPDX-License-Identifier: MIT
"""What a length costs that a model has not seen before: published models, lengths in drawn order.

    python benchmarks/lengths.py [COUNT] [MODEL ...]

Each length is called twice. Printed are, in us of processor time, the median, the 90th percentile
and the largest of the first call less the second one, for all lengths and for those that are not
the longest so far; in parentheses the percentile of a third call less the second one, which is
what the machine adds by itself. A longest length needs memory that the process has not touched.
"""

import sys
import time

import numpy as np

import fastlstm
from fastlstm.bench import models, networks

# {name: (file, {input: shape with "n" for the length}, {input: number}, the longest length)}
MODELS = {
    "silero_vad sequence": (
        models.silero("silero_vad_16k_sequence.onnx"),
        {"input": ("n", 576), "h": (1, 1, 128), "c": (1, 1, 128)}, {}, 320,
    ),
    "silero_vad, a batch": (
        models.silero("silero_vad.onnx"),
        {"input": ("n", 576), "state": (2, "n", 128)}, {"sr": 16000}, 100,
    ),
    "beatnet": (
        networks.beatnet,
        {"x": (1, "n", 272), "h": (2, 1, 150), "c": (2, 1, 150)}, {}, 600,
    ),
    "uzmorph": (networks.uzmorph, {"x": (1, "n")}, {}, 300),
    "languages": (networks.languages, {"x": (1, "n")}, {}, 300),
}  # fmt: skip


def inputs(model, sizes, values, n, rng):
    given = {}
    for value in model.inputs:
        if value.name in values:
            given[value.name] = np.array(values[value.name], value.dtype)
            continue
        shape = [n if size == "n" else size for size in sizes[value.name]]
        made = rng.standard_normal(shape) if value.dtype.kind == "f" else rng.integers(0, 8, shape)
        given[value.name] = made.astype(value.dtype)
    return given


def seconds(model, given):
    begin = time.process_time()
    model.run(given)
    return time.process_time() - begin


def text(more):
    middle, most = np.percentile(more, 50), np.percentile(more, 90)
    return f"{middle:8.0f}{most:8.0f}{max(more):8.0f}"


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 75
    print(f"{'':22}{'all: p50':>8}{'p90':>8}{'most':>8}   {'p50':>5}{'p90':>8}{'most':>8}")
    for name in sys.argv[2:] or MODELS:
        file, sizes, values, longest = MODELS[name]
        model, rng = fastlstm.load_model(file(), num_threads=1), np.random.default_rng(5)
        lengths = rng.permutation(np.arange(2, longest + 1))[:count]
        model.run(inputs(model, sizes, values, 1, rng))
        every, shorter, noise, most = [], [], [], 1
        for n in map(int, lengths):
            given = inputs(model, sizes, values, n, rng)
            first, second, third = (1e6 * seconds(model, given) for _ in range(3))
            every.append(first - second)
            noise.append(third - second)
            if n < most:
                shorter.append(first - second)
            most = max(most, n)
        print(f"{name:22}{text(every)}{text(shorter)}   ({np.percentile(noise, 90):.0f})")


if __name__ == "__main__":
    main()
