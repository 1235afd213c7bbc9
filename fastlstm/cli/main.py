# SPDX-License-Identifier: MIT
"""The command line: `fastlstm COMMAND`, or `python -m fastlstm COMMAND`.

A command is a line of COMMANDS: its name, a sentence for --help, a function that adds its arguments
to a parser, and one that runs it with the parsed arguments and gives the exit code. Commands print
results to stdout and raise for errors; main() makes those one sentence on stderr. Exit codes: 0
done, 1 failed, 2 wrong usage (`inspect`: also a file that cannot be opened), 130 interrupted.
"""

import argparse
import json
import os
import sys
import traceback

import fastlstm
from fastlstm import demo
from fastlstm.bench import command as bench

from . import files
from . import run as run_layer


def info_arguments(parser):
    parser.add_argument("--json", action="store_true", help="as JSON")


def info(args):
    if args.json:
        print(json.dumps(fastlstm.config_dict(), indent=2, default=str))
    else:
        fastlstm.show_config()
    return 0


COMMANDS = [
    ("demo", demo.HELP, demo.add_arguments, demo.run),
    ("inspect", files.INSPECT, files.inspect_arguments, files.inspect),
    ("convert", files.CONVERT, files.convert_arguments, files.convert),
    ("run", run_layer.HELP, run_layer.add_arguments, run_layer.run),
    ("bench", bench.HELP, bench.add_arguments, bench.run),
    ("info", "what this installation is and what it will use", info_arguments, info),
]


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,  # so that it may stand before or after the command
        help="show the traceback of an error",
    )
    parser = Parser(prog="fastlstm", description="LSTM networks on the CPU.", parents=[common])
    parser.add_argument("--version", action="version", version=f"fastlstm {fastlstm.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    for name, help_text, add_arguments, run in COMMANDS:
        sub = commands.add_parser(name, help=help_text, description=help_text, parents=[common])
        add_arguments(sub)
        sub.set_defaults(run=run)
    return parser


def main(argv=None):
    """Runs one command; gives the exit code."""
    args = build_parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\nfastlstm: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the outermost place: a sentence, not a traceback
        if getattr(args, "debug", False):
            traceback.print_exc()
        print(f"fastlstm: {describe(error)}", file=sys.stderr)
        return 1


def describe(error):
    """One sentence; errors that are not about what the user gave also say what to do next."""
    text = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename}: no such file; check the path"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    if isinstance(error, (ValueError, TypeError)) and text:
        return text
    return f"{type(error).__name__}: {text or 'no message'}; --debug shows where"
