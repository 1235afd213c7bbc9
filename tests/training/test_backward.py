# SPDX-License-Identifier: MIT
"""forward_train and backward of every cell: gradients against float64, and what else they promise.

Relative 1e-5, in float32, of the largest element of each gradient, against torch's float64 autograd
and against central differences of the float64 oracle.
"""

import copy
import dataclasses
import gc
import threading

import gradients
import isas
import numpy as np
import pytest
import torch
from cases import CELLS, Case, cases
from conftest import FULL, fewer
from gradients import train
from hypothesis import assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

import fastlstm

ISAS = isas.FLOATS
AUTOGRAD, DIFFERENCES, THREADS = (500, 60, 200) if FULL else map(fewer, (150, 15, 40))
# Where a layer passes on one number, or few units run for hundreds of steps, a gradient's terms
# may cancel, to where 1e-5 of what is left is beyond float32: rounding the weights' last bit moves
# some by 2e-5. A draw does not count if torch in float32 too misses the same gradient by more than
# this (6e-7 is usual): about one draw in a hundred, of a tanh RNN's 3 of 40, and no more than
# most_beyond says.
BEYOND_FLOAT32 = 1e-6
X_FORMS = ("plain", "strided", "negative", "fortran", "float64", "read-only")


# In CI the draws are those of one seed, so that editing a test does not change which cases it sees.
def fixed_draws(check):
    return check if FULL else seeded(0)(check)


def most_beyond(draws):
    return 2 + draws // 20


def number(cell, n):
    """Configurations of a cell to draw where an LSTM gets n."""
    return n if cell == "lstm" else n // 4


def same_bits(ours, others):
    assert list(ours) == list(others)
    for name in ours:
        assert ours[name].tobytes() == others[name].tobytes(), name


# ---- the numbers ----


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_torchs_in_float64(cell):
    drawn, beyond = 0, 0

    @fixed_draws
    @settings(max_examples=number(cell, AUTOGRAD))
    @given(case=cases(last=False, cell=cell), names=gradients.UPSTREAM)
    def check(case, names):
        nonlocal drawn, beyond
        drawn += 1
        x, state, lengths = case.as_seen()
        reference = None
        for isa in ISAS:
            layer = case.layer(isa)
            outputs, up, ours = train(layer, case, names)
            y, (h, c) = layer(x, state, lengths=lengths)
            for trained, plain in zip(outputs, (y, h, c), strict=True):
                assert trained.tobytes() == plain.tobytes()
            if reference is None:
                reference = gradients.torch_gradients(case, x, state, lengths, up)
            errors = gradients.relative_errors(ours, reference)
            name = max(errors, key=errors.get)
            if errors[name] > 1e-5:
                theirs = gradients.torch_gradients(case, x, state, lengths, up, torch.float32)
                counts = gradients.relative_errors(theirs, reference)[name] <= BEYOND_FLOAT32
                beyond += not counts
                assume(counts)
            gradients.assert_close(ours, reference)

    check()
    print(f"{beyond} of {drawn} draws are beyond float32")
    assert beyond <= most_beyond(drawn)


@st.composite
def small_cases(draw, cell):
    H = draw(st.integers(1, 5))
    return Case(
        I=draw(st.integers(1, 4)),
        H=H,
        L=draw(st.integers(1, 2)),
        D=draw(st.integers(1, 2)),
        P=draw(st.integers(0, H - 1)) if cell == "lstm" else 0,
        T=draw(st.integers(1, 5)),
        B=draw(st.sampled_from((None, 1, 2, 3))),
        bias=cell == "rnn_relu" or draw(st.booleans()),  # no sum at 0, relu's kink
        batch_first=draw(st.booleans()),
        state=cell == "rnn_relu" or draw(st.booleans()),
        lengths="none",
        seed=draw(st.integers(0, 2**32 - 1)),
        cell=cell,
    )


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_finite_differences(cell):
    @settings(max_examples=DIFFERENCES)
    @given(case=small_cases(cell), zeros=st.booleans(), names=gradients.UPSTREAM)
    def check(case, zeros, names):
        finite_differences(case, zeros, names)

    check()


