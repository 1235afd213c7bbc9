# SPDX-License-Identifier: MIT
"""`fastlstm bench`: the arguments, the run, and where its report goes.

Other commands read this file too, so no engine, rich or matplotlib is imported before it is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

HELP = "compare with other engines on this machine"
FORMATS = ("md", "json", "csv", "html", "png")
EPILOG = """\
{shapes}

fastlstm bench                                        a few of everything, all peers
fastlstm bench --suite targets --output targets.json  every target and its verdict
fastlstm bench --shape 100,1/32,=,128..512 --vs torch,onnxruntime --threads 1,2
fastlstm bench --from targets.json --format html --output targets.html
fastlstm bench --model silero_vad.onnx --size input=1,576 --value sr=16000
fastlstm bench --compare before.json after.json

Exit code 1: an engine gave wrong numbers. How it measures: benchmarks/README.md."""


def add_arguments(parser):
    from . import cases, shapes

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG.format(shapes=shapes.HELP)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--shape", nargs="+", action="extend", metavar="SHAPE", help="these shapes or sweeps"
    )
    which.add_argument("--model", metavar="FILE", help="a whole model: ONNX, Keras, or saved")
    which.add_argument(
        "--suite", metavar="NAMES", help=f"lists of cases, by comma: {', '.join(cases.SUITES)}"
    )
    which.add_argument(
        "--from", dest="source", metavar="FILE", help="report a run that was saved as JSON"
    )
    which.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="what moved from run A to run B"
    )
    parser.add_argument(
        "--size", action="append", default=[], metavar="NAME=1,576",
        help="of --model: an input's shape (free sizes are 1 without it)",
    )  # fmt: skip
    parser.add_argument(
        "--value", action="append", default=[], metavar="NAME=16000",
        help="of --model: an input that is this number",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", metavar="DTYPE",
        help="of --model: of fastlstm's weights, beside the other engines' float32",
    )  # fmt: skip
    parser.add_argument(
        "--only", metavar="KINDS", help="of the suite, by comma: step, sequence, batch, stack, ..."
    )
    parser.add_argument(
        "--vs",
        metavar="PEERS",
        help="by comma: torch, onnxruntime, onnxruntime+fastlstm ...; none",
    )
    parser.add_argument(
        "--precision", default="float32", metavar="P,P",
        help="of dense calls, by comma: float32, bfloat16, int8, bfloat16x3, "
        "bfloat16x6 (default float32)",
    )  # fmt: skip
    parser.add_argument("--cell", choices=list(shapes.GATES), default="lstm")
    parser.add_argument("--threads", metavar="N,N", help="for every engine (default 1)")
    parser.add_argument("--rounds", type=int, default=60, help="samples of each (default 60)")
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="then no further pass begins (default 9)"
    )
    parser.add_argument("--no-rss", action="store_true", help="do not measure memory")
    parser.add_argument("--format", choices=FORMATS, help="default: md, or the file's ending")
    parser.add_argument("--output", metavar="FILE", help="write here, not to stdout")


def threads_of(text: str | None) -> list[int] | None:
    """--threads as numbers; None if it is not given."""
    if text is None:
        return None
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1 or len(set(counts)) < len(counts):
        raise ValueError(f"--threads takes different whole numbers from 1, not {text!r}")
    return counts


def precisions_of(text: str) -> tuple[str, ...]:
    """--precision as names of peers.PRECISIONS."""
    from .peers import PRECISIONS

    found = tuple(text.split(","))
    if not set(found) <= set(PRECISIONS) or len(set(found)) < len(found):
        raise ValueError(f"--precision takes some of {', '.join(PRECISIONS)}, not {text!r}")
    return found


def inputs_of(args) -> tuple[dict, dict]:
    """({name: shape}, {name: number}) of --size and --value."""
    made: tuple[dict, dict] = {}, {}
    for option, texts, found in (("--size", args.size, made[0]), ("--value", args.value, made[1])):
        for text in texts:
            name, _, value = text.rpartition("=")
            try:
                numbers = [int(part) for part in value.split(",")]
                if not name or min(numbers) < 0 or (option == "--value" and len(numbers) > 1):
                    raise ValueError
            except ValueError:
                raise ValueError(f"{option} takes NAME and whole numbers, not {text!r}") from None
            found[name] = tuple(numbers) if option == "--size" else numbers[0]
    return made


def cases_of(args) -> list:
    """The cases that the arguments ask for. ValueError if there are none."""
    from . import cases, shapes

    if args.shape:
        texts = (text for argument in args.shape for text in argument.split())
        found = [cases.dense(shape) for text in texts for shape in shapes.parse(text, args.cell)]
    elif args.model:
        found = cases.of_file(args.model, *inputs_of(args), args.dtype)
    elif args.suite:
        names, threads = args.suite.split(","), threads_of(args.threads)
        return only(args, cases.of_suites(names, args.cell, threads))
    else:
        found = cases.with_cell(cases.default(), args.cell)
    return only(args, cases.with_threads(found, threads_of(args.threads)))


def only(args, found: list) -> list:
    """Those of the cases whose kinds --only names. ValueError if there are none."""
    if args.only:
        wanted, kinds = set(args.only.split(",")), {case.kind.name for case in found}
        if wanted - kinds:
            raise ValueError(
                f"--only {','.join(sorted(wanted - kinds))}: there are {', '.join(sorted(kinds))}"
            )
        found = [case for case in found if case.kind.name in wanted]
    if not found:
        raise ValueError("no case is left of what was asked for")
    return found


def format_of(args) -> str:
    """--format, or the ending of --output, or Markdown."""
    ending = Path(args.output).suffix[1:] if args.output else ""
    chosen = args.format or (ending if ending in FORMATS else "md")
    if chosen == "png" and not args.output:
        raise ValueError("--format png needs --output FILE.png")
    return chosen


@contextlib.contextmanager
def progress(total: int):
    """Within it, a function (text, cases done) shows progress on stderr: a bar on a terminal, lines
    elsewhere."""
    try:
        from rich import console, progress
    except ImportError:
        terminal = False
    else:
        console = console.Console(stderr=True)
        terminal = console.is_terminal
    if not terminal:

        def say(text, done=None):
            print(text, file=sys.stderr, flush=True)

        yield say
        return
    columns = (
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.description}", markup=False),
    )
    # Drawn by `show` alone: a thread of rich's would take the interpreter amid a sample.
    bar = progress.Progress(*columns, console=console, transient=True, auto_refresh=False)
    with bar:
        task = bar.add_task("", total=total)

        def show(text, done=None):
            bar.update(task, description=text, completed=done, refresh=True)

        yield show


def measured(args):
    """Measure the cases that the arguments ask for. Returns a rows.Run."""
    import fastlstm

    from . import forward, machine, measure, passes
    from .peers import load_peers
    from .rows import Run

    todo, precisions = cases_of(args), precisions_of(args.precision)
    wanted = None
    if args.vs is not None:
        wanted = [name for name in args.vs.split(",") if name not in ("", "none")]
    peers, missing = load_peers(wanted)
    for name, reason in missing.items():
        print(f"left out: {name} ({reason})", file=sys.stderr)
    facts, limits, others = machine.describe(peers), machine.Limits(), machine.Others()
    if facts["load"] is not None and facts["load"] > 0.5:
        print(f"load {facts['load']}: other programs run here; expect noise", file=sys.stderr)
    created = time.strftime("%Y-%m-%d %H:%M %Z")
    began = time.monotonic()
    with progress(len(todo) * len(measure.passes(args.rounds))) as say:
        ctx = forward.Context(peers, args.rounds, limits, say, not args.no_rss, precisions)
        limits.levels()
        for dtype in [each for each in ("int8", "bfloat16") if each in precisions]:
            limits.of_products(dtype)
        rows, rounds = passes.all_rows(todo, ctx, args.minutes, say)
        roofline = limits.record()
    facts["others"] = others.share()
    settings = {"rounds": rounds, "suite": args.suite, "cell": args.cell}
    settings |= {"left_out": missing, "seconds": round(time.monotonic() - began, 1)}
    return Run(created, fastlstm.config_dict(), facts, roofline, settings, rows)


def page_of(run) -> str:
    from . import page

    return page.page(run)


def text_of(form: str):
    """The function (run) -> text of a format; None for png, which is not text."""
    from . import rows, tables

    functions = {"md": tables.markdown, "json": rows.Run.dump, "csv": tables.comma_separated}
    return (functions | {"html": page_of}).get(form)


def write(run, form: str, output: str | None) -> None:
    """Write the report of a run to the file `output`, or to stdout."""
    text = text_of(form)
    if text is None:
        from . import figures

        for path in figures.save_png(run, output):
            print(path, file=sys.stderr)
    else:
        put(text(run), output)


def put(text: str, output: str | None) -> None:
    if output:
        Path(output).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def run(args) -> int:
    from . import rows, tables

    if args.rounds < 1:
        raise ValueError(f"--rounds is at least 1, not {args.rounds}")
    form = format_of(args)
    if args.compare:
        before, after = map(rows.load, args.compare)
        put(tables.compared(before, after), args.output)
        return 0
    if args.output and not Path(args.output).exists():
        Path(args.output).touch()  # what cannot be written is said now, not after the run
        Path(args.output).unlink()
    found = rows.load(args.source) if args.source else measured(args)
    write(found, form, args.output)
    if any(row.targets for row in found.rows):
        print(tables.counted(found.rows), file=sys.stderr)
    wrong = [row for row in found.rows if row.wrong]
    for row in wrong:
        print(f"wrong numbers: {row.who}, {row.case} {tables.shape_text(row)}", file=sys.stderr)
    return 1 if wrong and not args.source else 0
