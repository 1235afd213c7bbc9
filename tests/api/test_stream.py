# SPDX-License-Identifier: MIT
"""Streams: state kept, read, set and reset; chunks and steps; errors that leave it alone."""

import copy
import pickle

import numpy as np
import pytest
from cases import Case

import fastlstm

SHAPES = [
    Case(I=3, H=5), Case(I=6, H=17, L=2, batch_first=True), Case(I=4, H=8, L=2, P=3),
    Case(I=2, H=33, bias=False, batch_first=True), Case(I=4, H=17, L=2, cell="gru"),
    Case(I=4, H=17, cell="gru_before"), Case(I=4, H=17, L=2, batch_first=True, cell="rnn_tanh"),
]  # fmt: skip


def drawn(case, T, B, rng):
    return rng.standard_normal((B, T, case.I) if case.batch_first else (T, B, case.I)).astype(
        np.float32
    )


def cut(case, x, t0, t1):
    return x[:, t0:t1] if case.batch_first else x[t0:t1]


@pytest.mark.parametrize("case", SHAPES, ids=Case.name)
def test_chunks_continue_each_other(case, isa, rng):
    layer = case.layer(isa)
    x = drawn(case, 20, 3, rng)
    y, (h, c) = layer(x)
    stream = layer.stream(batch_size=3)
    parts = [stream(cut(case, x, a, b)) for a, b in ((0, 1), (1, 8), (8, 9), (9, 20))]
    assert np.concatenate(parts, axis=1 if case.batch_first else 0).tobytes() == y.tobytes()
    assert [s.tobytes() for s in stream.state] == [h.tobytes(), c.tobytes()]


@pytest.mark.parametrize("case", SHAPES, ids=Case.name)
def test_steps_and_chunks_mix(case, isa, rng):
    layer = case.layer(isa)
    x = drawn(case, 9, 2, rng)
    y, _ = layer(x)
    stream = layer.stream(batch_size=2)
    steps = x.swapaxes(0, 1) if case.batch_first else x
    wanted = y.swapaxes(0, 1) if case.batch_first else y
    for t in (0, 1, 2):
        assert stream.step(steps[t]).tobytes() == wanted[t].tobytes()
    chunk = stream(cut(case, x, 3, 8))
    assert chunk.tobytes() == np.ascontiguousarray(cut(case, y, 3, 8)).tobytes()
    assert stream.step(steps[8]).tobytes() == wanted[8].tobytes()


def test_one_row_may_be_unbatched(isa, rng):
    for case in SHAPES:
        layer = case.layer(isa)
        x = rng.standard_normal((6, case.I)).astype(np.float32)
        y, _ = layer(x)
        stream = layer.stream()
        ours = stream(x)
        assert ours.shape == y.shape
        assert ours.tobytes() == y.tobytes()


def test_out_is_filled_and_returned(isa, rng):
    for case in SHAPES:
        layer = case.layer(isa)
        x = drawn(case, 4, 2, rng)
        want = layer.stream(batch_size=2)(x)
        stream = layer.stream(batch_size=2)
        out = np.full_like(want, np.nan)
        assert stream(x, out=out) is out
        assert out.tobytes() == want.tobytes()

        first = x[:, 0] if case.batch_first else x[0]
        stream.reset()
        out = np.full((2, layer.output_size), np.nan, np.float32)
        assert stream.step(first, out=out) is out
        assert out.tobytes() == (want[:, 0] if case.batch_first else want[0]).tobytes()


def test_results_are_new_arrays_each_time(rng):
    stream = SHAPES[0].layer().stream(batch_size=2)
    x = rng.standard_normal((2, 3)).astype(np.float32)
    first = stream.step(x)
    kept = first.copy()
    second = stream.step(x)
    assert not np.shares_memory(first, second)
    assert np.array_equal(first, kept)
    chunk = stream(x[None])
    kept = chunk.copy()
    stream(x[None])
    assert np.array_equal(chunk, kept)