def finite_differences(case, zeros, names):
    if case.B is not None and zeros:
        case = dataclasses.replace(case, lengths="zeros too")
    x, state, lengths = case.as_seen()
    for isa in ISAS:
        _, up, ours = train(case.layer(isa), case, names)
        if isa == ISAS[0]:
            reference = gradients.difference_gradients(case, x, state, lengths, up)
        # the differences themselves are good to 1e-10 of the loss's terms
        for name, want in reference.items():
            limit = 1e-5 * np.abs(want).max(initial=0.0) + 1e-8
            assert np.abs(ours[name] - want).max(initial=0.0) <= limit, name


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before", "rnn_relu"])
def test_a_wrong_gradient_would_be_seen(cell):
    case = Case(I=5, H=7, L=2, D=2, T=6, B=3, cell=cell)
    x, state, lengths = case.as_seen()
    _, up, ours = train(case.layer(), case)
    reference = gradients.torch_gradients(case, x, state, lengths, up)
    for name in ours:
        if not ours[name].size:
            continue  # c, of cells that have none
        wrong = dict(ours)
        wrong[name] = ours[name] * np.float32(1 + 3e-5)
        with pytest.raises(AssertionError, match=name):
            gradients.assert_close(wrong, reference)


@pytest.mark.parametrize("form", X_FORMS)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_upstream_gradients_of_any_layout(cell, form):
    from cases import in_form

    case = Case(I=6, H=9, T=7, B=3, batch_first=form != "plain", lengths="some", cell=cell)
    x, _, lengths = case.as_seen()
    layer = case.layer()
    y, (h, c), tape = layer.forward_train(x, lengths=lengths)
    up = gradients.draw_upstream(case, (y, h, c), ("dy", "dh", "dc"))
    # what stands past the lengths is not looked at
    row = up[0] if case.batch_first else up[0].swapaxes(0, 1)
    plain = gradients.named(layer.backward(tape, up[0], up[1:]))
    for b, n in enumerate(lengths):
        row[b, n:] = np.nan
    formed = [in_form(u, form, case.rng("form")) for u in up]
    if form == "float64":  # not a value that float32 rounds elsewhere
        formed = [u.astype(np.float64) for u in up]
    same_bits(gradients.named(layer.backward(tape, formed[0], formed[1:])), plain)


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_upstream_is_zero(cell):
    P = 2 if cell == "lstm" else 0
    case = Case(I=3, H=5, L=2, D=2, P=P, T=4, B=2, state=True, cell=cell)
    x, state, _ = case.as_seen()
    layer = case.layer()
    *_, tape = layer.forward_train(x, state)
    for gradient in gradients.named(layer.backward(tape)).values():
        assert not gradient.any()


def test_without_the_inputs_gradient_the_rest_is_the_same():
    for D in (1, 2):
        case = Case(I=6, H=9, L=2, D=D, T=7, B=3)
        x, _, _ = case.as_seen()
        layer = case.layer()
        y, _, tape = layer.forward_train(x)
        full = gradients.named(layer.backward(tape, y))
        less = layer.backward(tape, y, input_grad=False)
        assert less.x is None
        full["x"] = None
        for name, gradient in gradients.named(less).items():
            if name != "x":
                assert gradient.tobytes() == full[name].tobytes(), name


def test_an_empty_batch():
    layer = fastlstm.LSTM(3, 4)
    y, (h, c), tape = layer.forward_train(np.zeros((5, 0, 3), np.float32))
    assert y.shape == (5, 0, 4)
    grads = layer.backward(tape, y, (h, c))
    assert grads.x.shape == (5, 0, 3)
    assert grads.state[0].shape == (1, 0, 4)
    assert all(not g.any() for g in grads.params.values())


@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_row(cell):
    case = Case(I=5, H=20, L=2, D=2, T=6, B=9, cell=cell)
    x, _, _ = case.as_seen()
    layer = case.layer()
    y, _, tape = layer.forward_train(x)
    clean = layer.backward(tape, y)
    x[3, 4] = np.nan
    dirty, _, tape = layer.forward_train(x)
    grads = layer.backward(tape, dirty)
    others = np.arange(9) != 4
    assert np.isnan(grads.x[:, 4]).any()
    assert grads.x[:, others].tobytes() == clean.x[:, others].tobytes()


