# SPDX-License-Identifier: MIT
"""Memory: a call needs its inputs, its outputs and a workspace that does not grow with T.

Each measurement is a process of its own. It reads the peak of its resident memory during one call,
after the same call on few steps (so that code, stacks and small pools are there already).
"""

import subprocess
import sys

import pytest
from conftest import not_with_asan
from peak_memory import MIB, PEAK_OF, needs_proc

SLACK = 4 * MIB

MEASURE = (
    PEAK_OF
    + """
I, H, L, D, B, T, how, form = {arguments!r}
layer = fastlstm.LSTM(I, H, L, bidirectional=D == 2, batch_first=form == "batch first")
def x_of(T):
    shape = (B, T, I) if form == "batch first" else (T, B, I)
    if form == "broadcast":
        return np.broadcast_to(np.full((1, 1, I), 0.1, np.float32), shape)
    return np.full(shape, 0.1, np.float32)
def run(x):
    T = x.shape[1] if form == "batch first" else x.shape[0]
    if how == "last":
        return lambda: layer(x, return_sequences=False)
    if how == "out":
        out = np.full((*x.shape[:2], D * H), 0.5, np.float32)
        return lambda: layer(x, out=out)
    if how == "lengths":
        lengths = np.linspace(1, T, B).astype(int)
        return lambda: layer(x, lengths=lengths)
    return lambda: layer(x)
run(x_of(8))()
call = run(x_of(T))
print(peak_of(call))
"""
)


def peak(I, H, L, D, B, T, how, form="plain"):
    script = MEASURE.format(arguments=(I, H, L, D, B, T, how, form))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@needs_proc
@pytest.mark.parametrize(
    "I, H, L, B, T",
    [
        (64, 128, 1, 1, 10_000),
        (128, 512, 2, 1, 1500),
        (128, 512, 1, 32, 100),
        (16, 32, 3, 8, 10_000),
    ],
)
@pytest.mark.parametrize("form", ["plain", "batch first"])
def test_workspace_within_4_mib(I, H, L, B, T, form):
    assert peak(I, H, L, 1, B, T, "out", form) <= SLACK


@needs_proc
def test_outputs_are_the_only_large_memory():
    outputs = 20_000 * 4 * 64 * 4
    assert outputs > 4 * SLACK
    for how in ("plain", "lengths"):
        assert outputs / 2 < peak(16, 64, 2, 1, 4, 20_000, how) <= outputs + SLACK


@needs_proc
def test_the_last_state_alone_needs_no_memory_for_the_steps():
    for L in (1, 3):
        assert peak(16, 32, L, 1, 4, 50_000, "last", "broadcast") <= SLACK


@needs_proc
def test_two_directions_need_one_layers_outputs():
    """The backward direction starts at the end, so a layer below the top is kept whole, once."""
    one_layer = 10_000 * 4 * 2 * 64 * 4
    for L in (1, 2, 3):
        assert (
            peak(16, 64, L, 2, 4, 10_000, "last", "broadcast") <= (1 + (L > 1)) * one_layer + SLACK
        )
        assert peak(16, 64, L, 2, 4, 10_000, "out", "broadcast") <= (L > 1) * one_layer + SLACK


@needs_proc
@not_with_asan
def test_many_shapes_leave_nothing_behind():
    """Calls of ever new shapes: resident memory after 4,000 of them is where it was after 400."""
    script = PEAK_OF + (
        "rng = np.random.default_rng(0)\n"
        "layer = fastlstm.LSTM(8, 24, 2)\n"
        "x = rng.standard_normal((60, 60, 8)).astype(np.float32)\n"
        "for n in range(4000):\n"
        "    T, B = rng.integers(1, 61, 2) if n % 10 == 0 else rng.integers(1, 9, 2)\n"
        "    layer(x[:T, :B])\n"
        "    layer.stream(batch_size=int(B)).step(x[0, :B])\n"
        "    if n == 399:\n"
        "        before = status('VmRSS')\n"
        "print(status('VmRSS') - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= MIB
