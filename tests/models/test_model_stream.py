# SPDX-License-Identifier: MIT
"""A model's stream: pairs, state, rows, copies, bits; a step that fails leaves the state."""

import contextlib
import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from published import path_of
from small_models import drawn

import fastlstm
from fastlstm import ModelError
from fastlstm.models.graph import Graph, Node, Value

F32 = np.dtype(np.float32)
CUTS = [(0, 1), (1, 2), (2, 9), (9, 9), (9, 20), (20, 21)]
STATEFUL = ("lstm", "gru")


def first(made):
    return made[0] if isinstance(made, tuple) else made


def counter(**constants):
    """A model without a recurrent layer: total (B, 1) + x (B, 1) -> y, next."""
    value = Value("x", F32, ("batch", 1))
    total = Value("total", F32, ("batch", 1))
    outputs = [Value("y", F32, ("batch", 1)), Value("next", F32, ("batch", 1))]
    nodes = [Node("Add", ["x", "total"], ["next"]), Node("Mul", ["next", "two"], ["y"])]
    constants = {"two": np.array(2, F32)}
    return fastlstm.Model(Graph([value, total], outputs, nodes, constants, "counter"))


# ---- which are the state


@pytest.mark.parametrize(
    ("name", "pairs"), [("lstm", {"h": "hn", "c": "cn"}), ("gru", {"h": "hn"})]
)
def test_the_pairs_are_found_and_said(small, name, pairs):
    stream = fastlstm.load_model(small(name)[0]).stream()
    assert stream.pairs == pairs
    assert "h <- hn" in repr(stream)


@pytest.mark.parametrize(
    ("name", "constants", "pairs", "frame"),
    [
        ("silero_vad.onnx", {"sr": 16000}, {"state": "stateN"}, 576),
        ("silero_vad.onnx", {"sr": 8000}, {"state": "stateN"}, 288),
        ("silero_vad_half.onnx", {}, {"state": "stateN"}, 576),
        ("silero_vad_16k_op15.onnx", {"sr": 16000}, {"state": "stateN"}, 576),
        ("silero_vad_op18_ifless.onnx", {"sr": 16000}, {"state": "stateN"}, 576),
        ("silero_vad_openvino_16k.onnx", {}, {"state": "stateN"}, 576),
        ("silero_vad_16k_sequence.onnx", {}, {"h": "hn", "c": "cn"}, 576),
    ],
)
def test_the_state_of_published_models(name, constants, pairs, frame, rng):
    """Found at the latest by the first step; a step is a call with the state before."""
    model = fastlstm.load_model(path_of(name))
    stream = model.stream(**constants)
    state = {}
    for _ in range(3):
        x = rng.standard_normal((1, frame)).astype(F32) / 10
        state = state or {n: np.zeros((2, 1, 128) if n == "state" else (1, 1, 128), F32)
                          for n in pairs}  # fmt: skip
        whole = model(input=x, **constants, **state)
        step = stream.step(x)
        assert stream.pairs == pairs
        assert step.tobytes() == whole[0].tobytes()
        state = {one: getattr(whole, other) for one, other in pairs.items()}
        for one, array in stream.state.items():
            assert array.tobytes() == state[one].tobytes()


def test_no_state_is_an_error_that_says_what_to_do(small):
    with pytest.raises(ModelError, match=r"stream\(state=\{input: output\}\); inputs are x, outp"):
        fastlstm.load_model(small("wide")[0]).stream()
    with pytest.raises(ModelError, match=r"inputs are x, total, outputs y, next"):
        counter().stream()


def test_a_mapping_by_the_caller():
    stream = counter().stream(state={"total": "next"})
    assert [stream.step(np.full((1, 1), n, F32)).item() for n in (1, 2, 3)] == [2, 6, 12]
    assert stream.state["total"].tolist() == [[6]]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"z": "next"}, "no pair of an input and an output: 'z' and 'next'; inputs are x, total"),
        ({"total": "x"}, "no pair of an input and an output: 'total' and 'x'"),
        ({"x": "z", "total": "next"}, "outputs y, next"),
    ],
)
def test_a_mapping_that_does_not_fit(state, words):
    with pytest.raises(ModelError, match=words):
        counter().stream(state=state)


def test_a_mapping_whose_shapes_differ(small):
    with pytest.raises(ModelError, match=r"h: float32 \(2, batch, 12\) is no state for y: float3"):
        fastlstm.load_model(small("lstm")[0]).stream(state={"h": "y"})


