# SPDX-License-Identifier: MIT
"""Training by products of bfloat16 parts (`precision=`): gradients against float64, their bits on
every instruction set, what becomes of tiny, infinite and missing numbers, and all that training in
float32 does too."""

import dataclasses

import gradients
import isas
import numpy as np
import pytest
import torch
from cases import CELLS, Case, cases
from conftest import FULL, fewer
from gradients import train
from hypothesis import given, settings
from hypothesis import seed as seeded

import fastlstm

pytestmark = pytest.mark.usefixtures("parts_of_any_size")

PRECISIONS = ("bfloat16x6", "bfloat16x3", "bfloat16")
# Of the largest element of each gradient.
LIMITS = {"bfloat16x6": 1e-6, "bfloat16x3": 1e-5, "bfloat16": 2e-2}
# Drawn networks are small, with weights as large as theirs begin: there float32 itself loses more,
# and fewer bits lose as many times more as they are fewer. 2^9 times is the limit of a draw in two
# parts, which have 16 bits where float32 has 24.
TIMES = {"bfloat16x6": 20, "bfloat16x3": 2**9, "bfloat16": 2**17}
# Gradients are split into parts down to 2^-72: what is left of them after many steps loses its last
# bits there. A sum of 64 such losses counts as nothing.
VANISHED = 2.0**-66
DRAWS = 500 if FULL else fewer(60)
SHAPES = [(7, 5, 11, 20), (9, 33, 40, 50), (5, 64, 16, 16), (3, 1, 1, 1), (70, 20, 3, 33)]
# Sets whose kernels of gradients by parts are their own: those for products of codes have others'.
FUSED = [n for n in isas.EVERY if n != "generic" and not n.endswith(("-vnni", "-dot"))]
BY_PARTS = pytest.mark.needs("c")  # the other backends compute in float32, whose limits are others


def layer_of(case, precision, isa=None):
    return case.layer(isa, precision=precision)


def errors_of(ours, due):
    """{name: error as a part of the gradient's largest element}."""
    return {
        name: max(0, np.abs(ours[name] - want).max(initial=0) - VANISHED)
        / (np.abs(want).max(initial=0) + VANISHED)
        for name, want in due.items()
    }


def errors_beside(case, ours, up):
    """The largest errors of ours and of PyTorch's float32."""
    x, state, lengths = case.as_seen()
    due = gradients.torch_gradients(case, x, state, lengths, up)
    theirs = gradients.torch_gradients(case, x, state, lengths, up, torch.float32)
    return [max(errors_of(found, due).values()) for found in (ours, theirs)]


def all_bits(outputs, grads):
    return b"".join(a.tobytes() for a in (*outputs, *grads.values()))


# ---- the numbers ----


