# SPDX-License-Identifier: MIT
"""The targets that are not one dense call: ragged lengths, subnormals, a taken core, the C step."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys

import numpy as np
from peers import Runner

from . import measure, model
from .forward import (
    TOLERANCE,
    Context,
    add_ratios,
    build_entries,
    check,
    compare,
    reference,
    to_row,
)
from .measure import Entry
from .report import Row
from .shapes import Shape

STEPS = [Shape(1, 1, width, width) for width in (64, 128, 256)]
STREAMS = [
    Shape(1, 1, 1, 32),
    Shape(1, 8, 64, 64),
    Shape(10, 1, 80, 128),
    Shape(160, 1, 80, 128),
]
RAGGED = [Shape(100, 32, 128, 128), Shape(100, 32, 256, 256), Shape(96, 8, 64, 64)]
SUBNORMAL = [Shape(100, 1, 128, 128), Shape(100, 32, 128, 128)]
BUSY = [
    (Shape(100, 32, 256, 256), 0.7),
    (Shape(100, 1, 256, 256, layers=2), 0.7),
    (Shape(100, 1, 256, 256), 0.55),
]


def step_rows(ctx: Context, shapes=None) -> list[Row]:
    """One step through Python: the plain call from a zero state, then with the state carried.

    All of fastlstm's ways are shown: `lstm(x)`, `lstm(x, out=y)`; carried also
    `stream.step(x)` and `stream.step(x, out=y)`. ONNX Runtime has two rows: `session.run` on
    arrays, and I/O binding with every buffer fixed beforehand.
    """
    rows = []
    for shape in shapes or STEPS:
        for carry in (False, True):
            rows += compare(
                "step, carried" if carry else "step", shape, ctx, carry=carry, every_variant=True
            )
    return rows


def stream_rows(ctx: Context) -> list[Row]:
    """Chunks of T steps, the state carried from chunk to chunk."""
    rows = []
    for shape in STREAMS:
        rows += compare("stream", shape, ctx, carry=True, every_variant=True)
    return rows


# Ragged lengths


def ragged_lengths(shape: Shape, pattern: str) -> np.ndarray:
    """(B,) lengths in no order, the longest T: "eighths" of T, or "spread" evenly over 1..T."""
    if pattern == "eighths":
        lengths = [max(1, shape.T * (row % 8 + 1) // 8) for row in range(shape.B)]
    else:
        lengths = np.linspace(1, shape.T, shape.B).round().astype(int)
    return np.random.default_rng(2).permutation(np.asarray(lengths))


class Segments(Runner):
    """Dense calls that run exactly the active rows of each step of the ragged batch.

    The rows are sorted by length, longest first, outside the timed part; between one distinct
    length and the next the same n rows are active, and one dense call runs those steps for those
    rows from the state the call before has left.
    """

    def __init__(self, lstm, shape, x, lengths, expected):
        order = np.argsort(-lengths, kind="stable")
        segments = []
        for begin, end in itertools.pairwise([0, *sorted(set(lengths.tolist()))]):
            rows = order[: int(np.sum(lengths > begin))]
            segments.append((np.ascontiguousarray(x[begin:end, rows]), len(rows)))
        super().__init__(
            "h = c = h0\n"
            "for part, n in segments:\n"
            "    y, (h, c) = lstm(part, (h[:, :n], c[:, :n]))",
            {"lstm": lstm, "segments": segments, "h0": np.zeros(shape.state_shape(), np.float32)},
        )
        self.call()
        error = np.abs(self.namespace["y"] - expected[begin:end, rows]).max()
        if error > TOLERANCE:
            raise RuntimeError(f"the dense segments are wrong by {error:.1e}")


def ragged_rows(ctx: Context) -> list[Row]:
    """A ragged batch against the same number of real steps, counted in two ways.

    "same rows": its time / the time of dense calls with exactly the same active rows in each step
    (`Segments`). This is the target's ratio: both do the same work on the same tiles.
    "full tiles": time per real step / time per step of one dense call of T steps with as many
    rows as make about the same number of steps. This also counts what thin ends of a batch cost
    any engine, and has no target.
    The padded row is the dense call on all T x B steps: what is paid without `lengths`.
    The peers run the same ragged batch (torch through packed sequences, prepared beforehand if
    that is faster; ONNX Runtime and OpenVINO through sequence_lens).
    """
    rows = []
    for shape in RAGGED:
        for pattern in ("eighths", "spread"):
            rows += _ragged_case(ctx, shape, pattern)
    return rows


def _ragged_case(ctx, shape, pattern):
    case = f"ragged, {pattern}"
    ctx.log(f"{case}: {shape}")
    lengths = ragged_lengths(shape, pattern)
    real = int(lengths.sum())
    weights, x = model.make_weights(shape), model.make_input(shape)
    expected = reference(weights, shape, x, False, lengths)
    groups = {
        name: build_entries(name, ctx, weights, shape, x, False, lengths) for name in ctx.peers
    }
    check([entry for group in groups.values() for entry in group], expected)
    kept = []
    for group in groups.values():
        for entry in group:
            entry.calibrate(ctx.rounds)
        best, tried = measure.keep_fastest(group, ctx.threads)
        best.tried = tried
        kept.append(best)
    steps = [real] * len(kept)
    if "fastlstm" in ctx.peers:
        full = Shape(shape.T, max(1, round(real / shape.T)), shape.I, shape.H)
        build = ctx.peers["fastlstm"].build
        tiles, padded = build(weights, full, ctx.threads), build(weights, shape, ctx.threads)
        tiles.load(np.ascontiguousarray(x[:, : full.B]))
        padded.load(x)
        same = Segments(padded.namespace["lstm"], shape, x, lengths, expected)
        for who, runner, count in [
            ("fastlstm, same rows", same, real),
            ("fastlstm, full tiles", tiles, full.T * full.B),
            ("fastlstm, padded", padded, shape.T * shape.B),
        ]:
            entry = Entry(who, runner)
            entry.calibrate(ctx.rounds)
            kept.append(entry)
            steps.append(count)
    measure.alternate(kept, ctx.rounds, ctx.threads)
    peak = ctx.peak_of_run()
    table = [
        to_row(case, shape, entry, shape.flops(count), peak)
        for entry, count in zip(kept, steps, strict=True)
    ]
    add_ratios(table, kept)
    if "fastlstm" in ctx.peers:
        ours = kept[0]
        for entry, row, count in zip(kept, table, steps, strict=True):
            if entry.who.startswith("fastlstm, "):
                value, row.ratio_spread = measure.ratio(ours, entry)
                per_step = count / real if "full" in entry.who else 1
                row.ratio = value * per_step
                row.cpu_ratio = (measure.cpu_ratio(ours, entry) or 0) * per_step or None
                row.ratio_of = "ragged / this" + (" per step" if "full" in entry.who else "")
                if "same rows" in entry.who:
                    row.aim("real steps", row.ratio, "<=", 1.05)
    for entry in kept:
        entry.runner.close()
    return table


# Subnormal numbers


def subnormal_rows(ctx: Context) -> list[Row]:
    """Subnormal inputs, then subnormal states, against normal ones through the same weights.

    Biases are zero but for the forget gate's. Input: x about 1e-40 and a forget bias of 0, so that
    the gates, c and h stay subnormal throughout. State: x is 0, c and h start about 1e-40, and a
    forget bias of 20 (a gate of 1) keeps c there. The network is the plain call with a state given.
    """
    rows = []
    for shape in SUBNORMAL:
        for what, forget in (("input", 0.0), ("state", 20.0)):
            weights = model.make_weights(shape)
            weights["bias_hh_l0"][:] = 0
            weights["bias_ih_l0"][:] = 0
            weights["bias_ih_l0"][shape.H : 2 * shape.H] = forget
            normal = model.make_input(shape)
            state = np.full(shape.state_shape(), 0.1, np.float32)
            tiny = np.float32(1e-40)
            small = normal * tiny if what == "input" else np.zeros_like(normal)
            small_state = np.full(shape.state_shape(), tiny)
            rows += _subnormal_case(
                ctx, f"subnormal {what}", shape, weights, (normal, state), (small, small_state)
            )
    return rows


def _subnormal_case(ctx, case, shape, weights, normal, small):
    ctx.log(f"{case}: {shape}")
    assert 0 < np.abs(small[1]).max() < np.finfo(np.float32).tiny
    kept, table = [], []
    for name, module in ctx.peers.items():
        for kind, (x, state) in (("normal", normal), ("subnormal", small)):
            runner = module.build(weights, shape, ctx.threads, carry=True)
            runner.load(x, (state, state))
            entry = Entry(name, runner, kind)
            entry.calibrate(ctx.rounds)
            kept.append(entry)
    measure.alternate(kept, ctx.rounds, ctx.threads)
    for fast, slow in zip(kept[::2], kept[1::2], strict=True):
        row = to_row(case, shape, slow, shape.flops(), None)
        row.variant = ""
        row.ratio, row.ratio_spread = measure.ratio(slow, fast)
        row.cpu_ratio = measure.cpu_ratio(slow, fast)
        row.ratio_of = "this / normal"
        if slow.who == "fastlstm":
            row.aim("normal", row.ratio, "<=", 1.2)
        table.append(row)
    for entry in kept:
        entry.runner.close()
    return table


# A taken core


class Burner:
    """Another process that keeps one CPU busy, stopped and continued with signals."""

    def __init__(self):
        code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n"
        code += "    for _ in range(1000000): pass"
        self.process = subprocess.Popen([sys.executable, "-c", code])
        with contextlib.suppress(AttributeError):
            os.sched_setaffinity(self.process.pid, {max(os.sched_getaffinity(0))})
        os.kill(self.process.pid, signal.SIGSTOP)

    @contextlib.contextmanager
    def busy(self):
        os.kill(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGSTOP)

    def close(self):
        self.process.kill()
        self.process.wait()


def busy_rows(ctx: Context) -> list[Row]:
    """Quiet speed kept while another process has the last CPU to itself whenever it can.

    ratio = quiet time / busy time with the same threads. The neighbour is pinned to one CPU and
    runs only during the busy samples.
    """
    if ctx.threads < 2:
        return []
    rows = []
    burner = Burner()
    try:
        for shape, bound in BUSY:
            ctx.log(f"busy: {shape}")
            weights, x = model.make_weights(shape), model.make_input(shape)
            kept = []
            for name, module in ctx.peers.items():
                for around in (contextlib.nullcontext, burner.busy):
                    runner = module.build(weights, shape, ctx.threads)
                    runner.load(x)
                    entry = Entry(name, runner, around=around)
                    entry.calibrate(ctx.rounds)
                    kept.append(entry)
            measure.alternate(kept, ctx.rounds, ctx.threads)
            for quiet, busy in zip(kept[::2], kept[1::2], strict=True):
                row = to_row("one core busy", shape, busy, shape.flops(), None)
                row.ratio, row.ratio_spread = measure.ratio(quiet, busy)
                row.ratio_of = "quiet / this"
                if busy.who == "fastlstm":
                    row.aim("quiet", row.ratio, ">=", bound)
                rows.append(row)
            for entry in kept:
                entry.runner.close()
    finally:
        burner.close()
    return rows