def test_constants_are_checked_when_the_stream_is_made():
    model = fastlstm.load_model(path_of("silero_vad.onnx"))
    with pytest.raises(TypeError, match="there is no input 'rate'; there are input, state, sr"):
        model.stream(rate=16000)
    with pytest.raises(ValueError, match=r"input sr: int64 \(\): .* shape \(1,\) does not fit"):
        model.stream(sr=[16000])
    with pytest.raises(TypeError, match="'total' is a state and cannot be the same in all steps"):
        counter().stream(state={"total": "next"}, total=np.zeros((1, 1)))
    assert counter().stream(state={"total": "next"}, x=[[4]]).step().item() == 8


@pytest.mark.parametrize(
    ("batch_size", "error", "words"),
    [(0, ValueError, "at least 1, got 0"), (True, TypeError, "got bool"),
     (1.0, TypeError, "batch_size must be an int, got float")],
)  # fmt: skip
def test_a_wrong_batch_size(small, batch_size, error, words):
    with pytest.raises(error, match=words):
        fastlstm.load_model(small("lstm")[0]).stream(batch_size)


# ---- bits


@pytest.mark.needs("c")
@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("batch", [1, 4])
def test_chunks_have_the_bits_of_the_whole_call(small, name, dtype, batch, isa, rng):
    model = fastlstm.load_model(small(name)[0], isa=isa, dtype=dtype)
    x, *state = drawn(name, 21, batch, rng)
    whole = model(x, *state)
    stream = model.stream(batch)
    stream.state = dict(zip(("h", "c"), state, strict=False))
    parts = [stream.step(x[a:b]) for a, b in CUTS]
    many = name == "gru"  # two outputs that are no state
    for at in range(1 + many):
        pieces = [part[at] if many else part for part in parts]
        assert np.concatenate(pieces).tobytes() == whole[at].tobytes()
    for one, other in stream.pairs.items():
        assert stream.state[one].tobytes() == getattr(whole, other).tobytes()


@pytest.mark.needs("c")
@pytest.mark.parametrize("name", STATEFUL)
def test_streams_on_any_number_of_threads(small, name, rng):
    x = drawn(name, 60, 6, rng)[0]
    found = set()
    for n in (1, 2, 4):
        stream = fastlstm.load_model(small(name)[0], num_threads=n).stream(6)
        found.add(b"".join(first(stream.step(x[t : t + 5])).tobytes() for t in range(0, 60, 5)))
    assert len(found) == 1


@pytest.mark.needs("c")
def test_silero_in_frames_has_the_bits_of_its_sequence_file(rng):
    """The file for sequences takes many frames in one call, with h and c."""
    model = fastlstm.load_model(path_of("silero_vad_16k_sequence.onnx"))
    x = rng.standard_normal((50, 576)).astype(F32) / 10
    zero = np.zeros((1, 1, 128), F32)
    whole = model(x, zero, zero).speech_probs
    stream = model.stream()
    parts = [stream.step(x[a:b]) for a, b in ((0, 1), (1, 2), (2, 30), (30, 50))]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.needs("c")
def test_rows_of_a_batch_are_streams_of_their_own(rng):
    model = fastlstm.load_model(path_of("silero_vad.onnx"))
    x = rng.standard_normal((5, 3, 576)).astype(F32) / 10
    together = model.stream(3, sr=16000)
    alone = [model.stream(sr=16000) for _ in range(3)]
    for frames in x:
        made = together.step(frames)
        for row, stream in enumerate(alone):
            assert stream.step(frames[row : row + 1]).tobytes() == made[row : row + 1].tobytes()


# ---- state


@pytest.mark.parametrize("name", STATEFUL)
def test_reset_starts_anew(small, name, rng):
    stream = fastlstm.load_model(small(name)[0]).stream(2)
    x = drawn(name, 3, 2, rng)[0]
    begin = first(stream.step(x)).tobytes()
    assert first(stream.step(x)).tobytes() != begin
    stream.reset()
    assert all((array == 0).all() for array in stream.state.values())
    assert first(stream.step(x)).tobytes() == begin


@pytest.mark.parametrize("rows", [1, [0, 2], slice(1, 3), np.array([True, False, True, False])])
def test_reset_of_rows_leaves_the_others(small, rows, rng):
    stream = fastlstm.load_model(small("lstm")[0]).stream(4)
    stream.step(drawn("lstm", 3, 4, rng)[0])
    before = stream.state
    stream.reset(rows)
    for name, array in stream.state.items():
        expected = before[name].copy()
        expected[:, rows] = 0
        assert array.tobytes() == expected.tobytes()


