# SPDX-License-Identifier: MIT
"""One layer, one direction, few rows: units split across threads, with one thread's bits."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from cases import Case
from conftest import FULL

import fastlstm

pytestmark = pytest.mark.needs("workers")

THREADS = [2, 3, 4, 5, 8, 16]
# T, B, I, H: parts of equal and of unequal size, H no multiple of any vector, spans that end early
SHAPES = [
    (100, 1, 192, 192), (100, 1, 64, 256), (97, 1, 33, 201), (64, 2, 100, 288), (49, 3, 7, 400),
    (61, 1, 1, 513), (17, 7, 40, 333), (8, 1, 300, 300), (7, 1, 300, 300), (1, 3, 512, 512),
    (100, 1, 9, 64), (60, 7, 33, 77), (50, 2, 64, 129),
]  # fmt: skip
# with layers: whose states and outputs between them lie one behind the other
STACKS = [(100, 1, 7, 320, 2), (49, 2, 400, 333, 3), (9, 3, 64, 384, 2)]


def bits(result):
    y, (h, c) = result
    return y.tobytes() + h.tobytes() + c.tobytes()


@pytest.mark.parametrize("T, B, I, H, L", [(*shape, 1) for shape in SHAPES] + STACKS)
def test_any_number_of_threads_gives_the_same_bits(T, B, I, H, L, isa):
    case = Case(I=I, H=H, T=T, B=B, L=L, seed=T)
    layer, rng = case.layer(isa=isa), np.random.default_rng(T)
    x = rng.standard_normal((T, B, I)).astype(np.float32)
    state = tuple(rng.standard_normal((L, B, H)).astype(np.float32) for _ in range(2))
    lengths = rng.integers(0, T + 1, B)
    for arguments in [{}, {"state": state}, {"state": state, "lengths": lengths},
                      {"return_sequences": False}]:  # fmt: skip
        want = bits(layer(x, num_threads=1, **arguments))
        for n in THREADS:
            for _ in range(20 if FULL else 2):
                assert bits(layer(x, num_threads=n, **arguments)) == want, (n, arguments.keys())


@pytest.mark.parametrize("T, B, I, H", [(97, 1, 33, 201), (50, 2, 64, 288), (9, 3, 7, 513)])
def test_a_gru_that_resets_h_first(T, B, I, H, isa):
    """Its threads wait for one another twice in a step."""
    layer, rng = fastlstm.GRU(I, H, reset_after=False, isa=isa), np.random.default_rng(T)
    x, state = rng.standard_normal((T, B, I)).astype(np.float32), np.ones((1, B, H), np.float32)
    for lengths in (None, rng.integers(1, T + 1, B)):
        want = [a.tobytes() for a in layer(x, state, lengths=lengths, num_threads=1)]
        for n in (2, 3, 4):
            found = layer(x, state, lengths=lengths, num_threads=n)
            assert [a.tobytes() for a in found] == want


def test_tiny_inputs_and_a_strided_view():
    case = Case(I=200, H=256, T=60, B=2)
    layer, rng = case.layer(), np.random.default_rng(5)
    x = rng.standard_normal((60, 4, 200)).astype(np.float32)
    x[::3] *= np.float32(1e-38)
    x = x[:, ::2]
    assert bits(layer(x, num_threads=2)) == bits(layer(x, num_threads=1))


def test_a_stream_in_chunks_gives_the_bits_of_one_call():
    case = Case(I=64, H=256, T=300, B=1)
    one, two = case.layer(num_threads=1), case.layer(num_threads=2)
    x = np.random.default_rng(6).standard_normal((300, 1, 64)).astype(np.float32)
    want = one(x)[0]
    stream, at = two.stream(), 0
    for n in [1, 50, 7, 120, 3, 119]:
        assert stream(x[at : at + n]).tobytes() == want[at : at + n].tobytes()
        at += n
    assert at == 300


def test_callers_that_outnumber_the_cpus():
    """Each wants partners, few get any, and those stop answering now and then."""
    case = Case(I=64, H=256, T=80, B=1)
    layer = case.layer()
    inputs = np.random.default_rng(7).standard_normal((4, 80, 1, 64)).astype(np.float32)
    want = [bits(layer(x, num_threads=1)) for x in inputs]
    wrong = []

    def work(i):
        for n in range(2000 if FULL else 40):
            if bits(layer(inputs[i % 4], num_threads=2 + n % 15)) != want[i % 4]:
                wrong.append((i, n))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


SHORT_LIVED = """
import threading, numpy as np, fastlstm
x = np.ones((40, 1, 64), np.float32)
right = []
def work():
    for _ in range({count}):
        layer = fastlstm.LSTM(64, 256, num_threads=2)
        want = layer(x, num_threads=1)[0].tobytes()
        y = layer(x)[0]
        del layer  # a partner may still be at work on its weights
        right.append(y.tobytes() == want)
threads = [threading.Thread(target=work) for _ in range(6)]
for t in threads: t.start()
for t in threads: t.join()
assert len(right) == 6 * {count} and all(right)
"""


def test_a_layer_may_go_while_a_partner_is_still_at_work():
    script = SHORT_LIVED.format(count=500 if FULL else 30)
    subprocess.run([sys.executable, "-c", script], check=True, timeout=900)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_a_process_that_splits_streams():
    case = Case(I=64, H=256, T=100, B=1)
    layer = case.layer(num_threads=2)
    x = np.random.default_rng(8).standard_normal((100, 1, 64)).astype(np.float32)
    want = bits(layer(x))
    for _ in range(100 if FULL else 10):
        child = os.fork()
        if child == 0:
            os._exit(bits(layer(x)) != want)
        assert bits(layer(x)) == want
        assert os.waitpid(child, 0)[1] == 0