def test_state_is_a_copy_both_ways(rng):
    case = SHAPES[1]
    stream = case.layer().stream(batch_size=3)
    stream(drawn(case, 5, 3, rng))
    h, c = stream.state
    before = h.tobytes(), c.tobytes()
    h[...] = 7
    c[...] = 7
    assert tuple(a.tobytes() for a in stream.state) == before
    h, c = (rng.standard_normal(a.shape).astype(np.float32) for a in (h, c))
    stream.state = h, c
    set_to = h.tobytes(), c.tobytes()
    h[...] = 0
    c[...] = 0
    assert tuple(a.tobytes() for a in stream.state) == set_to
    assert all(a.dtype == np.float32 and a.flags.writeable for a in stream.state)


def test_state_takes_any_float_array(rng):
    case = SHAPES[2]
    stream = case.layer().stream(batch_size=2)
    h, c = rng.standard_normal((2, 2, 3)), rng.standard_normal((2, 2, 8))
    stream.state = h, np.asfortranarray(c)
    assert np.array_equal(stream.state[0], h.astype(np.float32))
    assert np.array_equal(stream.state[1], c.astype(np.float32))


def test_a_new_stream_and_a_reset_one_begin_at_zero(rng):
    for case in SHAPES:
        stream = case.layer().stream(batch_size=3)
        assert not any(a.any() for a in stream.state)
        x = drawn(case, 4, 3, rng)
        first = stream(x)
        assert all(a.any() or not a.size for a in stream.state)
        stream.reset()
        assert not any(a.any() for a in stream.state)
        assert stream(x).tobytes() == first.tobytes()


@pytest.mark.parametrize(
    "rows, which",
    [
        ([1], [1]), ([0, 2], [0, 2]), ([], []), ((2, 0), [0, 2]), (np.array([3, 3]), [3]),
        (np.array([True, False, False, True]), [0, 3]), (range(1, 3), [1, 2]), (2, [2]),
    ],
    ids=str,
)  # fmt: skip
def test_reset_of_some_rows(rows, which, rng):
    for case in SHAPES:
        stream = case.layer().stream(batch_size=4)
        stream(drawn(case, 3, 4, rng))
        before = stream.state
        stream.reset(rows=rows)
        for old, new in zip(before, stream.state, strict=True):
            for b in range(4):
                assert np.array_equal(
                    new[:, b], np.zeros_like(old[:, b]) if b in which else old[:, b]
                )


def test_streams_of_one_layer_are_apart(rng):
    case = SHAPES[0]
    layer = case.layer()
    x, other = drawn(case, 8, 1, rng), drawn(case, 8, 1, rng)
    want = layer(x)[0], layer(other)[0]
    a, b = layer.stream(), layer.stream()
    for t in range(8):
        assert a(x[t : t + 1]).tobytes() == want[0][t].tobytes()
        assert b(other[t : t + 1]).tobytes() == want[1][t].tobytes()
        layer(x)  # and a call in between changes neither


def test_a_failed_call_leaves_the_state(rng):
    case = SHAPES[0]
    stream = case.layer().stream(batch_size=2)
    stream(drawn(case, 3, 2, rng))
    before = [a.tobytes() for a in stream.state]
    for call in (
        lambda: stream(np.zeros((3, 2, 4))),
        lambda: stream(np.zeros((3, 3, 3))),
        lambda: stream(np.zeros((0, 2, 3))),
        lambda: stream.step(np.zeros((2, 4))),
        lambda: stream.step(np.zeros((2, 3)), out=np.zeros((2, 4), np.float32)),
        lambda: setattr(stream, "state", (np.zeros((1, 2, 5)), np.zeros((1, 3, 5)))),
        lambda: stream.reset(rows=[0, 5]),
    ):
        with pytest.raises((ValueError, IndexError)) as caught:
            call()
        assert isinstance(caught.value, ValueError)
        assert [a.tobytes() for a in stream.state] == before


