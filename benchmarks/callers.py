# SPDX-License-Identifier: MIT
"""Calls per second of one layer that many Python threads call at once.

    python benchmarks/callers.py [--seconds 1] [--rounds 5] [--threads 1,2,4,16]

Each call takes one thread of the engine (num_threads=1), so whatever throughput is gained comes
from callers that run side by side. The counts of callers alternate, round by round; printed are
the medians, and their ratio to one caller's. The more of a call is Python's, the less it scales:
only C runs without the GIL.
"""

import argparse
import os
import statistics
import threading
import time

import numpy as np

import fastlstm

SHAPES = {  # T, B, I, H; T = 0: a stream's step
    "one step of a stream, H = 128": (0, 1, 64, 128),
    "one step of a stream, H = 512": (0, 1, 64, 512),
    "20 steps, H = 128": (20, 1, 64, 128),
    "100 steps, H = 128": (100, 1, 64, 128),
    "50 steps of 32 rows, H = 256": (50, 32, 128, 256),
}


def caller(layer, shape, seed):
    """A function () that calls the layer, on arrays that no other caller uses."""
    T, B, I, H = shape
    x = np.random.default_rng(seed).standard_normal((T or 1, B, I)).astype(np.float32)
    if T:
        out = np.empty((T, B, H), np.float32)
        return lambda: layer(x, out=out)
    stream, step, out = layer.stream(batch_size=B), x[0], np.empty((B, H), np.float32)
    return lambda: stream.step(step, out=out)


def calls_per_second(calls, seconds):
    """Of all `calls` together, each made by one thread again and again, for about `seconds`."""
    made, stop = [0] * len(calls), threading.Event()
    ready = threading.Barrier(len(calls) + 1)

    def work(i):
        call, n = calls[i], 0
        call()
        ready.wait()
        while not stop.is_set():
            call()
            n += 1
        made[i] = n

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(made) / (time.perf_counter() - start)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of one sample")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1,2,4,16", help="counts of callers")
    options = parser.parse_args(arguments)
    counts = [int(n) for n in options.threads.split(",")]
    config = fastlstm.config_dict()
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"calls per second, by callers; {cpus} CPUs, {config['isa']}, Python {config['python']}")
    print(f"{'':<32}" + "".join(f"{n:>16}" for n in counts))
    for name, shape in SHAPES.items():
        layer = fastlstm.LSTM(shape[2], shape[3], num_threads=1)
        calls = [caller(layer, shape, seed) for seed in range(max(counts))]
        rates = {n: [] for n in counts}
        for _ in range(options.rounds):
            for n in counts:
                rates[n].append(calls_per_second(calls[:n], options.seconds))
        rates = [statistics.median(rates[n]) for n in counts]
        cells = (f"{rate:.0f} ({rate / rates[0]:.2f})" for rate in rates)
        print(f"{name:<32}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
