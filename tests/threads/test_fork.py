# SPDX-License-Identifier: MIT
"""Fork: children compute with threads of their own, whatever the parent was at, and none hangs."""

import os
import subprocess
import sys

import pytest
from conftest import BACKEND, FULL, fewer

pytestmark = [
    pytest.mark.needs("threads"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

FORKS = 1000 if FULL else fewer(40)
FORKS_IN_CALLS = 200 if FULL else fewer(8)  # for each kind of call
TEAM = 1 if BACKEND == "c" else 0  # workers that two threads make; the others have none

CALLS = """
import os, signal, sys, threading, time
import numpy as np, fastlstm
from fastlstm.engine import backend
rng = np.random.default_rng(0)

def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)

def setting(*sizes, T, B, **more):
    return fastlstm.LSTM(*sizes, num_threads=2, **more), draw(T, B, sizes[0])

def calls(n):  # work for two threads, the longer the larger n
    rows, x_rows = setting(32, 64, 2, T=20, B=32 * n)
    one_row, x_one_row = setting(32, 256, T=40 * n, B=1)
    both, x_both = setting(16, 48, 1, bidirectional=True, T=20 * n, B=9)
    def flat(result):
        return result[0].tobytes() + b"".join(a.tobytes() for a in result[1])
    def train():
        y, end, tape = rows.forward_train(x_rows)
        grads = rows.backward(tape, y)
        return b"".join(a.tobytes() for a in (y, grads.x, *grads.params.values()))
    return {{
        "rows": lambda: flat(rows(x_rows)), "one_row": lambda: flat(one_row(x_one_row)),
        "directions": lambda: flat(both(x_both)), "train": train,
    }}

def wait_for(pid, what):
    deadline = time.monotonic() + 240  # a child that hangs fails the test; any other is sooner
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if status:
                sys.exit(f"{{what}}: the child ended with {{os.waitstatus_to_exitcode(status)}}")
            return
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            sys.exit(f"{{what}}: the child hung")
        time.sleep(0.0005)
"""

LIBRARIES = """
import numba, torch
torch.set_num_threads(2)
torch.zeros(512, 512) @ torch.zeros(512, 512)
np.zeros((512, 512)) @ np.zeros((512, 512))
@numba.njit(parallel=True)
def total(x):
    s = 0.0
    for i in numba.prange(len(x)):
        s += x[i]
    return s
total(np.ones(100_000))
"""

AFTER_USE = (
    CALLS
    + """
{libraries}
works = calls(1)
want = {{name: work() for name, work in works.items()}}
assert backend.worker_count() == {team}
stop, failures = threading.Event(), []

def compute():
    while not stop.is_set():
        for name, work in works.items():
            if work() != want[name]:
                failures.append(name)

def child():
    try:
        if backend.worker_count():
            os._exit(2)
        if any(work() != want[name] for name, work in works.items()):
            os._exit(3)
        os._exit(0 if backend.worker_count() == {team} else 4)  # with a worker of its own
    finally:
        os._exit(5)

def fork():
    busy = threading.Thread(target=compute)
    for n in range({forks}):
        if n == {forks} // 4:
            busy.start()  # from here on another thread is in the middle of a call
        pid = os.fork()
        if pid == 0:
            child()
        wait_for(pid, f"fork {{n}}")
        name = list(works)[n % len(works)]
        if works[name]() != want[name]:
            failures.append(name)
    stop.set()
    busy.join()
    print("forked", n + 1, flush=True)

if {from_thread}:
    forker = threading.Thread(target=fork)
    forker.start()
    forker.join()
else:
    fork()
assert not failures, failures
"""
)


def run(script):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()[-3000:]


@pytest.mark.parametrize("from_thread", [False, True], ids=["main thread", "another thread"])
@pytest.mark.parametrize("libraries", ["", LIBRARIES], ids=["numpy", "numpy, torch, numba"])
def test_fork_after_use(libraries, from_thread):
    """Half of FORKS: both threads together make all of them, with all libraries loaded."""
    forks = FORKS // 2
    script = AFTER_USE.format(libraries=libraries, forks=forks, from_thread=from_thread, team=TEAM)
    code, out, err = run(script)
    assert (code, out) == (0, f"forked {forks}\n"), err


IN_CALL = (
    CALLS
    + """
work = calls({size})["{call}"]
want = work()
parent, children = os.getpid(), []

def handler(*_):
    children.append(os.fork())

signal.signal(signal.SIGALRM, handler)
while len(children) < {forks}:
    started = len(children)
    signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.03 * rng.random())
    got = work()
    signal.setitimer(signal.ITIMER_REAL, 0)
    if os.getpid() != parent:
        os._exit(0 if got == want else 3)
    assert got == want
    for pid in children[started:]:
        wait_for(pid, "a fork in the call")
print("forked", len(children))
"""
)


@pytest.mark.parametrize(
    "call, size", [("rows", 60), ("one_row", 80), ("directions", 120), ("train", 20)]
)
def test_a_signal_handler_may_fork_in_the_middle_of_a_call(call, size):
    """The child has lost the call's workers, and what they had in hand: it starts the call again,
    and both get the same bits."""
    code, out, err = run(IN_CALL.format(call=call, size=size, forks=FORKS_IN_CALLS))
    assert (code, out) == (0, f"forked {FORKS_IN_CALLS}\n"), err
