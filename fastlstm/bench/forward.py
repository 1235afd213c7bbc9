# SPDX-License-Identifier: MIT
"""One case through every peer: build, check, keep each peer's fastest variant, time, compare."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

import numpy as np

from . import machine, measure, model, probes, stats
from .measure import Entry
from .rows import Row

TOLERANCE = 1e-5
CARRIED_CALLS = 3
ALONE = "fastlstm, 1 thread"
BOTH_WAYS = {"bound": "onnxruntime bound", "run": "onnxruntime run"}


@dataclass
class Context:
    """What the whole run shares."""

    peers: dict  # name -> module
    rounds: int
    limits: machine.Limits
    log: object  # a function that takes a text
    rss: bool = True
    seen_rss: dict = field(default_factory=dict)

    def cores(self, threads: int) -> int:
        return min(threads, machine.cpu_count())

    def measure(self, entries, turns, threads: int) -> float | None:
        """One pass over a case -> GFLOP/s of the cores in use, the better of before and after."""
        for entry in entries:
            entry.open()
        before = self.limits.peak()
        measure.alternate(entries, turns, threads)
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


def build_entries(name, ctx, weights, shape, threads, x, carry=False, lengths=None):
    """[(entry, its output)], one for each variant of a peer: built, and called once."""
    module, made, first = ctx.peers[name], [], None
    for variant in module.variants(shape, threads, carry, lengths):

        def build(variant=variant):
            runner = module.build(
                weights, shape, threads, variant=variant, carry=carry, lengths=lengths
            )
            runner.load(x)
            return runner

        entry = Entry(name, build, variant)
        took = entry.runner.once()
        first = took if first is None else first
        entry.first = first  # of this peer in this case, whichever variant is kept
        if carry:
            entry.runner.once(CARRIED_CALLS)
        made.append((entry, np.array(entry.runner.output())))
    return made


def check(made, expected) -> list[Entry]:
    """Compare every output with the float64 one and with the other engines'."""
    for entry, result in made:
        entry.error = float(np.abs(result - expected).max(initial=0.0))
        entry.wrong = not entry.error <= TOLERANCE
        far = set()
        for other, theirs in made:
            apart = float(np.abs(result - theirs).max(initial=0.0))
            if other.who != entry.who and not apart <= TOLERANCE:
                far.add(f"{apart:.1e} from {other.who}")
        entry.notes += sorted(far)
    return [entry for entry, _ in made]


def engines(ctx, weights, shape, threads, x, carry=False, lengths=None, alone=False):
    """{name: its entries}: every engine in all its ways, built, called once and checked.

    With `alone` fastlstm on one thread is another one.
    """
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    arguments = x, carry, lengths
    made = {
        name: build_entries(name, ctx, weights, shape, threads, *arguments) for name in ctx.peers
    }
    if alone:
        made[ALONE] = build_entries("fastlstm", ctx, weights, shape, 1, *arguments)
        for entry, _ in made[ALONE]:
            entry.who = ALONE
    check(
        [pair for pairs in made.values() for pair in pairs], reference(weights, shape, *arguments)
    )
    if affinity is not None and os.sched_getaffinity(0) != affinity:
        os.sched_setaffinity(0, affinity)
        ctx.log("an engine had narrowed this process's CPUs; put back")
    groups = {name: [entry for entry, _ in pairs] for name, pairs in made.items() if pairs}
    for group in groups.values():
        for entry in group:
            entry.calibrate(ctx.rounds)
    return groups


