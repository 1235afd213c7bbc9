# SPDX-License-Identifier: MIT
"""int8 weights: one step against the rules of csrc/kernels/codes.h written once more, in integers
and float64; whole layers against their float32 originals; sums at their largest; numbers that have
no code. tests/bits/test_int8_bits.py has the promise of bits."""

import isas
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from variant_cases import drawn

import fastlstm
from fastlstm.engine import int8

F = np.float32
ISAS = isas.EVERY


def codes_of_weights(w):
    """(codes, scales) of a matrix by its rule, row after row."""
    codes, scales = np.zeros(w.shape, np.int64), np.zeros(len(w), F)
    for i, row in enumerate(w):
        most = F(max(abs(row), default=0))
        if most >= 2.0**-100:
            codes[i] = [int(np.rint(F(x * F(F(127) / most)))) for x in row]
            scales[i] = most / F(127)
    return codes, scales


def codes_of_row(row, least, limit, weight_codes):
    """(codes, scale) of one row of inputs, for the weights that it is multiplied by."""
    largest = max(1, abs(weight_codes).sum(1).max())
    top = min(limit, (2**31 - 1) // int(largest))
    most = F(max(least, abs(row).max()))
    if not np.isfinite(most):
        return np.zeros(len(row), np.int64), F(np.nan)
    if most == 0:
        return np.zeros(len(row), np.int64), F(0)
    by = F(F(top) / most)
    return np.array([int(np.rint(F(x * by))) for x in row]), F(most / F(top))


def product(w, row, least, limit):
    """W row, of codes: the sums of integers, and the scales, in float64."""
    weights, scales = codes_of_weights(w)
    codes, scale = codes_of_row(row, least, limit, weights)
    sums = weights @ codes
    assert abs(sums).max(initial=0) < 2**31
    return sums.astype(np.float64) * (scales * scale).astype(F)


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def one_step(layer, weights, x, h, c, inputs):
    """h', c' of one row in float64, with the products of codes."""
    limit = 127 * 256 if inputs == "int16" else 127
    w_ih, w_hh, b_ih, b_hh = (weights[f"{n}_l0"] for n in
                              ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))  # fmt: skip
    z = product(w_ih, x, 0, limit) + b_ih.astype(np.float64)
    if layer.kind == "GRU":
        n = len(z) // 3
        hidden = product(w_hh, h, 1, 127) + b_hh
        r, u = sigmoid(z[:n] + hidden[:n]), sigmoid(z[n : 2 * n] + hidden[n : 2 * n])
        candidate = hidden[2 * n :]
        if not layer.reset_after:  # the scales' limit is that of all gates' weights
            reset = F(r) * F(h)
            candidate = product(w_hh, reset, 1, 127)[2 * n :] + b_hh[2 * n :]
            r = 1
        new = np.tanh(z[2 * n :] + r * candidate)
        return (1 - u) * new + u * h, None
    z = z + product(w_hh, h, 1, 127) + b_hh
    if layer.kind == "RNN":
        return (np.maximum(z, 0) if layer.nonlinearity == "relu" else np.tanh(z)), None
    i, f, g, o = np.split(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    if layer.proj_size:
        h = product(weights["weight_hr_l0"], F(h), 1, 127)
    return h, c


LAYERS = {
    "lstm": (fastlstm.LSTM, {}), "projected": (fastlstm.LSTM, {"proj_size": 3}),
    "gru": (fastlstm.GRU, {}), "gru before": (fastlstm.GRU, {"reset_after": False}),
    "rnn": (fastlstm.RNN, {}), "relu": (fastlstm.RNN, {"nonlinearity": "relu"}),
}  # fmt: skip


def drawn_weights(layer, rng):
    """The layer, with weights as it draws them itself, from rng."""
    bound = 1 / np.sqrt(layer.hidden_size)
    layer.load_state_dict(
        {name: F(rng.uniform(-bound, bound, a.shape)) for name, a in layer.state_dict().items()}
    )
    return layer


SIZES = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64]


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(st.sampled_from(SIZES), st.sampled_from(SIZES[3:])),
    seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-20, 1e-3, 1.0, 30.0, 1e20]),
    inputs=st.sampled_from(int8.INPUTS), isa=st.sampled_from(ISAS), most=st.sampled_from([0.3, 2]),
)  # fmt: skip
def test_one_step(name, sizes, seed, scale, inputs, isa, most):
    cls, options = LAYERS[name]
    rng = np.random.default_rng(seed)
    layer = drawn_weights(cls(*sizes, isa=isa, **options), rng)
    weights = layer.state_dict()
    quick = layer.quantize("int8", inputs)
    width = layer.proj_size or layer.hidden_size
    x = F(scale * rng.standard_normal((1, 3, sizes[0])))
    h0 = F(rng.uniform(-most, most, (1, 3, width)))  # beyond 1 too
    c0 = F(rng.uniform(-3, 3, (1, 3, sizes[1])))
    has_c = cls is fastlstm.LSTM
    y, state = quick(x, (h0, c0) if has_c else h0)
    for row in range(3):
        h, c = one_step(layer, weights, x[0, row], h0[0, row], c0[0, row], inputs)
        # one more or less of a code made from a gate, whose last bits differ, is allowed there
        slack = 0 if name not in ("gru before", "projected") else 1 / 127
        bound = 3e-6 * max(1, abs(h).max()) + slack * abs(weights["weight_hh_l0"]).max()
        bound += slack * abs(weights.get("weight_hr_l0", np.zeros(1))).max()
        assert abs(y[0, row] - h).max() <= bound
        if has_c:
            assert abs(state[1][0, row] - c).max() <= 3e-6 * max(1, abs(c).max())


