# SPDX-License-Identifier: MIT
"""What is not one dense call: ragged lengths, subnormal numbers, a core that others want."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys

import numpy as np

from . import measure, model
from .forward import TOLERANCE, add_ratios, doubt, engines, reference, to_row
from .measure import Entry
from .peers import Call
from .shapes import Shape

# Ragged lengths


def ragged_lengths(shape: Shape, pattern: str) -> np.ndarray:
    """(B,) lengths in no order, the longest T: "eighths" of T, or "spread" evenly over 1..T."""
    if pattern == "eighths":
        lengths = [max(1, shape.T * (row % 8 + 1) // 8) for row in range(shape.B)]
    else:
        lengths = np.linspace(1, shape.T, shape.B).round().astype(int)
    return np.random.default_rng(2).permutation(np.asarray(lengths))


class Segments(Call):
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
        self.once()
        error = np.abs(self.namespace["y"] - expected[begin:end, rows]).max()
        if error > TOLERANCE:
            raise RuntimeError(f"the dense segments are wrong by {error:.1e}")


def ragged_rows(case, ctx):
    """A ragged batch (`case.what` says which lengths) through every peer, and beside it

    "same rows": dense calls with exactly the same active rows in each step (`Segments`). Ours
    over this is the target's ratio: both do the same work on the same tiles.
    "full tiles": one dense call of T steps with as many rows as make about the same number of
    steps; the ratio is for each real step. It shows what thin ends of a batch cost any engine.
    "padded": the dense call on all T x B steps, which is what is paid without `lengths`.

    torch runs packed sequences, ONNX Runtime and OpenVINO sequence_lens.
    """
    shape, threads = case.shape, case.threads
    lengths = ragged_lengths(shape, case.what)
    real = int(lengths.sum())
    weights, x = model.make_weights(shape), model.make_input(shape)
    expected = reference(weights, shape, x, False, lengths)
    groups = engines(ctx, weights, shape, threads, x, lengths=lengths)
    kept = [measure.keep_fastest(group, threads) for group in groups.values()]
    full = Shape(shape.T, max(1, round(real / shape.T)), shape.I, shape.H)
    build = ctx.peers["fastlstm"].build

    def loaded(shape, x):
        runner = build(weights, shape, threads)
        runner.load(x)
        return runner

    def same_rows():
        lstm = build(weights, shape, threads).namespace["lstm"]
        return Segments(lstm, shape, x, lengths, expected)

    steps = [real] * len(kept)
    for who, make, count in [
        ("same rows", same_rows, real),
        ("full tiles", lambda: loaded(full, np.ascontiguousarray(x[:, : full.B])), full.T * full.B),
        ("padded", lambda: loaded(shape, x), shape.T * shape.B),
    ]:
        entry = Entry(f"fastlstm, {who}", make)
        entry.calibrate(ctx.rounds)
        kept.append(entry)
        steps.append(count)
    peak = yield kept
    table = [
        to_row(case, entry, shape.flops(count), peak)
        for entry, count in zip(kept, steps, strict=True)
    ]
    add_ratios(table, kept)
    ours, our_row = kept[0], table[0]
    for entry, row, count in zip(kept, table, steps, strict=True):
        if entry.who.startswith("fastlstm, "):
            whole = "full" not in entry.who
            found = measure.ratio(ours, entry, "ragged / this" + ("" if whole else " per step"))
            row.ratio = found if whole else found.scaled(count / real)
            row.cpu_ratio = measure.cpu_ratio(ours, entry)
            if row.cpu_ratio and not whole:
                row.cpu_ratio *= count / real
            if "same rows" in entry.who:
                our_row.measured["of the same rows, dense"] = row.ratio.median
    doubt(table)
    return table


# Subnormal numbers


def subnormal_rows(case, ctx):
    """Subnormal inputs or states (`case.what`) against normal ones through the same weights.

    Biases are zero but for the forget gate's. "input": x about 1e-40 and a forget bias of 0, so
    that the gates, c and h stay subnormal throughout. "state": x is 0, c and h start about 1e-40,
    and a forget bias of 20 (a gate of 1) keeps c there. A call has a state given and carries it.
    """
    shape = case.shape
    weights = model.make_weights(shape)
    weights["bias_hh_l0"][:] = 0
    weights["bias_ih_l0"][:] = 0
    weights["bias_ih_l0"][shape.H : 2 * shape.H] = 0.0 if case.what == "input" else 20.0
    normal = model.make_input(shape), np.full(shape.state_shape(), 0.1, np.float32)
    tiny = np.float32(1e-40)
    small = normal[0] * tiny if case.what == "input" else np.zeros_like(normal[0])
    kinds = {"normal": normal, "subnormal": (small, np.full(shape.state_shape(), tiny))}
    kept, table = [], []
    for name, module in ctx.peers.items():
        if not module.variants(shape, case.threads, carry=True):
            continue
        for kind, (x, state) in kinds.items():

            def build(module=module, x=x, state=state):
                runner = module.build(weights, shape, case.threads, carry=True)
                runner.load(x, (state, state))
                return runner

            entry = Entry(name, build, kind)
            entry.calibrate(ctx.rounds)
            kept.append(entry)
    yield kept
    for fast, slow in zip(kept[::2], kept[1::2], strict=True):
        row = to_row(case, slow, shape.flops())
        row.variant = ""
        row.ratio = measure.ratio(slow, fast, "this / normal")
        row.cpu_ratio = measure.cpu_ratio(slow, fast)
        row.measured = {"of normal": row.ratio.median}
        table.append(row)
    doubt(table)
    return table


# A core that others want


class Spinner:
    """Another process that is busy wherever the system puts it; stopped between the samples.

    It ends by itself when its parent is gone, stopped or not, or after an hour.
    """

    def __init__(self):
        code = "import os, signal, time\nparent, end = os.getppid(), time.time() + 3600\n"
        code += "while os.getppid() == parent and time.time() < end:\n"
        code += "    for _ in range(1000000): pass"
        self.process = subprocess.Popen([sys.executable, "-c", code])
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


def contended_rows(case, ctx):
    """Speed kept while one other process spins, pinned nowhere: quiet time / busy time.

    Quiet and busy samples alternate, on the same number of threads. A second row of each engine
    is its quiet one. Ratios spread more here than anywhere: where the spinner runs is the
    system's choice.
    """
    shape, threads = case.shape, case.threads
    weights, x = model.make_weights(shape), model.make_input(shape)
    kept, table = [], []
    spinner = Spinner()
    try:
        for name, group in engines(ctx, weights, shape, threads, x).items():
            quiet = measure.keep_fastest(group, threads)
            busy = Entry(name, quiet._build, quiet.variant, around=spinner.busy)
            busy.calibrate(ctx.rounds)
            kept += [quiet, busy]
        yield kept
    finally:
        spinner.close()
    for quiet, busy in zip(kept[::2], kept[1::2], strict=True):
        calm, row = to_row(case, quiet, shape.flops()), to_row(case, busy, shape.flops())
        calm.who += ", quiet"
        row.wrong, row.error, row.notes = calm.wrong, calm.error, calm.notes
        row.ratio = measure.ratio(quiet, busy, "quiet / this")
        row.measured = {"of quiet speed": row.ratio.median}
        table += [row, calm]
    doubt(table)
    return table
