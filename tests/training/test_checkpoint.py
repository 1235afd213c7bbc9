# SPDX-License-Identifier: MIT
"""forward_train(checkpoint=): the same results from less memory."""

import dataclasses
import math
import subprocess
import sys

import gradients
import numpy as np
import pytest
from cases import CELLS, Case, cases
from conftest import FULL, fewer, not_with_asan
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_memory import MIB, PEAK_OF, needs_proc

import fastlstm

CASES, THREADS = (300, 60) if FULL else map(fewer, (80, 10))
SHORT = 40  # as in test_backward.py
STEPS = st.one_of(st.just(True), st.integers(1, 12), st.integers(1, 300))


def train(layer, case, checkpoint=None, up=None, **options):
    x, state, lengths = case.call_arrays()
    y, (h, c), tape = layer.forward_train(
        x, state, lengths=lengths, seed=11, checkpoint=checkpoint, **options
    )
    up = up or gradients.draw_upstream(case, (y, h, c), ("dy", "dh", "dc"))
    return (y, h, c), up, gradients.named(layer.backward(tape, up[0], up[1:], **options)), tape


def same(ours, others):
    for a, b in zip(ours, others, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.needs("sums")
@settings(max_examples=CASES)
@given(
    case=st.sampled_from(("lstm", *CELLS)).flatmap(
        lambda cell: cases(last=False, lengths=("none", "some", "zeros too"), cell=cell)
    ),
    k=STEPS,
    dropout=st.sampled_from((0.0, 0.4)),
)
def test_results_are_the_whole_tapes(case, k, dropout):
    """y and the states to the bit; gradients to 1e-5, the bound on what each is off itself."""
    if case.H < 4:
        case = dataclasses.replace(case, T=min(case.T, SHORT))
    layer = case.layer(dropout=dropout)
    whole, up, want, _ = train(layer, case)
    parts, _, got, _ = train(layer, case, k, up)
    same(whole, parts)
    gradients.assert_close(got, want)


@pytest.mark.needs("bits")
def test_how_closely():
    """Gradients of ordinary sizes differ by at most 2e-6 of each one's largest element; y and the
    states not at all, so dropout's masks are those of the whole sequence."""
    for D, P, lengths in ((1, 0, "none"), (2, 0, "some"), (1, 20, "some"), (2, 20, "none")):
        case = Case(I=24, H=40, L=3, D=D, P=P, T=70, B=6, state=True, lengths=lengths)
        layer = case.layer(dropout=0.2)
        whole, up, want, _ = train(layer, case)
        for k in (1, 7, 8, 69, True):
            parts, _, got, _ = train(layer, case, k, up)
            same(whole, parts)
            gradients.assert_close(got, want, 2e-6)


@pytest.mark.parametrize("D", [1, 2])
def test_one_segment_is_the_whole_tape(D):
    if fastlstm.engine.NAME != "c":
        pytest.skip("the bits of gradients are promised by the C core alone")
    case = Case(I=6, H=9, L=1, D=D, T=12, B=3, state=True, lengths="some")
    layer = case.layer()
    _, up, want, _ = train(layer, case)
    for k in (12, 13, 10**6):
        same(want.values(), train(layer, case, k, up)[2].values())


def test_against_float64():
    case = Case(I=5, H=12, L=2, D=2, T=40, B=3, state=True, lengths="some")
    x, state, lengths = case.as_seen()
    _, up, got, _ = train(case.layer(), case, 7)
    gradients.assert_close(got, gradients.torch_gradients(case, x, state, lengths, up))


@settings(max_examples=THREADS)
@given(case=cases(last=False), k=STEPS)
def test_threads_do_not_change_bits(case, k):
    layer = case.layer()
    outs, up, one, _ = train(layer, case, k, num_threads=1)
    for threads in (2, 3, 8):
        outs_n, _, many, _ = train(layer, case, k, up, num_threads=threads)
        same(outs, outs_n)
        same(one.values(), many.values())


def test_threads_do_not_change_bits_with_work_for_all():
    for D in (1, 2):
        case = Case(I=40, H=64, L=2, D=D, T=60, B=37, lengths="some")
        layer = case.layer()
        _, up, one, _ = train(layer, case, 16, num_threads=1)
        for threads in (2, 3, 4, 8):
            same(one.values(), train(layer, case, 16, up, num_threads=threads)[2].values())


@pytest.mark.parametrize("D", [1, 2])
def test_the_tape_is_its_own(D):
    case = Case(I=6, H=9, L=2, D=D, T=11, B=3, state=True, lengths="some")
    x, (h0, c0), lengths = case.as_seen()
    layer = case.layer()
    y, _, tape = layer.forward_train(x, (h0, c0), lengths=lengths, checkpoint=3)
    dy = np.ones_like(y)
    want = gradients.named(layer.backward(tape, dy))
    for array in (x, h0, c0, y):
        array[...] = np.nan
    lengths[...] = 1
    same(want.values(), gradients.named(layer.backward(tape, dy)).values())


def test_without_the_inputs_gradient():
    for D in (1, 2):
        case = Case(I=6, H=9, L=2, D=D, T=11, B=3)
        x, _, _ = case.as_seen()
        layer = case.layer()
        y, _, tape = layer.forward_train(x, checkpoint=4)
        full, less = layer.backward(tape, y), layer.backward(tape, y, input_grad=False)
        assert less.x is None
        same(full.params.values(), less.params.values())
        nothing = layer.backward(tape)
        assert not any(g.any() for g in gradients.named(nothing).values())


def test_invalid_use():
    layer = fastlstm.LSTM(4, 5)
    x = np.zeros((9, 2, 4), np.float32)
    for wrong, error in ((0, ValueError), (-3, ValueError), (2.0, TypeError), ("9", TypeError)):
        with pytest.raises(error, match="checkpoint"):
            layer.forward_train(x, checkpoint=wrong)
    y, _, tape = layer.forward_train(x, checkpoint=3)
    with pytest.raises(ValueError, match="Expected dy of shape"):
        layer.backward(tape, y[1:])
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match="before load_state_dict"):
        layer.backward(tape, y)
    none = np.zeros((9, 0, 4), np.float32)
    y, _, tape = layer.forward_train(none, checkpoint=3)
    assert layer.backward(tape, y).x.shape == none.shape


