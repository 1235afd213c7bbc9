# SPDX-License-Identifier: MIT
"""A Model: its inputs and outputs, calls and their errors, memory, copies, threads and bits."""

import collections
import contextlib
import copy
import pickle
import sys
import threading

import numpy as np
import pytest
import torch
from conftest import BACKEND
from published import path_of
from small_models import MODELS, drawn

import fastlstm
from fastlstm.models.graph import Graph, Node, Value

F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
TOLERANCE = 2e-6  # of outputs of about 1


def same(ours, theirs):
    return [a.tobytes() for a in ours] == [a.tobytes() for a in theirs]


def model_of(nodes, inputs, outputs, constants=None, **options):
    """A Model of a graph that is written down here; inputs and outputs {name: (dtype, shape)}."""
    made = [
        [Value(name, np.dtype(dtype), shape) for name, (dtype, shape) in values.items()]
        for values in (inputs, outputs)
    ]
    return fastlstm.Model(Graph(*made, nodes, constants or {}, "graph"), **options)


@pytest.fixture
def adder():
    return model_of(
        [Node("Add", ["x", "z"], ["y"])],
        {"x": ("float32", ("n", 3)), "z": ("float32", (3,))},
        {"y": ("float32", ("n", 3))},
    )


# ---- inputs and outputs


def test_inputs_and_outputs_are_named_with_their_free_axes(small):
    model = fastlstm.load_model(small("lstm")[0])
    assert [str(v) for v in model.inputs] == [
        "x: float32 (time, batch, 6)", "h: float32 (2, batch, 12)", "c: float32 (2, batch, 12)",
    ]  # fmt: skip
    assert [v.name for v in model.outputs] == ["y", "hn", "cn"]
    assert "x: float32 (time, batch, 6)" in repr(model) and "hn" in repr(model)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("T", "B"), [(1, 1), (7, 2), (40, 5)])
def test_numbers_are_torchs(small, name, T, B, rng):
    path, module = small(name)
    inputs = drawn(name, T, B, rng)
    made = fastlstm.load_model(path)(*inputs)
    with torch.no_grad():
        theirs = module(*map(torch.from_numpy, inputs))
    many = isinstance(theirs, tuple)
    for a, b in zip(made if many else [made], theirs if many else [theirs], strict=True):
        assert a.shape == tuple(b.shape) and a.dtype == np.float32
        assert np.abs(a - b.numpy()).max() <= TOLERANCE


def test_positional_and_keyword_arguments(small, rng):
    model = fastlstm.load_model(small("lstm")[0])
    x, h, c = drawn("lstm", 4, 2, rng)
    first = model(x, h, c)
    assert same(first, model(c=c, h=h, x=x)) and same(first, model(x, c=c, h=h))
    assert first._fields == ("y", "hn", "cn") and first.hn is first[1]


def test_a_single_output_is_an_array(small, rng):
    made = fastlstm.load_model(small("wide")[0])(*drawn("wide", 2, 1, rng))
    assert type(made) is np.ndarray


def test_names_that_python_does_not_allow():
    names = ["1", "a b", "class", "a:b", "ok", "_x", "é"]
    nodes = [Node("Add", ["x", "x"], [name]) for name in names]
    model = model_of(nodes, {"x": ("float32", (2,))}, dict.fromkeys(names, ("float32", (2,))))
    made = model(np.ones(2, F32))
    assert made._fields == ("output_0", "a_b", "output_2", "output_3", "ok", "x", "é")
    again = pickle.loads(pickle.dumps(made))
    assert again._fields == made._fields and same(again, made)


# ---- what is converted


@pytest.mark.parametrize(
    ("names", "fields"),
    [(["output_1", "class"], ("output_1", "output_2")),
     (["187", "output_0"], ("output_0", "output_1")),
     (["output_2", "output_1", "187"], ("output_2", "output_1", "output_3")),
     (["a", "a.", "\ufb01", "fi"], ("a", "output_1", "fi", "output_3"))],
)  # fmt: skip
def test_names_that_are_taken(names, fields):
    nodes = [Node("Neg", ["x"], [name]) for name in names]
    model = model_of(nodes, {"x": ("float32", (1,))}, dict.fromkeys(names, ("float32", (1,))))
    assert model(np.ones(1, F32))._fields == fields


