# SPDX-License-Identifier: MIT
"""Many Python threads on one object; what the workers cost between calls; none for tiny work."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from cases import Case
from conftest import FULL, fewer

pytestmark = pytest.mark.needs("threads")

THREADS, CALLS = 16, fewer(1000)


def test_sixteen_threads_on_one_object_give_the_serial_bits():
    """Every kind of call at once, some large enough for the team, each on 1 to 4 threads."""
    case = Case(I=8, H=32, L=2, seed=3)
    layer, rng = case.layer(), np.random.default_rng(4)
    x = rng.standard_normal((16, 14, 8)).astype(np.float32)
    state = tuple(rng.standard_normal((2, 14, 32)).astype(np.float32) for _ in range(2))
    lengths = rng.integers(1, 17, 14)

    def flat(result):
        y, (h, c) = result
        return y, h, c

    def steps(n):
        stream = layer.stream(batch_size=14)
        stream.state = state
        y = [stream.step(row) for row in x[:4]]
        return (*y, stream(x[4:]), *stream.state)

    def train(n, given=None):
        y, (h, c), tape = layer.forward_train(x, state, lengths=given, num_threads=n)
        grads = layer.backward(tape, y, (h, c), num_threads=n)
        return (y, h, c, grads.x, *grads.state, *grads.params.values())

    jobs = [
        lambda n: flat(layer(x, num_threads=n)),
        lambda n: flat(layer(x, state, num_threads=n)),
        lambda n: flat(layer(x[:, :1], num_threads=n)),
        lambda n: flat(layer(x[:1, 2:5], num_threads=n)),
        lambda n: flat(layer(x[::-1].astype(np.float64), lengths=lengths, num_threads=n)),
        lambda n: flat(layer(x, state, return_sequences=False, num_threads=n)),
        lambda n: flat(layer(x, out=np.empty((16, 14, 32), np.float32), num_threads=n)),
        steps,
        train,
        lambda n: train(n, lengths),
    ]
    serial = [[a.tobytes() for a in job(1)] for job in jobs]
    wrong, made, barrier = [], [], threading.Barrier(THREADS)

    def work(seed):
        drawn = np.random.default_rng(seed).integers((len(jobs), 4), size=(CALLS, 2))
        barrier.wait()
        for job, n in drawn.tolist():
            if [a.tobytes() for a in jobs[job](1 + n)] != serial[job]:
                wrong.append((job, 1 + n))
            made.append(job)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == THREADS * CALLS
    assert not wrong


def test_the_first_backward_of_many_threads_at_once():
    """The weights are packed for backward when they are first needed: by all threads at once here,
    each taking what it finds and leaving what it made."""
    case = Case(I=3, H=4, T=2, B=1, seed=3)
    layer, sd = case.layer(), case.layer().state_dict()
    x = np.ones((2, 1, 3), np.float32)
    y, _, tape = layer.forward_train(x)
    want = layer.backward(tape, y).x.tobytes()
    barrier, got = threading.Barrier(THREADS), []

    def work():
        for _ in range(rounds):
            if barrier.wait() == 0:
                layer.load_state_dict(sd)
                made.append(layer.forward_train(x))
            barrier.wait()
            y, _, tape = made[-1]
            got.extend(layer.backward(tape, y).x.tobytes() for _ in range(3))

    made, rounds = [], 2000 if FULL else 40
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 3 * rounds * THREADS
    assert set(got) == {want}


def python(script, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")} | environment
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


IDLE = """
import os, time, numpy as np, fastlstm
from fastlstm.engine.c import _core

def setting(*sizes, T, B, **more):
    layer = fastlstm.LSTM(*sizes, num_threads=4, **more)
    return layer, np.random.default_rng(0).standard_normal((T, B, sizes[0]), np.float32)

rows, x_rows = setting(32, 64, T=20, B=64)
stack, x_stack = setting(32, 64, 4, T=60, B=2)
one_row, x_one_row = setting(32, 400, T=60, B=1)

def train():
    y, end, tape = rows.forward_train(x_rows)
    rows.backward(tape, y)