@BY_PARTS
@pytest.mark.parametrize("precision", PRECISIONS[:2])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_torchs_in_float64(cell, precision):
    """In most draws within 64 times float32's error; what forward_train gives has a call's bits."""
    found = []

    @settings(max_examples=DRAWS if cell == "lstm" else max(5, DRAWS // 4))
    @given(case=cases(last=False, cell=cell), names=gradients.UPSTREAM)
    def check(case, names):
        x, state, lengths = case.as_seen()
        layer = layer_of(case, precision)
        outputs, up, ours = train(layer, case, names)
        y, (h, c) = layer(x, state, lengths=lengths)
        for trained, plain in zip(outputs, (y, h, c), strict=True):
            assert trained.tobytes() == plain.tobytes()
        error, theirs = errors_beside(case, ours, up)
        found.append((error, theirs))
        assert error <= max(LIMITS[precision], TIMES[precision] * theirs)

    (check if FULL else seeded(0)(check))()
    error, theirs = np.median(found, axis=0)
    print(f"{cell}, {precision}: {error:.1e}, float32's {theirs:.1e}, most {max(found)[0]:.1e}")
    assert error <= (2 if precision == "bfloat16x6" else 64) * theirs


@BY_PARTS
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_networks_of_hundreds_of_units(cell, precision):
    for T, B, I, H in [(20, 24, 300, 300), (12, 33, 64, 256)]:
        case = Case(I=I, H=H, T=T, B=B, cell=cell)
        _, up, ours = train(layer_of(case, precision), case, ("dy",))
        assert errors_beside(case, ours, up)[0] <= LIMITS[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_shapes_that_divide_nothing(cell, precision):
    if (cell, precision) == ("rnn_relu", "bfloat16"):
        pytest.skip("8 bits may put a sum on the other side of relu's kink")
    for T, B, I, H in SHAPES:
        case = Case(I=I, H=H, T=T, B=B, cell=cell, lengths="some", state=True)
        _, up, ours = train(layer_of(case, precision), case)
        error, theirs = errors_beside(case, ours, up)
        assert error <= max(LIMITS[precision], TIMES[precision] * theirs), (T, B, I, H)


@BY_PARTS
@pytest.mark.parametrize("precision", PRECISIONS[:2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_more_rows_than_a_chain_has(cell, precision):
    """Sums over rows begin anew after 1024 of them: here at the second, and with a few left."""
    case = Case(I=300, H=40, T=70, B=30, cell=cell)
    _, up, ours = train(layer_of(case, precision), case, ("dy",))
    error, theirs = errors_beside(case, ours, up)
    assert error <= max(LIMITS[precision], TIMES[precision] * theirs)


@BY_PARTS
def test_one_part_is_less_exact_than_two_and_two_than_three():
    case = Case(I=40, H=50, T=9, B=33)
    x, state, lengths = case.as_seen()
    errors = []
    for precision in PRECISIONS:
        _, up, ours = train(layer_of(case, precision), case)
        due = gradients.torch_gradients(case, x, state, lengths, up)
        errors.append(errors_of(ours, due)["weight_hh_l0"])
    assert errors[0] < errors[1] / 5 and errors[1] < errors[2] / 50


# ---- the bits ----


@BY_PARTS
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_instruction_set_gives_the_same_bits(cell, precision):
    """Those with tiles, those with vectors of 16, 8 and 4, with fused multiply-add: for gradients
    by parts the order of the sums is not that of the panels."""
    for T, B, I, H in SHAPES:
        case = Case(I=I, H=H, T=T, B=B, L=2, D=2, cell=cell, lengths="some", state=True)
        if cell == "lstm" and H > 1:
            case = dataclasses.replace(case, P=(H + 1) // 2)
        found = {isa: train(layer_of(case, precision, isa), case) for isa in FUSED}
        bits = {isa: all_bits(outputs, grads) for isa, (outputs, _, grads) in found.items()}
        assert len(set(bits.values())) == 1, (T, B, I, H, bits)


@BY_PARTS
@pytest.mark.parametrize("precision", PRECISIONS)
def test_any_number_of_threads_gives_the_same_bits(precision):
    for cell in CELLS:
        case = Case(I=40, H=70, T=20, B=70, L=2, D=2, cell=cell)
        layer = layer_of(case, precision)
        runs = [train(layer, case, num_threads=n) for n in (1, 2, 3)]
        assert len({all_bits(outputs, grads) for outputs, _, grads in runs}) == 1


@BY_PARTS
@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_with_an_odd_number_of_steps_and_rows(precision):
    """A row's gradients do not depend on the rows beside it."""
    case = Case(I=7, H=19, T=11, B=9)
    x, _, _ = case.as_seen()
    dy = case.rng("dy").uniform(-1, 1, case.y_shape()).astype(np.float32)
    layer = layer_of(case, precision)
    _, _, tape = layer.forward_train(x)
    whole = layer.backward(tape, dy).x
    for b in range(case.B):
        _, _, tape = layer.forward_train(x[:, b : b + 1])
        assert layer.backward(tape, dy[:, b : b + 1]).x.tobytes() == whole[:, b : b + 1].tobytes()


# ---- the edges ----

SCALES = [2.0**-e for e in (0, 24, 40, 56, 64, 71, 73, 80, 97, 126)]


@BY_PARTS
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before", "rnn_tanh"])
def test_numbers_near_the_bounds(cell, precision):
    """Gradients, weights and inputs of every size give the same bits on every set, which would not
    be so if a sum were subnormal: tiles take those for 0."""
    rng = np.random.default_rng(0)
    for dy_scale in SCALES:
        for scale in (1.0, 2.0**-40):
            case = Case(I=33, H=18, T=4, B=5, cell=cell)
            x = rng.uniform(-1, 1, case.x_shape()).astype(np.float32) * np.float32(scale)
            dy = rng.uniform(-1, 1, case.y_shape()).astype(np.float32) * np.float32(dy_scale)
            dy *= np.exp2(rng.integers(-12, 1, dy.shape)).astype(np.float32)
            weights = case.params()
            for name, w in weights.items():
                if name.startswith("weight"):
                    w *= np.exp2(rng.integers(-45, 1, w.shape)).astype(np.float32)
            bits = set()
            for isa in FUSED:
                layer = layer_of(case, precision, isa)
                layer.load_state_dict(weights)
                y, _, tape = layer.forward_train(x)
                grads = gradients.named(layer.backward(tape, dy))
                bits.add(all_bits([y], grads))
                assert all(np.isfinite(g).all() for g in grads.values())
            assert len(bits) == 1, (dy_scale, scale)


@BY_PARTS
@pytest.mark.parametrize("precision", PRECISIONS)
def test_parts_below_the_bounds_are_zero(precision):
    """Of dW = dz x the bounds are 2^-72 for dz and 2^-40 for x, after rounding; of an RNN whose
    sums are 0 dz is dy."""
    layer = fastlstm.RNN(1, 1, bias=False, precision=precision)
    layer.load_state_dict({"weight_ih_l0": np.zeros((1, 1)), "weight_hh_l0": np.zeros((1, 1))})

    def gradient(x, dy):
        _, _, tape = layer.forward_train(np.full((1, 1, 1), x, np.float32))
        return layer.backward(tape, np.full((1, 1, 1), dy, np.float32)).params["weight_ih_l0"][0, 0]

    assert gradient(2.0**-40, 1) == 2.0**-40 and gradient(0.99 * 2.0**-40, 1) == 0
    assert gradient(1, 2.0**-72) == 2.0**-72 and gradient(1, 0.99 * 2.0**-72) == 0
    assert gradient(2.0**-40, 2.0**-72) == 2.0**-112


@BY_PARTS
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_infinity_and_nan(precision, value):
    """An infinite or missing gradient makes NaN what its row passes on, on every set alike, and no
    other row's gradients."""
    case = Case(I=5, H=18, T=4, B=3)
    x, _, _ = case.as_seen()
    dy = case.rng("dy").uniform(-1, 1, case.y_shape()).astype(np.float32)
    seen = set()
    for isa in FUSED:
        layer = layer_of(case, precision, isa)
        _, _, tape = layer.forward_train(x)
        clean = layer.backward(tape, dy)
        spoilt = dy.copy()
        spoilt[2, 1, 3] = value
        found = layer.backward(tape, spoilt)
        assert np.isnan(found.x[:3, 1]).all()
        assert found.x[:, [0, 2]].tobytes() == clean.x[:, [0, 2]].tobytes()
        assert found.x[3].tobytes() == clean.x[3].tobytes()
        assert np.isnan(found.params["weight_hh_l0"]).any()
        arrays = (found.x, *found.params.values())
        seen.add(b"".join((np.isnan(a) | (np.nan_to_num(a) == 0)).tobytes() for a in arrays))
    assert len(seen) == 1


# ---- all that training does ----


@pytest.mark.parametrize("precision", PRECISIONS)
def test_checkpoints_dropout_and_lengths(precision):
    for cell in CELLS:
        case = Case(I=12, H=20, L=2, T=23, B=6, lengths="some", cell=cell)
        layer = layer_of(case, precision)
        layer.dropout = 0.4
        outputs, up, whole = train(layer, case, seed=5)
        x, state, lengths = case.call_arrays()
        y, (h, c), tape = layer.forward_train(x, state, lengths=lengths, seed=5, checkpoint=4)
        assert all_bits(outputs, {}) == all_bits((y, h, c), {})
        parts = gradients.named(layer.backward(tape, up[0], tuple(up[1:])))
        for name, gradient in whole.items():
            most = np.abs(gradient).max(initial=0)
            assert np.abs(parts[name] - gradient).max(initial=0) <= 1e-5 * most, name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_variants_train(precision):
    options = {"peepholes": True, "clip": 2.0}
    layer = fastlstm.LSTM(9, 21, precision=precision, **options)
    exact = fastlstm.LSTM(9, 21, **options)
    exact.load_state_dict(layer.state_dict())
    rng = np.random.default_rng(1)
    x, dy = (rng.uniform(-1, 1, (8, 7, n)).astype(np.float32) for n in (9, 21))
    both = [one.backward(one.forward_train(x)[2], dy) for one in (layer, exact)]
    for name, due in both[1].params.items():
        error = np.abs(both[0].params[name] - due).max() / np.abs(due).max()
        assert error <= max(LIMITS[precision], 2e-6), name


def test_a_layer_keeps_its_precision():
    layer = fastlstm.LSTM(3, 4, precision="bfloat16x3")
    layer.load_state_dict(layer.state_dict())
    assert layer.precision == "bfloat16x3" and layer.dtype == "float32"
    assert "precision='bfloat16x3'" in repr(layer)
    for wrong, error in (("bfloat16x2", ValueError), (3, TypeError)):
        with pytest.raises(error, match="precision"):
            fastlstm.LSTM(3, 4, precision=wrong)
