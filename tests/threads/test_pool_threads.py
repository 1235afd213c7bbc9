# SPDX-License-Identifier: MIT
"""Pools under threads: the bits of a stream alone whatever the schedule, order, forks, exits."""

import contextlib
import gc
import os
import random
import subprocess
import sys
import threading
import weakref
from concurrent.futures import CancelledError, wait

import numpy as np
import pytest
from conftest import ASAN, BACKEND, FULL, fewer
from published import path_of
from resident import resident

import fastlstm

THREADS, CAPACITY = 8, 24
SCHEDULES = 1000 if FULL else fewer(40)
SOAK = 1_000_000 if FULL else fewer(5_000)
SECONDS = 60  # a call that takes so long hangs

pytestmark = pytest.mark.needs("threads")


def make(kind, rng):
    """(a layer or model, f(rng) -> a frame, f(frames) -> [outputs of a stream alone])"""
    if kind == "model":
        model = fastlstm.load_model(path_of("silero_vad.onnx"), num_threads=1)
        draw = lambda r: r.standard_normal(576).astype(np.float32) / 10  # noqa: E731
        options = {"sr": 16000}
    else:
        cell, dtype, layers = kind
        model = cell(5, 19, layers, num_threads=1)
        model = model if dtype == "float32" else model.quantize(dtype)
        draw, options = lambda r: r.standard_normal(5).astype(np.float32), {}

    def alone(frames):
        stream = model.stream(**options)
        return [stream.step(frame[None])[0] for frame in frames]

    return model, options, draw, alone


class Actor:
    """One thread of a schedule: opens, steps, submits, resets and closes streams of its own, and
    keeps what each was given and gave since it was opened or reset."""

    def __init__(self, pool, draw, seed):
        self.pool, self.draw = pool, draw
        self.random, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.given, self.lives, self.error = {}, [], None

    def run(self):
        try:
            for _ in range(12):
                self.random.choice([self.open, self.step, self.step, self.submit, self.end])()
            for id in list(self.given):
                self.close(id)
        except BaseException as error:
            self.error = error

    def open(self):
        with contextlib.suppress(fastlstm.PoolFull):
            self.given[self.pool.open()] = ([], [])

    def some(self):
        ids = self.random.sample(list(self.given), self.random.randint(0, len(self.given)))
        frames = {id: self.draw(self.rng) for id in ids}
        for id, frame in frames.items():
            self.given[id][0].append(frame)
        return frames

    def step(self):
        frames = self.some()
        if not frames:
            return
        if self.random.random() < 0.5:
            made = self.pool.step(frames)
        else:
            ids = list(frames)
            made = dict(zip(ids, self.pool.step(ids, np.stack(list(frames.values()))), strict=True))
        for id, y in made.items():
            self.given[id][1].append(y)

    def submit(self):
        for _ in range(2):
            for id, frame in self.some().items():
                self.given[id][1].append(self.pool.submit(id, frame))

    def end(self):
        if not self.given:
            return
        id = self.random.choice(list(self.given))
        if self.random.random() < 0.5:
            self.close(id)
        else:
            self.pool.reset(id)
            self.lives.append(self.given[id])
            self.given[id] = ([], [])

    def close(self, id):
        self.pool.close(id)
        self.lives.append(self.given.pop(id))


def outputs(made):
    return [y if isinstance(y, np.ndarray) else y.result(SECONDS) for y in made]


