# SPDX-License-Identifier: MIT
"""One forward case through every engine: build, check, keep the fastest ways, time, compare.

`dense_rows` and `step_rows` measure a case, as do the functions of special.py, training.py,
kernels.py and probes.py. Each takes (case, run) and is a generator: it yields the entries to time
(none, if it has measured by itself), is sent the FMA peak in GFLOP/s of the cores in use, or None,
once they have been timed, and returns the rows.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

import numpy as np

from . import machine, measure, model, probes, stats
from .measure import Entry
from .peers import OURS, PARTS
from .rows import Row

# Of an output, from float64 and from another engine of the same precision. In bfloat16 and int8 it
# only tells wrong numbers from rough ones; how rough they are is a column of the table.
TOLERANCE = {
    "float32": 1e-5, "bfloat16x6": 1e-5, "bfloat16x3": 1e-4, "bfloat16": 0.1, "int8": 0.3,
}  # fmt: skip
CARRIED_CALLS = 3  # before a carried state is compared
ALONE = "fastlstm, 1 thread"


@dataclass
class Context:
    """What all cases of a run share."""

    peers: dict  # {name: module of peers}
    rounds: int
    limits: machine.Limits
    log: object  # a function that takes a text
    rss: bool = True  # measure resident memory
    precisions: tuple = ("float32",)  # of the dense calls, those of peers.PRECISIONS
    seen_rss: dict = field(default_factory=dict)

    def cores(self, threads: int) -> int:
        return min(threads, machine.cpu_count())

    def measure(self, entries, rounds, threads: int) -> float | None:
        """Time one pass over a case. Returns GFLOP/s of the cores in use, the better of before and
        after; None without the extension."""
        for entry in entries:
            entry.open()
        before = self.limits.peak()
        measure.alternate(entries, rounds, threads)
        after = self.limits.peak()
        for entry in entries:
            entry.close()
        return max(before, after) * self.cores(threads) if before else None


def reference(weights, shape, x, carry, lengths):
    """The float64 output the timed call has to give (for `carry`: the last of a few calls)."""
    if not carry:
        return model.forward64(weights, shape, x, lengths=lengths)[0]
    y, _, _ = model.forward64(weights, shape, np.concatenate([x] * CARRIED_CALLS))
    return y[-shape.T :]


def build_entries(
    name, ctx, weights, shape, threads, x, carry=False, lengths=None, precision="float32", who=None
):
    """[(entry, its output)], one for each way to call an engine: built, and called once."""
    made, first = [], None
    if precision in PARTS and name != "fastlstm":
        return made
    for way, make in ctx.peers[name].ways(shape, threads, carry, lengths, precision).items():

        def build(make=make):
            runner = make(weights)
            runner.load(x)
            return runner

        entry = Entry(who or name, build, way, name)
        entry.precision = precision
        took = entry.runner.once()
        first = took if first is None else first
        entry.first = first  # of this engine in this case, whichever way is kept
        if carry:
            entry.runner.once(CARRIED_CALLS)
        made.append((entry, np.array(entry.runner.output())))
    return made


def check(made, expected) -> list[Entry]:
    """Compare every output with the float64 one and with the other engines'."""
    for entry, result in made:
        entry.error = float(np.abs(result - expected).max(initial=0.0))
        tolerance = TOLERANCE[entry.precision]
        entry.wrong = not entry.error <= tolerance
        far = set()
        for other, theirs in made:
            difference = float(np.abs(result - theirs).max(initial=0.0))
            if other.who != entry.who and not difference <= tolerance:
                far.add(f"{difference:.1e} from {other.who}")
        entry.notes += sorted(far)
    return [entry for entry, _ in made]


