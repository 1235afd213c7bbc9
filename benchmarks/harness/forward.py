# SPDX-License-Identifier: MIT
"""One shape through every peer: build, check, keep each peer's fastest variant, time, aim."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

import numpy as np

from . import machine, measure, model
from .measure import Entry
from .report import Row

TOLERANCE = 1e-5
CARRIED_CALLS = 3


@dataclass
class Context:
    """What the whole run shares."""

    peers: dict  # name -> module
    threads: int
    rounds: int
    limits: object  # machine.Limits
    peaks: list = field(default_factory=list)  # every FMA peak measured in this run, GFLOP/s

    def log(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def peak(self) -> float | None:
        """The FMA peak of one core, measured now, GFLOP/s."""
        value = self.limits.peak()
        if value:
            self.peaks.append(value)
        return value

    def peak_of_run(self, before: float | None = None) -> float | None:
        """The peak of the cores in use: the better of `before` and now, times their number."""
        peaks = [value for value in (before, self.peak()) if value]
        cores = min(self.threads, machine.cpu_count())
        return max(peaks) * cores if peaks else None


def reference(weights, shape, x, carry, lengths):
    """The float64 output the timed call has to give (for `carry`: the last of a few calls)."""
    if not carry:
        return model.forward64(weights, shape, x, lengths=lengths)[0]
    y, _, _ = model.forward64(weights, shape, np.concatenate([x] * CARRIED_CALLS))
    return y[-shape.T :]


def build_entries(name, ctx, weights, shape, x, carry, lengths, threads=None):
    """One entry for each variant of a peer: built, called once, and its output kept."""
    module = ctx.peers[name]
    threads = threads or ctx.threads
    entries, first = [], None
    for variant in module.variants(shape, threads, carry, lengths):
        runner = module.build(
            weights, shape, threads, variant=variant, carry=carry, lengths=lengths
        )
        runner.load(x)
        entry = Entry(name, runner, variant)
        entry.first_call()
        first = first if first is not None else entry.first
        entry.first = first  # of this peer in this case, whichever variant is kept
        for _ in range(CARRIED_CALLS - 1 if carry else 0):
            runner.call()
        entry.result = runner.output()
        entries.append(entry)
    return entries


def check(entries, expected) -> None:
    """Compare every output with the float64 one and with the other engines'."""
    for entry in entries:
        entry.error = float(np.abs(entry.result - expected).max(initial=0.0))
        entry.wrong = not entry.error <= TOLERANCE
        entry.notes = [f"WRONG by {entry.error:.1e}"] if entry.wrong else []
        far = set()
        for other in entries:
            apart = float(np.abs(entry.result - other.result).max(initial=0.0))
            if other.who != entry.who and not apart <= TOLERANCE:
                far.add(f"{apart:.1e} from {other.who}")
        entry.notes += sorted(far)
    for entry in entries:
        entry.result = None


def to_row(case, shape, entry, flops, peak, floor=None) -> Row:
    row = Row(
        case,
        str(shape),
        entry.who,
        entry.variant,
        median=entry.median,
        p99=measure.percentile99(entry.singles or entry.walls),
        cpu=float(np.median(entry.cpus)),
        spread=measure.spread(entry.walls),
        first=None if np.isnan(entry.first) else entry.first,
        error=None if np.isnan(entry.error) else entry.error,
        notes=list(getattr(entry, "notes", [])),
        detail={
            "calls": entry.number,
            "walls": entry.walls,
            "cpus": entry.cpus,
            "singles": len(entry.singles or entry.walls),
            "variants_us": getattr(entry, "tried", {}),
        },
    )
    if flops:
        row.gflops = flops / row.median / 1e9
        if peak:
            row.peak_share = row.gflops / peak
    if floor:
        row.limit_share = floor / row.median
    return row


