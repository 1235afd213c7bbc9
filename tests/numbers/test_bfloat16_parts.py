# SPDX-License-Identifier: MIT
"""precision="bfloat16x3" and "bfloat16x6": the sums of whole layers bit by bit, in the order of
csrc/kernels/bfloat16.h written in NumPy; numbers that are huge, tiny or not finite; wrong
arguments. tests/c/test_c_bfloat16.py has the sums of one kernel, tests/bits/test_parts_bits.py the
promise of bits, test_parts_errors.py the errors."""

import copy
import pickle

import isas
import layer_bits
import numpy as np
import parts
import pytest
from conftest import BACKEND
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlstm
from fastlstm.files.read import inspect

F = np.float32
ISAS = isas.FLOATS
SIZES = [1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 97]
LAYERS = {
    "lstm": (fastlstm.LSTM, {}), "projected": (fastlstm.LSTM, {"proj_size": 3}),
    "gru": (fastlstm.GRU, {}), "gru before": (fastlstm.GRU, {"reset_after": False}),
    "rnn": (fastlstm.RNN, {}), "relu": (fastlstm.RNN, {"nonlinearity": "relu"}),
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("parts_of_any_size")
only_c = pytest.mark.skipif(BACKEND != "c", reason="the other backends compute in float32")


@only_c
@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.sampled_from(SIZES), st.sampled_from(SIZES)), batch=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([2.0**-50, 1e-3, 1.0, 1e9]),
    isa=st.sampled_from(ISAS), precision=st.sampled_from(list(parts.PARTS)),
)  # fmt: skip
def test_a_relu_layer_s_sums_bit_by_bit(sizes, batch, seed, scale, isa, precision):
    """h' = max(0, sum): the sums themselves, where they are not negative."""
    rng, count = np.random.default_rng(seed), parts.PARTS[precision]
    layer = fastlstm.RNN(*sizes, nonlinearity="relu", isa=isa, precision=precision)
    weights = {n: F(rng.standard_normal(a.shape)) for n, a in layer.state_dict().items()}
    layer.load_state_dict(weights)
    x = F(scale * rng.standard_normal((2, batch, sizes[0])))
    h0 = F(rng.standard_normal((1, batch, sizes[1])))
    y, state = layer(x, h0)
    h = h0[0]
    for t in range(2):
        bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
        total = np.broadcast_to(bias, h.shape).astype(F)
        total = parts.sums(total, weights["weight_ih_l0"], x[t], count)
        h = np.maximum(parts.sums(total, weights["weight_hh_l0"], h, count), 0)
        assert y[t].tobytes() == (h + 0).tobytes()
    assert np.array_equal(state[0], y[-1])


# ---- huge, tiny, and not finite


@only_c
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", parts.PARTS)
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_not_finite_is_nan_in_its_row(rng, name, precision, isa):
    """An infinity as a NaN; finite numbers beyond the largest of bfloat16 are neither."""
    cls, options = LAYERS[name]
    layer = cls(9, 17, isa=isa, precision=precision, **options)
    x, y = layer_bits.not_finite(layer, rng, name != "relu")
    assert name == "relu" or np.isnan(y[3:, 3]).all()
    x[2, 1, 3], x[3, 3, 0] = np.finfo(F).max, -np.finfo(F).max
    plain, y = parts.like(layer, "float32")(x)[0], layer(x)[0]
    assert np.isfinite(y[:4]).all()
    assert np.abs(y[:4] - plain[:4]).max() <= 1e-4 * max(1, np.abs(plain[:4]).max())


@only_c
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", parts.PARTS)
def test_parts_below_the_bound_are_zeros(isa, precision):
    """2^-56 after rounding, of each part: 1 + 2^-55 has its second part, 1 + 2^-57 has not."""
    layer = fastlstm.RNN(2, 1, nonlinearity="relu", bias=False, isa=isa, precision=precision)
    weights = {n: np.zeros_like(a) for n, a in layer.state_dict().items()}
    weights["weight_ih_l0"][:] = 1
    layer.load_state_dict(weights)
    u = 2.0**-47
    for x, due in (
        (2.0**-56, 2.0**-56), (2.0**-57, 0), (2.0**-56 - 2.0**-80, 2.0**-56),
        (u + 2.0**-56, u + 2.0**-56), (u + 2.0**-57, u), (u * (1 + 2.0**-20), u),
    ):  # fmt: skip
        assert layer(np.array([[[x, 0]]], F))[0].item() == F(due), x


# ---- arguments, copies


def test_the_precision_of_a_layer():
    for cls in (fastlstm.LSTM, fastlstm.GRU, fastlstm.RNN):
        assert cls(3, 4).precision == "float32"
        layer = cls(3, 4, precision="bfloat16x3")
        assert layer.precision == "bfloat16x3" and layer.dtype == "float32"
        assert "precision='bfloat16x3'" in repr(layer) and "precision" not in repr(cls(3, 4))
        x = np.ones((2, 1, 3), F)
        due = layer(x)[0].tobytes()
        weights = layer.state_dict()
        assert all(a.dtype == F for a in weights.values())
        for same in (
            cls.from_state_dict(weights, precision="bfloat16x3"), copy.copy(layer),
            copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.quantize("float32"),
        ):  # fmt: skip
            assert same.precision == "bfloat16x3" and same(x)[0].tobytes() == due
        layer.load_state_dict(weights)
        assert layer(x)[0].tobytes() == due and layer.stream().step(x[0]).tobytes() == due[:16]
        assert layer.quantize("int8").precision == "float32"
        y, _, tape = layer.forward_train(x)
        assert y.tobytes() == due and layer.backward(tape, y).x.shape == x.shape
        with pytest.raises(ValueError, match="there are: float32, bfloat16x3, bfloat16x6, bf"):
            cls(3, 4, precision="bfloat16x2")
        with pytest.raises(TypeError, match="precision must be a str, got int"):
            cls(3, 4, precision=3)


@pytest.mark.parametrize("precision", parts.PARTS)
def test_files_keep_it(tmp_path, precision):
    path = tmp_path / "layer.safetensors"
    layer = fastlstm.LSTM(5, 6, precision=precision)
    x = np.ones((3, 2, 5), F)
    layer.save(path)
    loaded = fastlstm.load(path)
    assert loaded.precision == precision and loaded(x)[0].tobytes() == layer(x)[0].tobytes()
    assert fastlstm.load(path, precision="float32").precision == "float32"
    assert fastlstm.load(path, dtype="float16").precision == "float32"
    assert f"precision='{precision}'" in str(inspect(path)[2][""])
    fastlstm.LSTM(5, 6).quantize("int8").save(path)
    again = fastlstm.load(path, precision=precision)
    assert again.precision == precision and again.dtype == "float32"
    with pytest.raises(ValueError, match="dtype 'int8' has its own products"):
        fastlstm.load(path, dtype="int8", precision=precision)
    with pytest.raises(ValueError, match="precision 'x' is not known"):
        fastlstm.load_all(path, precision="x")