def test_arrays_are_converted_if_no_value_is_lost(adder):
    x = np.arange(6).reshape(2, 3)
    expected = adder(x.astype(F32), np.ones(3, F32))
    for other in (x, x.tolist(), x.astype(np.float64), x.astype(">f4"), np.asfortranarray(x),
                  np.repeat(x, 2, 1)[:, ::2], x.astype(np.uint8), torch.from_numpy(x)):  # fmt: skip
        made = adder(other, [1, 1, 1])
        assert made.dtype == F32 and np.array_equal(made, expected)
    read_only = x.astype(F32)
    read_only.flags.writeable = False
    assert np.array_equal(adder(read_only, np.ones(3)), expected)


def test_unaligned_arrays(adder):
    raw = np.zeros(25, np.uint8)
    x = raw[1:25].view(F32).reshape(2, 3)
    x[:] = 2
    assert not x.flags.aligned
    assert (adder(x, np.ones(3)) == 3).all()


def test_outputs_have_the_files_dtypes():
    nodes = [Node("Add", ["x", "x"], ["y"]), Node("Cast", ["x"], ["n"], {"to": 7})]
    model = model_of(nodes, {"x": ("float16", ("k",))}, {"y": ("float16", ("k",)),
                                                        "n": ("int32", ("k",))})  # fmt: skip
    made = model(np.array([1.5, 2], np.float16))
    assert made.y.dtype == np.float16 and made.y.tolist() == [3, 4]
    assert made.n.dtype == np.int32 and made.n.tolist() == [1, 2]


def test_results_are_the_callers_own():
    """Outputs that are an input, or the same value twice, are arrays of their own."""
    model = model_of(
        [Node("Identity", ["x"], ["a"]), Node("Identity", ["x"], ["b"])],
        {"x": ("float32", (2,))}, {"a": ("float32", (2,)), "b": ("float32", (2,))},
    )  # fmt: skip
    x = np.ones(2, F32)
    a, b = model(x)
    a[:] = 5
    assert x.tolist() == [1, 1] and b.tolist() == [1, 1]


# ---- errors, before anything is computed

LOST = [
    (np.ones((2, 3), complex), TypeError, r"input x: float32 \(n, 3\) is not made of complex128"),
    (np.full((2, 3), "a"), TypeError, r"input x: float32 \(n, 3\) is not made of <U1"),
    (np.full((2, 3), None), TypeError, r"input x: float32 \(n, 3\) is not made of object"),
    (None, TypeError, r"input x: float32 \(n, 3\) is not made of object"),
    ([[1, 2], [3]], ValueError, "inhomogeneous"),
    (np.ones((2, 4)), ValueError, r"input x: float32 \(n, 3\): .* shape \(2, 4\) does not fit"),
    (np.ones(3), ValueError, r"input x: float32 \(n, 3\): an array of the shape \(3,\) does"),
    (np.ones((1, 2, 3)), ValueError, r"x: float32 \(n, 3\): .* shape \(1, 2, 3\) does not fit"),
]


@pytest.mark.parametrize(("x", "error", "words"), LOST)
def test_an_array_that_does_not_fit(adder, x, error, words):
    with pytest.raises(error, match=words):
        adder(x, np.ones(3))


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing inputs: x, z"),
        ((np.ones((2, 3)),), {}, "missing inputs: z"),
        ((1, 2, 3), {}, r"2 inputs are due \(x, z\), got 3"),
        ((1,), {"x": 2, "z": 3}, "the input 'x' is given twice"),
        ((1,), {"w": 2}, "there is no input 'w'; there are x, z"),
    ],
)
def test_wrong_arguments(adder, args, kwargs, words):
    with pytest.raises(TypeError, match=words):
        adder(*args, **kwargs)


def test_integers_that_lose_values():
    model = model_of([Node("Add", ["n", "n"], ["y"])], {"n": ("int64", ("k",))},
                     {"y": ("int64", ("k",))})  # fmt: skip
    assert model(np.array([3], np.int8)).tolist() == [6]
    assert model(np.array([True])).tolist() == [2]
    with pytest.raises(TypeError, match=r"input n: int64 \(k\) is not made of float64"):
        model([1.0])
    with pytest.raises(ValueError, match=r"9223372036854775808 is larger than int64 holds"):
        model(np.array([1 << 63], np.uint64))


