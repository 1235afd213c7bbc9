# SPDX-License-Identifier: MIT
"""NaN and Inf stay where the equations put them: never in another row, never in an earlier step."""

import isas
import numpy as np
import pytest
from cases import CELLS, MAKERS, Case
from conftest import BACKEND, PROMISES

ISAS = isas.FLOATS
POISON = np.array([np.nan, np.inf, -np.inf, -np.nan], np.float32)
PLACEMENTS = 1000


def place(rng, n):
    """A Case, its arrays, the same arrays with one poisoned element, and where that is."""
    case = Case(
        I=int(rng.integers(1, 20)), H=int(rng.integers(1, 36)), L=int(rng.integers(1, 4)),
        D=1 + n % 2, T=int(rng.integers(1, 14)), B=int(rng.integers(1, 19)), state=True, seed=n,
        cell=str(rng.choice(CELLS, p=[0.6, 0.1, 0.1, 0.1, 0.1])),
    )  # fmt: skip
    if case.H > 2 and n % 3 == 0 and case.C:
        case = Case(**{**vars(case), "P": int(rng.integers(1, case.H))})
    x, (h, c), _ = case.call_arrays()
    clean = [x, h, c]
    dirty = [a.copy() for a in clean]
    which = int(rng.choice(3, p=[0.6, 0.2, 0.2] if case.C else [0.8, 0.2, 0.0]))
    at = tuple(int(rng.integers(s)) for s in dirty[which].shape)
    dirty[which][at] = rng.choice(POISON)
    return case, clean, dirty, at[1], at[0] if which == 0 else 0


def test_a_thousand_placements(rng):
    reached = 0
    for n in range(PLACEMENTS):
        case, clean, dirty, row, step = place(rng, n)
        layer = case.layer(ISAS[n % len(ISAS)])
        lengths = None
        if n % 5 == 0:
            lengths = rng.integers(step + 1, case.T + 1, case.B)  # the poisoned step is a real one
        results = []
        for x, h, c in (clean, dirty):
            y, (h, c) = layer(x, (h, c), lengths=lengths)
            results.append((y, h, c))
        (y, h, c), (y_bad, _, c_bad) = results
        others = np.arange(case.B) != row
        for a, b in zip(*results, strict=True):
            assert a[:, others].tobytes() == b[:, others].tobytes(), (n, case, row, step)
        if case.D == 1:
            assert y[:step].tobytes() == y_bad[:step].tobytes(), (n, case, row, step)
        elif case.L == 1:
            R = case.P or case.H
            assert y[:step, :, :R].tobytes() == y_bad[:step, :, :R].tobytes(), (n, case, row, step)
            assert y[step + 1 :, :, R:].tobytes() == y_bad[step + 1 :, :, R:].tobytes() or step == 0
        reached += y.tobytes() != y_bad.tobytes() or c.tobytes() != c_bad.tobytes()
    assert reached >= 0.95 * PLACEMENTS, (
        "the poison hardly ever had an effect: the test shows nothing"
    )


def test_nan_in_padding_reaches_nothing(isa, rng):
    for n in range(50):
        case = Case(I=1 + n % 19, H=1 + n % 34, L=1 + n % 3, D=1 + n % 2, T=9, B=7, seed=n)
        layer = case.layer(isa)
        x, _, _ = case.call_arrays()
        lengths = rng.integers(0, 10, 7)
        dirty = x.copy()
        dirty[np.arange(9)[:, None] >= lengths] = POISON[n % 4]
        for a, b in zip(flat(layer, x, lengths), flat(layer, dirty, lengths), strict=True):
            assert a.tobytes() == b.tobytes(), (isa, case, lengths)


@pytest.mark.parametrize(
    "cell, variant",
    [*((c, v) for c in CELLS for v in ({}, {"clip": 3.0})), ("lstm", {"peepholes": True})],
)
def test_nan_in_the_state_of_a_row_without_steps_reaches_no_gradient(cell, variant, rng):
    """It comes back as that row's last state, and nothing else is made of it."""
    make, options = MAKERS[cell]
    x, lengths = rng.standard_normal((6, 4, 3)).astype(np.float32), np.array([4, 0, 6, 1])
    for D in (1, 2):
        layer = make(3, 5, 2, bidirectional=D == 2, **options, **variant)
        start = [rng.standard_normal(s).astype(np.float32) for s in layer.state_shapes(4)]
        found = []
        for value in (0.25, np.nan):
            for part in start:
                part[:, 1] = value
            y, end, tape = layer.forward_train(x, layer.state_from_parts(start), lengths=lengths)
            ends = layer.state_parts(end)
            for part in ends:
                assert np.array_equal(part[:, 1], np.full((2 * D, 5), value), equal_nan=True)
            up = layer.state_from_parts([np.ones_like(part) for part in ends])
            grads = layer.backward(tape, np.ones_like(y), up)
            found.append([y, grads.x, *grads.params.values(), *layer.state_parts(grads.state)])
        for clean, dirty in zip(*found, strict=True):
            assert np.isfinite(clean).all() and clean.tobytes() == dirty.tobytes()


def flat(layer, x, lengths=None):
    y, (h, c) = layer(x, lengths=lengths)
    return y, h, c


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_reaches_what_it_must(value, isa):
    """As in the equations: NaN in x makes the row's later outputs NaN; Inf saturates the gates."""
    case = Case(I=3, H=20, T=6, B=4, seed=1)
    x, _, _ = case.call_arrays()
    x[2, 1, 0] = value
    y, h, c = flat(case.layer(isa), x)
    if np.isnan(value):
        assert np.isnan(y[2:, 1]).all() and np.isnan(h[:, 1]).all() and np.isnan(c[:, 1]).all()
    else:
        assert np.isfinite(y).all() and np.abs(y).max() <= 1.0
    assert np.isfinite(y[:2]).all() and np.isfinite(np.delete(y, 1, axis=1)).all()


def test_a_stream_is_clean_after_its_row_is_reset(isa):
    case = Case(I=4, H=18, L=2, T=5, B=3, seed=2)
    x, _, _ = case.call_arrays()
    layer = case.layer(isa)
    stream = layer.stream(batch_size=3)
    dirty = x.copy()
    dirty[0, 1] = np.nan
    stream(dirty)
    assert np.isnan(stream.state[0][:, 1]).all()
    stream.reset(rows=[1])
    y = stream(x)
    alone = layer(x[:, 1:2])[0][:, 0]
    if "bits" in PROMISES[BACKEND]:
        assert y[:, 1].tobytes() == alone.tobytes()
    else:
        np.testing.assert_allclose(y[:, 1], alone, rtol=0, atol=2e-6)
