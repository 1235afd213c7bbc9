# SPDX-License-Identifier: MIT
"""ONNX Runtime with fastlstm.onnxruntime in it beside ONNX Runtime alone: the same models, the same
process, calls of the two in turn.

    python benchmarks/onnxruntime_inside.py [--threads 1,2] [--seconds 1] [--only silero,grid]

A line for each model and number of threads: both medians, the ratio of the medians (above 1: with
fastlstm it is faster), the quarters of the calls' ratios, the ratio of CPU times, and the largest
difference of the outputs. Files are those of tests/models/test_onnx_published.py that have such
nodes, from the tests' cache; "grid" is bare nodes of drawn weights. At the end: the least ratio and
the median.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [
    str(ROOT),
    str(ROOT / "tests"),
    str(ROOT / "tests/support"),
    str(ROOT / "tests/models"),
]

import recurrent_graphs as graphs  # noqa: E402
from test_onnx_published import FILES, drawn  # noqa: E402

import fastlstm.onnxruntime  # noqa: E402

GRID = [  # op, T, B, I, H, direction
    (op, *sizes)
    for op in ("LSTM", "GRU")
    for sizes in (
        (1, 1, 64, 64, "forward"), (1, 1, 128, 128, "forward"), (1, 1, 256, 256, "forward"),
        (1, 1, 512, 512, "forward"), (1, 16, 128, 128, "forward"), (20, 1, 128, 128, "forward"),
        (100, 1, 64, 64, "forward"), (100, 1, 128, 128, "forward"), (100, 1, 256, 256, "forward"),
        (100, 1, 512, 512, "forward"), (100, 8, 128, 128, "forward"),
        (100, 32, 256, 256, "forward"), (100, 1, 128, 128, "bidirectional"),
        (100, 8, 256, 256, "bidirectional"), (1000, 1, 80, 128, "forward"),
    )
] + [("RNN", 100, 1, 128, 128, "forward"), ("RNN", 100, 16, 128, 128, "forward")]  # fmt: skip


def models():
    """(name, a path or bytes, {input: array})"""
    rng = np.random.default_rng(0)
    for name in FILES:
        path, feeds = drawn(name, rng)
        if fastlstm.onnxruntime.nodes(path):
            yield name, path, feeds
    for op, steps, batch, size, hidden, direction in GRID:
        case = graphs.Case(rng, op, steps, batch, size, hidden, initial=True,
                           scale=1 / np.sqrt(hidden), direction=direction)  # fmt: skip
        yield f"grid {op} {steps},{batch},{size},{hidden} {direction}", case.model(), case.feeds


def measure(model, feeds, threads, seconds):
    """Times and CPU times of calls, [plain, with fastlstm], and the largest difference."""
    sessions = [graphs.session(model, ours, threads) for ours in (False, True)]
    first, second = (session.run(None, feeds) for session in sessions)
    differs = max(
        np.abs(a.astype(np.float64) - b).max(initial=0) / max(1, np.abs(a).max(initial=0))
        for a, b in zip(first, second, strict=True)
    )
    times, cpu = ([], []), ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 7:
        for which, session in enumerate(sessions):
            session.run(None, feeds)  # each begins with its own weights in the caches
            began, worked = time.perf_counter(), time.process_time()
            session.run(None, feeds)
            times[which].append(time.perf_counter() - began)
            cpu[which].append(time.process_time() - worked)
    return np.array(times), np.array(cpu), differs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each line")
    parser.add_argument("--only", default="", help="parts of names, by comma")
    args = parser.parse_args()
    wanted, ratios = args.only.split(","), []
    for name, model, feeds in models():
        if not any(part in name for part in wanted):
            continue
        for threads in map(int, args.threads.split(",")):
            times, cpu, differs = measure(model, feeds, threads, args.seconds)
            plain, ours = np.median(times, 1)
            low, high = np.quantile(times[0] / times[1], [0.25, 0.75])
            ratios.append((plain / ours, name, threads))
            print(
                f"{name:40} threads {threads}: {1e6 * plain:9.1f} us, with fastlstm "
                f"{1e6 * ours:9.1f}: {plain / ours:5.2f} ({low:.2f} .. {high:.2f}), CPU "
                f"{np.median(cpu[0]) / np.median(cpu[1]):.2f}, differs by {differs:.1e}, "
                f"{len(times[0])} calls", flush=True,
            )  # fmt: skip
    least = min(ratios)
    print(f"least {least[0]:.2f} ({least[1]}, {least[2]} threads), "
          f"median {np.median([r[0] for r in ratios]):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