def test_tapes_of_others_are_refused():
    """A tape serves the layer that made it, and is looked at before anything of its size is: also a
    twin with the same weights, a layer of other sizes, another cell, another form of tape."""
    x = np.zeros((9, 2, 4), np.float32)
    for two in (False, True):
        layer = fastlstm.LSTM(4, 5, 2, bidirectional=two)
        others = [
            fastlstm.LSTM.from_state_dict(layer.state_dict()),
            fastlstm.LSTM(4, 5, 2, bidirectional=not two),
            fastlstm.LSTM(4, 500),
            fastlstm.LSTM(4, 5, 2, bidirectional=two, proj_size=3),
            fastlstm.GRU(4, 5, 2, bidirectional=two),
        ]
        for k in (None, 3):
            y, _, tape = layer.forward_train(x, checkpoint=k)
            want = gradients.named(layer.backward(tape, y))
            for other in others:
                other_y, _, its_own = other.forward_train(x, checkpoint=k)
                with pytest.raises(ValueError, match="another layer, or"):
                    other.backward(tape, y)
                with pytest.raises(ValueError, match="another layer, or"):
                    layer.backward(its_own, other_y)
            for wrong in (tape._kept, None, k):
                with pytest.raises(TypeError, match="forward_train"):
                    layer.backward(wrong, y)
            same(want.values(), gradients.named(layer.backward(tape, y)).values())


@pytest.mark.parametrize("D", [1, 2])
def test_no_memory_leaves_all_as_it_was(D):
    case = Case(I=4, H=9, L=2, D=D, P=3, T=12, B=3)
    layer = case.layer()
    _, up, want, _ = train(layer, case, 5)
    backend = fastlstm.engine.backend
    if not hasattr(backend, "fail_allocations"):
        pytest.skip("the C core's allocator is the one that can be made to fail")
    fail, failed = backend.fail_allocations, 0
    for n in range(60):
        fail(n)
        try:
            got = train(layer, case, 5, up)[2]
        except MemoryError:
            failed += 1
        else:
            break
        finally:
            fail(-1)
        same(want.values(), train(layer, case, 5, up)[2].values())
    assert failed >= 3
    same(want.values(), got.values())


# ---- memory ----


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("D, P", [(1, 0), (2, 0), (1, 20), (2, 20)])
def test_nbytes_is_what_the_class_says(D, P, state):
    I, H, L, T, B = 16, 64, 3, 1000, 4
    layer = fastlstm.LSTM(I, H, L, bidirectional=D == 2, proj_size=P)
    K, tracks = P or H, L * D
    x = np.zeros((T, B, I), np.float32)
    given_state = (np.zeros((tracks, B, K)), np.zeros((tracks, B, H))) if state else None
    for k, steps in ((10, 10), (True, 32), (1000, 1000), (5000, 1000)):
        *_, tape = layer.forward_train(x, given_state, checkpoint=k)
        states = math.ceil(T / steps) - 1 + state
        between = T * (L - 1) * 2 * K if D == 2 else 0
        assert tape.nbytes == 4 * B * (T * I + states * tracks * (K + H) + between)


PEAK = (
    PEAK_OF
    + """
I, H, L, D, B, T, k = {arguments!r}
layer = fastlstm.LSTM(I, H, L, bidirectional=D == 2)
x, short = np.full((T, B, I), 0.1, np.float32), np.full((8, B, I), 0.1, np.float32)
dh = np.ones((L * D, B, H), np.float32)
dy = np.ones((T, B, D * H), np.float32)
def run(x):
    y, _, tape = layer.forward_train(x, checkpoint=k)
    grads = layer.backward(tape, dy[: len(x)], (dh, None))
    return y.nbytes + grads.x.nbytes, tape.nbytes
run(short)
sizes = []
peak = peak_of(lambda: sizes.extend(run(x)))
print(peak, *sizes)
"""
)


@needs_proc
@not_with_asan
@pytest.mark.parametrize("D, k", [(1, 50), (1, True), (2, 50)])
def test_memory_falls(D, k):
    """All of forward_train and backward, beyond what they return, within: the tape, one of a
    segment, two more of its size for backward's workspace, two directions' turned copies; and
    rounding to pages of 2 MiB."""
    I, H, L, B, T = 16, 64, 2, 16, 2000

    def measure(k):
        script = PEAK.format(arguments=(I, H, L, D, B, T, k))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peak, returned, tape = map(int, done.stdout.split())
        return peak - returned, tape

    whole, whole_tape = measure(None)
    peak, tape = measure(k)
    steps = 50 if k == 50 else 45
    segment = 4 * steps * B * L * D * (5 * H + H)
    turned = 4 * T * B * (5 * D * H + 2 * I) if D == 2 else 0
    assert whole > whole_tape
    assert peak <= tape + 3 * segment + turned + 8 * MIB
    assert peak < whole / (8 if D == 1 else 3)
    assert tape < whole_tape / (8 if D == 1 else 4)
