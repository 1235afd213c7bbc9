# SPDX-License-Identifier: MIT
"""Calls through Python, timed by pytest-benchmark and checked against float64.

    pytest benchmarks/test_bench_calls.py                        times, by group
    pytest benchmarks/test_bench_calls.py --benchmark-disable    each once: a smoke test

One thread: did a change make a call slower? For other engines see `fastlstm bench`.
"""

import json
import struct

import numpy as np
import pytest

import fastlstm
from fastlstm.bench import model, special
from fastlstm.bench.shapes import parse

TOLERANCE = 1e-5


def close(found, expected):
    """Shapes equal, float32, finite and within the tolerance of the float64 result."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def network(shape):
    """(weights, lstm on one thread, x)"""
    weights = model.make_weights(shape)
    lstm = fastlstm.LSTM.from_state_dict(weights, num_threads=1)
    return weights, lstm, model.make_input(shape)


def shapes(*texts):
    return pytest.mark.parametrize("shape", [parse(text)[0] for text in texts], ids=str)


ONE_STEP = shapes("1,1,1,32", "1,1,64,64", "1,1,128,128", "1,1,256,256")


@pytest.mark.benchmark(group="step")
@ONE_STEP
def test_step_call(benchmark, shape):
    weights, lstm, x = network(shape)
    y, (h, c) = benchmark(lstm, x)
    for found, expected in zip((y, h, c), model.forward64(weights, shape, x), strict=True):
        close(found, expected)


@pytest.mark.benchmark(group="step")
@ONE_STEP
def test_step_call_out(benchmark, shape):
    weights, lstm, x = network(shape)
    out = np.full(shape.output_shape(), np.nan, np.float32)
    y, _ = benchmark(lstm, x, out=out)
    assert y is out
    close(out, model.forward64(weights, shape, x)[0])


@pytest.mark.benchmark(group="step")
@ONE_STEP
@pytest.mark.parametrize("give_out", [False, True], ids=["fresh", "out"])
def test_step_stream(benchmark, shape, give_out):
    weights, lstm, x = network(shape)
    stream = lstm.stream()
    keywords = {"out": np.empty((1, shape.H), np.float32)} if give_out else {}
    y = benchmark(stream.step, x[0], **keywords)
    assert np.isfinite(y).all()
    stream.reset()  # the timed calls have moved the state on: check from the start
    first, second = stream.step(x[0]).copy(), stream.step(x[0])
    expected, _, _ = model.forward64(weights, shape, np.concatenate([x, x]))
    close(np.stack([first, second]), expected)


@pytest.mark.benchmark(group="sequence")
@shapes("1000,1,1,16", "1000,1,1,64", "100,1,128,128", "100,1,256,256", "20,1,512,512")
def test_sequence(benchmark, shape):
    weights, lstm, x = network(shape)
    y, _ = benchmark(lstm, x)
    close(y, model.forward64(weights, shape, x)[0])


@pytest.mark.benchmark(group="batch")
@shapes(
    "100,4,64,64", "50,8,128,128", "50,32,128,128", "20,32,256,256", "20,24,100,100", "10,7,33,50"
)
def test_batch(benchmark, shape):
    weights, lstm, x = network(shape)
    y, _ = benchmark(lstm, x)
    close(y, model.forward64(weights, shape, x)[0])


@pytest.mark.benchmark(group="stack")
@shapes("50,1,128,128,2", "50,1,128,128,1,2", "20,8,64,64,2,2")
def test_stack(benchmark, shape):
    weights, lstm, x = network(shape)
    y, (h, c) = benchmark(lstm, x)
    for found, expected in zip((y, h, c), model.forward64(weights, shape, x), strict=True):
        close(found, expected)


def equal(shape):
    return np.full(shape.B, shape.T)


@pytest.mark.benchmark(group="ragged")
@shapes("64,16,64,64", "64,16,64,64,2,2")
@pytest.mark.parametrize("lengths_of", [equal, special.spread], ids=lambda f: f.__name__)
def test_ragged(benchmark, shape, lengths_of):
    """With equal lengths, all of T: what `lengths` itself costs."""
    weights, lstm, x = network(shape)
    lengths = lengths_of(shape)
    y, (h, c) = benchmark(lstm, x, lengths=lengths)
    expected = model.forward64(weights, shape, x, lengths=lengths)
    for found, wanted in zip((y, h, c), expected, strict=True):
        close(found, wanted)
    for row, length in enumerate(lengths):
        assert not y[length:, row].any()


@pytest.mark.benchmark(group="stream")
@shapes("1,8,64,64", "10,1,80,128", "160,1,80,128", "160,1,80,128,2")
def test_stream(benchmark, shape):
    weights, lstm, x = network(shape)
    stream = lstm.stream(batch_size=shape.B)
    assert np.isfinite(benchmark(stream, x)).all()
    stream.reset()
    found = np.concatenate([stream(x).copy(), stream(x)])
    close(found, model.forward64(weights, shape, np.concatenate([x, x]))[0])


@pytest.mark.benchmark(group="weights")
@shapes("1,1,64,64", "1,1,256,256", "1,1,128,128,2,2")
def test_from_state_dict(benchmark, shape):
    """A new object: sizes read off the shapes, weights packed."""
    weights, _, x = network(shape)
    lstm = benchmark(fastlstm.LSTM.from_state_dict, weights)
    close(lstm(x)[0], model.forward64(weights, shape, x)[0])


@pytest.mark.benchmark(group="weights")
@shapes("1,1,64,64", "1,1,256,256")
def test_load_state_dict(benchmark, shape):
    """New weights into an object that exists."""
    _, lstm, x = network(shape)
    other = model.make_weights(shape, seed=5)
    missing, unexpected = benchmark(lstm.load_state_dict, other)
    assert not missing and not unexpected
    close(lstm(x)[0], model.forward64(other, shape, x)[0])


def write_safetensors(path, arrays):
    """The format by hand: length of the header, header in JSON, the arrays' bytes."""
    header, at = {}, 0
    for name, array in arrays.items():
        span = [at, at + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": span}
        at += array.nbytes
    text = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.benchmark(group="weights")
@shapes("1,1,64,64", "1,1,256,256")
def test_load_file(benchmark, shape, tmp_path):
    """A safetensors file to an object that is ready; the file is in the page cache."""
    weights = model.make_weights(shape)
    path = tmp_path / "model.safetensors"
    write_safetensors(path, weights)
    lstm = benchmark(fastlstm.load, path)
    x = model.make_input(shape)
    close(lstm(x)[0], model.forward64(weights, shape, x)[0])
