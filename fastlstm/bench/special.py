# SPDX-License-Identifier: MIT
"""What is not one dense call: ragged lengths, subnormal numbers, a core that others want.

The functions that end in _rows measure a case; forward.py says how they are called.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys

import numpy as np

from . import measure, model
from .forward import TOLERANCE, add_ratios, doubt, engines, keep_fastest, reference, to_row
from .measure import Entry
from .peers import first_way
from .peers.runner import Call
from .shapes import Shape

# Ragged lengths: functions (shape) -> (B,) lengths in no order, the longest T.


def eighths(shape: Shape) -> np.ndarray:
    """1/8, 2/8, ... 8/8 of T, again and again."""
    return _shuffled([max(1, shape.T * (row % 8 + 1) // 8) for row in range(shape.B)])


def spread(shape: Shape) -> np.ndarray:
    """Spread evenly over 1..T."""
    return _shuffled(np.linspace(1, shape.T, shape.B).round().astype(int))


def _shuffled(lengths) -> np.ndarray:
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
        if error > TOLERANCE["float32"]:
            raise RuntimeError(f"the dense segments are wrong by {error:.1e}")


def ragged_rows(case, ctx):
    """A ragged batch, of `case.lengths(shape)`, through every engine, and beside it

    "same rows": dense calls with exactly the same active rows in each step (`Segments`). Ours
    over this is the target's ratio: both do the same work on the same tiles.
    "full tiles": one dense call of T steps with as many rows as make about the same number of
    steps; the ratio is for each real step. It shows what thin ends of a batch cost any engine.
    "padded": the dense call on all T x B steps, which is what is paid without `lengths`.

    PyTorch runs packed sequences, ONNX Runtime and OpenVINO sequence_lens.
    """
    shape, threads = case.shape, case.threads
    lengths = case.lengths(shape)
    steps = int(lengths.sum())
    weights, x = model.make_weights(shape), model.make_input(shape)
    expected = reference(weights, shape, x, False, lengths)
    kept = keep_fastest(engines(ctx, weights, shape, threads, x, lengths=lengths), threads)
    full = Shape(shape.T, max(1, round(steps / shape.T)), shape.I, shape.H)
    build = first_way(ctx.peers["fastlstm"], shape, threads)

    def loaded(x):
        runner = build(weights)
        runner.load(x)
        return runner

    def same_rows():
        return Segments(build(weights).namespace["lstm"], shape, x, lengths, expected)

    def add(name, make):
        entry = Entry(f"fastlstm, {name}", make, engine="fastlstm")
        entry.calibrate(ctx.rounds)
        return entry

    same = add("same rows", same_rows)
    full_tiles = add("full tiles", lambda: loaded(np.ascontiguousarray(x[:, : full.B])))
    padded = add("padded", lambda: loaded(x))
    entries = [*kept, same, full_tiles, padded]
    peak = yield entries
    counts = dict.fromkeys(entries, steps)
    counts |= {full_tiles: full.T * full.B, padded: shape.T * shape.B}
    rows = {e: to_row(case, e, shape.flops(count), peak) for e, count in counts.items()}
    add_ratios(list(rows.values()), entries)
    ours = kept[0]
    for entry in (same, padded):
        rows[entry].ratio = measure.ratio(ours, entry, "ragged / this")
        rows[entry].cpu_ratio = measure.cpu_ratio(ours, entry)
    each = counts[full_tiles] / steps
    rows[full_tiles].ratio = measure.ratio(ours, full_tiles, "ragged / this per step").scaled(each)
    of_cpu = measure.cpu_ratio(ours, full_tiles)
    rows[full_tiles].cpu_ratio = of_cpu and of_cpu * each
    rows[ours].measured["of the same rows, dense"] = rows[same].ratio.median
    doubt(rows.values())
    return list(rows.values())


# Subnormal numbers: functions (x) -> (forget bias, the input to use in place of x). The states
# start about TINY.

TINY = np.float32(1e-40)


def tiny_input(x):
    """x about 1e-40 and a forget bias of 0: the gates' sums, c and h stay subnormal throughout."""
    return 0.0, x * TINY


def tiny_state(x):
    """x is 0, and a forget bias of 20 (a gate of 1) keeps c about 1e-40."""
    return 20.0, np.zeros_like(x)


def subnormal_rows(case, ctx):
    """Subnormal inputs and states, of `case.subnormal(x)`, against normal ones through the same
    weights.

    Biases are zero but for the forget gate's. A call has a state given and carries it.
    """
    shape = case.shape
    x = model.make_input(shape)
    forget, small = case.subnormal(x)
    weights = model.make_weights(shape)
    weights["bias_hh_l0"][:] = 0
    weights["bias_ih_l0"][:] = 0
    weights["bias_ih_l0"][shape.H : 2 * shape.H] = forget
    pairs = []
    for name, module in ctx.peers.items():
        if not module.ways(shape, case.threads, carry=True):
            continue
        make = first_way(module, shape, case.threads, carry=True)

        def entry(way, x, start, name=name, make=make):
            state = np.full(shape.state_shape(), start, np.float32)

            def build():
                runner = make(weights)
                runner.load(x, (state, state))
                return runner

            made = Entry(name, build, way)
            made.calibrate(ctx.rounds)
            return made

        pairs.append((entry("normal", x, 0.1), entry("subnormal", small, TINY)))
    yield [entry for pair in pairs for entry in pair]
    rows = []
    for fast, slow in pairs:
        row = to_row(case, slow, shape.flops())
        row.way = ""
        row.ratio = measure.ratio(slow, fast, "this / normal")
        row.cpu_ratio = measure.cpu_ratio(slow, fast)
        row.measured = {"of normal": row.ratio.median}
        rows.append(row)
    doubt(rows)
    return rows


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
        """Within it the process runs."""
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
    system's choice. CPU time says nothing about noise here.
    """
    shape, threads = case.shape, case.threads
    weights, x = model.make_weights(shape), model.make_input(shape)
    pairs, rows = [], []
    spinner = Spinner()
    try:
        for quiet in keep_fastest(engines(ctx, weights, shape, threads, x), threads):
            busy = Entry(quiet.who, quiet.build, quiet.way, around=spinner.busy)
            busy.calibrate(ctx.rounds)
            pairs.append((quiet, busy))
        yield [entry for pair in pairs for entry in pair]
    finally:
        spinner.close()
    for quiet, busy in pairs:
        calm, row = to_row(case, quiet, shape.flops()), to_row(case, busy, shape.flops())
        calm.who += ", quiet"
        row.wrong, row.error, row.notes = calm.wrong, calm.error, calm.notes
        row.ratio = measure.ratio(quiet, busy, "quiet / this")
        row.measured = {"of quiet speed": row.ratio.median}
        rows += [row, calm]
    doubt(rows, compare_cpu=False)
    return rows