def dequantized(rows, least, matrix, bits):
    """rows (n, K) as the numbers that their codes for an int8.Codes stand for."""
    codes, scales = int8.encoded(rows, least, int8.top_of(matrix.codes, bits))
    return F(codes * scales[..., None])


def test_every_variant_is_float32_s_on_the_numbers_of_the_codes():
    """One step of drawn variants: the float32 layer with the weights, x and h that the codes stand
    for. (A GRU mixes h itself into h', not its codes: the difference is known.)"""
    seen = set()
    for seed in range(60):
        case = drawn(seed)
        layer = case.layer()
        if layer.num_layers * layer.num_directions > 1 or getattr(layer, "proj_size", 0):
            continue
        if layer.kind == "GRU":
            continue
        quick, back = layer.quantize("int8"), layer.quantize("int8").quantize("float32")
        packed = quick.packed.arrays
        x = case.x[:1] if not layer.batch_first else case.x[:, :1]
        rows = x.shape[1] if not layer.batch_first else x.shape[0]
        state = layer.state_parts(layer.initial_state) if layer.initial_state is not None else None
        state = [np.zeros(s, F) for s in layer.state_shapes(rows)] if state is None else state
        rng = np.random.default_rng(seed)
        state = [F(rng.uniform(-1.5, 1.5, (1, rows, part.shape[-1]))) for part in state]
        there = dequantized(x, 0, packed["weight_ih_l0"], 16)
        h = dequantized(state[0], 1, packed["weight_hh_l0"], 8)
        got = quick(x, tuple(state) if len(state) > 1 else state[0])[0]
        due = back(there, (h, state[1]) if len(state) > 1 else h)[0]
        scale = max(1, np.nanmax(abs(due), initial=0))
        assert np.allclose(got, due, rtol=0, atol=2e-5 * scale, equal_nan=True), (seed, layer)
        seen |= {(case.kind, name) for name, value in case.options.items() if value}
    assert {("LSTM", "peepholes"), ("LSTM", "input_forget"), ("RNN", "activations")} <= seen


@pytest.mark.parametrize("inputs, bound", [("int16", 4e-3), ("int8", 8e-3)])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_are_near_float32_s(rng, name, inputs, bound):
    cls, options = LAYERS[name]
    layer = drawn_weights(cls(80, 64, num_layers=2, bidirectional=True, **options), rng)
    x = F(rng.standard_normal((50, 4, 80)))
    found = layer.quantize("int8", inputs).error(x)
    scale = np.abs(layer(x)[0]).max()
    assert 0 < found.rms <= bound * max(1, scale) and found.max <= 12 * bound * max(1, scale)
    assert found == layer.quantize("int8", inputs).error(x, reference=layer)


def test_an_input_of_another_scale_needs_16_bits(rng):
    """One feature is 100 times the others, its weights 1/100."""
    layer = drawn_weights(fastlstm.LSTM(64, 64), rng)
    weights = layer.state_dict()
    weights["weight_ih_l0"][:, 0] /= 100
    layer.load_state_dict(weights)
    x = F(rng.standard_normal((40, 4, 64)))
    x[..., 0] *= 100
    fine, coarse = (layer.quantize("int8", inputs).error(x) for inputs in int8.INPUTS)
    assert fine.rms < 0.01 and 3 * fine.rms < coarse.rms


