# SPDX-License-Identifier: MIT
"""fastlstm against PyTorch, ONNX Runtime and OpenVINO, on the same weights in the same run.

    python benchmarks/compare.py --suite quick
    python benchmarks/compare.py --suite grid --json grid.json
    python benchmarks/compare.py --suite targets --only step,ragged
    python benchmarks/compare.py --shape 100,32,256,256 --threads 2
    python benchmarks/compare.py --from grid.json --wide

Prints one table (Markdown) and one line about the machine; progress goes to stderr. How it
measures and how to read a row: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys

from harness import environment  # noqa: F401 - before NumPy is loaded

# isort: split
from harness import forward, kernels, machine, probes, report, shapes, targets, training
from peers import MODULES, load_peers


def shape_job(shape):
    return forward.case_name(shape), lambda ctx: forward.compare(
        forward.case_name(shape), shape, ctx
    )


def jobs_of(suite: str) -> list:
    """[(name, function of the context -> rows)]"""
    grid = [shape_job(shape) for shape in shapes.GRID]
    if suite == "quick":
        return [shape_job(shape) for shape in shapes.QUICK]
    if suite == "grid":
        return grid
    if suite == "training":
        return [("training", training.training_rows)]
    jobs = [
        ("step", targets.step_rows),
        ("stream", targets.stream_rows),
        ("kernel", kernels.kernel_rows),
    ]
    jobs += [job for job in grid if job[0] != "step" or suite == "all"]
    jobs += [shape_job(shape) for shape in shapes.BATCHES + shapes.STACKS]
    jobs += [
        ("ragged", targets.ragged_rows),
        ("subnormal", targets.subnormal_rows),
        ("busy", targets.busy_rows),
        ("memory", probes.memory_rows),
        ("import", probes.import_rows),
        ("wheel", probes.wheel_rows),
        ("training", training.training_rows),
    ]
    return jobs


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        epilog="The names for --only: step, stream, kernel, sequence, batch, stack, ragged, "
        "subnormal, busy (two threads and more), memory, import, wheel, training.",
    )
    parser.add_argument(
        "--suite", choices=["grid", "targets", "training", "quick", "all"], default="quick"
    )
    parser.add_argument(
        "--shape",
        action="append",
        metavar="T,B,I,H",
        help="time this shape instead of a suite (also T,B,I,H,layers[,directions]); repeatable",
    )
    parser.add_argument("--only", metavar="NAMES", help="of the suite, only these (by comma)")
    parser.add_argument("--threads", type=int, default=1, help="for every peer (default 1)")
    parser.add_argument("--rounds", type=int, default=15, help="samples of each peer (default 15)")
    parser.add_argument("--peers", metavar="NAMES", help=f"by comma, of {', '.join(MODULES)}")
    parser.add_argument("--wide", action="store_true", help="one line for each case")
    parser.add_argument("--json", metavar="FILE", help="write everything measured here")
    parser.add_argument("--from", dest="source", metavar="FILE", help="print a table again")
    options = parser.parse_args(arguments)
    if options.threads < 1 or options.rounds < 2:
        parser.error("--threads is at least 1, --rounds at least 2")
    return parser, options


def show(rows, facts, wide: bool) -> None:
    print(report.wide_table(rows) if wide else report.long_table(rows))
    print()
    print(machine.line(facts))


def main(arguments=None) -> int:
    parser, options = parse(arguments)
    if options.source:
        try:
            with open(options.source, encoding="utf-8") as file:
                record = json.load(file)
        except (OSError, ValueError) as error:
            parser.error(f"--from: {error}")
        show([report.from_json(row) for row in record["rows"]], record["machine"], options.wide)
        return 0
    try:
        wanted = options.peers and options.peers.split(",")
        peers, missing = load_peers(wanted)
        if options.shape:
            jobs = [shape_job(shapes.Shape.parse(text)) for text in options.shape]
        else:
            jobs = jobs_of(options.suite)
    except ValueError as error:
        parser.error(str(error))
    if options.only:
        names = set(options.only.split(","))
        known = {name for name, _ in jobs}
        if names - known:
            parser.error(f"--only {sorted(names - known)}: this suite has {sorted(known)}")
        jobs = [job for job in jobs if job[0] in names]
    for name, reason in missing.items():
        print(f"left out: {name} ({reason})", file=sys.stderr)
    if not peers:
        parser.error("none of the peers is installed")

    facts = machine.describe(peers, options.threads)
    if facts["load"] > 0.5:
        print(f"load {facts['load']}: other programs run here; expect noise", file=sys.stderr)
    limits = machine.Limits("fastlstm" in peers)
    ctx = forward.Context(peers, options.threads, options.rounds, limits)
    rows = []
    for _, job in jobs:
        rows += job(ctx)
    if options.threads == 1:
        for row in rows:
            row.mistrust()
    if ctx.peaks:
        facts["peak_gflops"] = max(ctx.peaks)
    facts["bandwidth_gbs"] = limits.measured()
    facts["left_out"] = missing
    show(rows, facts, options.wide)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            record = {"machine": facts, "rounds": options.rounds}
            record["rows"] = [report.to_json(row) for row in rows]
            json.dump(record, file, indent=1)
            file.write("\n")
    wrong = [row for row in rows if row.is_wrong()]
    for row in wrong:
        print(f"wrong output: {row.who}, {row.case} {row.shape}: {row.notes}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
