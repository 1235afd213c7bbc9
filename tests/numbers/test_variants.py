# SPDX-License-Identifier: MIT
"""Other activations, clip, coupled gates, peepholes, a reverse direction: the equations, gradients
and bits of the C core's variants. Their own functions are held to float64 one by one."""

import copy
import pickle

import isas
import numpy as np
import pytest
import variant_cases
import variant_oracle
from conftest import FULL
from gradients import assert_close, relative_errors
from hypothesis import given, settings
from hypothesis import strategies as st
from variant_cases import KINDS, drawn, engine_results, oracle_results, torch_results

import fastlstm
from fastlstm.variants import DEFAULTS, Activation

ISAS = isas.FLOATS
FUSED = [name for name in ISAS if name != "generic"]
COUNT = 600 if FULL else 90
LIMIT = 50  # activations without bounds may let values, and with them rounding, explode


def bits(arrays):
    return [np.asarray(a).tobytes() for a in arrays]


def outputs(layer, case, **options):
    y, end = layer(case.x, case.given(), lengths=case.lengths, **options)
    return [y, *(end if case.kind == "LSTM" else (end,))]


def small(case):
    with np.errstate(all="ignore"):
        want, grads = torch_results(case)
    values = [*want, *grads.values()]
    ok = all(np.isfinite(v).all() and np.abs(v).max(initial=0) < LIMIT for v in values)
    return want, grads, ok


# ---- the functions


def points(rng):
    grid = np.concatenate([np.linspace(-30, 30, 60_001), np.linspace(-120, 120, 24_001)])
    near = rng.standard_normal(10_000) * 10.0 ** rng.integers(-12, 1, 10_000)
    return np.concatenate([grid, near, [0.0]]).astype(np.float32)


@pytest.mark.needs("c")
@pytest.mark.parametrize("name", DEFAULTS)
def test_functions_and_slopes(rng, name):
    """Values within 1.5e-7, slopes within 6e-7, of 1 + |value|, gelu's within 1.5e-7 where backward
    takes it from a series; fused sets have the same bits."""
    from fastlstm.engine.c import _core

    for _ in range(4):
        one = variant_cases.activation(rng, (name,))
        x = points(rng)
        x = x[x < 88] if name == "exponential" else x
        exact = variant_oracle.FUNCTIONS[name](x.astype(np.float64), one)
        # where float32 and float64 see x on the same side of a corner, whatever alpha is
        corners = {"thresholded_relu": [one.alpha], "hard_sigmoid": [0, 1]}.get(name, [0])
        seen = one.alpha * np.float64(x) + one.beta if name == "hard_sigmoid" else np.float64(x)
        sure = np.min([np.abs(seen - np.float32(c or 0)) for c in corners], axis=0) > 1e-4
        smooth = name not in ("relu", "leaky_relu", "elu", "selu", "softsign")
        sure |= smooth and name not in ("thresholded_relu", "hard_sigmoid")
        step = 1e-6
        with np.errstate(over="ignore"):
            both = [variant_oracle.FUNCTIONS[name](np.float64(x) + s * step, one) for s in (1, -1)]
        slope = (both[0] - both[1]) / (2 * step)
        results = {isa: _core.activate(one, x, isa) for isa in ISAS}
        for isa, (y, d) in results.items():
            scale = 1 + np.abs(exact)
            assert (np.abs(y - exact) / scale)[sure].max() <= 1.5e-7, isa
            assert (np.abs(d - slope) / (1 + np.abs(slope)))[sure].max() <= 6e-7, isa
            near = (np.abs(x) <= 1) & (name == "gelu")
            assert np.abs(d - slope)[near].max(initial=0) <= 1.5e-7, isa
            assert isa not in FUSED or bits((y, d)) == bits(results[FUSED[0]])


