# SPDX-License-Identifier: MIT
"""The C operators "conv" and "conv_transposed" in bfloat16 parts: sums over windows bit by bit, in
the order of csrc/kernels/bfloat16.h written in NumPy; the same bits on every instruction set, any
threads and images alone; NaN, infinity and padding; what is refused."""

import math

import numpy as np
import parts
import pytest
import test_op_conv as plain
import windows
from bfloat16_order import products, rounded
from hypothesis import given, settings
from hypothesis import strategies as st
from isas import FLOATS

from fastlstm.engine.c import _core as core

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

F = np.float32
BITS = (16, 32, 48)
ACTIVATIONS = (-1, plain.RELU, plain.CLIP)  # which are exact
each_bits = pytest.mark.parametrize("bits", BITS)


def made(case, w, b, bits, isa=None, transposed=False):
    name = "conv_transposed" if transposed else "conv"
    numbers = [3, *plain.ints(case, transposed)[1:], bits]
    op = core.Operator(name, numbers, plain.FLOATS.get(case["activation"], ()), isa)
    op.pack(w, b)
    return op


def windows_of(x, case, g):
    """(N, O.., taps of the first axis * of the second * channels of group g)."""
    wd, each = case["windows"], case["c"] // case["groups"]
    y = np.zeros((len(x), *wd.shape(x.shape), *wd.size, each), F)
    for o, seen in wd.outputs(x.shape):
        for t, at, inside in seen:
            if inside:
                y[(slice(None), *o, *t)] = x[(slice(None), *at, slice(g * each, (g + 1) * each))]
    return y.reshape(*y.shape[: 1 + wd.axes], math.prod(y.shape[1 + wd.axes :]))


