# SPDX-License-Identifier: MIT
"""The command line itself: usage, errors, exit codes. Its commands have tests of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastlstm
from fastlstm.cli import main as cli

ROOT = Path(cli.__file__).parents[2]


def environment():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fastlstm", *arguments],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=500,
        env=environment(),
    )


@pytest.fixture
def command(monkeypatch):
    """Adds a command `try` that does what the test wants."""

    def add(function):
        monkeypatch.setattr(
            cli, "COMMANDS", [*cli.COMMANDS, ("try", "a test", lambda parser: None, function)]
        )

    return add


def raising(error):
    def function(args):
        raise error

    return function


def test_version():
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"fastlstm {fastlstm.__version__}\n"


def test_help_names_every_command():
    result = run("--help")
    assert result.returncode == 0
    for name, help_text, _, _ in cli.COMMANDS:
        assert name in result.stdout
        assert help_text.split()[0] in result.stdout


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("info", "--nonsense"), ("demo", "x")])
def test_wrong_usage_is_one_line_with_the_remedy(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert "--help" in result.stderr


def test_info():
    result = run("info")
    assert (result.returncode, result.stderr) == (0, "")
    assert fastlstm.__version__ in result.stdout
    assert fastlstm.runnable_isas()[0] in result.stdout


def test_info_json_is_config_dict():
    result = run("info", "--json")
    assert result.returncode == 0
    here = json.loads(json.dumps(fastlstm.config_dict(), default=str))
    assert json.loads(result.stdout) == here


def test_exit_code_is_the_commands(command):
    command(lambda args: 7)
    assert cli.main(["try"]) == 7


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("x has\n 3 columns, not 4"), "fastlstm: x has 3 columns, not 4\n"),
        (fastlstm.LoadError("a.pt: cut short"), "fastlstm: a.pt: cut short\n"),
        (
            FileNotFoundError(2, "No such file or directory", "a.pt"),
            "fastlstm: a.pt: no such file; check the path\n",
        ),
        (
            PermissionError(13, "Permission denied", "a.pt"),
            "fastlstm: a.pt: Permission denied; check the path and its permissions\n",
        ),
        (KeyError("w"), "fastlstm: KeyError: 'w'; --debug shows where\n"),
        (RuntimeError(), "fastlstm: RuntimeError: no message; --debug shows where\n"),
        (ValueError(), "fastlstm: ValueError: no message; --debug shows where\n"),
    ],
)
def test_errors_are_one_sentence(command, capsys, error, text):
    command(raising(error))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr() == ("", text)


@pytest.mark.parametrize("arguments", [["--debug", "try"], ["try", "--debug"]])
def test_debug_shows_the_traceback(command, capsys, arguments):
    command(raising(ValueError("wrong")))
    assert cli.main(arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("\nfastlstm: wrong\n")


def test_interrupt_ends_politely(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert cli.main(["try"]) == 130
    assert capsys.readouterr().err == "\nfastlstm: stopped.\n"


def test_a_reader_that_leaves_early_is_no_error():
    """As in `fastlstm demo | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-m", "fastlstm", "demo", "--no-torch", "--length", "20000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert b"fastlstm demo" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=500) == 0
