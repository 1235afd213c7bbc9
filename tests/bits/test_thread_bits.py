# SPDX-License-Identifier: MIT
"""1 to 16 threads, more than there are CPUs: the same bits from every kind of call."""

import time

import numpy as np
import pytest
from cases import Case
from conftest import FULL

from fastlstm.engine.c import _core

pytestmark = pytest.mark.needs("workers")

THREADS = range(2, 17)
ROUNDS = 100 if FULL else 5
KINDS = {  # I, H, L, D, P, B, T: enough work for a team (3 MFLOP), and little more
    "one layer, row blocks": (24, 40, 1, 1, 0, 70, 12),
    "blocks of few rows": (16, 33, 1, 1, 0, 193, 10),
    "three layers": (20, 48, 3, 1, 0, 5, 40),
    "five layers, one row": (16, 40, 5, 1, 0, 1, 120),
    "two directions": (24, 40, 1, 2, 0, 9, 40),
    "two directions, three layers": (12, 32, 3, 2, 0, 17, 16),
    "projection": (24, 64, 1, 1, 20, 40, 12),
    "projection, two directions, two layers": (10, 48, 2, 2, 17, 12, 20),
    "everything at once": (9, 31, 3, 2, 30, 67, 7),
    "one row, units split": (32, 192, 1, 1, 0, 1, 60),
    "one row, units split unequally": (7, 401, 1, 1, 0, 1, 20),
    "three rows, units split": (16, 288, 1, 1, 0, 3, 30),
    "stack of large layers": (16, 320, 2, 1, 0, 1, 20),
}


def flat(result):
    y, (h, c) = result
    return [y, h, c]


def arrays(kind, rng):
    I, H, L, D, P, B, T = KINDS[kind]
    x = rng.standard_normal((T, B, I)).astype(np.float32)
    h = rng.uniform(-1, 1, (L * D, B, P or H)).astype(np.float32)
    c = rng.uniform(-2, 2, (L * D, B, H)).astype(np.float32)
    return x, (h, c), rng.integers(1, T + 1, B)


def calls(kind, rng):
    """{name: f}, where f(n) are the arrays that a call of n threads gives."""
    I, H, L, D, P, B, T = KINDS[kind]
    case = Case(I=I, H=H, L=L, D=D, P=P, seed=len(kind))
    layer, first = case.layer(), Case(I=I, H=H, L=L, D=D, P=P, batch_first=True).layer()
    x, state, lengths = arrays(kind, rng)
    rows, gaps = x.swapaxes(0, 1), np.where(np.arange(B) % 3, lengths, 0)
    dy = rng.standard_normal((T, B, D * (P or H))).astype(np.float32)

    def train(n, given=None):
        y, end, tape = layer.forward_train(x, state, lengths=given, num_threads=n)
        grads = layer.backward(tape, dy, state, num_threads=n)
        return [y, *end, grads.x, *grads.state, *grads.params.values()]

    def out(n):
        y = np.full((T, 2, B, D * (P or H)), np.nan, np.float32)
        return flat(layer(x, state, out=y[:, 1], num_threads=n))

    def stream(n):
        layer.num_threads = n
        s = layer.stream(batch_size=B)
        s.state = state
        y = [s(x[: T - 2]), s(x[T - 2 : T - 1]), s.step(x[T - 1])[None]]
        return [np.concatenate(y), *s.state]

    found = {
        "plain": lambda n: flat(layer(x, num_threads=n)),
        "state": lambda n: flat(layer(x, state, num_threads=n)),
        "lengths": lambda n: flat(layer(x, state, lengths=lengths, num_threads=n)),
        "lengths with gaps": lambda n: flat(layer(x, lengths=gaps, num_threads=n)),
        "last": lambda n: flat(layer(x, state, return_sequences=False, num_threads=n)),
        "last, lengths": lambda n: flat(
            layer(x, lengths=lengths, return_sequences=False, num_threads=n)
        ),
        "batch first": lambda n: flat(first(rows, state, num_threads=n)),
        "out": out,
        "train": train,
        "train, lengths": lambda n: train(n, lengths),
    }
    return found | ({} if D == 2 else {"stream": stream})


def least(kind):
    """Comparisons that a kind of call makes at least: ten calls, and a stream's where there is one
    direction, on 2 to 16 threads, five times."""
    D = KINDS[kind][3]
    return (10 if D == 2 else 11) * 15 * 5


def test_all_kinds_together_make_ten_thousand_comparisons():
    """Each kind's own test fails where it makes fewer than its share."""
    assert sum(map(least, KINDS)) >= 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_of_one_thread(kind, rng):
    made = 0
    for name, call in calls(kind, rng).items():
        want = [a.tobytes() for a in call(1)]
        for n in THREADS:
            for _ in range(ROUNDS):
                got = call(n)
                assert len(got) == len(want)
                for i, (a, b) in enumerate(zip(got, want, strict=True)):
                    assert a.tobytes() == b, (kind, name, n, i)
                made += 1
    assert made >= least(kind)


def time_of_others():
    """Processor time of this process's other threads, in seconds."""
    return time.process_time() - time.thread_time()


def test_they_did_work_in_threads():
    """16 threads get 15 workers, and these compute: they take 20 ms of processor time during one
    call, where waiting awake for work would take 50 us each. Until they were seen to: on a busy
    machine the caller may do a call's work before a worker gets a CPU."""
    I, H, *_, B, _ = KINDS["blocks of few rows"]
    layer, x = Case(I=I, H=H).layer(), np.ones((1000, B, I), np.float32)
    spent, give_up = 0.0, time.monotonic() + 120
    while spent < 20e-3:
        assert time.monotonic() < give_up, f"workers took {spent:.6f} s during a call"
        before = time_of_others()
        layer(x, num_threads=16)
        spent = time_of_others() - before
    assert _core.worker_count() >= 15
