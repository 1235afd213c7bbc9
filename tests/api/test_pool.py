# SPDX-License-Identifier: MIT
"""Pools: arguments, refusals, states, idle streams, which models can have one."""

import copy
import pickle

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from published import path_of

import fastlstm

F32 = np.float32


@pytest.fixture
def lstm():
    return fastlstm.LSTM(3, 4, 2)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# Against float64 written out: a pool is not only what a stream is


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_against_float64(capacity, size, hidden, seed):
    rng = np.random.default_rng(seed)
    rnn = fastlstm.RNN(size, hidden)
    w = {name: a.astype(np.float64) for name, a in rnn.state_dict().items()}
    pool, h, xs = rnn.pool(capacity), {}, {}
    for _ in range(8):
        if len(h) < capacity and rng.random() < 0.6:
            h[pool.open()] = np.zeros(hidden)
        ids = [id for id in h if rng.random() < 0.7]
        xs = {id: rng.standard_normal(size).astype(F32) for id in ids}
        for id, y in pool.step(xs).items():
            z = w["weight_ih_l0"] @ xs[id] + w["bias_ih_l0"]
            h[id] = np.tanh(z + w["weight_hh_l0"] @ h[id] + w["bias_hh_l0"])
            close(y, h[id])
        if h and rng.random() < 0.3:
            id = next(iter(h))
            pool.close(id)
            del h[id]
    for id, state in h.items():
        close(pool.state(id)[0], state)
    pool.shutdown()


def test_two_ways_to_step_and_a_subset_leaves_the_others(lstm, rng):
    pool = lstm.pool(10)
    ids, x = [pool.open() for _ in range(6)], rng.standard_normal((6, 3)).astype(F32)
    first = pool.step(ids, x)
    kept = {id: pool.state(id) for id in ids}
    some = [ids[4], ids[1]]
    by_id = pool.step({id: x[i] for i, id in enumerate(some)})
    assert list(by_id) == some and first.shape == (6, 4)
    stream = lstm.stream()
    for i, id in enumerate(ids):
        stream.reset()
        close(stream.step(x[i : i + 1])[0], first[i])
        if id in some:
            close(stream.step(x[some.index(id)][None])[0], by_id[id])
        for part, before, now in zip(stream.state, kept[id], pool.state(id), strict=True):
            close(part[:, 0], now)
            assert (before.tobytes() == now.tobytes()) == (id not in some)
    assert pool.step({}) == {}


@pytest.mark.parametrize("cell", [fastlstm.LSTM, fastlstm.GRU])
def test_states_are_copies_and_can_be_set(cell, rng):
    layer = cell(3, 4, 2)
    pool = layer.pool(3)
    a, b = pool.open(), pool.open()
    pool.step([a], rng.standard_normal((1, 3)))
    state = pool.state(a)
    parts = state if cell is fastlstm.LSTM else (state,)
    assert all(part.shape == (2, 4) for part in parts)
    pool.set_state(b, state)
    parts[0][...] = 9
    x = rng.standard_normal(3).astype(F32)
    made = pool.step({a: x, b: x})
    assert made[a].tobytes() == made[b].tobytes()
    pool.reset(a)
    parts = pool.state(a) if cell is fastlstm.LSTM else (pool.state(a),)
    assert all((part == 0).all() for part in parts)
    for wrong in (None, np.zeros((2, 5)), "state"):
        with pytest.raises((TypeError, ValueError)):
            pool.set_state(a, (wrong, wrong) if cell is fastlstm.LSTM else wrong)


def test_streams_start_at_the_initial_state(lstm, rng):
    state = tuple(rng.standard_normal((2, 1, 4)).astype(F32) for _ in range(2))
    lstm.initial_state = state
    pool, x = lstm.pool(2), rng.standard_normal((1, 3)).astype(F32)
    lstm.initial_state = None
    id = pool.open()
    want, _ = lstm(x[None], state)
    close(pool.step([id], x), want[0])
    pool.reset(id)
    for part, start in zip(pool.state(id), state, strict=True):
        assert part.tobytes() == start[:, 0].tobytes()


def test_new_weights_are_for_new_pools(lstm):
    pool, x = lstm.pool(1), np.ones(3, F32)
    id = pool.open()
    want = lstm.stream().step(x[None])[0]
    lstm.load_state_dict({name: a + 1 for name, a in lstm.state_dict().items()})
    close(pool.step({id: x})[id], want)


def test_submit_copies_the_frame(lstm):
    pool, x = lstm.pool(2, max_delay=3600), np.ones(3, F32)
    a, b = pool.open(), pool.open()
    future = pool.submit(a, x)
    x[:] = 7
    pool.submit(b, x).result(60)
    close(future.result(60), lstm.stream().step(np.ones((1, 3)))[0])
    pool.shutdown()


# Refusals