@pytest.mark.needs("c")
@pytest.mark.parametrize("name", DEFAULTS)
def test_functions_at_the_edges(isa, name):
    from fastlstm.engine.c import _core

    one = Activation(name).spelled_out
    y, _ = _core.activate(one, np.array([np.nan, -np.nan], np.float32), isa)
    assert np.isnan(y).all()
    x = np.array([-np.inf, np.inf, -3.4e38, 3.4e38], np.float32)
    with np.errstate(all="ignore"):
        exact = variant_oracle.FUNCTIONS[name](x.astype(np.float64), one).astype(np.float32)
    y, _ = _core.activate(one, x, isa)
    finite = np.isfinite(exact)
    assert np.allclose(y[finite], exact[finite], rtol=1e-6)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(np.isposinf(y), np.isposinf(exact))


# ---- against float64


def compare(case, isa, reference):
    want, grads = reference
    got, ours = engine_results(case, case.layer(isa))
    for a, b in zip(got, want, strict=True):
        assert np.abs(a - b).max(initial=0) <= 2e-6 * (1 + np.abs(b).max(initial=0))
    assert_close(ours, {name: grads[name] for name in ours})


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients(kind):
    """Forward 2e-6, every gradient 1e-5 of its largest element; torch's own float32 may miss that
    on a few draws, whose gradients have cancelled: those are left out."""
    done = left = 0
    for seed in range(COUNT):
        case = drawn(seed, kind)
        want, grads, ok = small(case)
        if not ok:
            continue
        plain = torch_results(case, np.float32)[1]
        if max(relative_errors(plain, grads).values()) > 5e-6:
            left += 1
            continue
        compare(case, ISAS[seed % len(ISAS)], (want, grads))
        if not case.P:
            for a, b in zip(want, oracle_results(case), strict=False):
                assert np.allclose(a, b, rtol=1e-9, atol=1e-9)
        done += 1
    assert done >= 0.7 * COUNT and left <= 0.15 * COUNT, (done, left)


def test_terms_of_gelu_that_cancel(isa):
    """Two terms 80 times as large as their sum: what backward takes for gelu and its slope must be
    right to half a unit in the last place or so."""
    case = drawn(96, "LSTM")
    compare(case, isa, torch_results(case))


@settings(max_examples=200 if FULL else 40)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS), data=st.data())
def test_drawn_shapes_and_variants(seed, kind, data):
    case = drawn(seed, kind, wide=data.draw(st.sampled_from((3, 20, 70))), steps=20, batch=30)
    want, _, ok = small(case)
    if ok:
        for isa in ISAS:
            got = outputs(case.layer(isa), case)
            for a, b in zip(got, want, strict=True):
                assert np.abs(a - b).max(initial=0) <= 2e-6 * (1 + np.abs(b).max(initial=0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DEFAULTS)
def test_every_activation_everywhere(kind, name):
    """In every place of every cell, one at a time."""
    places = len(fastlstm.variants.USUAL[kind])
    rng = np.random.default_rng(places)
    one = variant_cases.activation(rng, (name,))
    for place in range(places):
        for reset in (True, False) if kind == "GRU" else (True,):
            usual = list(fastlstm.variants.USUAL[kind])
            usual[place] = one
            for seed in range(20):
                case = drawn(seed, kind, L=1, D=1, P=0, T=4, activations=(tuple(usual),))
                case.reset_after = reset
                want, grads, ok = small(case)
                if ok:
                    break
            compare(case, None, (want, grads))


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_outside_the_clip_are_zero(kind):
    case = drawn(5, kind, L=1, D=1, P=0, clip=1e-3)
    _, ours = engine_results(case)
    _, grads = torch_results(case)
    assert_close(ours, {name: grads[name] for name in ours})
    assert (ours["weight_ih_l0"] == 0).mean() > 0.9


def test_input_forget_leaves_f_alone():
    case = drawn(8, "LSTM", L=1, D=1, P=0, input_forget=True, peepholes=True)
    _, grads = engine_results(case)
    H = case.H
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "peephole_l0"):
        assert not grads[name][H : 2 * H].any(), name
        assert grads[name][2 * H :].any(), name
    other = copy.deepcopy(case.weights)
    other["weight_ih_l0"][H : 2 * H] += 1
    layer = case.layer()
    y = layer(case.x)[0].tobytes()
    layer.load_state_dict(other)
    assert layer(case.x)[0].tobytes() == y


