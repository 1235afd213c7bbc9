# SPDX-License-Identifier: MIT
"""The C operators "max_pool", "average_pool" and "lp_pool" against NumPy (support/windows.py) and
torch."""

import numpy as np
import pytest
import windows
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlstm
from fastlstm.engine.c import _core as core

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]


def operator(name, wd, number=0, isa=None):
    rule = windows.PAD_RULES.index(wd.auto_pad)
    return core.Operator(name, [wd.axes, rule, int(wd.ceil), number, *wd.ints], (), isa)


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 2))
    size = draw(st.tuples(*[st.integers(1, 4)] * axes))
    pads = st.tuples(*[st.integers(0, 2)] * axes)
    each = st.tuples(*[st.integers(1, 3)] * axes)
    rule = draw(st.sampled_from(["NOTSET"] * 4 + ["SAME_UPPER", "SAME_LOWER", "VALID"]))
    wd = windows.Windows(size, draw(each), draw(each), draw(pads), draw(pads), rule,
                         draw(st.booleans()))  # fmt: skip
    shape = (draw(st.integers(0, 2)), *draw(st.tuples(*[st.integers(0, 9)] * axes)),
             draw(st.integers(0, 9)))  # fmt: skip
    return wd, np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape).astype("f")


def fits(wd, x):
    return all(
        wd.auto_pad.startswith("SAME")
        or x.shape[1 + a] + (wd.begin[a] + wd.end[a] if wd.auto_pad == "NOTSET" else 0)
        >= (wd.size[a] - 1) * wd.dilation[a] + 1
        for a in range(wd.axes)
    )


def check(name, wd, x, number, want):
    op = operator(name, wd, number)
    if not fits(wd, x):
        with pytest.raises(core.OperatorError, match=f"{name}: shapes or types do not fit"):
            op.run([x])
        return
    (y,) = op.run([x])
    assert y.shape == want.shape and y.dtype == np.float32
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
    for isa in fastlstm.runnable_isas():
        alone = [operator(name, wd, number, isa).run([x[n : n + 1]])[0] for n in range(len(x))]
        assert not len(x) or np.array_equal(np.concatenate(alone), y)


@given(cases())
@settings(max_examples=100)
def test_max_pool(case):
    wd, x = case
    check("max_pool", wd, x, 0, windows.max_pool(x, wd))


@given(cases(), st.booleans())
@settings(max_examples=100)
def test_average_pool(case, padding):
    wd, x = case
    check("average_pool", wd, x, int(padding), windows.average_pool(x, wd, padding))


@given(cases(), st.sampled_from([1, 2]))
@settings(max_examples=50)
def test_lp_pool(case, p):
    wd, x = case
    means = windows.average_pool(np.abs(x.astype(np.float64)) ** p, wd, False)
    taps = np.zeros_like(means)
    for o, seen in wd.outputs(x.shape):
        taps[(slice(None), *o)] = sum(inside for _, _, inside in seen)
    check("lp_pool", wd, x, p, (means * taps) ** (1 / p))


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("size, stride, pads", [(2, 2, 0), (3, 2, 1), (3, 3, 1), (2, 3, 1)])
def test_pools_against_torch(size, stride, pads, ceil):
    x = np.random.default_rng(1).normal(size=(2, 11, 8, 5)).astype(np.float32)
    wd = windows.Windows((size,) * 2, (stride,) * 2, (1, 1), (pads,) * 2, (pads,) * 2, ceil=ceil)
    given_x = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    functional = torch.nn.functional
    want = {("max_pool", 0): functional.max_pool2d(given_x, size, stride, pads, ceil_mode=ceil)}
    for counted in (0, 1):
        want["average_pool", counted] = functional.avg_pool2d(
            given_x, size, stride, pads, ceil, bool(counted)
        )
    for (name, number), y in want.items():
        found = operator(name, wd, number).run([x])[0]
        np.testing.assert_allclose(found, np.moveaxis(y.numpy(), 1, -1), rtol=1e-5, atol=1e-6)


def test_a_nan_stays_and_an_empty_window_is_the_least():
    wd = windows.Windows((2,), (2,), (1,), (2,), (0,))
    x = np.array([[[1], [np.nan], [3], [2]]], np.float32)
    assert repr(operator("max_pool", wd).run([x])[0].ravel().tolist()) == "[-inf, nan, 3.0]"
    assert operator("average_pool", wd, 1).run([x[:, 2:]])[0].ravel().tolist() == [0, 2.5]


@pytest.mark.parametrize("channels", [2, 33])
def test_threads_have_the_same_bits(channels):
    x = np.random.default_rng(2).normal(size=(2, 60, 70, channels)).astype(np.float32)
    wd = windows.Windows((5, 5), (1, 1), (1, 1), (2, 2), (2, 2))
    for name in ("max_pool", "average_pool"):
        found = [operator(name, wd).run([x], threads=n)[0] for n in (1, 2, 3, 4)]
        assert all(np.array_equal(found[0], y) for y in found[1:])


@pytest.mark.parametrize(
    "name, ints",
    [
        ("max_pool", [1, 0, 0, 1, 2, 1, 1, 0, 0]), ("average_pool", [1, 0, 0, 2, 2, 1, 1, 0, 0]),
        ("lp_pool", [1, 0, 0, 0, 2, 1, 1, 0, 0]), ("lp_pool", [1, 0, 0, 3, 2, 1, 1, 0, 0]),
        ("max_pool", [1, 0, 0, 0, 0, 1, 1, 0, 0]), ("max_pool", [1, 0, 0, 0, 2, 0, 1, 0, 0]),
        ("max_pool", [1, 0, 0, 0, 2, 1, 0, 0, 0]), ("max_pool", [1, 0, 0, 0, 2, 1, 1, -1, 0]),
        ("max_pool", [1, 0, 0, 0, 2**31, 1, 1, 0, 0]), ("max_pool", [3, 0, 0, 0, *[1] * 15]),
        ("max_pool", [1, 4, 0, 0, 2, 1, 1, 0, 0]), ("max_pool", [1, 0, 0, 0, 2, 1, 1, 0]),
        ("max_pool", []),
    ],
)  # fmt: skip
def test_numbers_that_make_no_pool_are_refused(name, ints):
    with pytest.raises(core.OperatorError, match=f"{name}: shapes or types do not fit"):
        core.Operator(name, ints)


def test_wrong_arrays_are_refused_and_huge_pads_are_exact():
    huge = 2**31 - 1
    op = operator("max_pool", windows.Windows((2,), (1,), (1,), (0,), (0,)))
    for x in (np.zeros((1, 4)), np.zeros((1, 1, 4)), np.zeros((1, 4, 4, 1))):
        with pytest.raises(core.OperatorError, match="max_pool: shapes or types do not fit"):
            op.run([x.astype(np.float32)])
    with pytest.raises(core.OperatorError, match="max_pool: shapes or types do not fit"):
        op.run([np.zeros((1, 4, 1), np.int64)])
    wd = windows.Windows((huge,), (huge,), (1,), (huge,), (huge,))
    x = np.array([[[1], [2]]], np.float32)
    assert operator("max_pool", wd).run([x])[0].tolist() == [[[-np.inf], [2]]]