def test_full(lstm):
    pool = lstm.pool(2, max_delay=3600, max_queue=3)
    ids = [pool.open(), pool.open()]
    with pytest.raises(fastlstm.PoolFull, match="all 2 streams"):
        pool.open()
    for _ in range(3):
        pool.submit(ids[0], np.zeros(3))
    with pytest.raises(fastlstm.PoolFull, match="3 frames of stream 0 wait"):
        pool.submit(ids[0], np.zeros(3))
    assert pool.metrics()["rejected"] == 2 and pool.metrics()["waiting"] == 3
    pool.close(ids[1])
    assert pool.open() == 2  # a new id, though the place is the old one's
    pool.shutdown(cancel=True)


def test_wrong_calls(lstm):
    pool = lstm.pool(2)
    a, b = pool.open(), pool.open()
    pool.step({a: np.ones(3)})
    before = pool.state(a)
    for error, text, call in [
        (ValueError, "stream 7 is not open", lambda: pool.step({a: np.zeros(3), 7: np.zeros(3)})),
        (ValueError, "stream 7 is not open", lambda: pool.submit(7, np.zeros(3))),
        (ValueError, "stream 7 is not open", lambda: pool.close(7)),
        (ValueError, "stream 7 is not open", lambda: pool.state(7)),
        (ValueError, "stream 0 is there twice", lambda: pool.step([a, a], np.zeros((2, 3)))),
        (ValueError, r"frames of 2 streams of shape \(2, 3\), got \(2, 4\)",
         lambda: pool.step([a, b], np.zeros((2, 4)))),
        (ValueError, r"frames of 2 .* got \(3,\)", lambda: pool.step([a, b], np.zeros(3))),
        (ValueError, r"a frame of shape \(3,\), got \(1, 3\)",
         lambda: pool.step({a: np.zeros((1, 3))})),
        (ValueError, r"a frame of shape \(3,\), got \(4,\)", lambda: pool.submit(a, np.zeros(4))),
        (ValueError, "no ids", lambda: pool.step([], np.zeros((0, 3)))),
        (TypeError, "step takes", lambda: pool.step([a])),
        (TypeError, "as an integer", lambda: pool.step("ab", np.zeros((2, 3)))),
        (TypeError, "frame", lambda: pool.submit(a, "abc")),
        (TypeError, "pickled", lambda: pickle.dumps(pool)),
        (TypeError, "pickled", lambda: copy.copy(pool)),
    ]:  # fmt: skip
        with pytest.raises(error, match=text):
            call()
    for part, same in zip(pool.state(a), before, strict=True):
        assert part.tobytes() == same.tobytes()
    pool.close(b)
    with pytest.raises(ValueError, match="stream 1 is not open"):
        pool.step({b: np.zeros(3)})
    assert b not in pool and a in pool and len(pool) == 1 and "1 of 2" in repr(pool)


@pytest.mark.parametrize(
    "options",
    [
        {"capacity": 0}, {"capacity": True}, {"capacity": 2.0}, {"max_delay": -1},
        {"max_delay": "1"}, {"max_delay": float("nan")}, {"max_batch": 0}, {"max_batch": 1.5},
        {"max_queue": 0}, {"idle": 0}, {"idle": float("inf")}, {"idle": True}, {"speed": 3},
    ],
)  # fmt: skip
def test_wrong_options(lstm, options):
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        lstm.pool(**{"capacity": 2, **options})


def test_layers_that_cannot_stream_have_no_pool():
    for options in ({"bidirectional": True}, {"reverse": True}):
        with pytest.raises(ValueError, match="cannot stream"):
            fastlstm.LSTM(3, 4, **options).pool(2)


# Idle streams


def test_idle_streams_are_closed_by_the_clock(lstm):
    clock = Clock()
    pool = lstm.pool(2, idle=10, clock=clock)
    a, b = pool.open(), pool.open()
    clock.now = 9.0
    pool.step({a: np.zeros(3)})
    clock.now = 10.0
    assert len(pool) == 1 and a in pool and b not in pool
    with pytest.raises(ValueError, match="stream 1 is not open"):
        pool.submit(b, np.zeros(3))
    c = pool.open()
    with pytest.raises(fastlstm.PoolFull):
        pool.open()
    clock.now = 19.5
    assert pool.submit(c, np.zeros(3)).result(60).shape == (4,)
    assert a not in pool and pool.metrics()["closed_idle"] == 2
    pool.shutdown()


def test_a_stream_whose_frame_waits_is_not_idle(lstm):
    clock = Clock()
    pool = lstm.pool(2, idle=10, clock=clock, max_delay=3600)
    a, b = pool.open(), pool.open()
    future = pool.submit(a, np.zeros(3))
    clock.now = 100.0
    assert a in pool and b not in pool
    pool.shutdown()
    assert future.result(60).shape == (4,)


# Models