def workers():
    # (state, times it was switched) of each
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{{task}}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        if status["Name"].strip() == "fastlstm":
            switched = [int(status[f"{{k}}voluntary_ctxt_switches"]) for k in ("", "non")]
            found.append((status["State"].split()[0], *switched))
    return found

def all_asleep():
    # and did none wake up for 20 ms?
    before = workers()
    time.sleep(20e-3)
    return before == workers() and {{state for state, *_ in before}} == {{"S"}}

for call in (lambda: rows(x_rows), lambda: stack(x_stack), lambda: one_row(x_one_row), train):
    used = []
    call()
    give_up = time.monotonic() + 120
    while os.path.exists("/proc/self/task") and not all_asleep():
        assert time.monotonic() < give_up, workers()
    for _ in range({repeats}):
        call()
        time.sleep(1e-3)
        start = time.process_time() - time.thread_time()
        time.sleep(20e-3)
        used.append(time.process_time() - time.thread_time() - start)
    print(*used)
assert _core.worker_count() >= 3
"""


@pytest.mark.needs("workers")
def test_no_worker_spins_after_a_call():
    """Each worker falls asleep, however late it gets a CPU, and nothing wakes it up: the system has
    not switched to it for 20 ms.

    In full also how soon: processor time of all threads but the caller's, in the 20 ms from 1 ms
    after each call: what one worker that still waits awake would take all of. A worker may get its
    CPU late and spend its 50 us then: so the median is what tells."""
    repeats = 200 if FULL else 1
    for line in python(IDLE.format(repeats=repeats)).splitlines():
        used = sorted(float(word) for word in line.split())
        assert len(used) == repeats
        print(f"median {1e6 * used[repeats // 2]:.0f} us, most {1e6 * used[-1]:.0f} us of 20 ms")
        if FULL:
            assert used[repeats // 2] < 100e-6, used
            assert used[-1] < 5e-3, used


TINY = """
import os, numpy as np, fastlstm
from fastlstm.engine.c import _core

def threads():
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0

assert fastlstm.get_num_threads() == 16
before = threads()
for H in (1, 2, 8, 16, 32, 64, 95, 96):
    layer = fastlstm.LSTM(H, H)
    for T in (1, 2, 50, 1000):
        x = np.zeros((T, 1, H), np.float32)
        layer(x), layer(x, return_sequences=False), layer(x, lengths=[T])
    stream = layer.stream()
    for _ in range(100):
        stream.step(x[0])
    stream(x)
    y, end, tape = layer.forward_train(x[:8])
    layer.backward(tape, y, end)
    for more in (dict(num_layers=4), dict(bidirectional=True), dict(proj_size=H // 2)):
        fastlstm.LSTM(H, H, **more)(x[:4])
assert (_core.worker_count(), threads()) == (0, before)
fastlstm.LSTM(96, 96)(np.zeros((50, 64, 96), np.float32))
assert (_core.worker_count(), threads()) == (15, before + 15 if before else 0)
print("fine")
"""


@pytest.mark.needs("workers")
def test_tiny_work_makes_no_thread():
    """One row, H <= 96: a single layer at any length, anything else for a few steps. In a process
    that has made none, and that may use 16; then a larger call makes them all."""
    assert python(TINY, FASTLSTM_NUM_THREADS="16") == "fine\n"


REFUSED = """
import os, resource, numpy as np, fastlstm
from fastlstm.engine.c import _core
layer = fastlstm.LSTM(32, 64, 2)
one_row = fastlstm.LSTM(32, 256)
x = np.random.default_rng(0).standard_normal((60, 20, 32), np.float32)

def bits(n):
    y, (h, c), tape = layer.forward_train(x, num_threads=n)
    grads = layer.backward(tape, y, num_threads=n)
    one = one_row(x[:, :1], num_threads=n)[0]
    return [a.tobytes() for a in (y, h, c, grads.x, one, *grads.params.values())]

want = bits(1)
if os.getuid() == 0:  # root is not limited
    os.setgid(65534), os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
for n in (2, 4, 16):
    assert bits(n) == want
print(_core.worker_count(), "workers")
"""


@pytest.mark.needs("workers")
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_NPROC counts threads on Linux alone")
def test_callers_go_on_alone_when_no_thread_can_be_made():
    assert python(REFUSED) == "0 workers\n"
