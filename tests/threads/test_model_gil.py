# SPDX-License-Identifier: MIT
"""A call of a whole model, and a step of its stream, leave the GIL to other threads."""

import numpy as np
import pytest
from test_threads_gil import until_noticed

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
