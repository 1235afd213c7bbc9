# SPDX-License-Identifier: MIT
"""A call of a whole model, and a step of its stream, leave the GIL to other threads, which may
write to its inputs meanwhile."""

import numpy as np
import pytest
from meanwhile import until_changed_meanwhile
from test_threads_gil import TOO_LONG, until_noticed

import fastlstm
from fastlstm.models.graph import Graph, Node, Value

F = np.dtype(np.float32)


def model_of(rng, I=8, H=32):
    """x (T, B, I), h and c (1, B, H) -> y (T, 1, B, H), hn, cn"""
    sizes = {"w": (1, 4 * H, I), "r": (1, 4 * H, H)}
    weights = {k: (rng.standard_normal(s) / 8).astype(F) for k, s in sizes.items()}
    node = Node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["y", "hn", "cn"], {"hidden_size": H})
    states = [Value(name, F, (1, "b", H)) for name in ("h", "c")]
    outputs = [Value("y", F, ("t", 1, "b", H))]
    outputs += [Value(name, F, (1, "b", H)) for name in ("hn", "cn")]
    graph = Graph([Value("x", F, ("t", "b", I)), *states], outputs, [node], weights)
    return fastlstm.Model(graph, num_threads=1)


@pytest.mark.parametrize("thread", ["main", "other"])
@pytest.mark.parametrize("kind", ["call", "stream"])
def test_the_gil_is_free_during_a_call_of_a_model(kind, thread, rng):
    """Inputs are made before the call, of the type and layout that the program takes: a copy of
    them would leave the GIL by itself."""
    model, state = model_of(rng), np.zeros((1, 4, 32), F)
    stream = model.stream(batch_size=4)

    def prepared(T):
        x = np.full((T, 4, 8), 0.1, F)
        return (lambda: stream.step(x)) if kind == "stream" else (lambda: model(x, state, state))

    prepared(2)()  # makes the plan, which is Python's work
    until_noticed(prepared, thread)


INDICES = """
import sys, threading, time
import numpy as np, fastlstm
from fastlstm.models.graph import Graph, ModelError, Node, Value

F, I, rng = np.dtype(np.float32), np.dtype(np.int64), np.random.default_rng(0)
COUNT = 500  # numbers that NumPy copies and writes at once, with the GIL

def drawn(*shape):
    return rng.standard_normal(shape).astype(F)

def gather():
    graph = Graph([Value("i", I, ("n",))], [Value("y", F, ("n", 40_000))],
                  [Node("Gather", ["x", "i"], ["y"])], {"x": drawn(50, 40_000)})
    model = fastlstm.Model(graph)
    return lambda ids: model(ids), 50

def lstm():
    T, H = 200, 64
    node = Node("LSTM", ["x", "w", "r", "", "n"], ["y"], {"hidden_size": H})
    graph = Graph([Value("x", F, ("t", "b", 8)), Value("n", I, ("b",))],
                  [Value("y", F, ("t", 1, "b", H))], [node],
                  {"w": drawn(1, 4 * H, 8), "r": drawn(1, 4 * H, H) / 8})
    model, x = fastlstm.Model(graph), drawn(T, COUNT, 8)
    return lambda lengths: model(x, lengths), T

model, most = {"gather": gather, "lstm": lstm}[sys.argv[2]]()
given = rng.integers(1, most, COUNT)
want, zeros = (model(a).tobytes() for a in (given, 0 * given))

def call():
    try:
        got.append(model(numbers).tobytes())
    except ModelError as error:
        assert "out of range" in str(error)
        got.append(None)  # changed before they were taken
"""


@pytest.mark.parametrize("kind", ["gather", "lstm"])
def test_indices_changed_by_another_thread_during_the_call(kind):
    """What was checked must be what is used: no crash. Both are given as the C core takes them, so
    that nothing before it makes a copy."""
    until_changed_meanwhile(INDICES, TOO_LONG, kind)
