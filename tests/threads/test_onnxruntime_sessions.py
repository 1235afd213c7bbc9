# SPDX-License-Identifier: MIT
"""fastlstm.onnxruntime: sessions made and freed again and again, used by many threads at once, and
in the children of a fork; whose threads they run on."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import FULL, not_with_asan
from recurrent_graphs import Case, session
from together import together

import fastlstm
import fastlstm.onnxruntime

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]
SUPPORT = str(Path(__file__).parents[1] / "support")


def in_a_process(script, *arguments):
    """What a script prints, in a process of its own."""
    script = f"import sys; sys.path.insert(0, {SUPPORT!r})\n" + script
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True,
        timeout=3000,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


MADE_AND_FREED = """
import numpy as np
from recurrent_graphs import Case, session
from resident import resident

rng = np.random.default_rng(0)
cases = [Case(rng, op, 3, 2, 8, 40, constant=constant) for op in ("LSTM", "GRU", "RNN")
         for constant in (True, False)]
models = [case.model() for case in cases]
due = [session(model).run(None, case.feeds)[0] for model, case in zip(models, cases)]
count, before = int(sys.argv[1]), 0
for n in range(count):
    made = session(models[n % 6])
    if n % 3:
        found = made.run(None, cases[n % 6].feeds)[0]
        assert found.tobytes() == due[n % 6].tobytes()
        if n % 2:  # of weights that are fed: others, so that those before are let go
            other = cases[n % 6].feeds | {"B": cases[n % 6].weights["B"] + 1}
            made.run(None, other if "B" in cases[n % 6].feeds else cases[n % 6].feeds)
    if n == count // 4:
        before = resident()
print(resident() - before)
"""


@not_with_asan
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sessions_made_and_freed_keep_no_memory():
    """A network of these sizes is 30 to 60 kB: to keep one in ten would be seen in either run."""
    count = 10_000 if FULL else 600
    grown = int(in_a_process(MADE_AND_FREED, count))
    assert grown < 3_000_000 + 100 * count


def test_many_threads_call_one_session(rng):
    """Of constant weights, and of weights that half of the calls exchange for others."""
    for op, constant in (("LSTM", True), ("GRU", False), ("LSTM", False)):
        case = Case(rng, op, 20, 4, 16, 48, lengths=[20, 3, 9, 1], constant=constant,
                    direction="bidirectional")  # fmt: skip
        made = session(case.model(), threads=2)
        feeds = [dict(case.feeds) for _ in range(8)]
        for n, feed in enumerate(feeds):
            feed["X"] = rng.standard_normal(case.feeds["X"].shape).astype(np.float32)
            if not constant and n % 2:
                feed["R"] = case.weights["R"] * np.float32(0.5)
        due = [session(case.model()).run(None, feed) for feed in feeds]
        wrong = []

        def work(n, made=made, feeds=feeds, due=due, wrong=wrong):
            for _ in range(100 if FULL else 15):
                found = made.run(None, feeds[n])
                if any(a.tobytes() != b.tobytes() for a, b in zip(found, due[n], strict=True)):
                    wrong.append(n)

        together(work)
        assert not wrong


FORK = """
import os
import numpy as np
from recurrent_graphs import Case, session

rng = np.random.default_rng(0)
case = Case(rng, "LSTM", 20, 8, 32, 64, constant=False)
made = session(case.model())
due = made.run(None, case.feeds)[0].tobytes()
for _ in range(3):
    child = os.fork()
    if not child:
        same = made.run(None, case.feeds)[0].tobytes() == due
        same &= session(case.model()).run(None, case.feeds)[0].tobytes() == due
        os._exit(0 if same else 3)
    assert os.waitpid(child, 0)[1] == 0
    assert made.run(None, case.feeds)[0].tobytes() == due
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_sessions_in_the_children_of_a_fork():
    """Those of one thread: ONNX Runtime's own threads do not exist in a child."""
    assert in_a_process(FORK) == "done\n"


WHOSE = """
import itertools, os, time
import numpy as np
from recurrent_graphs import Case, session
from fastlstm.engine import backend

def threads():
    return set(os.listdir("/proc/self/task"))

def ticks(thread):
    with open(f"/proc/self/task/{thread}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))

rng = np.random.default_rng(0)
case = Case(rng, "LSTM", 200, 64, 128, 256, scale=0.05)
options = {"threads": 3, "session__intra_op__allow_spinning": "0"}
first = session(case.model(), False, **options)  # which may start threads of the process
before = threads()
plain = session(case.model(), False, **options)
due = len(threads() - before)
before = threads()
made = session(case.model(), **options)
pool = threads() - before
give_up = time.monotonic() + 120
for n in itertools.count():
    if n >= int(sys.argv[1]) and (sum(map(ticks, pool)) >= 2 or time.monotonic() > give_up):
        break
    made.run(None, case.feeds)
print(due, len(pool), len(threads() - before), backend.worker_count(), sum(map(ticks, pool)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_calls_run_on_the_sessions_threads_alone():
    """It has as many threads as a session without register(), no others come, and these work:
    without spinning, the CPU time they have had is that of the calls. Until they were seen to: on a
    busy machine the caller may do a call's work before they get a CPU."""
    due, pool, after, workers, ticks = map(int, in_a_process(WHOSE, 20).split())
    assert due >= 2
    assert (pool, after, workers) == (due, due, 0)
    assert ticks >= 2


def test_registered_options_may_go(rng):
    """What a session needs lives on without the options it was made with."""
    import onnxruntime

    case = Case(rng, "GRU")
    options = onnxruntime.SessionOptions()
    fastlstm.onnxruntime.register(options)
    made = onnxruntime.InferenceSession(case.model(), options)
    due = made.run(None, case.feeds)[0]
    del options
    for _ in range(3):
        session(case.model())
        assert made.run(None, case.feeds)[0].tobytes() == due.tobytes()