# ---- the bits


@pytest.mark.needs("bits")
def test_bits_of_instruction_sets():
    for seed in range(COUNT):
        case = drawn(seed, wide=70, batch=20)
        reference = None
        for isa in FUSED:
            got = bits(outputs(case.layer(isa), case))
            reference = reference or got
            assert got == reference, (seed, isa)


@pytest.mark.needs("bits")
def test_bits_of_splits():
    """Batches, time in pieces, streams and padding, as for the usual cells."""
    for seed in range(COUNT):
        case = drawn(seed, D=1, reverse=False)
        layer, time, row = case.layer(), (1, 0)[not case.batch_first], (0, 1)[not case.batch_first]
        case.lengths = None
        y, *end = outputs(layer, case)
        again = engine_results(case, layer)[0]
        assert bits([y, *end]) == bits(again), seed
        for b in range(case.B):
            cut = [slice(None)] * 3
            cut[row] = slice(b, b + 1)
            state = None
            if case.state is not None:
                state = tuple(s[:, b : b + 1] for s in case.state)
                state = state if case.kind == "LSTM" else state[0]
            assert layer(case.x[tuple(cut)], state)[0].tobytes() == y[tuple(cut)].tobytes(), seed
        stream = layer.stream(case.B)
        if case.state is not None:
            stream.state = case.given()
        middle = case.T // 2
        for t in range(middle):
            assert stream.step(case.x.take(t, time)).tobytes() == y.take(t, time).tobytes(), seed
        rest = np.moveaxis(np.moveaxis(case.x, time, 0)[middle:], 0, time)
        if middle < case.T:
            got = stream(rest)
            assert np.moveaxis(got, time, 0).tobytes() == np.moveaxis(y, time, 0)[middle:].tobytes()
        state = stream.state if case.kind == "LSTM" else (stream.state,)
        assert bits(state) == bits(end), seed


@pytest.mark.needs("bits")
def test_bits_of_lengths():
    """A padded row is the row alone, in every direction."""
    for seed in range(COUNT):
        case = drawn(seed)
        layer, rng = case.layer(), np.random.default_rng(seed)
        case.lengths = rng.integers(0, case.T + 1, case.B)
        y, *end = outputs(layer, case)
        for b, n in enumerate(case.lengths):
            cut = (b, slice(0, n)) if case.batch_first else (slice(0, n), b)
            alone = None
            if case.state is not None:
                alone = tuple(s[:, b] for s in case.state)
                alone = alone if case.kind == "LSTM" else alone[0]
            if n:
                got, last = layer(case.x[cut], alone)
                last = last if case.kind == "LSTM" else (last,)
                assert got.tobytes() == y[cut].tobytes(), seed
                assert bits(last) == bits([e[:, b] for e in end]), seed
            past = (b, slice(n, None)) if case.batch_first else (slice(n, None), b)
            assert not y[past].any()


@pytest.mark.needs("bits")
@pytest.mark.parametrize("kind", KINDS)
def test_bits_of_threads(kind):
    """Forward and backward, large enough for threads: grids of tiles, and rows of split units."""
    shapes = (
        {"I": 40, "H": 70, "L": 2, "D": 2, "T": 30, "B": 40},
        {"I": 64, "H": 400, "L": 1, "D": 1, "T": 40, "B": 1},
        {"I": 30, "H": 90, "L": 3, "D": 1, "T": 60, "B": 24},
    )
    for n, shape in enumerate(shapes):
        reverse = shape["D"] == 1 and n == 1
        case = drawn(20 + n, kind, P=0, **shape, reverse=reverse)
        layer = case.layer()
        results = None
        for threads in (1, 2, 3, 4, 7, 16):
            got, grads = engine_results(case, layer, num_threads=threads)
            found = bits([*got, *grads.values(), *outputs(layer, case, num_threads=threads)])
            results = results or found
            assert found == results, (kind, shape, threads)