def by_parts(x, w, b, case, bits):
    """y in the order of sums."""
    groups, each, found = case["groups"], case["m"] // case["groups"], []
    bias = np.zeros(case["m"], F) if b is None else np.where(np.abs(b) < 2.0**-103, F(0), b)
    for g in range(groups):
        rows = windows_of(x, case, g)
        matrix = np.moveaxis(w[g * each : (g + 1) * each], 1, -1).reshape(each, -1)
        flat = rows.reshape(-1, rows.shape[-1])
        start = np.broadcast_to(bias[g * each : (g + 1) * each], (len(flat), each)).astype(F)
        if bits == 16:
            sums = products(start, rounded(matrix), rounded(flat))
        else:
            sums = parts.sums(start, matrix, flat, bits // 16)
        found.append(sums.reshape(*rows.shape[:-1], each))
    y = np.concatenate(found, -1)
    return plain.ACTIVATIONS[case["activation"]](np.where(np.abs(y) < 2.0**-62, F(0), y))


def same_bits(case, x, w, b, bits, y, transposed=False):
    for isa in FLOATS:
        op = made(case, w, b, bits, isa, transposed)
        for threads in (1, 3):
            assert op.run([x], threads=threads)[0].tobytes() == y.tobytes(), (isa, threads)
        for n in range(len(x)):
            assert op.run([x[n : n + 1]])[0].tobytes() == y[n : n + 1].tobytes(), isa


@given(
    plain.cases(), st.sampled_from(BITS), st.sampled_from(ACTIVATIONS),
    st.sampled_from([1e-25, 1e-9, 1.0, 1e12]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_sums_over_windows_bit_by_bit(case, bits, activation, scale):
    """Inputs of all sizes, of which some are below the bound of parts."""
    case |= {"activation": activation, "format": 0}
    x, w, b = plain.drawn(case)
    x *= F(scale)
    if plain.refused(case, case["windows"]):
        return
    (y,) = made(case, w, b, bits).run([x])
    due = by_parts(x, w, b, case, bits)
    assert y.shape == due.shape and np.array_equal(y, due)
    same_bits(case, x, w, b, bits, y)


SHAPES = [  # (N, in, C, M, groups, size, stride, dilation, begin, end)
    (2, (9, 11), 64, 80, 1, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    (1, (5, 40), 20, 130, 1, (3, 3), (2, 1), (1, 2), (1, 2), (1, 2)),
    (1, (150,), 70, 64, 1, (5,), (2,), (1,), (2,), (2,)),
    (2, (3, 9), 128, 96, 2, (1, 1), (1, 1), (1, 1), (0, 0), (0, 0)),
    (1, (7, 6), 120, 300, 1, (3, 3), (1, 1), (1, 1), (4, 4), (4, 4)),  # weights far from L2
]


@each_bits
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_real_layers(shape, bits):
    case = plain.case_of(shape)
    x, w, b = plain.drawn(case)
    (y,) = made(case, w, b, bits).run([x])
    assert np.array_equal(y, by_parts(x, w, b, case, bits))
    same_bits(case, x, w, b, bits, y)
    due = windows.conv(x, w, b, case["windows"], case["groups"])
    bound = {16: 2e-2, 32: 2e-5, 48: 2e-6}[bits]
    assert np.abs(y - due).max() <= bound * np.abs(due).max()


@given(plain.cases(transposed=True), st.sampled_from(BITS))
@settings(max_examples=40, deadline=None)
def test_transposed_convolutions(case, bits):
    case |= {"activation": -1, "format": 0}
    x, w, b = plain.drawn(case, transposed=True)
    try:
        due = windows.conv_transposed(
            x, w, b, case["windows"], case["groups"], case["padding"], case["output"]
        )
    except ValueError:
        return
    (y,) = made(case, w, b, bits, transposed=True).run([x])
    bound = {16: 2.0**-7, 32: 2.0**-15, 48: 2.0**-20}[bits]
    # the most that its products, of numbers up to 5, can lose
    most = 25 * w[:, 0].size / case["groups"]
    assert y.shape == due.shape and np.abs(y - due).max(initial=0) <= bound * max(1, most)
    same_bits(case, x, w, b, bits, y, transposed=True)
    fresh = made(case, np.zeros_like(w), None, bits, transposed=True)
    assert fresh.run([x, w, b])[0].tobytes() == y.tobytes()


@each_bits
def test_what_is_not_finite_stays_in_its_windows(bits):
    """An infinity of x is an infinity or NaN of one part and NaN of more; padding meets it not."""
    case = plain.case_of((3, (4, 9), 33, 70, 1, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)))
    x, w, b = plain.drawn(case)
    (due,) = made(case, w, b, bits).run([x])
    x[1, 1, 4, 7], x[2, 3, 0, 32] = np.inf, np.nan
    (y,) = made(case, w, b, bits).run([x])
    touched = np.zeros(y.shape[:3], bool)
    touched[1, 0:3, 3:6] = touched[2, 2:4, 0:2] = True
    assert not np.isfinite(y[touched]).any() and np.array_equal(y[~touched], due[~touched])
    assert bits == 16 or np.isnan(y[touched]).all()
    same_bits(case, np.nan_to_num(x, posinf=0), w, b, bits,
              made(case, w, b, bits).run([np.nan_to_num(x, posinf=0)])[0])  # fmt: skip
    w[:9, 5, 0, 0] = np.inf
    (y,) = made(case, w, b, bits).run([x])
    assert not np.isfinite(y[..., :9]).any() and np.isfinite(y[0, ..., 9:]).all()


def test_no_positions_and_no_pixels():
    for shape in ((0, 5, 3), (2, 0, 3)):
        op = core.Operator("conv", [3, 1, 3, 40, 1, 0, -1, 3, 1, 1, 2, 2, 32])
        w, b = np.ones((40, 3, 3), F), np.arange(40, dtype=F)
        op.pack(w, b)
        (y,) = op.run([np.zeros(shape, F)])
        assert y.shape == (shape[0], shape[1] + 2, 40) and (y == b).all()


BASE = [3, 1, 4, 6, 2, 0, -1, 3, 1, 1, 0, 0, 32]


def test_wrong_numbers_are_refused():
    core.Operator("conv", BASE)
    core.Operator("conv_transposed", [*BASE[:-1], 0, 0, 32])
    for wrong in (
        *([*BASE[:-1], bits] for bits in (0, 8, 17, 64, -16, 2**40)), BASE[:-1], [*BASE, 32],
        [0, *BASE[1:]], [2, *BASE[1:]], [4, *BASE[1:]],
    ):  # fmt: skip
        for name, more in (("conv", ()), ("conv_transposed", (0, 0))):
            with pytest.raises(core.OperatorError, match="shapes or types do not fit"):
                core.Operator(name, [*wrong[:-1], *more, *wrong[-1:]])
    huge = 2**31 - 1
    for numbers in ([3, 1, huge, 6, 1, 0, -1, huge, 1, 1, 0, 0, 48],
                    [3, 2, huge, huge, 1, 0, -1, *[huge] * 2, *[1] * 4, *[0] * 4, 48]):  # fmt: skip
        with pytest.raises(MemoryError):
            core.Operator("conv", numbers)