def test_reset_of_rows_that_are_not_there(small, rng):
    stream = fastlstm.load_model(small("lstm")[0]).stream(4)
    stream.step(drawn("lstm", 3, 4, rng)[0])
    before = stream.state
    with pytest.raises(IndexError, match=r"rows \[0, 4\] of the state h: .* shape \(2, 4, 12\)"):
        stream.reset([0, 4])
    assert all(stream.state[n].tobytes() == a.tobytes() for n, a in before.items())


def test_reset_of_rows_without_a_batch():
    stream = fastlstm.load_model(path_of("silero_vad_openvino_16k.onnx")).stream()
    stream.step(np.ones((1, 576), F32))
    with pytest.raises(ModelError, match=r"which axis of the state state: .* is the batch is not"):
        stream.reset(0)


def test_state_is_copied_both_ways(small, rng):
    stream = fastlstm.load_model(small("lstm")[0]).stream()
    stream.step(drawn("lstm", 3, 1, rng)[0])
    read = stream.state
    read["h"][:] = 9
    assert not (stream.state["h"] == 9).any()
    given = {"h": np.full((2, 1, 12), 0.5)}
    stream.state = given
    given["h"][:] = 9
    assert (stream.state["h"] == 0.5).all() and stream.state["h"].dtype == F32
    assert stream.state["c"].tobytes() == read["c"].tobytes()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"x": 0}, "'x' is no state; there are h, c"),
        ({"h": np.zeros((2, 12))}, r"h: float32 \(2, batch, 12\): .* shape \(2, 12\) does not fit"),
        ({"c": np.zeros((2, 3, 12))}, r"state 'c' has the shape \(2, 1, 12\), got \(2, 3, 12\)"),
        ({"h": np.ones((2, 1, 12)), "c": np.zeros(3)}, r"shape \(3,\) does not fit"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(small, state, words, rng):
    stream = fastlstm.load_model(small("lstm")[0]).stream()
    stream.step(drawn("lstm", 3, 1, rng)[0])
    before = stream.state
    with pytest.raises(ValueError, match=words):
        stream.state = state
    assert all(stream.state[n].tobytes() == a.tobytes() for n, a in before.items())


def test_before_the_first_step_the_state_may_not_be_known():
    """silero's layers are under a condition on sizes."""
    stream = fastlstm.load_model(path_of("silero_vad.onnx")).stream(sr=16000)
    stream.reset()
    assert stream.state == {} and stream.pairs is None and "first step" in repr(stream)
    with pytest.raises(ModelError, match="will be known after the first step"):
        stream.state = {"state": np.zeros((2, 1, 128))}
    with pytest.raises(ValueError):  # too short for its convolutions
        stream.step(np.zeros((1, 5), F32))
    assert stream.pairs is None
    stream.step(np.zeros((1, 576), F32))
    assert stream.pairs == {"state": "stateN"}


# ---- steps that fail


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        ((), {}, TypeError, "missing inputs: x"),
        ((1, 2), {}, TypeError, r"1 inputs are due \(x\), got 2"),
        ((1,), {"x": 1}, TypeError, "the input 'x' is given twice"),
        ((), {"h": 1}, TypeError, "there is no input 'h'; there are x"),
        ((np.zeros((3, 1, 7)),), {}, ValueError, r"shape \(3, 1, 7\) does not fit"),
        ((np.zeros((3, 2, 6)),), {}, ValueError, r"node '/lstm/LSTM'.*\(., 1, 12\)"),
        ((np.zeros((3, 1, 6), complex),), {}, TypeError, "is not made of complex128"),
    ],
)
def test_a_step_that_fails_leaves_the_state(small, args, kwargs, error, words, rng):
    stream = fastlstm.load_model(small("lstm")[0]).stream()
    x = drawn("lstm", 3, 1, rng)[0]
    stream.step(x)
    before, twin = stream.state, copy.copy(stream)
    with pytest.raises(error, match=words):
        stream.step(*args, **kwargs)
    assert all(stream.state[n].tobytes() == a.tobytes() for n, a in before.items())
    assert stream.step(x).tobytes() == twin.step(x).tobytes()


def test_a_batch_that_broadcasts_into_the_state_is_an_error():
    stream = counter().stream(state={"total": "next"})
    with pytest.raises(ValueError, match=r"shape \(1, 1\) and would get \(3, 1\).* batch_size"):
        stream.step(np.ones((3, 1), F32))
    assert stream.state["total"].tolist() == [[0]]


@pytest.mark.needs("c")
def test_a_step_without_memory_leaves_the_state(small, rng):
    model = fastlstm.load_model(small("lstm")[0], max_bytes=100_000)
    stream = model.stream()
    x = drawn("lstm", 3, 1, rng)[0]
    stream.step(x)
    before = stream.state
    with pytest.raises(MemoryError, match="memory_limit is 100000"):
        stream.step(drawn("lstm", 10_000, 1, rng)[0])
    assert all(stream.state[n].tobytes() == a.tobytes() for n, a in before.items())