def engines(
    ctx, weights, shape, threads, x, carry=False, lengths=None, precision="float32", alone=False
):
    """{who: its entries}: every engine in all its ways at a precision, built, called once and
    checked.

    With `alone`, fastlstm on one thread is another one, called ALONE.
    """
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    arguments = x, carry, lengths, precision
    made = {
        name: build_entries(name, ctx, weights, shape, threads, *arguments) for name in ctx.peers
    }
    if alone:
        made[ALONE] = build_entries("fastlstm", ctx, weights, shape, 1, *arguments, who=ALONE)
    expected = reference(weights, shape, x, carry, lengths)
    check([pair for pairs in made.values() for pair in pairs], expected)
    if affinity is not None and os.sched_getaffinity(0) != affinity:
        os.sched_setaffinity(0, affinity)
        ctx.log("an engine had narrowed this process's CPUs; put back")
    groups = {name: [entry for entry, _ in pairs] for name, pairs in made.items() if pairs}
    for group in groups.values():
        for entry in group:
            entry.calibrate(ctx.rounds)
    return groups


def to_row(case, entry, flops=None, peak=None) -> Row:
    """What was measured of one entry; ratios, shares of limits and targets come later."""
    row = Row(
        case.name,
        case.kind.name,
        entry.who,
        entry.way,
        precision=entry.precision,
        shape=case.shape and case.shape.record(),
        threads=case.threads,
        p50=entry.median,
        spread=stats.spread(entry.walls),
        first=None if math.isnan(entry.first) else entry.first,
        rss=entry.rss,
        error=None if math.isnan(entry.error) else entry.error,
        wrong=entry.wrong,
        notes=list(entry.notes),
        walls=list(entry.walls),
        detail={"calls": entry.number},
    )
    singles = entry.singles or entry.walls
    row.p90, row.p99 = stats.percentile(singles, 90), stats.percentile(singles, 99)
    row.latency = stats.quantiles(singles)
    row.detail["singles"] = len(singles)
    if entry.cpus:
        row.cpu = stats.median(entry.cpus)
    if entry.tried:
        row.detail["variants_us"] = entry.tried  # of all ways; the name is that of older runs
    if flops:
        row.gflops = flops / row.p50 / 1e9
        full = entry.precision == "float32"  # what the peak is that of
        row.peak_share = row.gflops / peak if peak and full else None
    return row


def add_limits(rows, ctx, case, peak) -> None:
    """Add the shares of the bandwidth and of the least time that both limits allow."""
    shape, cores = case.shape, ctx.cores(case.threads)
    floor = ctx.limits.floor_seconds(shape, peak, cores)
    if not floor:
        return
    reads = shape.T * shape.L * shape.D * shape.recurrent_bytes()
    can = ctx.limits.bandwidth(shape.recurrent_bytes()) * 1e9 * cores
    for row in rows:
        if row.threads == case.threads and row.precision == "float32":
            row.bandwidth_share = reads / row.p50 / can
            row.limit_share = floor / row.p50


def add_ratios(rows, entries) -> None:
    """Ours: the best other engine's time / ours. The others: their time / our fastest. All of one
    precision.

    The best engine is the one with the smallest ratio, since drift that meets both is not in it;
    one whose numbers are wrong is never the best.
    """
    ours = [entry for entry in entries if entry.who == "fastlstm"]
    right = [entry for entry in entries if entry.engine not in OURS and not entry.wrong]
    for row, entry in zip(rows, entries, strict=True):
        if entry in ours and right:
            best = min(right, key=lambda other: measure.ratio(other, entry, "").median)
            above, below, of = best, entry, f"{best.who} / this"
        elif entry not in ours and ours:
            fastest = min(ours, key=lambda other: other.median)
            above, below, of = entry, fastest, "this / fastlstm"
        else:
            continue
        row.ratio = measure.ratio(above, below, of)
        row.cpu_ratio = measure.cpu_ratio(above, below)


def doubt(rows, compare_cpu=True) -> None:
    """Mark the rows that are noisy. With `compare_cpu` the ratio in CPU time has to agree with the
    ratio on one thread, where nothing spins."""
    for row in rows:
        cpu_ratio = row.cpu_ratio if compare_cpu and row.threads == 1 else None
        row.noisy = stats.doubts(row.spread, row.ratio, cpu_ratio)


