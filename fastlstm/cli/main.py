# SPDX-License-Identifier: MIT
"""The command line: `fastlstm COMMAND`, or `python -m fastlstm COMMAND`.

Each command is an entry of COMMANDS: its name, a sentence for --help, a function that adds its
arguments to a parser, and a function that runs it with the parsed arguments and gives the exit
code. Commands print results to stdout and raise for errors; main() prints an error as one sentence
on stderr. Exit codes: 0 done, 1 failed, 2 wrong usage (for `inspect` also a file that cannot be
opened), 130 interrupted.
"""

import argparse
import json
import os
import sys
import traceback

import fastlstm
from fastlstm import demo
from fastlstm.bench import command as bench

from . import files, score, serve
from . import run as run_layer


def info_arguments(parser):
    parser.add_argument("--json", action="store_true", help="as JSON")


def info(args):
    """Print what the installation is: version, backend, instruction set, threads."""
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
    ("score", score.HELP, score.add_arguments, score.run),
    ("serve", serve.HELP, serve.add_arguments, serve.run),
    ("bench", bench.HELP, bench.add_arguments, bench.run),
    ("info", "what this installation is and what it will use", info_arguments, info),
]


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers wrong usage with one line instead of the whole usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser():
    """The parser of all commands. Parsed arguments have `run`, the command's function."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug",
        action="store_true",
        # Without a default the command's parser does not undo a --debug before the command.
        default=argparse.SUPPRESS,
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
    """Run the command that the arguments name (None: those of the process); give its exit code."""
    args = build_parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\nfastlstm: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # what reads the output, `head` for instance, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # all errors: nobody above here could say more than a traceback
        if getattr(args, "debug", False):
            traceback.print_exc()
        print(f"fastlstm: {describe(error)}", file=sys.stderr)
        return 1


def describe(error):
    """The error as one sentence. For errors of the operating system, and for those that the user's
    arguments did not cause, it says what to do next."""
    text = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename}: no such file; check the path"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    if isinstance(error, (ValueError, TypeError)) and text:
        return text
    return f"{type(error).__name__}: {text or 'no message'}; --debug shows where"