# ---- copies


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
@pytest.mark.parametrize("name", STATEFUL)
def test_copies_go_on_by_themselves(small, twin, name, rng):
    stream = fastlstm.load_model(small(name)[0]).stream(2)
    x, z = (drawn(name, 3, 2, rng)[0] for _ in range(2))
    stream.step(x)
    other = twin(stream)
    assert other.pairs == stream.pairs and other.batch_size == 2
    assert first(other.step(z)).tobytes() == first(stream.step(z)).tobytes()
    stream.step(x)
    assert other.state["h"].tobytes() != stream.state["h"].tobytes()


def test_a_copy_before_the_pairs_are_known():
    stream = fastlstm.load_model(path_of("silero_vad.onnx")).stream(sr=16000)
    x = np.full((1, 576), 0.1, F32)
    for twin in (copy.copy(stream), pickle.loads(pickle.dumps(stream))):
        assert twin.pairs is None
        assert twin.step(x).shape == (1, 1)


# ---- steps like the one before them


class Interrupted(list):
    """A list that is interrupted at the item number `at` of all that are taken from it."""

    def __init__(self, items, at):
        super().__init__(items)
        self.left = at

    def __iter__(self):
        for each in super().__iter__():
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield each


@pytest.mark.parametrize("at", range(4))
def test_an_interrupt_leaves_a_whole_state(small, at, rng):
    """That before the step or that behind it, and the stream goes on from it."""
    model, x = fastlstm.load_model(small("lstm")[0]), drawn("lstm", 8, 3, rng)[0]
    stream, states = model.stream(3), []
    for t in range(4):
        stream.step(x[t : t + 1])
        states.append({name: a.tobytes() for name, a in stream.state.items()})
    stream.state = dict(model.stream(3).state)
    for t in range(3):
        stream.step(x[t : t + 1])
    following, stream._next = stream._next, Interrupted(stream._next, at)
    with contextlib.suppress(KeyboardInterrupt):
        stream.step(x[3:4])
    stream._next = following
    left = {name: a.tobytes() for name, a in stream.state.items()}
    assert left in states[2:]
    other = copy.copy(stream)
    for t in range(4, 8):
        assert first(stream.step(x[t : t + 1])).tobytes() == first(other(x[t : t + 1])).tobytes()
        other.state = other.state  # without what is kept of the step before


def test_a_stream_does_not_keep_what_it_was_given(small, rng):
    stream, (x, *_) = fastlstm.load_model(small("lstm")[0]).stream(3), drawn("lstm", 8, 3, rng)
    given = [x[t : t + 1].copy() for t in range(4)]
    references = [weakref.ref(array) for array in given]
    for array in given:
        stream.step(array)
    del array, given[:]
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


def test_what_steps_gave_stays_as_it_was(small, rng):
    """The state of later steps goes to memory of earlier ones, which nobody sees: outputs and
    copies of the state of every step are those of streams that begin anew from that state."""
    model = fastlstm.load_model(small("lstm")[0])
    frames = rng.standard_normal((12, 1, 1, 6)).astype(np.float32)
    stream, outputs, states = model.stream(), [], []
    for i, frame in enumerate(frames):
        if i == 5:
            stream.state = {"h": stream.state["h"] / 2}
        if i == 9:
            stream.reset()
        outputs.append(first(stream.step(frame)))
        states.append(stream.state)
    for i, frame in enumerate(frames):
        fresh = model.stream()
        if i not in (0, 9):
            before = states[i - 1]
            fresh.state = before if i != 5 else before | {"h": before["h"] / 2}
        assert np.array_equal(first(fresh.step(frame)), outputs[i]), i
        for name, array in fresh.state.items():
            assert np.array_equal(array, states[i][name]), (i, name)


def test_a_step_that_is_not_like_the_one_before_it_is_looked_at():
    stream = counter().stream(state={"total": "next"})
    one = np.ones((1, 1), np.float32)
    assert [stream.step(one).item() for _ in range(3)] == [2, 4, 6]
    assert stream.step(np.array([[1]])).item() == 8  # int64
    assert stream.step(one[::-1]).item() == 10 and stream.step(x=one).item() == 12
    for wrong in (np.ones((2, 1), np.float32), np.ones(1, np.float32), np.ones((1, 1), complex)):
        with pytest.raises((ValueError, TypeError)):
            stream.step(wrong)
    assert stream.step(one).item() == 14 and stream.state["total"].item() == 7