def test_a_huge_gradient_is_not_lost_and_a_vanished_one_costs_nothing():
    case = Case(I=4, H=16, T=200, B=2, scale=0.1)
    x, _, _ = case.as_seen()
    layer = case.layer()
    _, (h, _), tape = layer.forward_train(x)
    dh = np.full_like(h, 1e20)
    grads = layer.backward(tape, None, (dh, None))
    reference = gradients.torch_gradients(case, x, None, None, (None, dh, None))
    gradients.assert_close(gradients.named(grads), reference)
    grads = layer.backward(tape, None, (np.full_like(h, 1e-30), None))
    tiny = np.abs(grads.x)
    assert not ((tiny > 0) & (tiny < 2.0**-126)).any()


# ---- the bits ----


@pytest.mark.parametrize("cell", CELLS)
def test_same_bits_for_any_number_of_threads(cell):
    @settings(max_examples=number(cell, THREADS))
    @given(case=cases(last=False, cell=cell), dropout=st.sampled_from((0.0, 0.0, 0.4)))
    def check(case, dropout):
        layer = case.layer(dropout=dropout)
        first, _, one = train(layer, case, num_threads=1, seed=7)
        for threads in (2, 3, 5, 8, 16):
            outputs, _, many = train(layer, case, num_threads=threads, seed=7)
            for a, b in zip(first, outputs, strict=True):
                assert a.tobytes() == b.tobytes()
            same_bits(one, many)

    check()


@pytest.mark.parametrize(
    "case",
    [
        Case(I=40, H=64, L=3, T=60, B=37, lengths="some"),
        Case(I=40, H=48, L=2, D=2, T=50, B=70, lengths="zeros too"),
        Case(I=64, H=130, L=1, T=90, B=1),
        Case(I=40, H=64, L=2, D=2, P=30, T=40, B=33, lengths="some"),
        Case(I=40, H=70, L=2, D=2, T=40, B=33, lengths="some", cell="gru"),
        Case(I=40, H=70, L=2, D=2, T=40, B=33, lengths="some", cell="gru_before"),
        Case(I=40, H=200, L=2, T=60, B=33, cell="rnn_tanh"),
    ],
    ids=Case.name,
)
def test_same_bits_with_work_for_many_threads(case):
    layer = case.layer()
    _, _, one = train(layer, case, num_threads=1)
    for threads in (*range(2, 17), *(2, 3, 4) * 3):
        same_bits(one, train(layer, case, num_threads=threads)[2])


def test_one_tape_serves_many_threads_at_once():
    case = Case(I=20, H=40, L=2, D=2, T=30, B=17, lengths="some")
    x, _, lengths = case.as_seen()
    layer = case.layer()
    y, _, tape = layer.forward_train(x, lengths=lengths)
    want = gradients.named(layer.backward(tape, y))
    fresh = copy.deepcopy(layer)  # its first backward packs, in all threads at once
    y, _, tape = fresh.forward_train(x, lengths=lengths)
    found = []

    def run():
        for _ in range(5):
            found.append(gradients.named(fresh.backward(tape, y, num_threads=2)))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 30
    for each in found:
        same_bits(want, each)


def test_the_tape_is_its_own():
    """Neither the caller's x nor the y it was given may change what backward sees."""
    case = Case(I=6, H=9, L=2, T=7, B=3)
    x, _, _ = case.as_seen()
    layer = case.layer()
    y, _, tape = layer.forward_train(x)
    dy = np.ones_like(y)
    want = gradients.named(layer.backward(tape, dy))
    x[...] = np.nan
    y[...] = np.nan
    same_bits(want, gradients.named(layer.backward(tape, dy)))