def test_units_of_the_padding_stay_out():
    """Of 3 units a vector has 5 or 13 more, whose c would grow 1.5 times a step here."""
    gate, candidate = Activation("affine", 0.1, 1.5), Activation("affine", 1.0, 1.0)
    layer = fastlstm.LSTM(2, 3, activations=(gate, candidate, "tanh"))
    weights = layer.state_dict()
    weights["bias_ih_l0"][:] = -14
    weights["bias_hh_l0"][:] = 0
    layer.load_state_dict(weights)
    y, _, tape = layer.forward_train(np.zeros((400, 1, 2)))
    grads = layer.backward(tape, np.ones_like(y))
    assert all(np.isfinite(array).all() for array in (y, grads.x, *grads.params.values()))


# ---- what layers promise


@pytest.mark.needs("bits")
def test_checkpoints(rng):
    for seed in range(COUNT // 2):
        case = drawn(seed, dropout=0.3 if seed % 3 else 0.0)
        layer = case.layer()
        whole = engine_results(case, layer, seed=seed)
        for k in (1, 3, True):
            got, grads = engine_results(case, layer, seed=seed, checkpoint=k)
            assert bits(got) == bits(whole[0]), (seed, k)
            for name, want in whole[1].items():
                finite = np.isfinite(want)  # steep draws overflow: in the same elements
                assert np.array_equal(np.isfinite(grads[name]), finite), (seed, k, name)
                limit = 2e-5 * np.abs(want[finite]).max(initial=0) + 1e-6
                error = np.abs(grads[name][finite] - want[finite]).max(initial=0)
                assert error <= limit, (seed, k, name)


def test_copies_pickles_files(tmp_path):
    for seed in range(30):
        case = drawn(seed)
        layer = case.layer()
        if seed % 2:
            tracks = case.L * case.D
            state = [np.full((tracks, 1, n), 0.25) for n in (case.P or case.H, case.H)]
            layer.initial_state = tuple(state) if case.kind == "LSTM" else state[0]
        layer.save(tmp_path / "layer.safetensors")
        others = [
            copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)),
            fastlstm.load(tmp_path / "layer.safetensors"),
        ]  # fmt: skip
        for other in others:
            assert repr(other) == repr(layer)
            assert list(other.state_dict()) == list(layer.state_dict())
            assert other(case.x)[0].tobytes() == layer(case.x)[0].tobytes(), (seed, layer)


def test_from_state_dict():
    case = drawn(
        1, "LSTM", D=2, peepholes=True,
        activations=((Activation("softsign"),) * 3, (fastlstm.variants.RELU,) * 3),
    )  # fmt: skip
    options = {k: v for k, v in case.options.items() if k != "peepholes"}
    made = fastlstm.LSTM.from_state_dict(
        {f"a.{k}": v for k, v in case.weights.items()}, "a", case.batch_first, **options
    )  # fmt: skip
    assert made.peepholes and repr(made) == repr(case.layer())
    assert bits(outputs(made, case)) == bits(outputs(case.layer(), case))