def test_no_stream_for_two_directions():
    with pytest.raises(ValueError, match="bidirectional"):
        fastlstm.LSTM(3, 4, bidirectional=True).stream()


def test_input_of_other_types(rng):
    case = SHAPES[0]
    layer = case.layer()
    x = rng.integers(-2, 3, (4, 2, 3))
    want = layer(x.astype(np.float32))[0]
    for dtype in (np.float64, np.float16, np.int64, np.int8):
        given = x.astype(dtype)
        assert layer.stream(batch_size=2)(given).tobytes() == want.tobytes()
        stream = layer.stream(batch_size=2)
        assert np.stack([stream.step(step) for step in given]).tobytes() == want.tobytes()
    strided = np.repeat(x.astype(np.float32), 2, axis=2)[..., ::2]
    stream = layer.stream(batch_size=2)
    assert np.stack([stream.step(step) for step in strided]).tobytes() == want.tobytes()


def test_a_stream_keeps_the_weights_it_was_opened_with(rng):
    case = SHAPES[0]
    layer = case.layer()
    stream, x = layer.stream(batch_size=2), drawn(case, 4, 2, rng)
    want = layer(x)[0]
    layer.load_state_dict({k: v * 2 for k, v in layer.state_dict().items()})
    assert stream(x).tobytes() == want.tobytes()
    assert layer(x)[0].tobytes() != want.tobytes()
    assert layer.stream(batch_size=2)(x).tobytes() == layer(x)[0].tobytes()


@pytest.mark.parametrize(
    "how",
    [copy.copy, copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))],
    ids=["copy", "deepcopy", "pickle"],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: fastlstm.LSTM(3, 5, 2, batch_first=True, proj_size=2),
        lambda: fastlstm.LSTM(3, 5, peepholes=True, clip=1.0),
        lambda: fastlstm.LSTM(3, 17).quantize("float16"),
        lambda: fastlstm.GRU(3, 5, 2, reset_after=False),
        lambda: fastlstm.RNN(3, 5, nonlinearity="relu"),
    ],
)
def test_copies_go_on_by_themselves(make, how, rng):
    layer = make()
    x = rng.standard_normal((2, 9, 3) if layer.batch_first else (9, 2, 3)).astype(np.float32)
    first, rest = (x[:, :4], x[:, 4:]) if layer.batch_first else (x[:4], x[4:])
    y, final = layer(x)
    stream = layer.stream(batch_size=2)
    stream(first)
    want = stream.state
    layer.take_weights({k: v * 0 for k, v in layer.packed.arrays.items()})  # not the stream's
    twin = how(stream)
    assert type(twin) is fastlstm.Stream and twin.batch_size == 2
    assert bits(layer, twin.state) == bits(layer, want)
    end = np.ascontiguousarray(y[:, 4:] if layer.batch_first else y[4:])
    assert twin(rest).tobytes() == end.tobytes()
    assert bits(layer, stream.state) == bits(layer, want)  # the twin has not moved it
    assert stream(rest).tobytes() == end.tobytes()
    assert bits(layer, stream.state) == bits(layer, twin.state) == bits(layer, final)
    twin.reset()
    assert bits(layer, stream.state) == bits(layer, final)
    assert twin(x).tobytes() == y.tobytes()


def bits(layer, state):
    return [part.tobytes() for part in layer.state_parts(state)]


def test_a_copy_resets_to_the_layers_initial_state(rng):
    layer = fastlstm.LSTM(3, 4)
    layer.initial_state = tuple(rng.standard_normal((1, 2, 4)).astype(np.float32) for _ in "hc")
    stream = layer.stream(batch_size=2)
    start = [s.tobytes() for s in stream.state]
    stream(drawn(SHAPES[0], 3, 2, rng))
    layer.initial_state = None
    for twin in (copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))):
        assert [s.tobytes() for s in twin.state] == [s.tobytes() for s in stream.state]
        twin.reset()
        assert [s.tobytes() for s in twin.state] == start
