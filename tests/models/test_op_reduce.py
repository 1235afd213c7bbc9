# SPDX-License-Identifier: MIT
"""The C operators "reduce", "argmax", "argmin", "topk" and "cumsum" against NumPy, over drawn
shapes and axes, empty ones included; the order of sums; what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlstm
from fastlstm.engine.c import _core as core
from fastlstm.models.lower.reduce import REDUCTIONS

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

ROOT = Path(__file__).parents[2]
SUM, MEAN, L1, L2, SUM_SQUARE, LOG_SUM, LOG_SUM_EXP, PROD, MAX, MIN = range(10)
REFUSED = "shapes or types do not fit"


def log_sum_exp(x, axis, keepdims):
    most = np.max(x, axis, keepdims=True, initial=-np.inf)
    most = np.where(np.isfinite(most), most, 0)
    sums = np.log(np.exp(x - most).sum(axis, keepdims=True)) + most
    return sums if keepdims else sums.reshape(x.sum(axis).shape)


REAL = {
    SUM: np.sum,
    MEAN: np.mean,
    L1: lambda x, a, keepdims: np.abs(x).sum(a, keepdims=keepdims),
    L2: lambda x, a, keepdims: np.sqrt((x * x).sum(a, keepdims=keepdims)),
    SUM_SQUARE: lambda x, a, keepdims: (x * x).sum(a, keepdims=keepdims),
    LOG_SUM: lambda x, a, keepdims: np.log(x.sum(a, keepdims=keepdims)),
    LOG_SUM_EXP: log_sum_exp,
    PROD: np.prod,
    MAX: lambda x, a, keepdims: np.max(x, a, keepdims=keepdims, initial=-np.inf),
    MIN: lambda x, a, keepdims: np.min(x, a, keepdims=keepdims, initial=np.inf),
}
LIMITS = np.iinfo(np.int64)
WHOLE = {
    **{kind: REAL[kind] for kind in (SUM, L1, SUM_SQUARE, PROD)},
    MAX: lambda x, a, keepdims: np.max(x, a, keepdims=keepdims, initial=LIMITS.min),
    MIN: lambda x, a, keepdims: np.min(x, a, keepdims=keepdims, initial=LIMITS.max),
}


@st.composite
def cases(draw, most=4):
    """(a shape, which of its axes)."""
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 7, 9, 40, 70, 200]), max_size=most))
    while np.prod([max(n, 1) for n in shape]) > 60_000:
        shape.pop()
    axes = [i for i in range(len(shape)) if draw(st.booleans())]
    return tuple(shape), tuple(draw(st.permutations(axes)))


def reduce(kind, x, axes, keepdims=0, isa=None, threads=1):
    return core.Operator("reduce", [kind, keepdims, *axes], isa=isa).run([x], 1, threads)[0]


def test_the_reductions_are_those_of_c():
    if not (ROOT / "csrc").exists():
        pytest.skip("the sources are not beside the tests")
    names = re.findall(r"^    FL_REDUCE_(\w+),", (ROOT / "csrc/ops/reduce.h").read_text(), re.M)
    assert [f"Reduce{name.title().replace('_', '')}" for name in names] == list(REDUCTIONS)


@given(cases(), st.sampled_from(sorted(REAL)), st.integers(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=400, deadline=None)
def test_reductions_of_floats(case, kind, keepdims, seed):
    shape, axes = case
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, shape).astype(np.float32)
    if kind == LOG_SUM:
        x = np.asarray(np.abs(x))
    if kind == PROD:
        x = np.asarray(np.exp(0.1 * x))
    with np.errstate(all="ignore"):
        want = REAL[kind](x.astype(np.float64), tuple(axes), keepdims=bool(keepdims))
    y = reduce(kind, x, [a - len(shape) if a % 2 else a for a in axes], keepdims)
    assert y.dtype == np.float32 and y.shape == want.shape
    with np.errstate(all="ignore"):
        compare(kind, x, shape, axes, keepdims, y, want)


def compare(kind, x, shape, axes, keepdims, y, want):
    elements = np.prod([shape[a] for a in axes], dtype=int)
    scale = np.abs(x).sum(tuple(axes), keepdims=bool(keepdims)) if kind in (SUM, MEAN) else 0
    error = 1e-6 * (np.abs(want) + scale / (elements if kind == MEAN and elements else 1) + 0.01)
    ok = (np.abs(y - want) <= error) | (y == want) | (np.isnan(y) & np.isnan(want))
    if kind in (LOG_SUM, LOG_SUM_EXP):  # of one element near 1 the logarithm is near 0
        ok |= np.abs(y - want) <= 1e-5
    if kind == PROD:
        ok |= np.abs(y - want) <= 1e-7 * (elements + 8) * np.abs(want)
    assert ok.all()


@given(cases(), st.sampled_from(sorted(WHOLE)), st.integers(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_reductions_of_integers(case, kind, keepdims, seed):
    shape, axes = case
    x = np.random.default_rng(seed).integers(-(2**63), 2**63, shape)
    y = reduce(kind, x, axes, keepdims)
    with np.errstate(over="ignore"):
        want = np.asarray(WHOLE[kind](x, tuple(axes), keepdims=bool(keepdims)))
    assert y.dtype == np.int64 and y.shape == want.shape
    assert np.array_equal(y, want)


def test_means_of_integers_are_truncated_and_bools_have_extremes(rng):
    x = rng.integers(-99, 99, (7, 50))
    assert np.array_equal(reduce(MEAN, x, [1]), np.trunc(x.sum(1) / 50).astype(np.int64))
    b = rng.integers(0, 2, (40, 3)).astype(bool)
    for axes in ([0], [1], [0, 1], []):
        assert np.array_equal(reduce(MAX, b, axes), b.any(tuple(axes)))
        assert np.array_equal(reduce(MIN, b, axes), b.all(tuple(axes)))
    none = np.empty((0, 2), bool)
    assert reduce(MAX, none, [0]).tolist() == [False] * 2
    assert reduce(MIN, none, [0]).tolist() == [True] * 2


def test_values_that_are_not_finite():
    inf, nan = np.inf, np.nan
    x = np.float32([[-inf, -inf], [inf, 1], [nan, 2], [2, nan], [-inf, 3]])
    assert reduce(MAX, x, [1]).tolist()[:2] == [-inf, inf]
    assert np.isnan(reduce(MAX, x, [1])[2:4]).all() and np.isnan(reduce(MIN, x, [1])[2:4]).all()
    y = reduce(LOG_SUM_EXP, x, [1])
    assert y[0] == -inf and y[1] == inf and np.isnan(y[2:4]).all() and y[4] == 3
    big = np.float32([1000, 1000])
    assert abs(reduce(LOG_SUM_EXP, big, [0]) - (1000 + np.log(2))) < 1e-4


def in_order(x):
    """The sum of one row, as csrc/ops/sums.h orders it."""
    p = np.zeros(8, np.float32)
    for j, value in enumerate(x):
        p[j % 8] += value
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]))


@given(cases(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_sums_have_one_order_wherever_the_axes_are(case, seed):
    shape, axes = case
    x = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    kept = [a for a in range(len(shape)) if a not in axes]
    rows = x.transpose(*kept, *sorted(axes)).reshape(
        [shape[a] for a in kept] + [np.prod([shape[a] for a in axes], dtype=int)]
    )
    want = [in_order(row) for row in rows.reshape(-1, rows.shape[-1])] if rows.size else []
    assert reduce(SUM, x, axes).reshape(-1).tolist()[: len(want)] == want


def test_bits_do_not_depend_on_the_instruction_set_or_on_threads(rng):
    x = np.abs(rng.normal(0, 1, (300, 40, 70)).astype(np.float32))
    for kind in REAL:
        for axes in ([0], [1], [2], [0, 2], [0, 1, 2]):
            found = {
                reduce(kind, x, axes, isa=isa, threads=threads).tobytes()
                for isa in fastlstm.runnable_isas()
                for threads in (1, 3)
            }
            assert len(found) == 1


# ---- argmax, argmin, topk, cumsum ----

LINES = (
    st.sampled_from([1, 2, 3, 9, 70]),
    st.sampled_from([0, 1, 2, 30]),
    st.sampled_from([1, 5, 80]),
)


def few_values(seed, shape, kind):
    """So few different values that some are equal, and NaN among floats."""
    rng = np.random.default_rng(seed)
    if kind == "i":
        return rng.integers(-3, 3, shape)
    values = np.float32([0, 1, 1.5, -2, np.inf, -np.inf, np.nan])
    return values[rng.integers(0, 7, shape)]


@given(*LINES, st.sampled_from("fi"), st.booleans(), st.integers(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_argmax_and_argmin(n, outer, inner, kind, last, keepdims, seed):
    x = few_values(seed, (outer, n, inner), kind)
    for name, f in (("argmax", np.argmax), ("argmin", np.argmin)):
        if last:
            want = n - 1 - f(x[:, ::-1], 1)
        else:
            want = f(x, 1)
        (y,) = core.Operator(name, [-2, keepdims, int(last)]).run([x])
        assert y.dtype == np.int64 and y.shape == (
            (outer, 1, inner) if keepdims else (outer, inner)
        )
        assert np.array_equal(y.reshape(want.shape), want)


@given(*LINES, st.sampled_from("fi"), st.booleans(), st.integers(0, 99), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_topk(n, outer, inner, kind, greatest, k, seed):
    x, k = few_values(seed, (outer, n, inner), kind), k % (n + 1)
    # NumPy sorts NaN to the end: of negated numbers it has to be first.
    keys = np.where(np.isnan(x), -np.inf, -x) if greatest else x
    first = ~np.isnan(x) if greatest else np.zeros(x.shape, bool)
    order = np.argsort(keys, 1, kind="stable")
    order = np.take_along_axis(
        order, np.argsort(np.take_along_axis(first, order, 1), 1, kind="stable"), 1
    )
    want = order[:, :k]
    y, index = core.Operator("topk", [1, int(greatest)]).run([x, np.array([k])], 2)
    assert np.array_equal(index, want) and index.dtype == np.int64
    assert np.array_equal(y, np.take_along_axis(x, want, 1), equal_nan=True) and y.dtype == x.dtype
    assert np.array_equal(
        core.Operator("topk", [1, int(greatest)]).run([x, np.array(k)])[0], y, equal_nan=True
    )


@given(*LINES, st.sampled_from("fi"), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_cumsum(n, outer, inner, kind, exclusive, reverse, seed):
    rng = np.random.default_rng(seed)
    shape = (outer, n, inner)
    x = rng.integers(-(2**63), 2**63, shape)
    x = x if kind == "i" else rng.normal(0, 1, shape).astype(np.float32)
    z = x[:, ::-1] if reverse else x
    want = np.cumsum(z, 1, dtype=x.dtype)
    if exclusive:
        want = np.concatenate([np.zeros_like(want[:, :1]), want[:, :-1]], 1)
    want = want[:, ::-1] if reverse else want
    (y,) = core.Operator("cumsum", [1, int(exclusive), int(reverse)]).run([x])
    assert y.dtype == x.dtype and np.array_equal(y, want)


def test_lines_on_several_threads(rng):
    x = rng.normal(0, 1, (500, 70, 9)).astype(np.float32)
    for name, ints, outs in (
        ("argmax", [1, 0, 0], 1),
        ("cumsum", [1, 0, 0], 1),
        ("topk", [1, 1], 2),
    ):
        arrays = [x, np.array([5])][: 1 + (name == "topk")]
        one, more = (core.Operator(name, ints).run(arrays, outs, n) for n in (1, 4))
        assert all(np.array_equal(a, b) for a, b in zip(one, more, strict=True))


# ---- what is refused ----


@pytest.mark.parametrize(
    ("name", "ints"),
    [
        ("reduce", []),
        ("reduce", [0]),
        ("reduce", [10, 0]),
        ("reduce", [-1, 0]),
        ("reduce", [0, 2]),
        ("reduce", [0, 0, *range(9)]),
        ("argmax", [0, 0]),
        ("argmax", [0, 0, 2]),
        ("argmin", [0, -1, 0]),
        ("topk", [0]),
        ("topk", [0, 2]),
        ("cumsum", [0, 0, 0, 0]),
    ],
)
def test_wrong_numbers_are_refused(name, ints):
    with pytest.raises(core.OperatorError, match=f"{name}: {REFUSED}"):
        core.Operator(name, ints)


def test_wrong_arrays_are_refused():
    f, i, b = np.ones((2, 3), np.float32), np.ones((2, 3), np.int64), np.ones((2, 3), bool)
    k = np.array([2])
    wrong = [
        ("reduce", [SUM, 0, 2], [f]),
        ("reduce", [SUM, 0, -3], [f]),
        ("reduce", [SUM, 0, 1, -1], [f]),
        ("reduce", [SUM, 0, 2**40], [f]),
        ("reduce", [SUM, 0, 0], [b]),
        ("reduce", [L2, 0, 0], [i]),
        ("reduce", [LOG_SUM, 0, 0], [i]),
        ("reduce", [LOG_SUM_EXP, 0, 0], [i]),
        ("reduce", [SUM, 0, 0], [f, f]),
        ("reduce", [SUM, 0, 0], [None]),
        ("reduce", [MEAN, 0, 0], [np.ones((0, 3), np.int64)]),
        ("argmax", [2, 0, 0], [f]),
        ("argmax", [0, 0, 0], [b]),
        ("argmax", [0, 0, 0], [np.ones((0, 3), np.float32)]),
        ("argmin", [0, 0, 0], [np.array(1, np.float32)]),
        ("topk", [0, 1], [f]),
        ("topk", [0, 1], [f, np.array([3])]),
        ("topk", [0, 1], [f, np.array([-1])]),
        ("topk", [0, 1], [f, np.array([1, 2])]),
        ("topk", [0, 1], [f, np.float32([1])]),
        ("topk", [2, 1], [f, k]),
        ("topk", [0, 1], [b, k]),
        ("cumsum", [0, 0, 0], [b]),
        ("cumsum", [-3, 0, 0], [f]),
    ]
    for name, ints, arrays in wrong:
        with pytest.raises(core.OperatorError, match=f"{name}: {REFUSED}"):
            core.Operator(name, ints).run(arrays)
    with pytest.raises(core.OperatorError, match=f"topk: {REFUSED}"):
        core.Operator("topk", [0, 1]).run([f, k], 3)


def test_arrays_of_giant_axes_without_elements():
    x = np.empty((2**40, 0, 2**20), np.float32)
    assert core.Operator("cumsum", [1, 0, 0]).run([x])[0].shape == x.shape
    assert core.Operator("topk", [0, 1]).run([x, np.array([4])])[0].shape == (4, 0, 2**20)
    assert reduce(SUM, x, [0]).shape == (0, 2**20)
    with pytest.raises(MemoryError, match="Unable to allocate"):
        reduce(SUM, x, [1])