def saved(tmp_path, nodes, inputs, outputs, constants=()):
    """The path of an ONNX file of float32 inputs and outputs, [(name, shape)]."""
    infos = lambda each: [  # noqa: E731
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in each
    ]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_a_detector_pool_is_its_streams(rng):
    model = fastlstm.load_model(path_of("silero_vad.onnx"))
    pool = model.pool(5, sr=16000)
    ids, x = [pool.open() for _ in range(3)], rng.standard_normal((3, 576)).astype(F32)
    with pytest.raises(fastlstm.ModelError, match="after the first frame"):
        pool.state(ids[0])
    first, second = pool.step(ids, x), pool.step({ids[1]: x[0]})[ids[1]]
    stream = model.stream(sr=16000)
    for i in (0, 2, 1):
        stream.reset()
        close(stream.step(x[i : i + 1])[0], first[i])
    close(stream.step(x[:1])[0], second)
    close(pool.state(ids[1])["state"], stream.state["state"][:, 0])
    pool.set_state(ids[0], pool.state(ids[1]))
    made = pool.step({ids[0]: x[2], ids[1]: x[2]})
    assert made[ids[0]].tobytes() == made[ids[1]].tobytes()
    for error, text, call in [
        (ValueError, "shape", lambda: pool.set_state(ids[0], {"state": np.zeros(3)})),
        (TypeError, "what `state` gave, got None", lambda: pool.set_state(ids[0], None)),
        (ValueError, "is no state", lambda: pool.set_state(ids[0], {"input": np.zeros(3)})),
        (TypeError, "float32", lambda: pool.set_state(ids[0], {"state": np.zeros((2, 128), "U1")})),
        (ValueError, "input", lambda: pool.step({ids[0]: np.zeros((2, 576), F32)})),
        (ValueError, "frames of 2 streams", lambda: pool.step(ids[:2], x)),
        (ValueError, "shapes", lambda: pool.step({ids[0]: x[0], ids[1]: x[0, :288]})),
        (TypeError, "no input 'sr'", lambda: pool.step({ids[0]: {"input": x[0], "sr": 16000}})),
        (TypeError, "missing inputs: input", lambda: pool.step({ids[0]: {}})),
    ]:  # fmt: skip
        with pytest.raises(error, match=text):
            call()
    with pytest.raises(fastlstm.ModelError, match=r"input sr: .* given to `pool` by name"):
        model.pool(5)


def test_several_inputs_and_outputs_by_name(tmp_path, rng):
    """Two frames, one with the batch second, and two outputs."""
    nodes = [
        helper.make_node("Add", ["a", "h"], ["s"]),
        helper.make_node("Transpose", ["b"], ["bt"], perm=[1, 0]),
        helper.make_node("Add", ["s", "bt"], ["h2"]),
        helper.make_node("Neg", ["h2"], ["n"]),
        helper.make_node("Transpose", ["h2"], ["t"], perm=[1, 0]),
    ]
    path = saved(
        tmp_path, nodes, [("a", ["B", 4]), ("b", [4, "B"]), ("h", ["B", 4])],
        [("n", ["B", 4]), ("t", [4, "B"]), ("h2", ["B", 4])],
    )  # fmt: skip
    pool = fastlstm.load_model(path).pool(4, state={"h": "h2"})
    ids = [pool.open() for _ in range(4)]
    a, b = rng.standard_normal((4, 4)).astype(F32), rng.standard_normal((4, 4)).astype(F32)
    made = pool.step(ids, {"a": a, "b": b.T})
    close(made.n, -(a + b))
    close(made.t, (a + b).T)
    made = pool.step({ids[2]: {"a": a[2], "b": b[0]}})[ids[2]]
    close(made.t, a[2] + b[2] + a[2] + b[0])
    assert made.t.shape == (4,)
    with pytest.raises(TypeError, match="inputs a, b"):
        pool.step({ids[0]: a[0]})


def test_models_whose_rows_cannot_run_together_are_refused(tmp_path):
    add = [helper.make_node("Add", ["x", "h"], ["h2"])]
    fixed = saved(tmp_path, [*add, helper.make_node("Neg", ["h2"], ["y"])],
                  [("x", [1, 4]), ("h", [1, 4])], [("y", [1, 4]), ("h2", [1, 4])])  # fmt: skip
    with pytest.raises(fastlstm.ModelError, match="one free axis"):
        fastlstm.load_model(fixed).pool(3, state={"h": "h2"})
    state = [("x", ["B", 4]), ("h", ["B", 4])]
    mean = helper.make_node("ReduceMean", ["h2"], ["m"], axes=[0], keepdims=1)
    lost = saved(tmp_path, [*add, mean], state, [("m", [1, 4]), ("h2", ["B", 4])])
    pool = fastlstm.load_model(lost).pool(3, state={"h": "h2"})
    with pytest.raises(fastlstm.ModelError, match="no row for each stream"):
        pool.submit(pool.open(), np.zeros(4))
    # The output of each row depends on the others'.
    mixed = saved(tmp_path, [*add, mean, helper.make_node("Sub", ["h2", "m"], ["y"])], state,
                  [("y", ["B", 4]), ("h2", ["B", 4])])  # fmt: skip
    if fastlstm.engine.NAME == "c":
        pool = fastlstm.load_model(mixed).pool(3, state={"h": "h2"})
        with pytest.raises(fastlstm.ModelError, match="depend on one another"):
            pool.step({pool.open(): np.zeros(4)})
