# SPDX-License-Identifier: MIT
"""`fastlstm score`: the arguments; fastlstm/score does the rest."""

from .. import score
from ..config import check_num_threads
from .arrays import Progress
from .inspect_model import numbers

HELP = "score a column of sequences in Parquet files, of any size, resumed where it stopped"


def add_arguments(parser):
    parser.add_argument("model", help="a whole model, or a layer of any file that fastlstm reads")
    parser.add_argument(
        "input", nargs="+", metavar="IN.parquet", help="files and folders, in order"
    )
    parser.add_argument("output", metavar="OUT.parquet", help="is written, whole or not at all")
    parser.add_argument("--column", required=True, help="lists of numbers, or of steps of numbers")
    parser.add_argument("--output-column", default="y", metavar="NAME")
    parser.add_argument("--keep", action="append", default=[], metavar="NAME",
                        help="a column that is copied")  # fmt: skip
    parser.add_argument("--every-step", action="store_true",
                        help="of a layer: each step's output, not the final h alone")  # fmt: skip
    parser.add_argument("--value", action="append", default=[], metavar="NAME=16000",
                        help="an input of the model that is this number")  # fmt: skip
    parser.add_argument("--batch-steps", type=int, default=1 << 14, metavar="N",
                        help="real steps of a batch (default: 16384)")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--force", action="store_true", help="replace the output, begin anew")
    parser.add_argument("--num-threads", type=int)


def run(args):
    check_num_threads(args.num_threads)
    constants = numbers(args.value, "--value")
    bar = None

    def progress(done, total):
        nonlocal bar
        bar = bar or Progress(total)
        bar.add(done - bar.done)

    try:
        rows = score.score(
            args.model, args.input, args.output, args.column, resume=args.resume,
            force=args.force, progress=progress, output_column=args.output_column, keep=args.keep,
            every_step=args.every_step, constants=constants, batch_steps=args.batch_steps,
            num_threads=args.num_threads,
        )  # fmt: skip
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
    finally:
        if bar:
            bar.close()
    print(f"wrote {args.output}: {rows} rows")
    return 0