def to_row(case, entry, flops=None, peak=None, shape=None) -> Row:
    """What was measured of one entry; ratios, shares of limits and targets come later."""
    shape = shape or case.shape
    row = Row(
        case.name,
        case.kind,
        entry.who,
        entry.variant,
        shape=shape and shape.record(),
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
        row.detail["variants_us"] = entry.tried
    if flops:
        row.gflops = flops / row.p50 / 1e9
        row.peak_share = row.gflops / peak if peak else None
    return row


def add_limits(rows, ctx, case, peak) -> None:
    """Shares of the bandwidth and of the least time both limits allow, for dense calls."""
    shape, cores = case.shape, ctx.cores(case.threads)
    floor = ctx.limits.floor_seconds(shape, peak, cores)
    if not floor:
        return
    reads = shape.T * shape.L * shape.D * shape.recurrent_bytes()
    can = ctx.limits.bandwidth(shape.recurrent_bytes()) * 1e9 * cores
    for row in rows:
        if row.threads == case.threads:
            row.bandwidth_share = reads / row.p50 / can
            row.limit_share = floor / row.p50


def add_ratios(rows, entries) -> None:
    """Ours: the best peer's time / ours. The others: their time / our fastest.

    The best peer is the one with the smallest ratio, since drift that meets both is not in it; one
    whose numbers are wrong is never the best.
    """
    ours = [entry for entry in entries if entry.who == "fastlstm"]
    others = [entry for entry in entries if not entry.who.startswith("fastlstm")]
    right = [entry for entry in others if not entry.wrong]
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


def doubt(rows) -> None:
    """Mark the rows that are noisy. CPU time has to agree on one thread, where nothing spins."""
    for row in rows:
        busy = row.cpu_ratio if row.threads == 1 and row.kind != "contended" else None
        row.noisy = stats.doubts(row.spread, row.ratio, busy)


def dense_rows(case, ctx):
    """Rows of one dense case: ours first (every variant, or the fastest), then the peers.

    Like every function that times a case it is a generator: it yields the entries, is sent the FMA
    peak when they have been measured, pass by pass, and returns the rows.

    With more than one thread, fastlstm on one thread is timed in the same rounds. Where every
    variant of ours is shown, so are both of ONNX Runtime's ways, each at its best.
    """
    shape, threads, carry = case.shape, case.threads, case.carry
    every_variant = case.kind in ("step", "stream")
    weights, x = model.make_weights(shape), model.make_input(shape)
    groups = engines(ctx, weights, shape, threads, x, carry, alone=threads > 1)
    if every_variant and "onnxruntime" in groups:
        both = groups.pop("onnxruntime")
        for way, who in BOTH_WAYS.items():
            groups[who] = [entry for entry in both if entry.variant.startswith(way)]
            for entry in groups[who]:
                entry.who = who
    kept = []
    for name, group in groups.items():
        every = every_variant and name == "fastlstm"
        kept += group if every else [measure.keep_fastest(group, threads)]

    if ctx.rss:
        add_memory(kept, case, ctx)
    peak = yield kept
    rows = [to_row(case, entry, shape.flops(), peak) for entry in kept]
    for row in rows:
        if row.who == ALONE:
            row.threads = 1
            row.peak_share = row.peak_share and row.peak_share * ctx.cores(threads)
    add_limits(rows, ctx, case, peak)
    add_ratios(rows, kept)
    for row, entry in zip(rows, kept, strict=True):
        if entry.who == "fastlstm":
            row.measured = dense_values(row, entry, kept)
    doubt(rows)
    return rows


def dense_values(row, entry, kept) -> dict:
    """{what: value} for the targets: their times over ours, and shares of the limits."""
    values = {
        f"over {other.who}": measure.ratio(other, entry, "").median
        for other in kept
        if other.who != "fastlstm" and not other.wrong
    }
    one = values.pop(f"over {ALONE}", None)
    best = row.ratio.median if row.ratio and values else None
    values |= {"over the best peer": best, "over one thread": one}
    values |= {"of the limit": row.limit_share, "of the FMA peak": row.peak_share}
    return {what: value for what, value in values.items() if value is not None}


def add_memory(entries, case, ctx) -> None:
    """Peak resident memory of a process that imports, builds and calls one engine only."""
    for entry in entries:
        name = entry.who.replace(",", " ").split()[0]
        threads = 1 if entry.who == ALONE else case.threads
        key = name, entry.variant, case.shape, threads, case.carry
        if key not in ctx.seen_rss:
            try:
                found = probes.memory_probe(name, case.shape, threads, entry.variant, case.carry)
                ctx.seen_rss[key] = found["peak"]
            except (RuntimeError, OSError) as error:
                entry.notes.append(f"memory: {error}")
                ctx.seen_rss[key] = None
        entry.rss = ctx.seen_rss[key]
