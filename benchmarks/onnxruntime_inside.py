# SPDX-License-Identifier: MIT
"""ONNX Runtime with fastlstm.onnxruntime in it beside ONNX Runtime alone: the same models, in
two processes that run in turn, the other stopped.

    python benchmarks/onnxruntime_inside.py [--threads 1,2] [--seconds 1] [--only silero "grid GRU"]
                                            [--quantized]

A line for each model and number of threads: the medians of both, the median of the turns' ratios
(above 1: with fastlstm it is faster) and its standard error, the ratio of CPU times, and the
largest difference of the outputs. A turn is 20 ms of each: a machine whose speed wanders by tens of
percent in a second is nearly the same one in both. Files are those of
tests/models/test_onnx_published.py that have such nodes, from the tests' cache; "grid" is bare
nodes of drawn weights, with --quantized of DynamicQuantizeLSTM. At the end: the least ratio and the
median.
"""

import argparse
import multiprocessing
import os
import signal
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


SPAWN = multiprocessing.get_context("spawn")
TURN, WARM, FEWEST = 0.02, 0.002, 7  # seconds of each, and before it; turns


def models(quantized):
    """(name, a path or bytes, {input: array})"""
    rng = np.random.default_rng(0)
    for name in FILES:
        path, feeds = drawn(name, rng)
        nodes = fastlstm.onnxruntime.nodes(path, quantized=True)
        if any((node.op == "DynamicQuantizeLSTM") == quantized for node in nodes):
            yield name, path, feeds
    for op, steps, batch, size, hidden, direction in GRID:
        drawn_as = {"initial": True, "scale": 1 / np.sqrt(hidden), "direction": direction}
        if not quantized:
            case = graphs.Case(rng, op, steps, batch, size, hidden, **drawn_as)
        elif op == "LSTM":
            case = graphs.Quantized(rng, steps, batch, size, hidden, **drawn_as)
            op = "int8 LSTM"
        else:
            continue
        yield f"grid {op} {steps},{batch},{size},{hidden} {direction}", case.model(), case.feeds


def serve(pipe):
    """A child process. It is sent a session's arguments, and answers with its outputs; or seconds,
    and answers with the times of calls for so long and the CPU time of one."""
    while True:
        asked = pipe.recv()
        if not isinstance(asked, float):
            session = None  # the one before it ends
            model, feeds, ours, threads, quantized = asked
            session = graphs.session(model, ours, threads, quantized)
            pipe.send(session.run(None, feeds))
            continue
        end = time.perf_counter() + WARM
        while session.run(None, feeds) and time.perf_counter() < end:
            pass  # threads awake, weights in the caches
        times, worked, end = [], time.process_time(), time.perf_counter() + asked
        while not times or time.perf_counter() < end:
            began = time.perf_counter()
            session.run(None, feeds)
            times.append(time.perf_counter() - began)
        pipe.send((times, (time.process_time() - worked) / len(times)))


class Child:
    """A process that runs only while it is asked: ONNX Runtime's threads spin on after a call, and
    would have the CPUs of the other session's."""

    def __init__(self):
        self.pipe, other = SPAWN.Pipe()
        self.process = SPAWN.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def ask(self, what):
        os.kill(self.process.pid, signal.SIGCONT)
        self.pipe.send(what)
        answer = self.pipe.recv()
        os.kill(self.process.pid, signal.SIGSTOP)
        return answer


def measure(children, model, feeds, threads, seconds, quantized):
    """Medians of the times of each turn's calls and CPU times, [plain, with fastlstm][turn], the
    largest difference of the outputs, and how many calls there were. The one that begins changes
    from turn to turn."""
    outputs = [
        child.ask((model, feeds, ours, threads, quantized and ours))
        for ours, child in enumerate(children)
    ]
    differs = max(
        np.abs(a.astype(np.float64) - b).max(initial=0) / max(1, np.abs(a).max(initial=0))
        for a, b in zip(*outputs, strict=True)
    )
    times, cpu, calls = ([], []), ([], []), 0
    end, turn = time.perf_counter() + seconds, 0
    while turn < FEWEST or time.perf_counter() < end:
        turn += 1
        for which in (0, 1) if turn % 2 else (1, 0):
            each, worked = children[which].ask(TURN)
            times[which].append(np.median(each))
            cpu[which].append(worked)
            calls += len(each)
    return np.array(times), np.array(cpu), differs, calls


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each line")
    parser.add_argument("--only", default=[""], nargs="+", help="parts of names")
    parser.add_argument("--quantized", action="store_true", help="DynamicQuantizeLSTM, in int8")
    args = parser.parse_args()
    ratios, children = [], [Child(), Child()]
    for name, model, feeds in models(args.quantized):
        if not any(part in name for part in args.only):
            continue
        for threads in map(int, args.threads.split(",")):
            times, cpu, differs, calls = measure(
                children, model, feeds, threads, args.seconds, args.quantized
            )
            plain, ours = np.median(times, 1)
            turns = times[0] / times[1]
            ratio, low, high = np.quantile(turns, [0.5, 0.25, 0.75])
            error = 0.93 * (high - low) / np.sqrt(len(turns))  # of a median, by the quarters
            ratios.append((ratio, name, threads))
            print(
                f"{name:40} threads {threads}: {1e6 * plain:9.1f} us, with fastlstm "
                f"{1e6 * ours:9.1f}: {ratio:5.3f} +- {error:.3f}, CPU "
                f"{np.median(cpu[0] / cpu[1]):.2f}, differs by {differs:.1e}, {calls} calls",
                flush=True,
            )  # fmt: skip
    for child in children:
        child.process.kill()
    least = min(ratios)
    print(f"least {least[0]:.3f} ({least[1]}, {least[2]} threads), "
          f"median {np.median([r[0] for r in ratios]):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