def dense_rows(case, ctx):
    """Rows of one case, every row T steps: every engine at its fastest, ours first.

    With more than one thread, fastlstm on one thread is timed in the same rounds.
    """
    return _rows(case, ctx, keep_fastest)


def step_rows(case, ctx):
    """Rows of one case of short calls: every way of ours, and both of ONNX Runtime's ways, each at
    its best; the fastest of the other engines."""
    return _rows(case, ctx, keep_ways)


def keep_fastest(groups, threads) -> list[Entry]:
    """The fastest entry of each engine; `groups` as `engines` gives them."""
    return [measure.keep_fastest(group, threads) for group in groups.values()]


def keep_ways(groups, threads) -> list[Entry]:
    """All entries of fastlstm; the fastest "bound" and the fastest "run" of ONNX Runtime, each as
    an engine of its own; the fastest of every other engine."""
    ours = groups.pop("fastlstm", [])
    both = groups.pop("onnxruntime", [])
    for way in ("bound", "run"):
        group = [entry for entry in both if entry.way.startswith(way)]
        for entry in group:
            entry.who = f"onnxruntime {way}"
        if group:
            groups[group[0].who] = group
    return ours + keep_fastest(groups, threads)


def _rows(case, ctx, keep):
    """The rows of a case, of the entries that keep(groups, threads) chooses."""
    shape, threads, carry = case.shape, case.threads, case.carry
    weights, x = model.make_weights(shape), model.make_input(shape)
    kept = []
    for precision in ctx.precisions:
        alone = threads > 1 and precision == "float32"
        kept += keep(
            engines(ctx, weights, shape, threads, x, carry, None, precision, alone), threads
        )
    if ctx.rss:
        add_memory([entry for entry in kept if entry.precision == "float32"], case, ctx)
    peak = yield kept
    rows = [to_row(case, entry, shape.flops(), peak) for entry in kept]
    for row in rows:
        if row.who == ALONE:
            row.threads = 1
            row.peak_share = row.peak_share and row.peak_share * ctx.cores(threads)
    add_limits(rows, ctx, case, peak)
    for precision in ctx.precisions:
        pairs = [pair for pair in zip(rows, kept) if pair[0].precision == precision]
        if pairs:
            add_ratios(*zip(*pairs))
    for row, entry in zip(rows, kept, strict=True):
        if entry.who == "fastlstm":
            row.measured = values_of(row, entry, kept)
    doubt(rows)
    return rows


def values_of(row, entry, kept) -> dict:
    """{what: value} for the targets: times of the others over ours, and shares of the limits."""
    values = {
        f"over {other.who}": measure.ratio(other, entry, "").median
        for other in kept
        if other.who != "fastlstm" and not other.wrong and other.precision == entry.precision
    }
    one = values.pop(f"over {ALONE}", None)
    best = row.ratio.median if row.ratio and values else None
    values |= {"over the best peer": best, "over one thread": one}
    values |= {"of the limit": row.limit_share, "of the FMA peak": row.peak_share}
    if entry.precision != "float32":
        full = [e for e in kept if e.engine == "fastlstm" and e.precision == "float32"]
        others = [e for e in kept if e.engine not in OURS and not e.wrong]
        for what, against in (("float32", full), ("the best peer at any precision", others)):
            ratios = [measure.ratio(other, entry, "").median for other in against]
            values[f"over {what}"] = min(ratios, default=None)
    return {what: value for what, value in values.items() if value is not None}


def add_memory(entries, case, ctx) -> None:
    """Peak resident memory of a process that imports, builds and calls one engine only."""
    for entry in entries:
        threads = 1 if entry.who == ALONE else case.threads
        key = entry.engine, entry.way, case.shape, threads, case.carry
        if key not in ctx.seen_rss:
            try:
                found = probes.memory_probe(
                    entry.engine, case.shape, threads, entry.way, case.carry
                )
                ctx.seen_rss[key] = found["peak"]
            except (RuntimeError, OSError) as error:
                entry.notes.append(f"memory: {error}")
                ctx.seen_rss[key] = None
        entry.rss = ctx.seen_rss[key]