def joined(actors):
    threads = [threading.Thread(target=actor.run, daemon=True) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "a call hangs"
    for actor in actors:
        if actor.error:
            raise actor.error


KINDS = [
    (fastlstm.LSTM, "float32", 2), (fastlstm.GRU, "float32", 1), (fastlstm.RNN, "float32", 1),
    (fastlstm.LSTM, "float16", 1),
    pytest.param((fastlstm.LSTM, "bfloat16", 1), marks=pytest.mark.needs("c")),  # its bits are C's
    (fastlstm.LSTM, "int8", 2), "model",
]  # fmt: skip


@pytest.mark.needs("bits")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_random_schedules_have_the_bits_of_a_stream_alone(kind, rng):
    model, options, draw, alone = make(kind, rng)
    count = -(-SCHEDULES // len(KINDS))
    for schedule in range(count):
        with model.pool(CAPACITY, max_delay=2e-4, max_batch=7, **options) as pool:
            actors = [Actor(pool, draw, 1000 * schedule + i) for i in range(THREADS)]
            joined(actors)
            assert len(pool) == 0
            frames = 0
            for actor in actors:
                for given, made in actor.lives:
                    frames += len(given)
                    for y, want in zip(outputs(made), alone(given), strict=True):
                        assert y.tobytes() == want.tobytes()
            assert pool.metrics()["frames"] == frames


def test_many_threads_submit_to_one_stream_and_none_is_lost(rng):
    """A sum of ones: the frames of one stream follow one another, whoever sends them."""
    lstm = fastlstm.RNN(1, 1, nonlinearity="relu", bias=False)
    lstm.load_state_dict({"weight_ih_l0": np.ones((1, 1)), "weight_hh_l0": np.ones((1, 1))})
    with lstm.pool(1, max_queue=10_000) as pool:
        id, made = pool.open(), []

        def send():
            for _ in range(50):
                made.append(pool.submit(id, np.ones(1, np.float32)))

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(f.result(SECONDS)[0] for f in made) == list(range(1, 201))
        assert pool.metrics()["batch_sizes"] == {1: 200}


def test_submitted_frames_of_all_streams_make_one_batch():
    """max_delay is an hour: the batch starts because nobody else can join it."""
    lstm = fastlstm.LSTM(3, 4)
    with lstm.pool(8, max_delay=3600) as pool:
        ids = [pool.open() for _ in range(5)]
        made = [pool.submit(id, np.zeros(3)) for id in ids]
        assert not wait(made, SECONDS).not_done
        found = pool.metrics()
        assert found["batch_sizes"] == {8: 1} and found["latency"]["count"] == 5
        # A frame whose stream others do not join waits; a stream that closes is waited for no more.
        first = pool.submit(ids[0], np.zeros(3))
        for id in ids[2:]:
            pool.close(id)
        pool.submit(ids[1], np.zeros(3)).result(SECONDS)
        assert first.done()


@pytest.mark.parametrize("call", ["step", "state", "reset", "close"])
def test_a_call_comes_after_what_was_submitted_before(call):
    """And does not wait for others to join the batches: max_delay is an hour."""
    lstm = fastlstm.LSTM(3, 4)
    stream, x = lstm.stream(), np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    want = [stream.step(each) for each in x]
    with lstm.pool(2, max_delay=3600) as pool:
        id, _ = pool.open(), pool.open()  # the second has no frames
        made = [pool.submit(id, each[0]) for each in x[:3]]
        if call == "step":
            np.testing.assert_allclose(pool.step({id: x[3, 0]})[id], want[3][0], rtol=1e-5)
            for part, whole in zip(pool.state(id), stream.state, strict=True):
                np.testing.assert_allclose(part, whole[:, 0], rtol=1e-5)
        else:
            getattr(pool, call)(id)
        for future, y in zip(made, want, strict=False):
            np.testing.assert_allclose(future.result(SECONDS), y[0], rtol=1e-5)


@pytest.mark.needs("bits")
def test_bits_on_every_instruction_set(isa, rng):
    lstm = fastlstm.LSTM(5, 19, 2, isa=isa)
    pool, x = lstm.pool(9), rng.standard_normal((4, 9, 5)).astype(np.float32)
    ids = [pool.open() for _ in range(9)]
    made = [pool.step(ids[t:], x[t, t:]) for t in range(4)]
    for i in range(9):
        stream = lstm.stream()
        for t in range(min(i + 1, 4)):
            assert stream.step(x[t, i : i + 1]).tobytes() == made[t][i - t].tobytes()


def test_the_end_of_a_pool_finishes_or_cancels():
    lstm = fastlstm.LSTM(3, 4)
    for cancel in (False, True):
        pool = lstm.pool(4, max_delay=3600)
        ids = [pool.open() for _ in range(3)]
        made = [pool.submit(id, np.zeros(3)) for id in ids[:2]]  # the third stream: they wait
        pool.shutdown(cancel=cancel)
        pool.shutdown()
        if cancel:
            for future in made:
                with pytest.raises(CancelledError):
                    future.result(SECONDS)
        else:
            assert [future.result(SECONDS).shape for future in made] == [(4,)] * 2
        for method, *given in (
            ("open",),
            ("step", {ids[0]: np.zeros(3)}),
            ("submit", ids[0], [0] * 3),
        ):
            with pytest.raises(RuntimeError, match="closed"):
                getattr(pool, method)(*given)


def test_a_cancelled_future_is_left_out(rng):
    lstm = fastlstm.LSTM(3, 4)
    with lstm.pool(2, max_delay=3600) as pool:
        id, other = pool.open(), pool.open()
        first, second = (pool.submit(id, np.full(3, n)) for n in (1, 2))
        assert first.cancel()
        pool.submit(other, np.zeros(3)).result(SECONDS)
        pool.close(other)
        want = lstm.stream().step(np.full((1, 3), 2.0))[0]
        np.testing.assert_allclose(second.result(SECONDS), want, rtol=1e-5)


@pytest.mark.parametrize("call", ["step", "state", "reset", "close"])
def test_a_call_does_not_wait_for_a_cancelled_future(call):
    """Of a batch that would hold nothing else: no step ends that could wake the call."""
    pool, x = fastlstm.LSTM(3, 4).pool(2, max_delay=3600), np.zeros(3, np.float32)
    id, _ = pool.open(), pool.open()  # the second has no frames: no batch is due before the call
    futures = [pool.submit(id, x) for _ in range(2)]
    assert all(future.cancel() for future in futures)
    given = {id: x} if call == "step" else id
    thread = threading.Thread(target=getattr(pool, call), args=(given,), daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "the call hangs"
    pool.shutdown()


def test_an_error_reaches_every_future_of_its_batch_and_changes_no_state(monkeypatch):
    lstm = fastlstm.LSTM(3, 4)
    with lstm.pool(2, max_delay=3600) as pool:
        ids = [pool.open(), pool.open()]
        pool.step({id: np.ones(3) for id in ids})
        before = pool.state(ids[0])
        run = pool._rows.run
        monkeypatch.setattr(pool._rows, "run", lambda *_: (_ for _ in ()).throw(MemoryError("no")))
        for future in [pool.submit(id, np.zeros(3)) for id in ids]:
            with pytest.raises(MemoryError, match="no"):
                future.result(SECONDS)
        with pytest.raises(MemoryError):
            pool.step({ids[0]: np.zeros(3)})
        monkeypatch.setattr(pool._rows, "run", run)
        for part, same in zip(pool.state(ids[0]), before, strict=True):
            assert part.tobytes() == same.tobytes()
        pool.step({id: np.ones(3) for id in ids})


def test_a_pool_that_nobody_has_ends_its_thread():
    lstm = fastlstm.LSTM(3, 4)
    pool = lstm.pool(2, max_delay=0)
    pool.submit(pool.open(), np.zeros(3)).result(SECONDS)
    thread, gone = pool._queue.thread, weakref.ref(pool)
    del pool
    gc.collect()
    thread.join(SECONDS)
    assert gone() is None and not thread.is_alive()


def python(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_callback_that_would_wait_for_its_own_thread_is_refused():
    """The stream's second frame is run by the thread that the first one's callback is in. In a
    process of its own, since a pool whose thread waits for itself never ends."""
    script = """
import fastlstm, numpy as np
x = np.zeros(3, np.float32)
for call, given in ("step", {0: x}), ("state", 0), ("reset", 0), ("close", 0):
    def callback(_):
        try:
            getattr(pool, call)(given)
        except RuntimeError as error:
            print(call, "callback" in str(error))
    with fastlstm.LSTM(3, 4).pool(1) as pool:
        id = pool.open()
        with pool._lock:  # both frames and the callback are there before the thread goes on
            first, second = pool.submit(id, x), pool.submit(id, x)
            first.add_done_callback(callback)
        second.result(50)
        pool.submit(id, x).result(50)
        pool.close(id)
"""
    assert python(script) == ["step", "True", "state", "True", "reset", "True", "close", "True"]


def test_the_interpreter_exits_with_frames_that_wait():
    script = (
        "import fastlstm, numpy as np; p = fastlstm.LSTM(3, 4).pool(2, max_delay=3600)\n"
        "a, b = p.open(), p.open(); f = p.submit(a, np.zeros(3))\n"
        "f.add_done_callback(lambda f: print('cancelled', f.cancelled()))"
    )
    assert python(script) == ["cancelled", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.skipif(
    BACKEND == "numba",
    reason="a child would keep the lock of a thread that compiles",
)
def test_children_of_fork_have_streams_of_their_own():
    """Forked while another thread steps and frames wait: the child's states are whole, its pool
    works, and the parent's goes on."""
    script = f"""
import os, signal, sys, threading, time, warnings
import numpy as np, fastlstm
warnings.simplefilter("ignore")
rnn = fastlstm.RNN(1, 1, nonlinearity="relu", bias=False)
rnn.load_state_dict({{"weight_ih_l0": np.ones((1, 1)), "weight_hh_l0": np.ones((1, 1))}})
pool = rnn.pool(3)
busy, own, idle = pool.open(), pool.open(), pool.open()
one, stop = np.ones(1, np.float32), threading.Event()
def steps():
    while not stop.is_set():
        pool.step({{busy: one}})
        pool.submit(busy, one).result()
thread = threading.Thread(target=steps); thread.start()
for n in range({fewer(10)}):
    futures = [pool.submit(own, one) for _ in range(2)]
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        h = pool.state(busy)[0, 0]
        assert pool.step({{busy: one}})[busy][0] == h + 1 and h == int(h)
        assert pool.submit(busy, one).result(50)[0] == h + 2
        pool.close(own); pool.open(); pool.shutdown()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert [f.result(60)[0] for f in futures] == [2 * n + 1, 2 * n + 2]
stop.set(); thread.join(); pool.shutdown(); print("fine")
"""
    assert python(script) == ["fine"]


def test_memory_stays_flat_over_many_steps():
    """Opens, steps, submits and closes; what Python holds after is what it held when warm, and so
    is what the process holds, the core's memory included. AddressSanitizer keeps what is freed."""
    import tracemalloc

    lstm = fastlstm.LSTM(4, 8)
    with lstm.pool(16) as pool:
        x = np.zeros((8, 4), np.float32)

        def work(n):
            for _ in range(n // 20):
                ids = [pool.open() for _ in range(8)]
                pool.step(ids, x)
                for future in [pool.submit(id, x[0]) for id in ids]:
                    future.result(SECONDS)
                for id in ids[:4]:
                    pool.step({id: x[0]})
                for id in ids:
                    pool.close(id)

        work(20_000)  # the recent latencies are many
        tracemalloc.start()
        work(400)
        before, resident_before = tracemalloc.get_traced_memory()[0], resident()
        work(SOAK)
        grown = tracemalloc.get_traced_memory()[0] - before
        resident_grown = resident() - resident_before
        tracemalloc.stop()
        print(f"{SOAK} steps: {grown:+} bytes of Python's, {resident_grown:+} of the process")
        assert grown < 200_000, grown
        assert resident_grown < 1 << 20 or ASAN, resident_grown
        assert len(pool) == 0 and pool.metrics()["waiting"] == 0