def test_initial_state(rng):
    layer = fastlstm.LSTM(3, 5, num_layers=2, clip=2.0)
    h, c = (rng.standard_normal((2, 1, 5)).astype(np.float32) for _ in range(2))
    x = rng.standard_normal((6, 4, 3)).astype(np.float32)
    given = tuple(np.repeat(s, 4, 1) for s in (h, c))
    want = layer(x, given)[0]
    assert layer.initial_state is None
    layer.initial_state = h, c
    assert layer(x)[0].tobytes() == want.tobytes()
    assert layer(x, lengths=[6] * 4)[0].tobytes() == want.tobytes()
    assert layer.forward_train(x)[0].tobytes() == want.tobytes()
    assert layer(x, tuple(np.zeros_like(s) for s in given))[0].tobytes() != want.tobytes()
    stream = layer.stream(4)
    assert stream(x).tobytes() == want.tobytes()
    stream.reset()
    assert stream(x).tobytes() == want.tobytes()
    layer.initial_state = given
    assert layer(x)[0].tobytes() == want.tobytes()
    with pytest.raises(ValueError, match="initial_state is for 4 rows, the input has 3"):
        layer(x[:, :3])
    with pytest.raises(ValueError, match=r"\(2, 1, 7\)"):
        layer.initial_state = h, np.zeros((2, 1, 7))
    layer.initial_state = None
    assert layer(x)[0].tobytes() == layer(x, tuple(np.zeros_like(s) for s in given))[0].tobytes()


def test_reverse_is_the_second_direction(rng):
    two = fastlstm.LSTM(4, 6, bidirectional=True)
    weights = {k.removesuffix("_reverse"): v for k, v in two.state_dict().items() if "rev" in k}
    one = fastlstm.LSTM.from_state_dict(weights, reverse=True)
    x = rng.standard_normal((7, 5, 4)).astype(np.float32)
    lengths = [7, 0, 3, 5, 1]
    (y, (h, c)), (y1, (h1, c1)) = two(x, lengths=lengths), one(x, lengths=lengths)
    assert bits([y[..., 6:], h[1:], c[1:]]) == bits([y1, h1, c1])
    with pytest.raises(ValueError, match="a reverse layer cannot stream"):
        one.stream()


def test_processing_order(rng):
    """y[0] belongs to each row's last step; gradients follow."""
    case = drawn(2, "GRU", L=1, D=1, T=6, B=4, reverse=True)
    case.lengths = np.array([4, 6, 0, 3])
    layer = case.layer()
    by_time, grads = engine_results(case, layer)
    layer.output_order = "processing"
    y = by_time[0].swapaxes(0, 1) if case.batch_first else by_time[0]
    up = case.upstream[0].swapaxes(0, 1) if case.batch_first else case.upstream[0]
    n = np.full(case.B, case.T) if case.lengths is None else case.lengths
    want, dy = y.copy(), up.copy()
    for b in range(case.B):
        want[: n[b], b], dy[: n[b], b] = y[: n[b], b][::-1], up[: n[b], b][::-1]
    turned = outputs(layer, case)[0]
    turned = turned.swapaxes(0, 1) if case.batch_first else turned
    assert turned.tobytes() == want.tobytes()
    case.upstream[0] = dy.swapaxes(0, 1) if case.batch_first else dy
    _, again = engine_results(case, layer)
    assert bits(again.values()) == bits(grads.values())


@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_in_its_row(kind):
    poison = np.array([np.nan, np.inf, -np.inf], np.float32)
    for seed in range(COUNT * 2):
        case = drawn(seed, kind, batch=19)
        rng = np.random.default_rng(seed)
        clean = outputs(case.layer(), case)
        b, t = int(rng.integers(case.B)), int(rng.integers(case.T))
        at = (b, t) if case.batch_first else (t, b)
        case.x[(*at, int(rng.integers(case.I)))] = rng.choice(poison)
        with np.errstate(all="ignore"):
            dirty = outputs(case.layer(), case)
        others = np.arange(case.B) != b
        for k, (one, two) in enumerate(zip(clean, dirty, strict=True)):
            axis = 0 if k == 0 and case.batch_first else 1
            rows = [np.compress(others, a, axis).tobytes() for a in (one, two)]
            assert rows[0] == rows[1], (seed, b)
        if case.D == 1 and not case.options.get("reverse"):
            early = (b, slice(0, t)) if case.batch_first else (slice(0, t), b)
            assert clean[0][early].tobytes() == dirty[0][early].tobytes(), seed
