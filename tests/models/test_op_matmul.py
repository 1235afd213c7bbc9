# SPDX-License-Identifier: MIT
"""The C operators "matmul" and "linear" against NumPy in float64 and torch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import fastlstm
from fastlstm.engine.c import _core as core

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

FUSED = [isa for isa in fastlstm.runnable_isas() if isa != "generic"]
REFUSED = "matmul: shapes or types do not fit"


def close(y, want):
    assert y.shape == want.shape and y.dtype == np.float32
    if y.size:
        assert np.abs(y - want).max() <= 1e-5 * max(1, np.abs(want).max())


def floats(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(
    st_numpy.mutually_broadcastable_shapes(
        signature="(m?,k),(k,n?)->(m?,n?)", max_dims=3, max_side=4, min_side=0
    ),
    st.sampled_from([1, 1, 5, 19]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=150)
def test_matmul_is_numpys(shapes, times, first, second, seed):
    a_shape, b_shape = ([*shape] for shape in shapes.input_shapes)
    if len(a_shape) > 1:
        a_shape[-2] *= times
    if len(b_shape) > 1:
        b_shape[-1] *= times
    first, second = first and len(a_shape) > 1, second and len(b_shape) > 1
    a, b = floats(a_shape, seed), floats(b_shape, seed + 1)
    want = np.matmul(a.astype(np.float64), b.astype(np.float64))
    inputs = [np.ascontiguousarray(np.swapaxes(a, -1, -2)) if first else a,
              np.ascontiguousarray(np.swapaxes(b, -1, -2)) if second else b]  # fmt: skip
    (y,) = core.Operator("matmul", [first, second]).run(inputs)
    close(y, np.asarray(want))
    for isa in FUSED:
        assert np.array_equal(core.Operator("matmul", [first, second], (), isa).run(inputs)[0], y)


@pytest.mark.parametrize("k", [3, 64, 300])
@pytest.mark.parametrize("second", [False, True])
def test_bits_depend_on_nothing_but_the_row(k, second):
    """On the number of threads, of rows, of matrices, on transposition, or on tiny inputs."""
    a, b = floats((3, 250, k)), floats((3, k, 150), 1)
    given_b = np.ascontiguousarray(np.swapaxes(b, -1, -2)) if second else b
    op = core.Operator("matmul", [False, second])
    (y,) = op.run([a, given_b])
    close(y, np.matmul(a.astype(np.float64), b))
    for threads in (2, 3, 4):
        assert np.array_equal(op.run([a, given_b], threads=threads)[0], y)
    for row in (0, 100, 249):
        assert np.array_equal(op.run([a[1, row], given_b[1]])[0], y[1, row])
    turned = core.Operator("matmul", [True, second])
    assert np.array_equal(turned.run([np.ascontiguousarray(np.swapaxes(a, 1, 2)), given_b])[0], y)
    one = op.run([a, given_b[1]])[0]  # all rows meet one b
    assert np.array_equal(one[1], y[1])
    hole = np.random.default_rng(2).random(a.shape) < 0.1
    none, tiny = np.where(hole, np.float32(0), a), np.where(hole, np.float32(1e-19), a)
    big = given_b * np.float32(1e12)
    assert np.array_equal(op.run([tiny, big])[0], op.run([none, big])[0])
    tiny = np.ascontiguousarray(np.swapaxes(tiny, 1, 2))
    assert np.array_equal(turned.run([tiny, big])[0], op.run([none, big])[0])


@pytest.mark.parametrize("c_shape", [None, (), (7,), (1,), (5, 7), (5, 1), (1, 7)])
@pytest.mark.parametrize("first", [False, True])
def test_alpha_beta_and_c(c_shape, first):
    a, b = floats((5, 9)), floats((9, 7), 1)
    c = None if c_shape is None else floats(c_shape, 2)
    want = 0.5 * (a.astype(np.float64) @ b) + (0 if c is None else -2.0 * c)
    given_a = np.ascontiguousarray(a.T) if first else a
    close(core.Operator("matmul", [first, False], [0.5, -2]).run([given_a, b, c])[0], want)


@pytest.mark.parametrize("c_shape", [(7,), (5, 7), (5, 1), (1, 7)])
def test_c_is_added_to_every_matrix(c_shape):
    a, b, c = floats((3, 5, 9)), floats((9, 7), 1), floats(c_shape, 2)
    close(core.Operator("matmul", [0, 0]).run([a, b, c])[0], a.astype(np.float64) @ b + c)


def test_int64_wraps_around():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-(2**63), 2**63 - 1, (2, 1, 4, 3)), rng.integers(-9, 9, (3, 3, 5))
    assert np.array_equal(core.Operator("matmul", [0, 0]).run([a, b])[0], a @ b)
    turned = [np.ascontiguousarray(np.swapaxes(x, -1, -2)) for x in (a, b)]
    assert np.array_equal(core.Operator("matmul", [1, 1]).run(turned)[0], a @ b)


def test_a_product_of_nothing_is_zero():
    op = core.Operator("matmul", [0, 0])
    assert np.array_equal(op.run([floats((2, 0)), floats((0, 3))])[0], np.zeros((2, 3)))
    assert op.run([floats((0, 4)), floats((4, 3))])[0].shape == (0, 3)


@pytest.mark.parametrize(
    "shapes",
    [((2, 3), (4, 5)), ((3,), (4,)), ((), (3,)), ((3,), ()), ((2, 4, 3), (3, 3, 5)),
     ((2, 3),), ((2, 3), (3, 5), (5, 2)), ((2, 3), (3, 5), (1, 2, 5)),
     ((3,), (3, 5), (5,)), ((2, 3), (3, 5), (5,), (5,))],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(core.OperatorError, match=REFUSED):
        core.Operator("matmul", [0, 0]).run([floats(shape) for shape in shapes])


def test_types_and_numbers_that_do_not_fit_are_refused():
    whole = np.ones((2, 2), np.int64)
    for op, inputs in (
        (core.Operator("matmul", [0, 0]), [whole, floats((2, 2))]),
        (core.Operator("matmul", [0, 0], [1, 1]), [whole, whole]),
        (core.Operator("matmul", [0, 0]), [whole, whole, floats((2,))]),
        (core.Operator("matmul", [0, 0]), [whole == 1, whole == 1]),
        (core.Operator("matmul", [1, 0]), [floats(2), floats((2, 2))]),
        (core.Operator("matmul", [0, 1]), [floats((2, 2)), floats(2)]),
    ):
        with pytest.raises(core.OperatorError, match=REFUSED):
            op.run(inputs)
    for ints, numbers in (([0], ()), ([0, 0, 0], ()), ([0, 0], [1])):
        with pytest.raises(core.OperatorError, match=REFUSED):
            core.Operator("matmul", ints, numbers)
    empty = np.zeros((2**40, 0), np.float32)
    with pytest.raises(core.OperatorError, match=REFUSED):  # 2^80 outputs
        core.Operator("matmul", [0, 1]).run([empty, empty])


# ---- linear ----


@pytest.mark.parametrize("format", [0, 1])
@pytest.mark.parametrize("function, floats_given, f", [
    (-1, (), lambda y: y),
    (0, (), lambda y: 1 / (1 + np.exp(-y))),
    (1, (1, 1), np.tanh),
    (3, (0, 0), lambda y: np.maximum(y, 0)),
    (4, (0.2, 0), lambda y: np.where(y < 0, 0.2 * y, y)),
    (12, (-0.25, 0.5), lambda y: np.clip(y, -0.25, 0.5)),
    (8, (), lambda y: np.log1p(np.exp(y))),
    (9, (), lambda y: y / (1 + np.exp(-y))),
])  # fmt: skip
@pytest.mark.parametrize("outputs", [1, 7, 300])
def test_linear_with_an_activation(outputs, function, floats_given, f, format):
    w, b, x = floats((outputs, 70)) / 8, floats(outputs, 1), floats((2, 50, 70), 2)
    w = w.astype(np.float16).astype(np.float32)
    want = f(x.astype(np.float64) @ w.T + b)
    ops = [core.Operator("linear", [format, 70, outputs, function], floats_given, isa)
           for isa in FUSED]  # fmt: skip
    for op in ops:
        op.pack(w, b)
    (y,) = ops[0].run([x])
    close(y, want)
    for op in ops:
        for threads in (1, 2, 4):
            assert np.array_equal(op.run([x], threads=threads)[0], y)
        assert np.array_equal(op.run([x[1, 17]])[0], y[1, 17])
        assert np.array_equal(op.run([x[:, :3].copy()])[0], y[:, :3])


def test_linear_without_an_activation_takes_three_numbers():
    w, x = floats((5, 4)), floats((3, 4), 1)
    made = [core.Operator("linear", ints) for ints in ([0, 4, 5], [0, 4, 5, -1])]
    for op in made:
        op.pack(w, None)
    assert np.array_equal(made[0].run([x])[0], made[1].run([x])[0])
    for ints, numbers in (
        ([0, 4], ()), ([0, 4, 5, 14], ()), ([0, 4, 5, -2], ()), ([0, 4, 5, -1, 0], ()),
        ([0, 4, 5, -1, 3], ()), ([0, 4, 5, 4], (1,)), ([0, 0, 5], ()), ([4, 4, 5], ()),
    ):  # fmt: skip
        with pytest.raises(core.OperatorError, match="linear: shapes or types do not fit"):
            core.Operator("linear", ints, numbers)


def test_an_activation_keeps_nan():
    w, x = np.eye(3, dtype=np.float32), np.array([[1, -1, 2]], np.float32)
    for function, numbers in ((3, (0, 0)), (4, (0.5, 0)), (12, (0, 1)), (0, ()), (1, (1, 1))):
        op = core.Operator("linear", [0, 3, 3, function], numbers)
        op.pack(w, None)
        (y,) = op.run([x])
        w_nan = w.copy()
        w_nan[0, 0] = np.nan
        op.pack(w_nan, None)
        (with_nan,) = op.run([x])
        assert np.isnan(with_nan[0, 0]) and np.array_equal(with_nan[0, 1:], y[0, 1:])
