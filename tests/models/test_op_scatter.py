# SPDX-License-Identifier: MIT
"""The C operators that scatter and gather by several indices, triangles and running products,
against NumPy."""

import numpy as np
import pytest

from fastlstm.engine.c import _core as core

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]
F = np.float32
WAYS = {"put": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
SHAPES = "shapes or types do not fit"
RANGE = "an index or length is out of range"


def run(name, ints, *arrays):
    return core.Operator(name, ints).run(list(arrays))[0]


def put(y, where, updates, way):
    if way is None:
        y[where] = updates
    else:
        way.at(y, where, updates)
    return y


@pytest.mark.parametrize("kind", [F, np.int64])
@pytest.mark.parametrize("number, way", enumerate(WAYS.values()), ids=WAYS)
def test_scatter(number, way, kind, rng):
    x = rng.integers(-9, 9, (4, 5, 6)).astype(kind)
    for axis in (0, 1, -1):
        shape = [2, 3, 4]
        if way is None:  # the order of two updates of one element is not NumPy's to say
            shape[axis] = x.shape[axis]
            indices = np.argsort(rng.random(shape), axis) - (x.shape[axis] if axis else 0)
        else:
            indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        updates = rng.integers(-9, 9, shape).astype(kind)
        where = list(np.indices(shape))
        where[axis] = indices
        want = put(x.copy(), tuple(where), updates, way)
        assert np.array_equal(run("scatter_elements", [axis, number], x, indices, updates), want)
    for depth in (1, 2, 3):
        rows = rng.integers(-4, 4, (2, 3, depth))
        if way is None:
            count = np.arange(6).reshape(2, 3)
            rows = np.stack([count % 4, count // 4 + 1, count][:depth], -1)
            rows = rows[:1] if depth == 1 else rows
        updates = rng.integers(-9, 9, (*rows.shape[:-1], *x.shape[depth:])).astype(kind)
        where = tuple(np.moveaxis(rows, -1, 0))
        want = put(x.copy(), where, updates, way)
        assert np.array_equal(run("scatter_nd", [number], x, rows, updates), want)


def test_of_several_updates_the_last_stays():
    x, at, updates = np.zeros(3, F), np.array([1, 1, -2]), np.array([1, 2, 3], F)
    assert run("scatter_elements", [0, 0], x, at, updates).tolist() == [0, 3, 0]
    assert run("scatter_nd", [0], x, at[:, None], updates).tolist() == [0, 3, 0]
    assert np.isnan(run("scatter_nd", [3], F([np.nan, 0, 0]), at[:, None] - 1, updates)[0])


@pytest.mark.parametrize("kind", [F, np.int64, bool])
def test_gather_nd(kind, rng):
    x = rng.integers(0, 2, (3, 4, 5, 2)).astype(kind)
    for batch in (0, 1, 2):
        for depth in range(1, 5 - batch):
            sizes = x.shape[batch : batch + depth]
            indices = rng.integers([-n for n in sizes], sizes, (*x.shape[:batch], 7, depth))
            want = np.empty((*indices.shape[:-1], *x.shape[batch + depth :]), kind)
            for at in np.ndindex(*indices.shape[:-1]):
                want[at] = x[(*at[:batch], *indices[at])]
            assert np.array_equal(run("gather_nd", [batch], x, indices), want)


@pytest.mark.parametrize("kind", [F, np.int64, bool])
@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (2, 3, 3), (3, 0), (0, 3), (2, 0, 3)])
def test_trilu(kind, shape):
    x = np.ones(shape, kind)
    for k in (-7, -4, -1, 0, 1, 2, 5, 6, 9, 2**62, -(2**62)):
        clipped = max(min(k, 100), -100)
        assert np.array_equal(run("trilu", [k, 1], x), np.triu(x, clipped))
        assert np.array_equal(run("trilu", [k, 0], x), np.tril(x, clipped))


def test_cumprod(rng):
    x = rng.integers(-3, 4, (3, 5)).astype(F)
    assert np.array_equal(run("cumprod", [1, 0, 0], x), np.cumprod(x, 1))
    assert np.array_equal(run("cumprod", [0, 0, 1], x), np.cumprod(x[::-1], 0)[::-1])
    without = np.cumprod(np.concatenate([np.ones((3, 1), F), x[:, :-1]], 1), 1)
    assert np.array_equal(run("cumprod", [-1, 1, 0], x), without)
    assert run("cumprod", [0, 0, 0], np.full(3, 2**40)).tolist() == [2**40, 0, 0]


def test_nothing_is_scattered_or_gathered():
    x, none = np.ones((2, 3), F), np.zeros((0, 3), np.int64)
    assert np.array_equal(run("scatter_elements", [0, 0], x, none, np.zeros((0, 3), F)), x)
    assert np.array_equal(run("scatter_nd", [1], x, none[:, :1], np.zeros((0, 3), F)), x)
    assert run("gather_nd", [0], x, none[:, :2]).shape == (0,)
    assert run("gather_nd", [0], np.ones((2, 0), F), np.zeros((4, 1), np.int64)).shape == (4, 0)
    empty = run(
        "scatter_nd", [0], np.ones((2, 0), F), np.zeros((4, 1), np.int64), np.ones((4, 0), F)
    )
    assert empty.shape == (2, 0)


def test_what_does_not_fit_is_refused():
    x, i, u = np.ones((2, 3), F), np.zeros((1, 3), np.int64), np.ones((1, 3), F)
    wrong = [
        ("scatter_elements", [2, 0], x, i, u),
        ("scatter_elements", [0, 5], x, i, u),
        ("scatter_elements", [0, 0], x, i, u[:, :2].copy()),
        ("scatter_elements", [0, 0], x, np.zeros((1, 4), np.int64), np.ones((1, 4), F)),
        ("scatter_elements", [0, 0], x, i, i),
        ("scatter_elements", [0, 1], x > 0, i, u > 0),
        ("scatter_elements", [0, 0], x, i),
        ("scatter_nd", [0], x, i, u),
        ("scatter_nd", [0], x, i[:, :0].copy(), np.ones((1, 2, 3), F)),
        ("scatter_nd", [0], x, i[:, :1].copy(), np.ones((1, 2), F)),
        ("scatter_nd", [-1], x, i[:, :1].copy(), u),
        ("gather_nd", [0], x, i),
        ("gather_nd", [-1], x, i[:, :1].copy()),
        ("gather_nd", [2], x, i[:, :1].copy()),
        ("gather_nd", [1], x, i[:, :1].copy()),
        ("gather_nd", [0], x, np.array(0)),
        ("gather_nd", [0], x, u[:, :1].copy()),
        ("trilu", [0, 1], x[0]),
        ("cumprod", [2, 0, 0], x),
        ("cumprod", [0, 0, 0], x > 0),
    ]
    for name, ints, *arrays in wrong:
        with pytest.raises(core.OperatorError, match=f"{name}: {SHAPES}"):
            run(name, ints, *arrays)
    for at in (2, -3, 2**63 - 1, -(2**63)):
        with pytest.raises(core.OperatorError, match=RANGE):
            run("scatter_elements", [0, 0], x, np.full((1, 3), at), u)
        with pytest.raises(core.OperatorError, match=RANGE):
            run("scatter_nd", [0], x, np.full((1, 1), at), u)
        with pytest.raises(core.OperatorError, match=RANGE):
            run("gather_nd", [0], x, np.full((1, 1), at))