# ---- sums, and what has no code


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", [1, 520, 521, 65_536])
def test_the_largest_sums_stay_in_32_bits(size, isa):
    """All products have one sign and are as large as they may be."""
    layer = fastlstm.RNN(size, 4, isa=isa)
    weights = {name: np.zeros_like(array) for name, array in layer.state_dict().items()}
    weights["weight_ih_l0"][:] = np.array([1, -1, 1, -1], F)[:, None] / size
    layer.load_state_dict(weights)
    for inputs in int8.INPUTS:
        for sign in (1, -1):
            y = layer.quantize("int8", inputs)(np.full((1, 1, size), sign, F))[0][0, 0]
            due = sign * np.tanh(np.array([1, -1, 1, -1]))
            assert abs(y - due).max() <= 1e-5


@pytest.mark.parametrize("isa", ISAS)
def test_the_largest_sums_of_a_state(isa):
    """4,096 units whose h are all 1, and a weight of one sign."""
    layer = fastlstm.RNN(1, 4096, nonlinearity="relu", bias=False, isa=isa)
    weights = {"weight_ih_l0": np.ones((4096, 1), F),
               "weight_hh_l0": np.full((4096, 4096), F(1 / 4096))}  # fmt: skip
    layer.load_state_dict(weights)
    y = layer.quantize("int8")(np.ones((2, 1, 1), F))[0]
    assert abs(y[0] - 1).max() <= 1e-5 and abs(y[1] - 2).max() <= 1e-4


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_row_with_a_nan_or_an_infinity_is_nan_and_no_other(rng, name, isa):
    cls, options = LAYERS[name]
    quick = drawn_weights(cls(9, 17, isa=isa, **options), rng).quantize("int8")
    x = F(rng.standard_normal((6, 5, 9)))
    due = quick(x)[0]
    x[2, 1, 3], x[3, 3, 0] = np.nan, -np.inf
    y = quick(x)[0]
    clean = [0, 2, 4]
    assert y[:, clean].tobytes() == due[:, clean].tobytes()
    assert y[:2, 1].tobytes() == due[:2, 1].tobytes()
    nan = np.isnan(y)
    if name != "relu":  # max(0, NaN) is what the float32 cell says it is
        assert nan[2:, 1].all() and nan[3:, 3].all()
    assert not nan[:3, 3].any()


def test_zeros_and_tiny_numbers(rng):
    """And huge ones, with states of all of them: the same bits on every instruction set."""
    layer = drawn_weights(fastlstm.LSTM(9, 17), rng)
    weights = layer.state_dict()
    weights["weight_ih_l0"][3] = 0
    weights["weight_hh_l0"][5] = 1e-42  # subnormal: they count as zeros
    weights["weight_hh_l0"][6] = 1e-25
    weights["weight_hh_l0"][7] = 3 * 2.0**-100  # of which a scale times another is subnormal
    layer.load_state_dict(weights)
    quick = layer.quantize("int8")
    codes = quick.packed.arrays
    assert codes["weight_ih_l0"].scales[3] == 0 == codes["weight_hh_l0"].scales[5]
    assert codes["weight_hh_l0"].scales[6] > 0
    x = F(rng.standard_normal((5, 3, 9)))
    x[:, 0], x[:, 1] = 0, x[:, 1] * F(1e-30)
    assert quick.error(x).max <= 0.02
    y = quick(x)[0]
    assert y[:, 1].tobytes() == quick(np.zeros_like(x))[0][:, 1].tobytes()  # below 2^-62: zeros
    x[:, 2] *= F(1e37)
    state = tuple(F(s * rng.standard_normal((1, 3, 17))) for s in (1e6, 1e-30))
    made = set()
    for isa in ISAS:
        one = fastlstm.LSTM(9, 17, isa=isa)
        one.load_state_dict(weights)
        y, (h, c) = one.quantize("int8")(x, state)
        assert np.isfinite(y).all()
        made.add(y.tobytes() + h.tobytes() + c.tobytes())
    assert len(made) == 1


def test_weights_that_are_not_finite_are_refused():
    layer = fastlstm.GRU(3, 4)
    weights = layer.state_dict()
    weights["weight_hh_l0"][2, 1] = np.inf
    layer.load_state_dict(weights)
    with pytest.raises(ValueError, match="weight_hh_l0 holds a NaN or an infinity, which has no"):
        layer.quantize("int8")