def compare(case, shape, ctx, carry=False, lengths=None, every_variant=False) -> list[Row]:
    """Rows of one case: ours first (every variant, or the fastest), then the peers.

    With more than one thread, fastlstm on one thread is timed in the same rounds.
    """
    ctx.log(f"{case}: {shape}")
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    weights, x = model.make_weights(shape), model.make_input(shape)
    groups = {
        name: build_entries(name, ctx, weights, shape, x, carry, lengths) for name in ctx.peers
    }
    alone = []
    if ctx.threads > 1 and "fastlstm" in ctx.peers:
        alone = build_entries("fastlstm", ctx, weights, shape, x, carry, lengths, threads=1)
        for entry in alone:
            entry.who = "fastlstm, 1 thread"
    everything = [entry for group in groups.values() for entry in group] + alone
    check(everything, reference(weights, shape, x, carry, lengths))
    if affinity is not None and os.sched_getaffinity(0) != affinity:
        os.sched_setaffinity(0, affinity)
        ctx.log("  an engine had narrowed this process's CPUs; put back")

    # A step shows both of ONNX Runtime's ways, each at its best.
    if (every_variant or case == "step") and "onnxruntime" in groups:
        both = groups["onnxruntime"]
        groups["onnxruntime"] = [entry for entry in both if entry.variant.startswith("bound")]
        groups["onnxruntime.run"] = [entry for entry in both if entry.variant.startswith("run")]
        for entry in groups["onnxruntime.run"]:
            entry.who = "onnxruntime.run"
    kept = []
    for name, group in [*groups.items(), ("", alone)]:
        for entry in group:
            entry.calibrate(ctx.rounds)
        if not group or (every_variant and name == "fastlstm"):
            kept += group
            continue
        best, tried = measure.keep_fastest(group, ctx.threads)
        best.tried = tried
        kept.append(best)

    before = ctx.peak()
    measure.alternate(kept, ctx.rounds, ctx.threads)
    peak = ctx.peak_of_run(before)
    floor = ctx.limits.floor_seconds(shape, peak) if ctx.threads == 1 else None
    steps = None if lengths is None else int(np.sum(lengths))
    rows = [to_row(case, shape, entry, shape.flops(steps), peak, floor) for entry in kept]
    add_ratios(rows, kept)
    for row, entry in zip(rows, kept, strict=True):
        if entry.who == "fastlstm":
            over = {
                other.who: measure.ratio(other, entry)[0]
                for other in kept
                if other is not entry and not other.wrong
            }
            aim(row, case, shape, ctx.threads, over)
    for entry in kept:
        entry.runner.close()
    return rows


def add_ratios(rows, entries) -> None:
    """Ours: the best peer's time / ours. The others: their time / our fastest.

    A peer whose numbers are wrong is never the best.
    """
    ours = [entry for entry in entries if entry.who == "fastlstm"]
    others = [entry for entry in entries if not entry.who.startswith("fastlstm")]
    for row, entry in zip(rows, entries, strict=True):
        if entry in ours and others:
            best = min(others, key=lambda other: (other.wrong, other.median))
            row.ratio, row.ratio_spread = measure.ratio(best, entry)
            row.cpu_ratio = measure.cpu_ratio(best, entry)
            row.ratio_of = f"{best.who} / this"
        elif entry not in ours and ours:
            fastest = min(ours, key=lambda other: other.median)
            row.ratio, row.ratio_spread = measure.ratio(entry, fastest)
            row.cpu_ratio = measure.cpu_ratio(entry, fastest)
            row.ratio_of = "this / fastlstm"


def aim(row, case, shape, threads, over) -> None:
    """The targets this shape has; `over` is {who: their time / ours}."""
    best = min((over[name] for name in over if not name.startswith("fastlstm")), default=None)
    own = over.get("fastlstm, 1 thread")
    lone = shape.layers == shape.D == 1 and shape.B == 1
    if case.startswith("step"):
        bounds = {64: 4.5, 128: 3.0, 256: 1.6}
        if threads == 1 and shape.B == 1 and shape.H == shape.I and shape.H in bounds:
            row.aim("onnxruntime", over.get("onnxruntime"), ">=", bounds[shape.H])
            row.aim("onnxruntime.run", over.get("onnxruntime.run"), ">=", bounds[shape.H])
            row.aim("torch", over.get("torch"), ">=", 40)
        return
    if case not in ("sequence", "batch", "stack"):
        return
    if shape.B >= 4:
        row.aim("best peer", best, ">=", 1.15 if shape.B <= 16 else 1.05)
    if threads == 1:
        if shape.B == 1 and shape.T >= 100 and shape.H <= 128:
            row.aim("best peer", best, ">=", 1.3)
        if shape.B == 1 and shape.T >= 100 and shape.H >= 256:
            row.aim("best peer", best, ">=", 1.15)
            row.aim("limit", row.limit_share, ">=", 0.9)
        if shape.B >= 24 and shape.H >= 256:
            row.aim("FMA peak", row.peak_share, ">=", 0.94)
    else:
        if lone and shape.H >= 192:
            row.aim("one thread", own, ">=", 1.7)
            row.aim("best peer", best, ">=", 1.4)
        elif shape.B >= 8 or shape.layers > 1 or shape.D > 1:
            row.aim("one thread", own, ">=", 1.7)


def case_name(shape) -> str:
    """step, sequence, batch or stack."""
    if shape.layers > 1 or shape.D > 1:
        return "stack"
    if shape.B > 1:
        return "batch"
    return "step" if shape.T == 1 else "sequence"
