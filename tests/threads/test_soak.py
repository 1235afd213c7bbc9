# SPDX-License-Identifier: MIT
"""Very many calls of every kind, mixed: memory and threads stay as they were. 10^7 in full."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FULL, not_with_asan

pytestmark = pytest.mark.needs("c")

CALLS = 10_000_000 if FULL else 100_000

SOAK = """
import gc, os, numpy as np, fastlstm
CALLS = {calls}
rng = np.random.default_rng(0)

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def alive():
    # objects of the package's classes: layers, streams, packed weights, tapes
    return sum(str(type(o).__module__).startswith("fastlstm") for o in gc.get_objects())

def jobs_of(make, I):
    \"\"\"(weight, calls it makes, function) for a layer, its cell's every way to be called.\"\"\"
    layer = make(I, 12, 2, num_threads=2)
    two = make(I, 12, bidirectional=True, num_threads=1)
    x = rng.standard_normal((6, 3, I)).astype(np.float32)
    lengths, out = np.array([6, 1, 4]), np.empty((6, 3, 12), np.float32)
    row, y = x[0], np.empty((3, 12), np.float32)
    stream = layer.stream(batch_size=3)
    wide = np.zeros((12, 300, I), np.float32)  # work for a second thread

    def train(**options):
        y, end, tape = layer.forward_train(x, **options)
        layer.backward(tape, y, end)

    def wrong():
        try:
            layer(x[..., 1:])
        except ValueError:
            pass

    def new_weights():
        layer.load_state_dict(layer.state_dict())

    return [
        (400, 1, lambda: stream.step(row, out=y)),
        (300, 1, lambda: stream.step(row)),
        (80, 1, lambda: stream(x)),
        (80, 1, lambda: layer(x)),
        (40, 1, lambda: layer(x, out=out)),
        (20, 1, lambda: layer(x, lengths=lengths)),
        (20, 1, lambda: layer(x[:, 0].astype(float), return_sequences=False)),
        (20, 1, lambda: two(x)),
        (10, 2, train),
        (4, 2, lambda: train(checkpoint=2)),
        (4, 1, wrong),
        (4, 1, lambda: stream.reset(rows=[1])),
        (1, 1, new_weights),
        (1, 1, lambda: layer(wide)),
    ]

jobs = [job for make in (fastlstm.LSTM, fastlstm.GRU, fastlstm.RNN) for job in jobs_of(make, 5)]
odds = np.array([job[0] for job in jobs], float)
pieces, warm, made, seen = 50, 5, 0, []
# CALLS calls after `warm` pieces, in which malloc's heaps find their size.
while made < CALLS * (1 + warm / pieces):
    until = made + CALLS // pieces
    while made < until:
        for k in rng.choice(len(jobs), 1000, p=odds / odds.sum()).tolist():
            jobs[k][2]()
            made += jobs[k][1]
    for _, _, job in jobs:
        job()  # each once, in one order: what is kept for the next training step is there, or not
    gc.collect()
    seen.append((alive(), resident(), len(os.listdir("/proc/self/task"))))
objects, memory, threads = zip(*seen)
memory = memory[warm - 1:]
print(made, memory[-1] - memory[0], max(memory) - memory[0], max(objects) - objects[0],
      *sorted(set(threads)))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read memory from")
@not_with_asan
def test_many_calls_leave_memory_and_threads_as_they_were():
    done = subprocess.run(
        [sys.executable, "-c", SOAK.format(calls=CALLS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made, drift, most, more, *threads = map(int, done.stdout.split())
    print(f"{made} calls, resident memory {drift:+} bytes at the end, {most:+} at most", threads)
    assert made >= CALLS
    assert drift <= most < 1 << 20
    assert more == 0, f"{more} objects of fastlstm's were left behind"
    assert len(threads) == 1