def test_inputs_that_do_not_fit_each_other(small, rng):
    """The batch of x is not the state's: the node and all shapes are named."""
    model = fastlstm.load_model(small("lstm")[0])
    x, _, _ = drawn("lstm", 4, 2, rng)
    _, h, c = drawn("lstm", 4, 3, rng)
    with pytest.raises(ValueError, match=r"node '/lstm/LSTM'.*\(., 3, 12\)"):
        model(x, h, c)
    assert same(model(x, h[:, :2], c[:, :2]), model(x, h[:, :2].copy(), c[:, :2].copy()))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"num_threads": 0}, ValueError, "num_threads must be in 1..1024, got 0"),
        ({"num_threads": 1.5}, TypeError, "num_threads must be an int or None, got float"),
        ({"isa": "z80"}, ValueError, "isa 'z80' is not"),
        ({"dtype": "float8"}, ValueError, "float8"),
        ({"max_bytes": 0}, ValueError, "max_bytes must be at least 1, got 0"),
        ({"max_bytes": "1"}, TypeError, "max_bytes must be an int, got str"),
    ],
)
def test_wrong_options(small, options, error, words):
    with pytest.raises(error, match=words):
        fastlstm.load_model(small("wide")[0], **options)


def test_files_that_are_no_models(tmp_path):
    layer = fastlstm.LSTM(3, 4)
    layer.save(tmp_path / "layer.safetensors")
    (tmp_path / "text").write_text("hello")
    for name in ("layer.safetensors", "text"):
        with pytest.raises(fastlstm.LoadError, match="no whole model that fastlstm reads"):
            fastlstm.load_model(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        fastlstm.load_model(tmp_path / "none.onnx")


# ---- memory


@pytest.mark.needs("c")
def test_memory_is_what_a_run_takes_and_its_bound(small, rng):
    path, _ = small("lstm")
    model = fastlstm.load_model(path)
    few, many = (model.memory((T, 2, 6), (2, 2, 12), (2, 2, 12)) for T in (10, 1000))
    assert 10 * 2 * 8 * 4 <= few < many < 100 * few + 10_000
    bound = fastlstm.load_model(path, max_bytes=(few + many) // 2)
    bound(*drawn("lstm", 10, 2, rng))
    for call in (lambda: bound(*drawn("lstm", 1000, 2, rng)),
                 lambda: bound.memory((1000, 2, 6), (2, 2, 12), (2, 2, 12))):  # fmt: skip
        outputs = 4 * (1000 * 2 * 3 + 2 * (2 * 2 * 12))
        with pytest.raises(MemoryError, match=f"need {many + outputs} bytes, memory_limit is"):
            call()
    bound(*drawn("lstm", 10, 2, rng))


@pytest.mark.needs("c")
def test_memory_of_giant_shapes_is_not_taken(small):
    model = fastlstm.load_model(small("wide")[0])
    with pytest.raises(MemoryError, match="memory_limit is 1073741824"):
        model.memory((1 << 40, 1, 40))
    with pytest.raises(ValueError, match="array is too big"):
        model.memory((1 << 40, 1 << 20, 40))
    with pytest.raises(ValueError, match="negative dimensions are not allowed"):
        model.memory((1 << 40, -1, 40))


def test_memory_takes_values_where_the_work_depends_on_them():
    model = fastlstm.load_model(path_of("silero_vad.onnx"))
    at_16k = model.memory((1, 576), (2, 1, 128), sr=16000)
    at_8k = model.memory((1, 288), (2, 1, 128), sr=8000)
    if BACKEND == "c":
        assert 4 * 288 < at_8k < at_16k
    else:  # NumPy allocates as it goes, and the models' memory is not counted
        assert at_8k == at_16k == 0
    with pytest.raises(TypeError, match=r"2 shapes are due \(input, state\), got 1"):
        model.memory((1, 576), sr=16000)
    with pytest.raises(ValueError, match=r"an array of the shape \(1, 128\) does not fit"):
        model.memory((1, 576), (1, 128), sr=16000)


def test_a_thousand_lengths_are_one_plan(small):
    model = fastlstm.load_model(small("wide")[0])
    for T in range(1000):
        assert model(np.zeros((T, 1, 40), F32)).shape == (T, 1, 8)
    assert len(model._plans) == 1


@pytest.mark.needs("c")
def test_a_length_never_seen_before_plans_nothing(small):
    """Its call makes as many calls of Python functions as that of a length seen before, but not in
    the last call: all that it adds is a layout, which the C core makes."""
    model = fastlstm.load_model(small("wide")[0])

    def calls(T):
        count, x = collections.Counter(), np.zeros((T, 1, 40), F32)
        sys.setprofile(lambda frame, event, of: count.update([event]))
        try:
            model(x)
        finally:
            sys.setprofile(None)
        return count["call"]

    calls(3)
    assert calls(7) == calls(3) == calls(29) > calls(29) > 0
    assert len(model._plans) == 1


def test_plans_that_depend_on_sizes_are_few():
    model = fastlstm.load_model(path_of("silero_vad_16k_op15.onnx"))
    state = np.zeros((2, 1, 128), F32)
    for size in range(560, 600):
        with contextlib.suppress(fastlstm.ModelError):  # lengths that this model does not take
            model(np.zeros((1, size), F32), state, 16000)
    assert len(model._plans) <= 16


# ---- copies


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_copies_compute_the_same(small, twin, dtype, rng):
    model = fastlstm.load_model(small("lstm")[0], dtype=dtype, num_threads=2, max_bytes=1 << 20)
    inputs = drawn("lstm", 6, 3, rng)
    other = twin(model)
    assert (other.dtype, other.num_threads, other.max_bytes) == (dtype, 2, 1 << 20)
    assert same(other(*inputs), model(*inputs))


def test_float16_weights_are_near_float32(small, rng):
    path, _ = small("wide")
    inputs = drawn("wide", 20, 2, rng)
    exact, half = (fastlstm.load_model(path, dtype=d)(*inputs) for d in ("float32", "float16"))
    assert 0 < np.abs(exact - half).max() < 5e-3


# ---- threads and bits


@pytest.mark.needs("c")
@pytest.mark.parametrize("name", MODELS)
def test_a_row_has_the_same_bits_in_any_batch(small, name, isa, rng):
    model = fastlstm.load_model(small(name)[0], isa=isa)
    inputs = drawn(name, 9, 13, rng)
    whole = model(*inputs)
    whole = whole if isinstance(whole, tuple) else [whole]
    for rows in (slice(0, 1), slice(5, 6), slice(3, 11)):
        part = model(*[x[:, rows] for x in inputs])
        part = part if isinstance(part, tuple) else [part]
        for a, b in zip(part, whole, strict=True):
            assert a.tobytes() == np.ascontiguousarray(b[:, rows]).tobytes()


@pytest.mark.needs("c")
@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_threads_gives_the_same_bits(small, name, rng):
    inputs = drawn(name, 130, 9, rng)
    found = [fastlstm.load_model(small(name)[0], num_threads=n)(*inputs) for n in (1, 2, 3, 4)]
    assert len({b"".join(np.asarray(a).tobytes() for a in each) for each in found}) == 1


@pytest.mark.needs("c")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_instruction_sets_with_fma_give_the_same_bits(small, name, dtype, rng):
    inputs = drawn(name, 11, 5, rng)
    isas = [isa for isa in fastlstm.runnable_isas() if isa not in ("sse2", "generic")]
    found = [fastlstm.load_model(small(name)[0], isa=isa, dtype=dtype)(*inputs) for isa in isas]
    assert len({b"".join(np.asarray(a).tobytes() for a in each) for each in found}) == 1


@pytest.mark.needs("threads")
def test_eight_threads_call_one_model(small, rng):
    """Each with lengths and rows of its own, so that plans are made and dropped meanwhile; each
    with a stream of its own."""
    path, _ = small("lstm")
    model = fastlstm.load_model(path)
    work = [drawn("lstm", 1 + n % 5, 1 + n % 3, rng) for n in range(24)]
    expected = [fastlstm.load_model(path)(*inputs) for inputs in work]
    failures, start = [], threading.Barrier(8)

    def calls(number):
        start.wait()
        try:
            stream = model.stream()
            x = work[number][0][:, :1]
            for n in range(60):
                at = (7 * n + number) % len(work)
                if not same(model(*work[at]), expected[at]):
                    failures.append((number, at))
                stream.step(x)
            fresh = fastlstm.load_model(path).stream()
            for _ in range(60):
                fresh.step(x)
            if fresh.state["c"].tobytes() != stream.state["c"].tobytes():
                failures.append((number, "stream"))
        except Exception as error:  # an error in a thread would be lost
            failures.append((number, error))

    threads = [threading.Thread(target=calls, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.needs("threads")
def test_eight_threads_plan_by_values():
    """Two rates, so that the plans depend on an input's value: none is given the other's plan."""
    model = fastlstm.load_model(path_of("silero_vad.onnx"))
    state, failures, start = np.zeros((2, 1, 128), F32), [], threading.Barrier(8)
    expected = {
        sr: fastlstm.load_model(path_of("silero_vad.onnx"))(np.ones((1, n), F32), state, sr).output
        for sr, n in ((16000, 576), (8000, 288))
    }

    def calls(number):
        sr, n = ((16000, 576), (8000, 288))[number % 2]
        start.wait()
        try:
            for _ in range(20):
                made = model(np.ones((1, n), F32), state, sr).output
                if made.tobytes() != expected[sr].tobytes():
                    failures.append((sr, made))
        except Exception as error:  # an error in a thread would be lost
            failures.append((sr, error))

    threads = [threading.Thread(target=calls, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
