# SPDX-License-Identifier: MIT
"""The GIL, signals, weights loaded during calls, the float control register."""

import ctypes
import platform
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from cases import Case
from conftest import FULL, fewer
from meanwhile import until_changed_meanwhile
from speed import slowness

INTERRUPTS = 200 if FULL else fewer(5)  # for each of the kinds below
LATENCY = 0.1  # s, from the signal to KeyboardInterrupt on a quick machine; asked in full alone
TOO_LONG = 120.0  # s, after which what should have come by itself is given up


def endless(I, T=2**36, B=1):
    """An input of many steps that takes no memory."""
    return np.broadcast_to(np.full(I, 0.1, np.float32), (T, B, I))


def notes_during(call):
    """Run call() while another thread notes every millisecond that it ran: the number of notes.

    Each note needs the GIL anew, so that however late the system wakes the thread, a call that
    holds the GIL leaves it one or two notes: before the call has begun, and after its end.
    """
    notes, done = [], threading.Event()

    def note():
        while not done.is_set():
            notes.append(None)
            time.sleep(0.001)

    thread = threading.Thread(target=note)
    thread.start()
    while len(notes) < 3:
        time.sleep(0.001)
    before = len(notes)
    call()
    during = len(notes) - before
    done.set()
    thread.join()
    return during


ENOUGH = 20  # notes during one call
MOST_STEPS = 2**18  # of one call, so that a call that is never noticed takes no more memory


def in_a_thread(function, *args):
    """function's result, from a thread of its own."""
    got = []
    thread = threading.Thread(target=lambda: got.append(function(*args)))
    thread.start()
    thread.join()
    return got[0]


def until_noticed(prepared, thread, T=1000):
    """Calls prepared(T)() of ever more steps, until another thread was seen to run during one."""
    give_up = time.monotonic() + TOO_LONG
    while True:
        call = prepared(T)
        notes = notes_during(call) if thread == "main" else in_a_thread(notes_during, call)
        if notes >= ENOUGH:
            return
        assert time.monotonic() < give_up, f"{notes} notes during a call of {T} steps"
        T = min(2 * T, MOST_STEPS)