def test_nothing_is_kept_in_a_cycle():
    """Packed weights and tapes go when the last name for them goes, not at a later collection."""

    def alive():
        return sum(type(o).__name__ in ("Net", "BackwardWeights", "Tape") for o in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        layer = fastlstm.LSTM(3, 4)
        y, _, tape = layer.forward_train(np.zeros((5, 2, 3), np.float32))
        layer.backward(tape, y)
        assert alive() >= before + 3
        del layer, tape
        assert alive() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("cell, n", [("lstm", 5), ("gru", 4), ("gru_before", 4), ("rnn_relu", 0)])
def test_nbytes_is_what_the_class_says(cell, n):
    if fastlstm.engine.NAME != "c" and cell in ("gru_before", "rnn_relu"):
        pytest.skip(
            "the C core's layout; Numba's and NumPy's tapes keep the activations themselves"
        )
    for D, dropout in ((1, 0.0), (2, 0.0), (2, 0.5)):
        I, H, L, T, B = 32, 64, 3, 50, 20
        layer = Case(I=I, H=H, L=L, D=D, cell=cell).layer(dropout=dropout)
        *_, tape = layer.forward_train(np.zeros((T, B, I), np.float32))
        S = T * B
        words = S * D * L * n * H + T * B * (I + L * D * H)
        words += T * B * (L - 1) * D * H if dropout else 0
        assert 4 * words <= tape.nbytes <= 4 * words * 1.05 + 4096
    assert "bytes" in repr(tape)


# ---- invalid use ----


def test_tapes_of_others_are_refused():
    case = Case(I=4, H=5, T=3, B=2)
    x, _, _ = case.as_seen()
    layer, twin = case.layer(), case.layer()
    y, _, tape = layer.forward_train(x)
    with pytest.raises(ValueError, match="another layer, or"):
        twin.backward(tape, y)
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match="before load_state_dict"):
        layer.backward(tape, y)
    for wrong in (None, 3, y, tape._kept, "tape"):
        with pytest.raises(TypeError, match="forward_train"):
            layer.backward(wrong, y)


@pytest.mark.parametrize("batched", [True, False])
def test_upstream_gradients_of_other_shapes_are_refused(batched):
    case = Case(I=4, H=5, T=3, B=2 if batched else None)
    x, _, _ = case.as_seen()
    layer = case.layer()
    y, (h, c), tape = layer.forward_train(x)
    good = layer.backward(tape, y, (h, c))
    for dy in (y[:-1], y[..., :-1], y[None], np.zeros(3), 1.0):
        with pytest.raises(ValueError, match="Expected dy of shape"):
            layer.backward(tape, dy)
    for dstate in ((h[..., 1:], c), (h, c[:0]), (h, np.zeros((7, 7)))):
        with pytest.raises(ValueError, match=r"Expected dstate\[\d\] of shape"):
            layer.backward(tape, y, dstate)
    for dstate in (h, (h,), (h, c, c), 5, "hc"):
        with pytest.raises(TypeError, match="dstate must be a pair"):
            layer.backward(tape, y, dstate)
    with pytest.raises(TypeError, match="dy"):
        layer.backward(tape, y.astype(complex))
    for seed, error in ((-1, ValueError), (2**64, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="seed"):
            layer.forward_train(x, seed=seed)
    again = layer.backward(tape, y, (h, c))
    same_bits(gradients.named(good), gradients.named(again))


def test_forward_train_refuses_what_a_call_refuses():
    layer = fastlstm.LSTM(4, 5)
    x = np.zeros((3, 2, 4), np.float32)
    for args, options in (
        ((x[..., 1:],), {}),
        ((x[:0],), {}),
        ((x, (x, x)), {}),
        ((x,), {"lengths": [1, 9]}),
        (("x",), {}),
        ((x,), {"num_threads": 0}),
    ):
        with pytest.raises((ValueError, TypeError)) as plain:
            layer(*args, **options)
        with pytest.raises(plain.type) as trained:
            layer.forward_train(*args, **options)
        assert str(trained.value) == str(plain.value)


@pytest.mark.parametrize("cell", CELLS)
def test_no_memory_leaves_all_as_it_was(cell):
    P = 3 if cell == "lstm" else 0
    case = Case(I=4, H=9, L=2, D=2, P=P, T=6, B=3, cell=cell)
    x, _, _ = case.as_seen()
    layer = case.layer()
    y, _, tape = layer.forward_train(x)
    want = None
    backend = fastlstm.engine.backend
    if not hasattr(backend, "fail_allocations"):
        pytest.skip("the C core's allocator is the one that can be made to fail")
    fail = backend.fail_allocations
    failed = 0
    for n in range(20):
        fail(n)
        try:
            y, _, tape = layer.forward_train(x)
            grads = layer.backward(tape, y)
        except MemoryError:
            failed += 1
        else:
            break
        finally:
            fail(-1)
        y, _, tape = layer.forward_train(x)
        got = gradients.named(layer.backward(tape, y))
        want = want or got
        same_bits(got, want)
    assert failed >= 3
    same_bits(gradients.named(grads), want)
