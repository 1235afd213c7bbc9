# SPDX-License-Identifier: MIT
"""The C operators "softmax", "log_softmax", "layer_norm", "rms_norm" and "group_norm" against their
formulas in float64, over drawn shapes, empty ones included; in place; what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlstm
from fastlstm.engine.c import _core as core

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

FUSED = [isa for isa in fastlstm.runnable_isas() if isa != "generic"]
REFUSED = "shapes or types do not fit"
EPS = 1e-3

shapes = st.lists(st.sampled_from([0, 1, 2, 3, 8, 13, 70, 300]), min_size=1, max_size=4).map(
    lambda sizes: (
        tuple(sizes) if np.prod([max(n, 1) for n in sizes]) <= 60_000 else tuple(sizes[:2])
    )
)
seeds = st.integers(0, 2**32 - 1)


def run(name, ints, arrays, outputs=1, floats=(), isa=None, threads=1):
    return core.Operator(name, ints, floats, isa).run(arrays, outputs, threads)


def close(y, want, error=2e-6):
    assert y.dtype == np.float32 and y.shape == want.shape
    assert (np.abs(y - want) <= error * np.maximum(1, np.abs(want))).all()


def softmax(x, axis):
    if x.size == 0:
        return x
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@given(
    shapes, st.integers(-4, 3), st.floats(0.1, 30), st.sampled_from(fastlstm.runnable_isas()), seeds
)
@settings(max_examples=300, deadline=None)
def test_softmax(shape, axis, scale, isa, seed):
    axis %= len(shape)
    x = np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)
    want = softmax(x.astype(np.float64), axis)
    (y,) = run("softmax", [axis - len(shape)], [x], isa=isa)
    close(y, want, 1e-6)
    assert (np.abs(y - want) <= 2e-5 * want + 1e-37).all()  # small ones too, by their own size
    (y,) = run("log_softmax", [axis], [x], isa=isa)
    most = x.max(axis, keepdims=True, initial=-np.inf).astype(np.float64)
    with np.errstate(all="ignore"):
        log = x - most - np.log(np.exp(x - most).sum(axis, keepdims=True))
    close(y, log, 1e-6)


def test_softmax_of_what_is_not_finite():
    inf, nan = np.inf, np.nan
    x = np.float32([[-inf, 0, 0], [1, nan, 2], [-inf, -inf, -inf], [3e38, -3e38, 0]])
    for axis, at in ((1, x), (0, np.ascontiguousarray(x.T))):
        (y,) = run("softmax", [axis], [at])
        (log,) = run("log_softmax", [axis], [at])
        y, log = (y, log) if axis else (y.T, log.T)
        assert y[0].tolist() == [0, 0.5, 0.5] and log[0, 0] == -inf
        assert np.isnan(y[1:3]).all() and np.isnan(log[1:3]).all()
        assert y[3].tolist() == [1, 0, 0] and log[3, 0] == 0


def rows(x, axis):
    axes = tuple(range(axis % x.ndim, x.ndim))
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        mean = x.sum(axes, keepdims=True) / np.prod([x.shape[a] for a in axes])
        variance = ((x - mean) ** 2).sum(axes, keepdims=True) / np.prod([x.shape[a] for a in axes])
        square = (x * x).sum(axes, keepdims=True) / np.prod([x.shape[a] for a in axes])
    return mean, 1 / np.sqrt(variance + EPS), 1 / np.sqrt(square + EPS)


@given(shapes, st.integers(-4, 3), st.booleans(), st.integers(1, 3), seeds)
@settings(max_examples=200, deadline=None)
def test_layer_and_rms_norm(shape, axis, biased, outputs, seed):
    rng = np.random.default_rng(seed)
    axis %= len(shape)
    x = rng.normal(1, 2, shape).astype(np.float32)
    scale, bias = rng.normal(0, 1, (2, *shape[axis:])).astype(np.float32)
    mean, r, root = rows(x, axis)
    arrays = [x, scale, bias if biased else None][: 3 if biased or seed % 2 else 2]
    added = bias if biased else 0
    made = run("layer_norm", [axis - len(shape)], arrays, outputs, [EPS])
    close(made[0], (x - mean) * r * scale + added, 2e-5)
    if outputs > 1 and np.prod(shape[axis:]):
        close(made[1], mean)
    if outputs > 2 and np.prod(shape[axis:]):
        close(made[2], r, 1e-5)
    assert all(m.shape == mean.shape for m in made[1:])
    close(run("rms_norm", [axis], arrays, 1, [EPS])[0], x * root * scale + added, 2e-5)


@given(
    st.integers(0, 3),
    st.sampled_from([(1, 1), (1, 4), (2, 6), (3, 3), (0, 4), (70, 140)]),
    st.lists(st.sampled_from([0, 1, 3, 40]), max_size=2),
    st.booleans(),
    seeds,
)
@settings(max_examples=200, deadline=None)
def test_group_and_instance_norm(n, groups, inner, biased, seed):
    rng = np.random.default_rng(seed)
    number, channels = groups
    x = rng.normal(1, 2, (n, channels, *inner)).astype(np.float32)
    scale, bias = rng.normal(0, 1, (2, channels)).astype(np.float32)
    grouped = (
        x.reshape(n, number or channels, channels // (number or channels), -1) if x.size else x
    )
    mean, r, _ = rows(grouped, 2) if x.size else (0, 1, 1)
    by_channel = (channels, *[1] * len(inner))
    want = ((grouped - mean) * r).reshape(x.shape) * scale.reshape(by_channel)
    want = want + (bias.reshape(by_channel) if biased else 0)
    close(
        run("group_norm", [number], [x, scale, bias if biased else None], 1, [EPS])[0], want, 2e-5
    )


def test_bits_do_not_depend_on_the_instruction_set_or_on_threads(rng):
    x = rng.normal(0, 3, (200, 30, 70)).astype(np.float32)
    scale, bias = rng.normal(0, 1, (2, 70)).astype(np.float32)
    calls = [("softmax", [0]), ("softmax", [2]), ("log_softmax", [1]), ("log_softmax", [2])]
    calls += [("layer_norm", [2]), ("rms_norm", [2]), ("group_norm", [5])]
    for name, ints in calls:
        size = 30 if name == "group_norm" else 70
        arrays = [x] if "softmax" in name else [x, scale[:size].copy(), bias[:size].copy()]
        floats = [] if "softmax" in name else [EPS]
        found = {
            run(name, ints, arrays, 1, floats, isa, threads)[0].tobytes()
            for isa in FUSED
            for threads in (1, 3)
        }
        assert len(found) == 1


def test_rows_do_not_depend_on_their_number(rng):
    x = rng.normal(0, 3, (9, 300)).astype(np.float32)
    scale = rng.normal(0, 1, 300).astype(np.float32)
    for name, more, floats in (("softmax", [], []), ("layer_norm", [scale], [EPS])):
        (whole,) = run(name, [1], [x, *more], 1, floats)
        single = [run(name, [1], [row, *more], 1, floats)[0] for row in np.split(x, 9)]
        assert np.concatenate(single).tobytes() == whole.tobytes()
    columns = np.ascontiguousarray(x.T)
    assert run("softmax", [0], [columns])[0].T.tobytes() == run("softmax", [1], [x])[0].tobytes()


@pytest.mark.parametrize(
    ("name", "ints", "affine"),
    [
        ("softmax", [0], 0),
        ("softmax", [1], 0),
        ("log_softmax", [0], 0),
        ("log_softmax", [1], 0),
        ("cumsum", [0, 1, 1], 0),
        ("cumsum", [1, 1, 0], 0),
        ("layer_norm", [1], 90),
        ("rms_norm", [1], 90),
        ("group_norm", [3], 90),
    ],
)
def test_outputs_in_place(name, ints, affine, rng):
    x, scale = rng.normal(0, 1, (40, 90)).astype(np.float32), rng.normal(0, 1, 90)
    scale = scale.astype(np.float32)[: affine or None]
    floats = [EPS] if affine else []
    arrays = [scale] if affine else []
    program = core.Program()
    given_x = program.input(np.float32, 2)
    made = program.step(core.Operator("softmax", [1]), [given_x])[0]
    places = [made, *(program.constant(a) for a in arrays)]
    program.output(
        program.step(
            core.Operator("softmax", [1]),
            program.step(core.Operator(name, ints, floats), places),
        )[0]
    )
    (want,) = run(name, ints, [run("softmax", [1], [x])[0], *arrays], 1, floats)
    (want,) = run("softmax", [1], [want])
    assert program.run([x])[0].tobytes() == want.tobytes()
    assert program.layout((x.shape,)).nbytes < 2 * x.nbytes  # one array between, not two


@pytest.mark.parametrize(
    ("name", "ints", "floats"),
    [
        ("softmax", [], []),
        ("softmax", [0, 1], []),
        ("log_softmax", [], []),
        ("layer_norm", [], [EPS]),
        ("layer_norm", [0], []),
        ("rms_norm", [0], [EPS, EPS]),
        ("group_norm", [-1], [EPS]),
    ],
)
def test_wrong_numbers_are_refused(name, ints, floats):
    with pytest.raises(core.OperatorError, match=f"{name}: {REFUSED}"):
        core.Operator(name, ints, floats)


def test_wrong_arrays_are_refused():
    x, s, i = np.ones((2, 6), np.float32), np.ones(6, np.float32), np.ones((2, 6), np.int64)
    wrong = [
        ("softmax", [2], [x], 1),
        ("softmax", [-3], [x], 1),
        ("softmax", [0], [i], 1),
        ("softmax", [0], [x, x], 1),
        ("softmax", [0], [np.array(1, np.float32)], 1),
        ("log_softmax", [0], [None], 1),
        ("layer_norm", [1], [x], 1),
        ("layer_norm", [1], [x, s[:5]], 1),
        ("layer_norm", [1], [x, s, s[:5]], 1),
        ("layer_norm", [1], [x, s, s, s], 1),
        ("layer_norm", [0], [x, s], 1),
        ("layer_norm", [2], [x, s], 1),
        ("layer_norm", [1], [x, s], 4),
        ("layer_norm", [1], [i, s], 1),
        ("rms_norm", [1], [x, s], 2),
        ("rms_norm", [1], [x, s.astype(np.int64)], 1),
        ("group_norm", [4], [x, s], 1),
        ("group_norm", [7], [x, s], 1),
        ("group_norm", [3], [x, s[:5]], 1),
        ("group_norm", [3], [s, s], 1),
        ("group_norm", [3], [x, s], 2),
    ]
    for name, ints, arrays, outputs in wrong:
        floats = [EPS] if "norm" in name else []
        with pytest.raises(core.OperatorError, match=f"{name}: {REFUSED}"):
            run(name, ints, arrays, outputs, floats)


def test_arrays_of_giant_axes_without_elements():
    x, s = np.empty((2**40, 2**20, 0), np.float32), np.empty(0, np.float32)
    for name in ("layer_norm", "rms_norm"):
        assert run(name, [2], [x, s], 1, [EPS])[0].shape == x.shape
    assert run("softmax", [2], [x])[0].shape == run("softmax", [0], [x])[0].shape == x.shape