@pytest.mark.parametrize("thread", ["main", "other"])
@pytest.mark.parametrize("kind", ["call", "stream", "lengths"])
def test_the_gil_is_free_during_a_call(kind, thread):
    """In the main thread a call takes the GIL now and then, to look for signals; in others never.
    Whole models: test_model_gil.py."""
    case = Case(I=32, H=64, B=4)
    layer = case.layer(num_threads=1)
    stream = layer.stream(batch_size=4)

    def prepared(T):
        x, lengths = endless(32, T, 4), None
        if kind == "stream":
            return lambda: stream(x)
        if kind == "lengths":
            lengths = np.array([T, 1, T // 2, T])
        return lambda: layer(x, lengths=lengths, return_sequences=False)

    until_noticed(prepared, thread)


def test_a_held_gil_would_be_noticed():
    """The same count for a sleep in C that does hold the GIL, fifty times as long as the notes
    above need."""
    sleep = ctypes.PyDLL(None).usleep
    assert notes_during(lambda: sleep(1_000_000)) < ENOUGH


# A handler runs once when a call has ended, however many signals came meanwhile, and before that
# only where the call looks for signals.
HANDLERS = """
import signal
def handlers_during(call):
    handled, most = [], 0
    signal.signal(signal.SIGVTALRM, lambda *_: handled.append(None))
    signal.setitimer(signal.ITIMER_VIRTUAL, 5e-3, 5e-3)
    for _ in range(3):
        before = len(handled)
        call()
        most = max(most, len(handled) - before)
        if most > 3:
            break
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return most
"""

INTERRUPTED = (
    HANDLERS
    + """
import sys, time
import numpy as np, fastlstm
I, H, L, D, B, isa, threads, how, count = {arguments!r}
layer = fastlstm.LSTM(I, H, L, bidirectional=D == 2, isa=isa, num_threads=threads)
T = 2**40 // H if D == 1 else 20_000  # two directions need memory for each step
x = np.broadcast_to(np.full(I, 0.1, np.float32), (T, B, I))
stream = layer.stream(batch_size=B) if D == 1 else None
def bits():
    y, (h, c) = layer(x[:50])
    return y.tobytes() + h.tobytes() + c.tobytes()
want = bits()
if D == 2:
    part = lambda: layer(x[:2000], return_sequences=False)
    print("handlers in one call:", handlers_during(part), flush=True)
for _ in range(count):
    try:
        print("calling", flush=True)
        while D == 2:
            layer(x, return_sequences=False)
        if how == "call":
            layer(x, return_sequences=False)
        elif how == "lengths":
            layer(x, lengths=np.full(B, len(x)), return_sequences=False)
        elif how == "chunk":
            while True:
                stream(x[:200_000])
        else:
            while True:
                stream.step(x[0])
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), time.process_time(), flush=True)
    else:
        print("returned", flush=True)
    print("same" if bits() == want else "changed", flush=True)
"""
)


INTERRUPTED_CALLS = [  # I, H, L, D, B, threads, how
    (16, 32, 1, 1, 1, 1, "call"), (64, 64, 2, 1, 4, 1, "call"), (256, 512, 1, 1, 64, 1, "call"),
    (8, 16, 1, 1, 3, 1, "lengths"), (64, 512, 1, 2, 4, 1, "call"), (64, 256, 2, 1, 1, 2, "call"),
    (64, 256, 1, 1, 32, 2, "call"), (16, 32, 1, 1, 1, 1, "chunk"), (16, 32, 1, 1, 1, 1, "steps"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", INTERRUPTED_CALLS, ids=str)
def test_ctrl_c_ends_a_call_of_minutes(arguments):
    *sizes, threads, how = arguments
    interrupt(*sizes, None, threads, how)


@pytest.mark.parametrize("I, H, B", [(1, 1, 1), (1, 1, 64), (300, 300, 5)])
def test_ctrl_c_on_every_instruction_set(I, H, B, isa):
    """At the smallest sizes a step is mostly gates, which a count of multiply-adds would miss."""
    interrupt(I, H, 1, 1, B, isa, 1, "call")


# What a shell runs in the background ignores Ctrl-C, and so do its children.
HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def own_time(pid):
    """Processor time a process has used, s; None where the system has no such clock id."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except (AttributeError, OSError):
        return None


def interrupt(I, H, L, D, B, isa, threads, how):
    watch(INTERRUPTED.format(arguments=(I, H, L, D, B, isa, threads, how, INTERRUPTS)), threads)


def watch(script, threads):
    """Interrupt a child INTERRUPTS times, each after it says "calling"; it answers with the clock
    and its own time, then that it still computes the same. Its calls would take days or come one
    after the other: the answer alone says that Ctrl-C ended one. In full it must come soon, too.

    A child that first counts how often handlers ran during one call prints a line of it."""
    child = subprocess.Popen(
        [sys.executable, "-c", HEARING + script], stdout=subprocess.PIPE, text=True
    )
    late, rng = [], np.random.default_rng(list(script.encode()))
    try:
        line = child.stdout.readline()
        if line.startswith("handlers in one call: "):
            assert int(line.rpartition(" ")[2]) > 3, line
            line = child.stdout.readline()
        for n in range(INTERRUPTS):
            assert (line if n == 0 else child.stdout.readline()) == "calling\n"
            time.sleep(rng.uniform(0.02, 0.2))
            sent, used = time.monotonic(), own_time(child.pid)
            child.send_signal(signal.SIGINT)
            answer = child.stdout.readline()
            assert answer.startswith("interrupted"), answer
            by_clock, own = (float(t) for t in answer.split()[1:])
            late.append(
                by_clock - sent if used is None else min(by_clock - sent, (own - used) / threads)
            )
            assert child.stdout.readline() == "same\n"
        assert child.wait(TOO_LONG) == 0
    finally:
        child.kill()
        child.stdout.close()
        child.wait()
    if FULL:
        assert max(late) <= LATENCY * slowness(), late


@pytest.fixture
def ticking():
    """Calls a handler every 20 ms of own time. (SIGALRM belongs to pytest-timeout.)"""
    before = signal.getsignal(signal.SIGVTALRM)

    def start(handler):
        signal.signal(signal.SIGVTALRM, lambda *_: handler())
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.02, 0.02)

    yield start
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def test_a_signal_handler_that_returns_does_not_disturb_the_call(ticking):
    """It runs during the call, may call the same object, and the call goes on to the same bits."""
    case = Case(I=32, H=64, L=2, B=8, T=400)
    layer = case.layer()
    x, _, _ = case.call_arrays()
    small = layer(x[:5])[0].tobytes()
    want = layer(x)[0].tobytes()
    inside, equal, disturbed = [], [], 0

    def handler():
        inside.append(layer(x[:5])[0].tobytes() == small)

    ticking(handler)
    give_up = time.monotonic() + TOO_LONG
    while disturbed < 5 and time.monotonic() < give_up:
        before = len(inside)
        equal.append(layer(x)[0].tobytes() == want)
        disturbed += len(inside) > before
    assert all(equal) and all(inside)
    assert disturbed == 5


def test_an_exception_from_a_handler_ends_the_call_and_leaves_the_stream(ticking):
    case = Case(I=16, H=32, B=4)
    stream = case.layer().stream(batch_size=4)
    stream(endless(16, 3, 4))
    before = [a.tobytes() for a in stream.state]

    class Enough(Exception):
        pass

    def handler():
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)  # once: the next could hit pytest
        raise Enough

    for _ in range(5):
        with pytest.raises(Enough):
            ticking(handler)
            stream(endless(16, 2_000_000, 4), out=np.empty((2_000_000, 4, 32), np.float32))
        assert [a.tobytes() for a in stream.state] == before


LENGTHS = """
import sys, threading, time
import numpy as np, fastlstm
B, T = 500, 200
layer = fastlstm.LSTM(8, 64)
x = np.random.default_rng(0).standard_normal((T, B, 8)).astype(np.float32)
given = np.random.default_rng(1).integers(1, T + 1, B)
want = layer(x, lengths=given)[0].tobytes()
zeros = layer(x, lengths=np.zeros(B, int))[0].tobytes()

def call():
    try:
        got.append(layer(x, lengths=numbers)[0].tobytes())
    except ValueError:
        got.append(None)  # changed before they were checked
"""


def test_lengths_changed_by_another_thread_during_the_call():
    """The GIL is free then, so it can happen. What was checked must be what is used: no crash."""
    until_changed_meanwhile(LENGTHS, TOO_LONG)


def test_loading_weights_while_others_call():
    """A call sees the weights before or those after, never a mixture: until more than a hundred
    calls were seen, and some of each."""
    case = Case(I=5, H=24, L=2)
    layer, x = case.layer(), np.random.default_rng(0).standard_normal((30, 3, 5)).astype(np.float32)
    sets = [case.params(), {k: v * 3 for k, v in case.params().items()}]
    good = set()
    for params in sets:
        layer.load_state_dict(params)
        good.add(layer(x)[0].tobytes())
    assert len(good) == 2
    done, seen = threading.Event(), []

    def call():
        while not done.is_set():
            seen.append(layer(x)[0].tobytes())

    callers = [threading.Thread(target=call) for _ in range(4)]
    for thread in callers:
        thread.start()
    loads, n, give_up = 2000 if FULL else fewer(200), 0, time.monotonic() + TOO_LONG
    while n < loads or len(seen) <= 100 or len(set(seen)) < 2:
        layer.load_state_dict(sets[n % 2])
        n += 1
        time.sleep(0)
        if time.monotonic() > give_up:
            break
    done.set()
    for thread in callers:
        thread.join()
    assert n >= loads and len(seen) > 100
    assert set(seen) == good


def subnormals_live():
    tiny = np.full(16, 1e-40, np.float32)
    return bool((tiny * np.float32(0.5)).all())


@pytest.mark.parametrize("size", [1e-16, 1e-18, 1e-20, 1e-22, 1e-24, 1e-26, 1e-28, 1e-30, 1e-40])
def test_no_subnormal_is_made_on_the_way(size, isa):
    """Small states give the same bits where subnormals are flushed: so none arises in between.

    One would cost an assist of a hundred cycles and more at every step, and would make the bits
    depend on the caller's mode. The forget gates are open, so that c stays as small as it is.
    """
    case = Case(I=5, H=19, T=9, B=3, state=True)
    params = case.params()
    for name in ("bias_ih_l0", "bias_hh_l0"):
        params[name][:] = 0.0
    params["bias_ih_l0"][19:38] = 15.0
    layer = case.layer(isa)
    layer.load_state_dict(params)
    x, state, _ = case.call_arrays()
    x, h, c = (a * np.float32(size) for a in (x, *state))
    want = layer(x, (h, c))
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU has no flush-to-zero mode to test with")
    try:
        got = layer(x, (h, c))
    finally:
        torch.set_flush_denormal(False)
    for a, b in zip((want[0], *want[1]), (got[0], *got[1]), strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_call_leaves_the_float_control_register_alone(isa):
    """Neither switched to flush-to-zero nor back: in each mode the same before and after."""
    case = Case(I=5, H=19, L=2, D=2, T=9, B=3, state=True)
    layer = case.layer(isa)
    assert subnormals_live()
    want = [a.tobytes() for a in case.run(layer)]
    assert subnormals_live()
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU has no flush-to-zero mode to test with")
    try:
        assert not subnormals_live()
        assert [a.tobytes() for a in case.run(layer)] == want
        assert not subnormals_live()
    finally:
        torch.set_flush_denormal(False)
    assert subnormals_live()


REGISTERS = """
import ctypes
libm = ctypes.CDLL("libm.so.6")
def registers():  # glibc's fenv_t: on x86-64 the x87 part and MXCSR, on AArch64 FPCR and FPSR
    words = (ctypes.c_uint32 * 16)()
    assert libm.fegetenv(words) == 0
    return (words[0] & 0xffff, words[7] & ~0x3f) if {x86} else (words[0],)
import numpy
before = [registers()]
libm.fesetround({upward})
before.append(registers())
import fastlstm
fastlstm.show_config()
assert registers() == before[1] != before[0], (registers(), before)
layer = fastlstm.LSTM(300, 300, num_threads=4)
x = numpy.ones((20, 4, 300), numpy.float32)
y, _, tape = layer.forward_train(x)
layer.backward(tape, y)
layer.stream(batch_size=4).step(x[0])
assert registers() == before[1], (registers(), before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads glibc's fenv_t")
def test_import_and_training_leave_the_float_control_registers_alone():
    x86 = platform.machine() == "x86_64"
    script = REGISTERS.format(x86=x86, upward=0x800 if x86 else 0x400000)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
